"""Joins of two streams: what matches, what is late, what is freed, and when unmatched rows come out."""

import random

from cases.random_inputs import moment
from cases.tools import (
    COUNT,
    aggregate,
    alias,
    case,
    dedup,
    dedup_within,
    drop,
    early,
    filter_,
    join,
    read,
    row,
    select,
    streams,
    union,
    watermark,
    with_column,
)

KINDS = ("inner", "left", "right", "full", "left_semi")
OUTER = ("left", "right", "full")
OFF = {"noDataEpochs.enabled": False}
HIGHEST = {"multipleWatermarkPolicy": "max"}
LEFT = ("l.t AS lt", "l.w AS lw", "l.v AS lv")
RIGHT = ("r.t AS rt", "r.w AS rw", "r.v AS rv")
SPAN = with_column("span", "window(t, '10 seconds')")

RANGE = "l.w = r.w AND r.t >= l.t AND r.t <= l.t + interval 20 seconds"
TIMES = "l.t = r.t AND l.w = r.w"
SPANS = "l.span = r.span AND l.w = r.w"
WORDS = "l.w = r.w"

# Rows for ranges of some 20 seconds: matches, rows late on either side or just not, rows that nothing ever matches.
PAIRS = streams(
    l=[
        [row(1, "a", 1), row(5, "b", 2), row(9, "c", 3), row(12, "a", 4)],
        [row(33, "a", 5), row(36, "d", 6)],
        [row(20, "c", 7), row(26, "b", 8), row(26, "b", 9, micros=1), row(27, "e", 10)],
        [row(80, "b", 11)],
        None,
        [row(95, "a", 12), row(82, "b", 14), row(150, "z", 13)],
        None,
        [row(200, "q", 15), row(139, "b", 16)],
    ],
    r=[
        [row(3, "a", 101), row(26, "b", 102), row(14, "e", 103)],
        [row(25, "c", 104), row(40, "a", 105)],
        [row(26, "a", 106), row(26, "a", 107, micros=500), row(30, "c", 108), row(29, "c", 109)],
        [row(79, "a", 110), row(46, "b", 111), row(46, "e", 112)],
        [row(90, "b", 113)],
        None,
        [row(160, "z", 114), row(99, "b", 115)],
        [row(201, "q", 116)],
    ],
)
# Rows for equal times and equal windows of 10 seconds.
EQUAL = streams(
    l=[
        [row(1, "a", 1), row(2, "b", 2), row(15, "c", 3)],
        [row(14, "d", 4), row(4, "a", 5), row(5, "e", 6)],
        [row(30, "a", 7), row(30, "a", 8)],
        [row(19, "c", 9), row(21, "f", 10)],
        [row(60, "g", 11)],
        [row(48, "a", 12), row(49, "h", 13), row(50, "i", 14)],
        [row(100, "z", 15)],
        [row(130, "y", 16)],
    ],
    r=[
        [row(1, "a", 101), row(3, "b", 102), row(14, "d", 103)],
        [row(15, "c", 104), row(5, "e", 105), row(12, "c", 106)],
        [row(30, "a", 107), row(30, "a", 108), row(31, "b", 109)],
        [row(20, "c", 110), row(28, "f", 111)],
        [row(58, "g", 112)],
        [row(49, "h", 113), row(45, "h", 114)],
        [row(100, "z", 115)],
        [row(131, "y", 116)],
    ],
)


def files(inputs):
    """The same with an empty file where there was none."""
    return {name: {**stream, "steps": [rows or [] for rows in stream["steps"]]} for name, stream in inputs.items()}


def side(name, *above, delay="10 seconds", source=None):
    marked = [watermark(delay)] if delay else []
    return [read(source or name), *marked, *above, alias(name)]


def columns(kind):
    return LEFT if kind == "left_semi" else LEFT + RIGHT


def joined(kind, on, *above, left=None, right=None, shown=None):
    """`l` joined with `r`; `above` stands in the place of the projection of all columns."""
    above = above or (select(*(shown or columns(kind))),)
    return [*(left or side("l")), join(on, *(right or side("r")), kind=kind), *above]


def pairs(name, rules, kind, on, *above, inputs=PAIRS, left=None, right=None, shown=None, **more):
    pipeline = joined(kind, on, *above, left=left, right=right, shown=shown)
    return case(f"join_{name}", rules, None, pipeline, inputs=inputs, **more)


def kinds(name, rules, on, *above, of=KINDS, **more):
    return [pairs(f"{name}_{kind}", rules, kind, on, *above, **more) for kind in of]


# What bounds the state.

BETWEEN = "l.w = r.w AND r.t BETWEEN l.t - interval 5 seconds AND l.t + interval 15 seconds"
STRICT = "l.w = r.w AND r.t > l.t - interval 5 seconds AND r.t < l.t + interval 20 seconds"
DOUBLES = "l.w = r.w AND cast(r.t AS double) >= cast(l.t AS double) AND cast(r.t AS double) <= cast(l.t AS double) + 20"
LONGS = "l.w = r.w AND cast(r.t AS bigint) >= cast(l.t AS bigint) AND cast(r.t AS bigint) <= cast(l.t AS bigint) + 20"
SPANNED = {"left": side("l", SPAN, select("span", "w", "v")), "right": side("r", SPAN, select("span", "w", "v"))}
SPANNED_SHOWN = ("l.span AS ls", "l.w AS lw", "l.v AS lv", "r.span AS rs", "r.w AS rw", "r.v AS rv")


def spanned(name, rules, on, of=KINDS, **more):
    def shown(kind):
        return SPANNED_SHOWN[:3] if kind == "left_semi" else SPANNED_SHOWN

    more = {"inputs": EQUAL, **SPANNED, **more}
    return [pairs(f"{name}_{kind}", rules, kind, on, shown=shown(kind), **more) for kind in of]


BOUNDS = [
    *kinds("range", "4.2 4.3 4.4 4.5 2.4", RANGE),
    *kinds("between", "4.2 4.4 4.5", BETWEEN),
    *kinds("strict_range", "4.4 4.5", STRICT),
    *kinds("times", "4.2 4.4 4.5 2.4", TIMES, inputs=EQUAL),
    *spanned("windows", "4.2 4.4 4.5 2.4", SPANS),
    *spanned("windows_only", "4.4 4.5", "l.span = r.span", of=("inner", "full", "left_semi")),
    pairs("times_only", "4.4 4.5", "full", "l.t = r.t", inputs=EQUAL),
    *kinds("doubles", "4.4 4.5", DOUBLES, of=("inner", "left", "right")),
    *kinds("longs", "4.4 4.5", LONGS, of=("inner", "full")),
    *(
        pairs(f"lower_bound_of_left_{kind}", "4.4 4.6", kind, "l.w = r.w AND l.t >= r.t - interval 10 seconds")
        for kind in ("inner", "left", "left_semi", "full")
    ),
    *(
        pairs(f"lower_bound_of_right_{kind}", "4.4 4.6", kind, "l.w = r.w AND r.t > l.t - interval 10 seconds")
        for kind in ("inner", "right", "full")
    ),
    pairs("unbounded_inner", "4.4 2.4", "inner", WORDS),
    # The same bounds said in other words.
    pairs("said_otherwise", "4.4", "full", "r.w = l.w AND l.t <= r.t AND l.t + interval '20' second >= r.t"),
    pairs(
        "said_with_negative_intervals",
        "4.4",
        "full",
        "l.w = r.w AND l.t + interval -5 seconds <= r.t AND r.t + interval '-15 seconds' <= l.t",
    ),
    pairs("said_with_not", "4.4", "inner", "l.w = r.w AND NOT (r.t < l.t) AND NOT (r.t > l.t + interval 20 seconds)"),
    pairs(
        "said_with_intervals_on_both_sides",
        "4.4",
        "full",
        "l.w = r.w AND l.t - interval 1 second <= r.t + interval 4 seconds AND r.t - interval 5 seconds <= l.t + "
        "interval 10 seconds",
    ),
    pairs(
        "said_with_equal_intervals",
        "4.4",
        "left",
        "l.w = r.w AND l.t <= r.t AND r.t - interval 10 seconds <= l.t + interval 10 seconds",
    ),
    pairs(
        "said_with_one_interval_twice",
        "4.4",
        "left",
        "l.w = r.w AND l.t <= r.t AND r.t <= l.t + interval 10 seconds + interval 10 seconds",
    ),
    pairs(
        "said_with_a_difference",
        "4.4",
        "inner",
        "l.w = r.w AND r.t - l.t <= interval 20 seconds AND r.t - l.t >= interval 0 seconds",
    ),
    pairs("bounded_by_months", "4.4", "inner", "l.w = r.w AND r.t >= l.t AND r.t <= l.t + interval 1 month"),
    pairs(
        "two_bounds",
        "4.4",
        "full",
        "l.w = r.w AND r.t >= l.t AND r.t >= l.t - interval 5 seconds AND r.t <= l.t + interval 20 seconds "
        "AND r.t <= l.t + interval 30 seconds",
    ),
    pairs("range_of_negative_width", "4.4 4.5", "full", "l.w = r.w AND r.t > l.t AND r.t < l.t - interval 1 second"),
    pairs(
        "range_in_the_past_and_future",
        "4.4 4.5",
        "full",
        "l.w = r.w AND r.t >= l.t + interval 5 seconds AND r.t <= l.t + interval 25 seconds",
    ),
    pairs("times_and_a_range", "4.4", "full", TIMES + " AND r.t >= l.t - interval 30 seconds", inputs=EQUAL),
    pairs(
        "range_an_hour",
        "4.4",
        "left",
        "l.w = r.w AND r.t >= l.t AND r.t <= l.t + interval 1 hour",
        inputs=streams(
            l=[[row(0, "a", 1), row(60, "b", 2)], [row(4000, "c", 3)], [row(3000, "d", 4)], [row(9000, "e", 5)]],
            r=[
                [row(600, "a", 101)],
                [row(3600, "a", 102), row(4000, "b", 103)],
                [row(7600, "c", 104)],
                [row(9000, "f", 105)],
            ],
        ),
    ),
    *(
        pairs(
            f"equal_times_shifted_{kind}",
            "4.4 4.5",
            kind,
            "l.t = r.t + interval 5 seconds AND l.w = r.w",
            inputs=streams(
                l=[
                    [row(6, "a", 1), row(7, "b", 2), row(30, "c", 3)],
                    [row(36, "d", 4), row(25, "f", 5), row(22, "e", 6)],
                    [row(60, "g", 7), row(24, "h", 8)],
                    [row(90, "i", 9)],
                ],
                r=[
                    [row(1, "a", 101), row(30, "c", 102), row(31, "d", 103)],
                    [row(17, "e", 104), row(20, "f", 105, micros=1), row(21, "f", 106)],
                    [row(55, "g", 107), row(54, "k", 108)],
                    [row(91, "i", 109)],
                ],
            ),
        )
        for kind in ("inner", "left", "right", "full")
    ),
    *(
        pairs(
            f"equal_times_shifted_back_{kind}",
            "4.4 4.5",
            kind,
            "l.t = r.t - interval 5 seconds AND l.w = r.w",
            inputs=streams(
                l=[
                    [row(6, "a", 1), row(7, "b", 2), row(30, "c", 3)],
                    [row(36, "d", 4), row(21, "f", 5)],
                    [row(60, "g", 7)],
                    [row(90, "i", 9)],
                ],
                r=[
                    [row(11, "a", 101), row(30, "c", 102)],
                    [row(21, "e", 104), row(25, "f", 105), row(25, "g", 106, micros=1), row(26, "f", 107)],
                    [row(65, "g", 108), row(53, "k", 109)],
                    [row(91, "i", 110)],
                ],
            ),
        )
        for kind in ("inner", "right", "full")
    ),
    pairs(
        "equal_minutes_inner",
        "4.4",
        "inner",
        "l.w = r.w AND date_trunc('minute', l.t) = date_trunc('minute', r.t)",
    ),
    pairs(
        "range_on_another_time",
        "4.4",
        "left",
        "l.w = r.w AND r.t >= l.u AND r.t <= l.u + interval 20 seconds",
        left=side("l", with_column("u", "t + interval 10 seconds")),
    ),
    pairs(
        "range_on_the_window",
        "4.4",
        "inner",
        "l.w = r.w AND r.t >= l.span.start AND r.t < l.span.end + interval 10 seconds",
        left=side("l", SPAN, select("span", "w", "v")),
        shown=("l.span AS ls", "l.w AS lw", "l.v AS lv", *RIGHT),
    ),
    # The time itself would be a second event time, which Spark refuses, if it were not pruned.
    pairs(
        "windows_beside_times",
        "4.4 2.4",
        "inner",
        SPANS,
        left=side("l", SPAN),
        right=side("r", SPAN),
        shown=SPANNED_SHOWN,
        inputs=EQUAL,
    ),
    pairs(
        "window_times",
        "4.4 2.8",
        "left",
        TIMES,
        left=side("l", with_column("t", "window_time(window(t, '10 seconds'))")),
        right=side("r", with_column("t", "window_time(window(t, '10 seconds'))")),
        inputs=EQUAL,
    ),
    pairs(
        "sliding_windows",
        "4.4 3.1",
        "left",
        "l.span = r.span AND l.w = r.w",
        left=side("l", select("window(t, '10 seconds', '5 seconds') AS span", "w", "v")),
        right=side("r", select("window(t, '10 seconds', '5 seconds') AS span", "w", "v")),
        shown=SPANNED_SHOWN,
        inputs=EQUAL,
    ),
    # The marking is lost by a cast, so nothing is late or freed by it.
    pairs(
        "marking_lost_by_a_cast",
        "2.8 4.4",
        "inner",
        TIMES,
        left=side("l", with_column("t", "CAST(CAST(t AS STRING) AS TIMESTAMP)")),
        right=side("r", with_column("t", "CAST(CAST(t AS STRING) AS TIMESTAMP)")),
        inputs=EQUAL,
    ),
]

# Watermarks: one, none, of several delays, the lowest or the highest.

BARE_LEFT = {"left": side("l", delay=None)}
BARE_RIGHT = {"right": side("r", delay=None)}
AHEAD = streams(
    l=[
        [row(10, "a", 1), row(20, "b", 2)],
        [row(100, "a", 3)],
        [row(95, "b", 4), row(89, "c", 5), row(11, "a", 6)],
        [row(200, "d", 7)],
        [row(185, "c", 8)],
    ],
    r=[
        [row(12, "a", 101)],
        [row(25, "b", 102), row(21, "a", 103)],
        [row(30, "a", 104), row(15, "a", 105), row(96, "b", 106)],
        [row(102, "a", 107)],
        [row(190, "c", 108)],
    ],
)

MARKS = [
    pairs("no_watermark_words", "4.2 4.4", "inner", WORDS, **BARE_LEFT, **BARE_RIGHT),
    pairs("no_watermark_range", "4.2 4.4", "inner", RANGE, **BARE_LEFT, **BARE_RIGHT),
    pairs("no_watermark_times", "4.2 4.4", "inner", TIMES, inputs=EQUAL, **BARE_LEFT, **BARE_RIGHT),
    *(
        pairs(f"watermark_of_{name}_only_{bound}", "4.4 2.4", "inner", on, inputs=inputs, **bare)
        for name, bare in [("left", BARE_RIGHT), ("right", BARE_LEFT)]
        for bound, on, inputs in [("range", RANGE, PAIRS), ("times", TIMES, EQUAL), ("words", WORDS, PAIRS)]
    ),
    pairs("watermark_of_left_only_times_full", "4.4 4.6", "full", TIMES, inputs=EQUAL, **BARE_RIGHT),
    pairs("watermark_of_right_only_times_left", "4.4 4.6", "left", TIMES, inputs=EQUAL, **BARE_LEFT),
    *(
        pairs(
            f"delays_{name}_{kind}",
            "2.2 4.4 4.5",
            kind,
            on,
            left=side("l", delay="2 seconds"),
            right=side("r", delay="30 seconds"),
            inputs=inputs,
        )
        for name, kind, on, inputs in [
            ("range", "full", RANGE, PAIRS),
            ("times", "left", TIMES, EQUAL),
            ("range", "left_semi", RANGE, PAIRS),
        ]
    ),
    pairs(
        "delay_zero", "2.2 4.5", "full", RANGE, left=side("l", delay="0 seconds"), right=side("r", delay="0 seconds")
    ),
    *(
        pairs(
            f"{policy}_{name}_{kind}",
            "2.2 4.4 4.5",
            kind,
            on,
            inputs=inputs,
            config={"multipleWatermarkPolicy": policy},
        )
        for policy in ("min", "max")
        for name, kind, on, inputs in [("ahead_range", "left", RANGE, AHEAD), ("ahead_times", "full", TIMES, AHEAD)]
    ),
    pairs("max_range_right", "2.2 4.5", "right", RANGE, config=HIGHEST),
    pairs(
        "max_delays_range_inner",
        "2.2 4.4",
        "inner",
        RANGE,
        left=side("l", delay="2 seconds"),
        right=side("r", delay="30 seconds"),
        config=HIGHEST,
    ),
]

# Rows exactly at the bound, and a millisecond or less beside it; the watermark comes by single milliseconds.


def around(seconds, first=1):
    micros = (-1500, -1001, -1000, -500, -1, 0, 1, 500, 1000, 1001)
    return [row(seconds, "n", first + index, offset) for index, offset in enumerate(micros)]


def creeping(left, right, target=30):
    """The rows, and watermarks from 2 ms before `target` seconds to 2 ms after."""
    steps = [[row(target + 10, "x", 80 + index, 1000 * offset)] for index, offset in enumerate((-2, -1, 0, 1, 2))]
    others = [[row(target + 10, "y", 180 + index, 1000 * offset)] for index, offset in enumerate((-2, -1, 0, 1, 2))]
    return streams(l=[left, *steps, [row(target + 90, "x", 90)]], r=[right, *others, [row(target + 90, "y", 190)]])


AT_BOUND = [
    *(
        pairs(
            f"left_bound_{name}",
            "4.4 4.5",
            "left",
            "l.w = r.w AND " + on,
            inputs=creeping(around(10), [row(5, "y", 101)]),
        )
        for name, on in [
            ("at_least", "l.t >= r.t - interval 20 seconds"),
            ("above", "l.t > r.t - interval 20 seconds"),
            ("doubles_at_least", "cast(l.t as double) >= cast(r.t as double) - 20"),
            ("half_a_millisecond", "l.t >= r.t - interval '19.9995' second"),
        ]
    ),
    *(
        pairs(
            f"right_bound_{name}",
            "4.4 4.5",
            "right",
            "l.w = r.w AND " + on,
            inputs=creeping([row(5, "x", 1)], around(10, 101)),
        )
        for name, on in [
            ("at_least", "r.t >= l.t - interval 20 seconds"),
            ("above", "l.t - interval 20 seconds < r.t"),
        ]
    ),
    pairs(
        "bound_ahead",
        "4.4 4.5",
        "full",
        "l.w = r.w AND l.t > r.t AND r.t > l.t - interval 1 minute",
        inputs=creeping(around(30), [row(5, "y", 101)]),
    ),
    pairs(
        "bound_of_times",
        "4.4 4.5",
        "full",
        TIMES,
        inputs=creeping(around(30), around(30, 101)[::2]),
    ),
    *(
        pairs(
            f"late_at_the_bound_{kind}",
            "2.4 4.5",
            kind,
            RANGE,
            inputs=streams(
                l=[[row(50, "x", 1)], [row(40, "n", 2, m) for m in (-1000, -1, 0, 1, 500, 1000)], [row(99, "x", 3)]],
                r=[
                    [row(50, "y", 101)],
                    [row(40, "n", 102, m) for m in (-1000, -1, 0, 1, 500, 1000)],
                    [row(99, "y", 103)],
                ],
            ),
        )
        for kind in ("inner", "full")
    ),
    # A pair at both ends of the range, and a millionth outside.
    pairs(
        "ends_of_the_range",
        "4.4",
        "left",
        RANGE,
        inputs=streams(
            l=[[row(10, "a", 1), row(10, "b", 2), row(10, "c", 3), row(10, "d", 4)], [row(90, "x", 5)]],
            r=[
                [row(10, "a", 101), row(10, "b", 102, micros=-1), row(30, "c", 103), row(30, "d", 104, micros=1)],
                [row(90, "y", 105)],
            ],
        ),
    ),
    pairs(
        "ends_of_the_strict_range",
        "4.4",
        "full",
        "l.w = r.w AND r.t > l.t AND r.t < l.t + interval 20 seconds",
        inputs=streams(
            l=[[row(10, "a", 1), row(10, "b", 2), row(10, "c", 3), row(10, "d", 4)], [row(90, "x", 5)]],
            r=[
                [row(10, "a", 101), row(10, "b", 102, micros=1), row(30, "c", 103), row(30, "d", 104, micros=-1)],
                [row(90, "y", 105)],
            ],
        ),
    ),
    *kinds(
        "near_1970",
        "2.4 4.5",
        RANGE,
        of=("inner", "full"),
        inputs=streams(
            l=[
                [early(-5, "a", 1), early(0, "a", 2), early(0, "a", 3, 1), early(5, "b", 4)],
                [early(40, "c", 5)],
                [early(90, "c", 6)],
            ],
            r=[
                [early(-1, "a", 101), early(0, "a", 102), early(1, "a", 103)],
                [early(41, "b", 104)],
                [early(91, "d", 105)],
            ],
        ),
    ),
    # Counted in whole seconds, 9.9 s and 29.95 s are 20 s apart.
    pairs(
        "longs_within_a_second",
        "4.4",
        "left",
        LONGS,
        inputs=streams(
            l=[
                [row(9.9, "a", 1), row(9.95, "b", 2), row(10, "c", 3)],
                [row(39.92, "x", 4)],
                [row(45, "x", 5)],
                [row(99, "x", 6)],
            ],
            r=[
                [row(5, "y", 101)],
                [row(39.92, "y", 102)],
                [row(29.95, "a", 103), row(29.95, "b", 104), row(30.9, "c", 105)],
                [row(99, "y", 106)],
            ],
        ),
    ),
]

# Epochs: what a row meets in the epoch in which it would be freed.

TURN = streams(
    l=[
        [row(1, "a", 1), row(2, "b", 2), row(3, "c", 3)],
        [row(60, "x", 4)],
        [row(55, "d", 5), row(51, "e", 6)],
        [row(120, "x", 7)],
        [row(100, "f", 8), row(111, "g", 9)],
        [row(300, "x", 10)],
        [row(400, "x", 11)],
    ],
    r=[
        [row(1, "a", 101), row(9, "y", 102)],
        [row(61, "y", 103), row(5, "b", 104)],
        [row(58, "d", 105), row(5, "c", 106), row(52, "h", 107)],
        [row(121, "y", 108), row(54, "e", 109)],
        [row(101, "f", 110), row(112, "g", 111)],
        [row(301, "y", 112), row(114, "g", 113)],
        [row(401, "y", 114)],
    ],
)

EPOCHS = [
    *kinds("off_range", "3.6 4.3 4.5", RANGE, inputs=TURN, config=OFF),
    *kinds("off_times", "3.6 4.3 4.5", TIMES, inputs=EQUAL, config=OFF, of=("inner", "full", "left_semi")),
    *kinds("together_range", "2.3 4.3 4.5", RANGE, inputs=files(PAIRS), feed="together"),
    *kinds("together_times", "2.3 4.3 4.5", TIMES, inputs=files(EQUAL), feed="together", of=("left", "right")),
    *kinds("turn", "4.3 4.5", RANGE, inputs=TURN, of=OUTER),
    *kinds("empty_epochs", "3.6 4.5", RANGE, inputs=files(PAIRS), of=("left", "full")),
    pairs(
        "only_empty_epochs_in_between",
        "3.6 4.5",
        "full",
        RANGE,
        inputs=streams(
            l=[[], [row(1, "a", 1)], [], [row(90, "b", 2)], [], []],
            r=[[], [row(2, "b", 101)], None, [row(91, "c", 102)], [], None],
        ),
    ),
    *kinds("no_rows_on_the_right", "2.2 4.5", RANGE, of=("inner", "left", "full"), inputs={**PAIRS, **streams(r=[])}),
    *kinds("no_rows_on_the_left", "2.2 4.5", RANGE, of=("right",), inputs={**PAIRS, **streams(l=[])}),
    pairs(
        "empty_files_on_the_right_max",
        "2.2 4.5",
        "left",
        RANGE,
        inputs={**PAIRS, **streams(r=[[], [], []])},
        config=HIGHEST,
    ),
    pairs("no_rows_at_all", "3.6", "full", RANGE, inputs=streams(l=[[], []], r=[[], []])),
]

# Keys.

NULLS = streams(
    l=[
        [row(1, None, 1), row(2, "a", 2), row(3, "a", None)],
        [row(None, "a", 3), row(None, None, 4), row(30, None, 5)],
        [row(31, "b", 6), row(32, None, None)],
        [row(90, "x", 7)],
        [row(180, "x", 8)],
    ],
    r=[
        [row(2, None, 101), row(4, "a", 102), row(5, "a", None)],
        [row(None, "a", 103), row(None, None, 104), row(31, None, 105)],
        [row(33, "b", 106), row(34, None, None)],
        [row(91, "y", 107)],
        [row(181, "y", 108)],
    ],
)
SAFE_RANGE = "l.w <=> r.w AND r.t >= l.t AND r.t <= l.t + interval 20 seconds"
# Rows that no join with `=` and no inner comparison keeps are far ahead in time.
AHEAD_NULL = streams(
    l=[[row(1, "a", 1), row(2, "b", 2)], [row(60, None, 3)], [row(20, "a", 4)], [row(90, "c", 5)]],
    r=[[row(3, "a", 101), row(4, "c", 102)], [row(70, None, 103)], [row(21, "a", 104)], [row(91, "c", 105)]],
)
AHEAD_NULL_VALUE = streams(
    l=[[row(1, "a", 1), row(2, "b", 2)], [row(60, "a", None)], [row(20, "a", 4)], [row(90, "c", 5)]],
    r=[[row(3, "a", 101), row(4, "c", 102)], [row(70, "a", None)], [row(21, "a", 104)], [row(91, "c", 105)]],
)
AHEAD_OTHER = streams(
    l=[[row(1, "a", 1), row(2, "b", 2)], [row(60, "b", 3)], [row(20, "a", 4)], [row(90, "a", 5)]],
    r=[[row(3, "a", 101), row(4, "b", 102)], [row(70, "b", 103)], [row(21, "a", 104)], [row(91, "a", 105)]],
)
DOUBLE = "t TIMESTAMP, w DOUBLE, v BIGINT"


def numbers(first, *values):
    return [row(1 + index, value, first + index) for index, value in enumerate(values)]


KEYS = [
    *kinds("null_keys", "4.2 4.5", RANGE, inputs=NULLS),
    *kinds("null_safe_keys", "4.2 4.5", SAFE_RANGE, inputs=NULLS),
    *kinds("null_times", "2.4 4.2 4.5", TIMES, inputs=NULLS, of=("inner", "left", "full", "left_semi")),
    pairs("null_safe_times", "4.2 4.4", "inner", "l.t <=> r.t AND l.w = r.w", inputs=NULLS),
    *kinds("null_key_ahead", "2.7 4.2", RANGE, inputs=AHEAD_NULL),
    pairs("null_safe_key_ahead", "2.7 4.2", "inner", SAFE_RANGE, inputs=AHEAD_NULL),
    *kinds(
        "null_value_ahead",
        "2.7 4.2",
        RANGE + " AND l.v < r.v",
        inputs=AHEAD_NULL_VALUE,
        of=("inner", "left", "left_semi"),
    ),
    pairs("null_key_ahead_unbounded", "2.7 4.2", "inner", WORDS, inputs=AHEAD_NULL),
    *kinds(
        "one_word_above",
        "2.7 4.2",
        RANGE,
        filter_("l.w = 'a'"),
        select(*LEFT, *RIGHT),
        inputs=AHEAD_OTHER,
        of=("inner", "left", "right", "full"),
    ),
    pairs(
        "one_word_above_semi", "2.7 4.2", "left_semi", RANGE, filter_("l.w = 'a'"), select(*LEFT), inputs=AHEAD_OTHER
    ),
    pairs("one_word_below_left", "2.7 4.2", "inner", RANGE, left=side("l", filter_("w = 'a'")), inputs=AHEAD_OTHER),
    pairs("one_word_below_left_left", "2.7 4.2", "left", RANGE, left=side("l", filter_("w = 'a'")), inputs=AHEAD_OTHER),
    *kinds("one_word_of_the_left", "2.7 4.2 4.3", RANGE + " AND l.w = 'a'", inputs=AHEAD_OTHER, of=KINDS),
    *kinds("one_word_of_the_right", "2.7 4.2 4.3", RANGE + " AND r.w = 'a'", inputs=AHEAD_OTHER, of=("left", "right")),
    # Several keys, keys that are expressions, keys of several types.
    pairs(
        "two_keys",
        "4.2",
        "left",
        "l.w = r.w AND l.v = r.v AND r.t >= l.t AND r.t <= l.t + interval 20 seconds",
        inputs=streams(
            l=[[row(1, "a", 1), row(2, "a", 2), row(3, None, 1), row(4, "b", None)], [row(90, "x", 1)]],
            r=[[row(5, "a", 1), row(6, "b", 2), row(7, None, 1), row(8, "b", None), row(9, "a", 2)], [row(90, "x", 2)]],
        ),
    ),
    pairs("key_plus_one", "4.2", "left", "l.v + 100 = r.v AND r.t >= l.t AND r.t <= l.t + interval 20 seconds"),
    pairs(
        "key_in_capitals",
        "4.2",
        "full",
        "upper(l.w) = r.w AND r.t >= l.t AND r.t <= l.t + interval 20 seconds",
        inputs=streams(
            l=[[row(1, "a", 1), row(2, "A", 2), row(3, None, 3)], [row(90, "x", 4)]],
            r=[[row(2, "A", 101), row(3, "a", 102)], [row(90, "X", 103)]],
        ),
    ),
    pairs("key_of_both_columns", "4.2", "inner", "concat(l.w, l.v) = concat(r.w, r.v - 100) AND r.t >= l.t"),
    pairs(
        "int_and_bigint",
        "4.2",
        "full",
        "l.v = r.v AND r.t >= l.t AND r.t <= l.t + interval 20 seconds",
        inputs={
            **streams(l=[[row(1, "a", 1), row(2, "b", 3_000_000_000), row(3, "c", None)], [row(90, "x", 7)]]),
            **streams("t TIMESTAMP, w STRING, v INT", r=[[row(2, "d", 1), row(4, "e", -1)], [row(90, "y", 8)]]),
        },
    ),
    pairs(
        "string_and_bigint",
        "4.2",
        "left",
        "l.w = r.v AND r.t >= l.t AND r.t <= l.t + interval 20 seconds",
        inputs=streams(
            l=[[row(1, "1", 1), row(2, " 2", 2), row(3, "x", 3), row(4, "03", 4)], [row(90, "9", 5)]],
            r=[[row(2, "a", 1), row(3, "b", 2), row(4, "c", 3), row(5, "d", None)], [row(90, "e", 8)]],
        ),
    ),
    *(
        pairs(
            f"double_keys_{kind}",
            "4.2",
            kind,
            "l.w = r.w AND r.t >= l.t - interval 1 minute AND r.t <= l.t + interval 1 minute",
            inputs=streams(
                DOUBLE,
                l=[numbers(1, "NaN", -0.0, 1.5, None, 0.0), [row(200, 7.0, 9)], [row(400, 8.0, 10)]],
                r=[numbers(101, 0.0, "NaN", 1.5, "NaN", None, -0.0), [row(200, 9.0, 109)], [row(400, 10.0, 110)]],
            ),
        )
        for kind in ("inner", "full")
    ),
    pairs(
        "double_and_bigint",
        "4.2",
        "inner",
        "l.w = r.v AND r.t >= l.t",
        inputs={
            **streams(DOUBLE, l=[numbers(1, 1.0, 2.5, -0.0, "NaN"), [row(90, 5.0, 5)]]),
            **streams(r=[[row(5, "a", 1), row(5, "b", 2), row(5, "c", 0)], [row(90, "d", 6)]]),
        },
    ),
    pairs("cased_names", "4.2", "inner", "L.W = R.w AND R.T >= l.T AND r.t <= L.t + INTERVAL 20 SECONDS"),
]

# Conditions on one side, on both sides, above, below.

SIDES = [
    *kinds("on_left_value", "4.3 4.5 2.7", RANGE + " AND l.v > 2", of=KINDS),
    *kinds("on_right_value", "4.3 4.5 2.7", RANGE + " AND r.v < 112", of=KINDS),
    *kinds("on_both_values", "4.3 4.5", RANGE + " AND l.v > 2 AND r.v < 112", of=("full", "left_semi")),
    *kinds(
        "on_left_time", "4.3 4.5", RANGE + " AND l.t < TIMESTAMP '2021-10-01 09:31:20'", of=("inner", "left", "full")
    ),
    *kinds("on_right_time", "4.3 4.5", RANGE + " AND r.t <> TIMESTAMP '2021-10-01 09:30:40'", of=("left", "right")),
    *kinds("residual", "4.3 4.5", RANGE + " AND (l.v + r.v) % 2 = 0", of=KINDS),
    *kinds("residual_times", "4.5", TIMES + " AND l.v + 100 < r.v", inputs=EQUAL, of=("left", "full")),
    pairs("residual_or", "4.5", "left", RANGE + " AND (l.v > 9 OR r.v = 101)"),
    pairs("residual_with_a_null", "4.5", "left", RANGE + " AND nullif(l.v, 1) < r.v"),
    pairs("never", "4.3 4.5", "full", RANGE + " AND l.v > 1000"),
    pairs("filter_left_above_left", "2.7 4.5", "left", RANGE, filter_("l.v <> 5"), select(*LEFT, *RIGHT)),
    pairs("filter_right_above_left", "2.7 4.5", "left", RANGE, filter_("r.v <> 101"), select(*LEFT, *RIGHT)),
    pairs("filter_unmatched_above_left", "4.5", "left", RANGE, filter_("r.v IS NULL"), select(*LEFT)),
    pairs(
        "filter_or_unmatched_above_left",
        "4.5",
        "left",
        RANGE,
        filter_("r.v IS NULL OR r.v > 104"),
        select(*LEFT, *RIGHT),
    ),
    pairs("filter_left_above_full", "2.7 4.5", "full", RANGE, filter_("l.v > 2"), select(*LEFT, *RIGHT)),
    pairs("filter_right_above_full", "2.7 4.5", "full", RANGE, filter_("r.v > 102"), select(*LEFT, *RIGHT)),
    pairs("filter_both_above_full", "2.7 4.5", "full", RANGE, filter_("r.v > 101 AND l.v > 1"), select(*LEFT, *RIGHT)),
    pairs("filter_both_above_inner", "2.7 4.3", "inner", RANGE, filter_("l.v * 40 < r.v"), select(*LEFT, *RIGHT)),
    pairs(
        "filter_time_above_inner",
        "2.7 4.3",
        "inner",
        RANGE,
        filter_("l.t <> TIMESTAMP '2021-10-01 09:30:33'"),
        select(*LEFT, *RIGHT),
    ),
    pairs(
        "range_above",
        "4.4",
        "inner",
        WORDS,
        filter_("r.t >= l.t AND r.t <= l.t + interval 20 seconds"),
        select(*LEFT, *RIGHT),
    ),
    pairs(
        "equality_above",
        "4.2 4.4",
        "inner",
        "r.t >= l.t AND r.t <= l.t + interval 20 seconds",
        filter_("l.w = r.w"),
        select(*LEFT, *RIGHT),
    ),
    pairs("filter_right_above_right", "2.7 4.5", "right", RANGE, filter_("r.v <> 102"), select(*LEFT, *RIGHT)),
    pairs("filter_above_semi", "2.7 4.5", "left_semi", RANGE, filter_("v <> 5"), select(*LEFT)),
    pairs(
        "filter_below",
        "2.7 4.5",
        "full",
        RANGE,
        left=side("l", filter_("v <> 6")),
        right=side("r", filter_("w <> 'a'")),
    ),
    pairs(
        "filter_below_the_watermark",
        "2.7 4.5",
        "full",
        RANGE,
        left=[read("l"), filter_("v <> 6"), watermark("10 seconds"), alias("l")],
    ),
    # Columns nobody needs, among them the time that says what is late.
    pairs("only_values_above", "2.4 4.4", "inner", WORDS, select("l.v AS lv", "r.v AS rv")),
    pairs("only_left_time_above", "2.4 4.4", "inner", WORDS, select("l.t AS lt", "l.v AS lv", "r.v AS rv")),
    pairs("only_right_time_above", "2.4 4.4", "inner", WORDS, select("l.v AS lv", "r.t AS rt", "r.v AS rv")),
    pairs("only_values_above_range", "2.4 4.4", "left", RANGE, select("l.v AS lv", "r.v AS rv")),
    pairs(
        "only_words_below",
        "2.4 4.4",
        "inner",
        WORDS,
        left=side("l", select("w", "v")),
        shown=("l.v AS lv", "r.t AS rt", "r.v AS rv"),
    ),
    pairs(
        "only_words_below_both",
        "2.4 4.4",
        "inner",
        WORDS,
        left=side("l", select("w", "v")),
        right=side("r", drop("t")),
        shown=("l.v AS lv", "r.v AS rv"),
    ),
    pairs(
        "all_columns",
        "4.2",
        "inner",
        "w = ww AND tt >= t AND tt <= t + interval 20 seconds",
        drop("ww"),
        right=side("r", select("t AS tt", "w AS ww", "v AS vv")),
    ),
    pairs(
        "computed_above",
        "4.5",
        "left",
        RANGE,
        select("l.v AS lv", "coalesce(r.v, -1) AS rv", "r.t - l.t IS NULL AS alone"),
    ),
    pairs(
        "computed_below",
        "4.2",
        "inner",
        "l.k = r.k AND r.t >= l.t AND r.t <= l.t + interval 20 seconds",
        left=side("l", with_column("k", "v % 3")),
        right=side("r", with_column("k", "v % 4")),
    ),
]

# Many of one key, and one stream twice.

MANY = streams(
    l=[
        [row(second, "a", second) for second in range(1, 5)] + [row(1, "a", 1), row(1, "a", 1)],
        [row(12, "a", 5), row(12, "a", 5)],
        [row(70, "b", 6)],
        [row(140, "b", 7)],
    ],
    r=[
        [row(second, "a", 100 + second) for second in range(2, 5)] + [row(2, "a", 102)],
        [row(14, "a", 105), row(14, "a", 105), row(90, "c", 106)],
        [row(71, "b", 107), row(71, "b", 107)],
        [row(141, "d", 108)],
    ],
)
TWICE = streams(
    a=[
        [row(1, "a", 1), row(2, "a", 2), row(3, "b", 3)],
        [row(12, "a", 4), row(30, "b", 5), row(30, "c", 6)],
        [row(20, "a", 7), row(21, "b", 8), row(33, "b", 9)],
        [row(90, "x", 10)],
        [row(150, "x", 11)],
    ]
)
SELF = {"left": side("l", source="a"), "right": side("r", source="a"), "inputs": TWICE}

MULTIPLE = [
    *kinds("many_to_many", "4.3 4.5", RANGE, inputs=MANY, of=("inner", "full", "left_semi")),
    *kinds("self_range", "4.3 4.5", RANGE + " AND l.v <> r.v", of=("inner", "full", "left_semi"), **SELF),
    pairs("self_times", "4.3 4.5", "left", "l.t = r.t AND l.v <> r.v", **SELF),
    pairs("self_every_row_with_itself", "4.3", "full", "l.t = r.t AND l.v = r.v", **SELF),
    pairs(
        "self_filtered",
        "4.3 4.5 2.7",
        "left",
        RANGE,
        left=side("l", filter_("v % 2 = 1"), source="a"),
        right=side("r", filter_("v % 2 = 0"), source="a"),
        inputs=TWICE,
    ),
    pairs(
        "self_with_two_delays",
        "2.2 4.5",
        "left",
        RANGE + " AND l.v < r.v",
        left=side("l", source="a", delay="2 seconds"),
        right=side("r", source="a", delay="15 seconds"),
        inputs=TWICE,
    ),
]

# Above and below other operators.

COUNTED = aggregate(["window(t, '10 seconds') AS span", "w"], COUNT)
THIRD = streams(
    c=[
        [row(4, "a", 201), row(28, "b", 202)],
        [row(31, "c", 203), row(41, "a", 204)],
        None,
        [row(85, "b", 205), row(47, "b", 206)],
        [row(91, "b", 207)],
        None,
        [row(165, "z", 208), row(161, "z", 209)],
        [row(210, "q", 210)],
    ]
)
LAST = {
    **PAIRS,
    "l": {**PAIRS["l"], "steps": [*PAIRS["l"]["steps"], [row(400, "x", 50)]]},
    "r": {**PAIRS["r"], "steps": [*PAIRS["r"]["steps"], [row(401, "y", 150)]]},
}
C_SIDE = side("c")


def chained(name, rules, pipeline, inputs=LAST, **more):
    return case(f"join_{name}", rules, None, pipeline, inputs=inputs, **more)


CHAINS = [
    *(
        chained(
            f"{kind}_then_windows",
            "2.6 4.4",
            joined(kind, RANGE, select("l.t AS t", "l.w AS w"), aggregate(["window(t, '10 seconds')", "w"], COUNT)),
        )
        for kind in ("inner", "left", "left_semi")
    ),
    chained(
        "inner_then_windows_of_right",
        "2.6 4.4",
        joined("inner", RANGE, select("r.t AS t", "l.w AS w"), aggregate(["window(t, '10 seconds')"], COUNT)),
    ),
    chained(
        "right_then_windows",
        "2.6 4.4",
        joined(
            "right",
            RANGE,
            select("r.t AS t", "l.v AS v"),
            aggregate(["window(t, '10 seconds')"], ["count(*) AS n", "count(v) AS m"]),
        ),
    ),
    chained(
        "full_then_windows_of_left",
        "2.6 4.4",
        joined(
            "full",
            RANGE,
            select("l.t AS t", "r.v AS v"),
            aggregate(["window(t, '10 seconds')"], ["count(*) AS n", "count(v) AS m"]),
        ),
    ),
    chained(
        "strict_then_windows",
        "2.6 4.4",
        joined("left", STRICT, select("l.t AS t", "l.w AS w"), aggregate(["window(t, '10 seconds')", "w"], COUNT)),
    ),
    chained(
        "times_then_windows",
        "2.6 4.4",
        joined(
            "left",
            TIMES,
            select("l.t AS t", "r.v AS v"),
            aggregate(["window(t, '10 seconds')"], ["count(*) AS n", "count(v) AS m"]),
        ),
        inputs=EQUAL,
    ),
    chained(
        "times_then_times",
        "2.6 4.4",
        joined("left", TIMES, select("l.t AS t"), aggregate(["t"], COUNT)),
        inputs=EQUAL,
    ),
    chained(
        "range_then_windows_off",
        "2.6 3.6 4.4",
        joined("left", RANGE, select("l.t AS t", "l.w AS w"), aggregate(["window(t, '10 seconds')", "w"], COUNT)),
        config=OFF,
    ),
    chained(
        "range_then_windows_together",
        "2.6 2.3 4.4",
        joined("left", RANGE, select("l.t AS t", "l.w AS w"), aggregate(["window(t, '10 seconds')", "w"], COUNT)),
        inputs=files(LAST),
        feed="together",
    ),
    chained(
        "unbounded_then_windows",
        "2.6 4.4",
        joined("inner", WORDS, select("l.t AS t", "l.w AS w"), aggregate(["window(t, '10 seconds')", "w"], COUNT)),
    ),
    *(
        chained(
            f"{first}_then_{second}",
            "2.6 4.4 4.5",
            [
                *joined(first, RANGE, select("l.t AS t", "l.w AS w", "l.v AS v", "r.v AS rv"), alias("lr")),
                join("lr.w = c.w AND c.t >= lr.t AND c.t <= lr.t + interval 10 seconds", *C_SIDE, kind=second),
                select("lr.t AS t", "lr.w AS w", "lr.v AS v", "rv", "c.t AS ct", "c.v AS cv"),
            ],
            inputs={**LAST, **THIRD},
        )
        for first, second in [("inner", "inner"), ("inner", "left"), ("left", "left"), ("left", "full")]
    ),
    chained(
        "times_then_times_of_a_third",
        "2.6 4.4 4.5",
        [
            *joined("left", TIMES, select("l.t AS t", "l.w AS w", "l.v AS v", "r.v AS rv"), alias("lr")),
            join("lr.t = c.t AND lr.w = c.w", *C_SIDE, kind="left"),
            select("lr.t AS t", "lr.w AS w", "lr.v AS v", "rv", "c.v AS cv"),
        ],
        inputs={
            **EQUAL,
            **streams(
                c=[
                    [row(1, "a", 201)],
                    [row(14, "d", 202), row(15, "c", 203)],
                    [row(30, "a", 204)],
                    [row(21, "f", 205)],
                    [row(60, "g", 206)],
                    [row(49, "h", 207)],
                    [row(110, "z", 208)],
                    [row(132, "y", 209)],
                ]
            ),
        },
    ),
    *(
        chained(
            f"windows_on_both_sides_{kind}",
            "2.6 4.4 4.5",
            [
                *side("l", COUNTED),
                join(SPANS, *side("r", COUNTED), kind=kind),
                select("l.span AS ls", "l.w AS lw", "l.n AS ln", "r.span AS rs", "r.w AS rw", "r.n AS rn")
                if kind != "left_semi"
                else select("l.span AS ls", "l.w AS lw", "l.n AS ln"),
            ],
            inputs=EQUAL,
        )
        for kind in KINDS
    ),
    chained(
        "windows_on_the_left",
        "2.6 4.4 4.5",
        [
            *side("l", COUNTED),
            join(SPANS, *side("r", SPAN, select("span", "w", "v")), kind="full"),
            select("l.span AS ls", "l.w AS lw", "l.n AS ln", "r.span AS rs", "r.w AS rw", "r.v AS rv"),
        ],
        inputs=EQUAL,
    ),
    chained(
        "windows_then_windows_of_windows",
        "2.6 4.4",
        [
            *side("l", COUNTED),
            join(SPANS, *side("r", COUNTED), kind="left"),
            select("l.span AS span", "l.n + coalesce(r.n, 0) AS n"),
            aggregate(["window(span, '20 seconds')"], ["sum(n) AS n"]),
        ],
        inputs=EQUAL,
    ),
    chained(
        "window_times_of_counts",
        "2.6 2.8 4.4",
        [
            *side("l", COUNTED, select("window_time(span) AS t", "w", "n AS v")),
            join("l.w = r.w AND r.t <= l.t AND r.t > l.t - interval 10 seconds", *side("r"), kind="left"),
            select(*LEFT, *RIGHT),
        ],
    ),
    chained("then_dedup_of_words", "2.6 5.1", joined("inner", RANGE, select("l.w AS w"), dedup())),
    chained("then_dedup_of_times", "2.6 5.1", joined("inner", RANGE, select("l.t AS t", "l.w AS w"), dedup())),
    chained(
        "left_then_dedup_of_times", "2.6 5.1", joined("left", RANGE, select("l.t AS t", "l.w AS w"), dedup("t", "w"))
    ),
    chained(
        "then_dedup_within", "2.6 5.2", joined("left", RANGE, select("l.t AS t", "l.w AS w"), dedup_within("t", "w"))
    ),
    chained(
        "dedup_then_full",
        "2.6 5.1 4.5",
        joined("full", RANGE, left=side("l", dedup("t", "w")), right=side("r", dedup("t", "w"))),
        inputs=MANY,
    ),
    chained(
        "dedup_within_then_left",
        "2.6 5.2 4.5",
        joined("left", RANGE, left=side("l", dedup_within("w", "v"))),
        inputs=MANY,
    ),
    chained(
        "of_a_union",
        "2.2 4.5",
        joined(
            "left",
            RANGE,
            left=[read("l"), watermark("10 seconds"), union(read("c"), watermark("5 seconds")), alias("l")],
        ),
        inputs={**LAST, **THIRD},
    ),
    chained(
        "of_a_union_full",
        "2.2 4.5",
        joined("full", RANGE, right=[read("r"), union(read("c")), watermark("10 seconds"), alias("r")]),
        inputs={**LAST, **THIRD},
    ),
    chained(
        "union_of_two",
        "4.5",
        [
            *joined("left", RANGE, select("l.v AS v", "r.v AS w")),
            union(*joined("inner", RANGE, select("r.v AS v", "l.v AS w"))),
        ],
        compare={"state_rows": False},
    ),
    chained(
        "sessions_above",
        "2.6 3.2",
        joined(
            "inner", RANGE, select("l.t AS t", "l.w AS w"), aggregate(["session_window(t, '5 seconds')", "w"], COUNT)
        ),
    ),
]

# Random rows.

ODD = " AND (l.v + r.v) % 3 <> 0"
SOME = " AND l.v % 4 <> 0 AND r.v % 5 <> 0"


def random_steps(seed, first, busy, null_times, null_words):
    """Steps around a moving centre; `v` numbers the rows, so that every pair shows which rows it is."""
    chosen = random.Random(seed)
    words = ["a", "b", "c", "d", *([None] if null_words else [])]
    found, centre, number = [], 0.0, first
    for _ in range(chosen.randint(6, 10)):
        step = []
        for _ in range(chosen.randint(0, busy)):
            seconds, micros = moment(chosen, centre)
            word = chosen.choice(words)
            if null_times or seconds is not None:
                step.append(row(seconds, word, number, micros))
            number += 1
        found.append(step)
        centre += chosen.uniform(0, 26)
    return found


def random_pairs(name, kind, on, seed, busy=12, delays=("7 seconds", "12 seconds"), **more):
    # Spark takes null keys for equal in a full join; `null_keys_full` shows that.
    nulls = [kind != "full" or key not in on for key in ("l.t = r.t", "l.w = r.w")]
    inputs = streams(l=random_steps(2 * seed, 1, busy, *nulls), r=random_steps(2 * seed + 1, 1001, busy, *nulls))
    longest = max(len(stream["steps"]) for stream in inputs.values())
    for stream in inputs.values():
        stream["steps"] += [[] for _ in range(longest - len(stream["steps"]))]
    left, right = side("l", delay=delays[0]), side("r", delay=delays[1])
    rules = "2.3 2.4 4.2 4.3 4.4 4.5"
    return pairs(f"random_{name}_{kind}_{seed}", rules, kind, on, inputs=inputs, left=left, right=right, **more)


CLOSE = "l.w = r.w AND r.t BETWEEN l.t - interval 3 seconds AND l.t + interval 8 seconds"
TIGHT = "l.w <=> r.w AND r.t > l.t - interval 5 seconds AND r.t < l.t + interval 5 seconds"
ANY_TIMES = "l.t = r.t AND l.w <=> r.w"

RANDOM = [
    *(random_pairs("close", kind, CLOSE, seed) for seed, kind in enumerate(KINDS, 100)),
    *(random_pairs("close_busy", kind, CLOSE, seed, busy=28) for seed, kind in enumerate(("inner", "full"), 110)),
    *(random_pairs("tight", kind, TIGHT, seed) for seed, kind in enumerate(KINDS, 120)),
    *(random_pairs("times_and_words", kind, ANY_TIMES, seed, busy=26) for seed, kind in enumerate(KINDS, 140)),
    *(random_pairs("residual", kind, CLOSE + ODD, seed) for seed, kind in enumerate(("left", "full"), 150)),
    *(random_pairs("max", kind, CLOSE, seed, config=HIGHEST) for seed, kind in enumerate(("left", "full"), 160)),
    *(random_pairs("off", kind, CLOSE, seed, config=OFF) for seed, kind in enumerate(("full", "left_semi"), 170)),
    *(random_pairs("together", kind, CLOSE, seed, feed="together") for seed, kind in enumerate(KINDS, 180)),
    *(random_pairs("one_sided", kind, CLOSE + SOME, seed) for seed, kind in enumerate(("right", "left_semi"), 190)),
]

CASES = [*BOUNDS, *MARKS, *AT_BOUND, *EPOCHS, *KEYS, *SIDES, *MULTIPLE, *CHAINS, *RANDOM]

# Where millstream is meant to differ from Spark, by the name of the case.
DIFFERS = {
    "join_longs_inner": "4.4: whole seconds are cut off, so rows wait up to a second longer; Spark frees them while they can still match",
    "join_longs_full": "4.4: whole seconds are cut off, so rows wait up to a second longer; Spark frees them while they can still match",
    "join_longs_within_a_second": "4.4: whole seconds are cut off, so rows wait up to a second longer; Spark frees them while they can still match",
    "join_said_with_a_difference": "4.4: the condition bounds a side here, which Spark keeps for ever",
    "join_watermark_of_left_only_range": "4.4: the condition bounds a side here, which Spark keeps for ever",
    "join_watermark_of_right_only_range": "4.4: the condition bounds a side here, which Spark keeps for ever",
    "join_null_safe_times": "4.4: the condition bounds a side here, which Spark keeps for ever",
    "join_range_on_another_time": "4.4: a row is freed by the time that the condition bounds; Spark takes the watermarked column for it",
    "join_off_range_left_semi": "4.5: a left row that has a match is shown; Spark loses one whose partner is freed in the same epoch",
    "join_null_keys_full": "4.2: `=` never matches null; Spark lets null keys meet in a full join",
    "join_null_times_full": "4.2: `=` never matches null; Spark lets null keys meet in a full join",
    "join_null_key_ahead_full": "4.2: `=` never matches null; Spark lets null keys meet in a full join",
    "join_double_keys_full": "4.2: `=` never matches null; Spark lets null keys meet in a full join",
    "join_on_left_value_left": "4.5: a row without partner comes out when it is freed; Spark takes a condition on a number for a limit of time and never frees",
    "join_on_left_value_full": "4.5: a row without partner comes out when it is freed; Spark takes a condition on a number for a limit of time and never frees",
    "join_on_both_values_full": "4.5: a row without partner comes out when it is freed; Spark takes a condition on a number for a limit of time and never frees",
}
# A join or a filter sinks to another place than on Spark, so that operators hold other rows; nothing else differs.
OTHER_STATE = {
    "join_windows_on_both_sides_left_semi",
}

for one in CASES:
    if one["name"] in DIFFERS:
        one["compare"] = {"state_rows": True, **one.get("compare", {}), "differs": DIFFERS[one["name"]]}
    if one["name"] in OTHER_STATE:
        one["compare"] = {"state_rows": False}
