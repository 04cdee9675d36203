"""Joins of a stream with a static table."""

from cases.joins import LAST, RANGE, joined
from cases.tools import (
    COUNT,
    aggregate,
    alias,
    case,
    dedup,
    dedup_within,
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

MODES = ("append", "update", "complete")
MARKED = watermark("10 seconds")
WINDOWS = aggregate(["window(t, '10 seconds') AS span", "w"], COUNT)
STREAM = ("a.t AS t", "a.w AS w", "a.v AS v")
TABLE = ("s.w AS sw", "s.x AS x")
WORDS = "a.w = s.w"
STEPS = [
    [row(1, "a", 1), row(7, "b", 2), row(8, None, 3), row(9, "z", 4)],
    [],
    [row(25, "a", 5), row(14, "c", 6), row(16, "c", 7)],
    [row(3, "a", 8), row(31, "b", 9), row(None, "a", 10), row(15, "d", 11)],
    [row(60, "b", 12), row(61, "z", 13)],
    [row(40, "a", 14), row(52, "a", 15), row(95, "a", 16)],
]
# A word twice, one without rows, none.
ROWS = [("a", 10), ("a", 11), ("b", 20), ("c", 30), ("q", 40), (None, 50), ("d", None)]
# Rows that no inner join keeps are far ahead in time.
AHEAD = [
    [row(1, "a", 1), row(2, "b", 2)],
    [row(60, None, 3), row(30, "z", 4)],
    [row(12, "a", 5), row(21, "z", 6)],
    [row(50, "b", 7)],
    [row(90, "a", 8)],
]


def table(rows=ROWS, schema="w STRING, x BIGINT"):
    names = [column.split()[0] for column in schema.split(", ")]
    return {"s": {"schema": schema, "static": True, "steps": [[dict(zip(names, row)) for row in rows]]}}


def stream(*above, name="a"):
    return [read(name), MARKED, *above, alias(name)]


def static(*above):
    return [read("s"), *above, alias("s")]


def columns(kind):
    return STREAM if kind in ("left_semi", "left_anti") else STREAM + TABLE


def with_table(name, kind, on, *above, rows=ROWS, steps=None, left=None, right=None, rules="4.1", **more):
    """The stream joined with the table; `above` stands in the place of the projection of all columns."""
    pipeline = [*(left or stream()), join(on, *(right or static()), kind=kind), *(above or (select(*columns(kind)),))]
    inputs = {**streams(a=steps or STEPS), **table(rows), **more.pop("more_inputs", {})}
    return case(f"static_{name}", rules, None, pipeline, inputs=inputs, **more)


def with_stream(name, kind, on, *above, rows=ROWS, steps=None, **more):
    """The table joined with the stream."""
    pipeline = [*static(), join(on, *stream(), kind=kind), *(above or (select(*STREAM, *TABLE),))]
    return case(f"static_{name}", "4.1", None, pipeline, inputs={**streams(a=steps or STEPS), **table(rows)}, **more)


def in_modes(name, kind, on, *above, wanted=MODES, **more):
    return [with_table(f"{name}_{mode}", kind, on, *above, mode=mode, **more) for mode in wanted]


KINDS = ("inner", "left", "left_semi", "left_anti")
COUNTED = ("a.span AS span", "a.w AS w", "a.n AS n")
NAMED = select("a.t AS t", "s.x AS x", "a.v AS v")
BY_X = aggregate(["window(t, '10 seconds')", "x"])
SPANS = stream(WINDOWS)
TIMED = {
    "s": {
        "schema": "w STRING, begin TIMESTAMP, x BIGINT",
        "static": True,
        "steps": [
            [
                {"w": "a", "begin": row(0)["t"], "x": 1},
                {"w": "a", "begin": row(25)["t"], "x": 2},
                {"w": "b", "begin": row(500)["t"], "x": 3},
                {"w": "b", "begin": None, "x": 4},
            ]
        ],
    }
}

KINDS_OF_JOIN = [
    *(with_table(kind, kind, WORDS) for kind in KINDS),
    *(with_table(f"{kind}_update", kind, WORDS, mode="update") for kind in KINDS),
    with_stream("right", "right", WORDS),
    with_stream("inner_on_the_left", "inner", WORDS),
    with_stream("right_update", "right", WORDS, mode="update"),
    *(with_table(f"null_safe_{kind}", kind, "a.w <=> s.w") for kind in KINDS),
    with_stream("null_safe_right", "right", "a.w <=> s.w"),
    *(with_table(f"no_equality_{kind}", kind, "a.v * 5 < s.x") for kind in KINDS),
    with_stream("no_equality_right", "right", "a.v * 5 < s.x"),
    *(with_table(f"empty_{kind}", kind, WORDS, rows=[]) for kind in ("left", "left_anti")),
    *(
        with_table(f"empty_{kind}", kind, WORDS, rows=[], left=[read("a"), alias("a")])
        for kind in ("inner", "left_semi")
    ),
    with_table(
        "empty_inner_marked",
        "inner",
        WORDS,
        rows=[],
        compare={
            "state_rows": True,
            "differs": "2.2: the watermark follows the rows; Spark does not read them when nothing can match",
        },
    ),
    with_stream("empty_right", "right", WORDS, rows=[]),
    with_table("always", "inner", "true", rows=[("a", 1), ("b", 2)]),
    with_table("never", "left", "false"),
    *(with_table(f"residual_{kind}", kind, WORDS + " AND a.v * 4 < s.x") for kind in KINDS),
    with_table("on_the_stream_left", "left", WORDS + " AND a.v > 5"),
    with_table("on_the_table_left", "left", WORDS + " AND s.x > 10"),
    with_table("on_the_stream_anti", "left_anti", WORDS + " AND a.v > 5"),
    with_table("fan_out", "inner", WORDS, rows=[("a", x) for x in range(5)] + [("b", 1), ("b", 1)]),
    with_table("key_plus_one", "left", "a.v + 10 = s.x"),
    with_table("key_in_capitals", "left", "upper(a.w) = s.w", rows=[("A", 1), ("B", 2), ("b", 3)]),
    with_table(
        "int_key",
        "inner",
        "a.v = s.x",
        more_inputs={
            "s": {
                "schema": "w STRING, x INT",
                "static": True,
                "steps": [[{"w": "p", "x": 1}, {"w": "q", "x": 12}, {"w": "r"}]],
            }
        },
    ),
    with_table(
        "double_key",
        "inner",
        "a.v = s.x",
        more_inputs={
            "s": {
                "schema": "w STRING, x DOUBLE",
                "static": True,
                "steps": [[{"w": "p", "x": 1.0}, {"w": "q", "x": 12.5}, {"w": "r", "x": "NaN"}]],
            }
        },
    ),
    with_table(
        "range_of_times_left",
        "left",
        "a.w = s.w AND a.t BETWEEN s.begin AND s.begin + interval 30 seconds",
        select(*STREAM, "s.begin AS begin", "s.x AS x"),
        more_inputs=TIMED,
    ),
    with_table("together", "left", WORDS, feed="together"),
    with_table("of_nothing", "inner", WORDS, steps=[[], [], []]),
]

ABOVE_AND_BELOW = [
    # The join below an aggregation.
    *in_modes("then_windows", "inner", WORDS, NAMED, BY_X, rules="4.1 3.5 2.4"),
    *in_modes("left_then_windows", "left", WORDS, NAMED, BY_X, rules="4.1 3.5 2.4"),
    *in_modes(
        "semi_then_windows",
        "left_semi",
        WORDS,
        select("a.t AS t", "a.v AS v"),
        aggregate(["window(t, '10 seconds')"]),
        rules="4.1 3.5",
        wanted=("append", "update"),
    ),
    *in_modes(
        "anti_then_windows",
        "left_anti",
        WORDS,
        select("a.t AS t", "a.v AS v"),
        aggregate(["window(t, '10 seconds')"]),
        rules="4.1 3.5",
        wanted=("append", "complete"),
    ),
    *in_modes(
        "then_counts",
        "inner",
        WORDS,
        aggregate(["s.x AS x"], ["count(*) AS n", "sum(a.v) AS s"]),
        rules="4.1 3.4",
        wanted=("update", "complete"),
    ),
    with_table(
        "then_windows_of_equal_times",
        "inner",
        "a.t = s.begin",
        select("a.t AS t"),
        aggregate(["window(t, '10 seconds')"], COUNT),
        more_inputs=TIMED,
        rules="4.1 3.5",
    ),
    with_stream("right_then_windows", "right", WORDS, NAMED, BY_X),
    # The join above an aggregation.
    *in_modes("windows_then_inner", "inner", WORDS, select(*COUNTED, "s.x AS x"), left=SPANS, rules="4.1 3.5"),
    *in_modes("windows_then_left", "left", WORDS, select(*COUNTED, "s.x AS x"), left=SPANS, rules="4.1 3.5"),
    *in_modes("windows_then_semi", "left_semi", WORDS, select(*COUNTED), left=SPANS, rules="4.1 3.5"),
    *in_modes("windows_then_anti", "left_anti", WORDS, select(*COUNTED), left=SPANS, rules="4.1 3.5"),
    *in_modes(
        "counts_then_left",
        "left",
        WORDS,
        select("a.w AS w", "a.n AS n", "s.x AS x"),
        left=stream(aggregate(["w"], COUNT)),
        rules="4.1 3.4",
        wanted=("update", "complete"),
    ),
    *in_modes(
        "totals_then_left",
        "left",
        "a.n >= s.x",
        select("a.n AS n", "s.x AS x"),
        left=[read("a"), aggregate([], COUNT), alias("a")],
        rules="4.1 3.4",
        wanted=("update", "complete"),
        rows=[("a", 5), ("b", 8)],
    ),
    with_table(
        "windows_then_inner_then_windows",
        "inner",
        WORDS,
        select("a.span AS span", "s.x AS x", "a.n AS n"),
        aggregate(["window(span, '20 seconds')", "x"], ["sum(n) AS n"]),
        left=SPANS,
        rules="4.1 2.6",
    ),
    # Deduplication.
    with_table("then_dedup", "inner", WORDS, select("a.t AS t", "a.w AS w"), dedup("t", "w"), rules="4.1 5.1"),
    with_table(
        "then_dedup_update",
        "inner",
        WORDS,
        select("a.t AS t", "a.w AS w"),
        dedup("t", "w"),
        mode="update",
        rules="4.1 5.1",
    ),
    with_table("then_dedup_of_words", "left", WORDS, select("a.w AS w", "s.w AS sw"), dedup(), rules="4.1 5.1"),
    with_table(
        "then_dedup_within",
        "left",
        WORDS,
        select("a.t AS t", "a.w AS w"),
        filter_("t IS NOT NULL"),
        dedup_within("w"),
        rules="4.1 5.2",
    ),
    with_table("dedup_then_left", "left", WORDS, left=stream(dedup("t", "w")), rules="4.1 5.1"),
    with_table("dedup_then_left_update", "left", WORDS, left=stream(dedup("t", "w")), mode="update", rules="4.1 5.1"),
    # What the optimizer takes below the watermark.
    *(
        with_table(
            f"ahead_{kind}",
            kind,
            WORDS,
            select("a.t AS t", "a.v AS v"),
            aggregate(["window(t, '10 seconds')"]),
            steps=AHEAD,
            rules="4.1 2.7",
        )
        for kind in KINDS
    ),
    with_table(
        "ahead_filtered",
        "inner",
        WORDS,
        filter_("s.w = 'a'"),
        select("a.t AS t", "a.v AS v"),
        aggregate(["window(t, '10 seconds')"]),
        steps=AHEAD,
        rules="4.1 2.7",
    ),
    with_table(
        "ahead_on_stream",
        "left",
        WORDS + " AND a.v <> 3",
        select("a.t AS t", "a.v AS v"),
        aggregate(["window(t, '10 seconds')"]),
        steps=AHEAD,
        rules="4.1 2.7",
    ),
    with_table(
        "marked_above",
        "inner",
        WORDS,
        select("a.t AS t", "a.v AS v"),
        MARKED,
        aggregate(["window(t, '10 seconds')"]),
        left=[read("a"), alias("a")],
        steps=AHEAD,
        rules="4.1 2.2",
    ),
    # A table that is more than rows.
    with_table("filtered_table", "left", WORDS, right=static(filter_("x > 10"))),
    with_table(
        "computed_table",
        "left",
        "a.w = s.w",
        right=static(with_column("w", "lower(concat(w, ''))"), with_column("x", "x + 1")),
    ),
    with_table(
        "aggregated_table",
        "left",
        WORDS,
        select(*STREAM, "s.n AS n", "s.s AS total"),
        right=static(aggregate(["w"], ["count(*) AS n", "sum(x) AS s"])),
    ),
    with_table(
        "aggregated_table_complete",
        "inner",
        WORDS,
        select("a.w AS w", "s.n AS n"),
        aggregate(["w", "n"], ["count(*) AS m"]),
        right=static(aggregate(["w"], COUNT)),
        mode="complete",
    ),
    with_table("distinct_table", "inner", WORDS, select(*STREAM), right=static(select("w"), dedup())),
    with_table(
        "joined_table",
        "left",
        WORDS,
        select(*STREAM, "s.x AS x", "s.y AS y"),
        right=static(join("x = z", read("u"), kind="left")),
        more_inputs={
            "u": {
                "schema": "z BIGINT, y STRING",
                "static": True,
                "steps": [[{"z": 10, "y": "ten"}, {"z": 20, "y": "twenty"}]],
            }
        },
    ),
    with_table("united_table", "left", WORDS, right=static(union(read("s"), filter_("x = 20")))),
    with_table(
        "marked_table",
        "inner",
        "a.w = s.w AND a.t >= s.begin",
        select(*STREAM, "s.x AS x"),
        right=static(watermark("5 seconds", "begin")),
        more_inputs=TIMED,
    ),
    # Filters above.
    with_table("filter_of_the_table_above_left", "left", WORDS, filter_("s.x > 10"), select(*STREAM, *TABLE)),
    with_table("filter_of_the_unmatched", "left", WORDS, filter_("s.w IS NULL"), select(*STREAM)),
    # Several joins.
    with_table(
        "two_tables",
        "left",
        WORDS,
        select("a.t AS t", "a.w AS w", "a.v AS v", "s.x AS x"),
        alias("as"),
        join("as.x = u.z", read("u"), alias("u"), kind="left"),
        select("t", "w", "v", "x", "u.y AS y"),
        more_inputs={
            "u": {
                "schema": "z BIGINT, y STRING",
                "static": True,
                "steps": [[{"z": 10, "y": "ten"}, {"z": 20, "y": "twenty"}]],
            }
        },
    ),
    with_table(
        "of_a_union",
        "left",
        WORDS,
        left=[read("a"), union(read("b")), alias("a")],
        more_inputs=streams(b=[[row(2, "c", 50)], [row(3, "k", 51)]]),
    ),
    *(
        case(
            f"static_after_two_streams_{first}_{kind}",
            "4.1 4.5",
            None,
            joined(
                first,
                RANGE,
                select("l.t AS t", "l.w AS w", "l.v AS v", "r.v AS rv"),
                alias("a"),
                join(on, *static(), kind=kind),
                select(*STREAM, "rv", *(["s.x AS x"] if kind == "left" else [])),
            ),
            inputs={**LAST, **table()},
        )
        for first, kind, on in [
            ("inner", "left", WORDS),
            ("left", "left", WORDS),
            # Spark takes a condition on one of the streams below their join.
            ("inner", "left_anti", WORDS + " AND a.v < a.rv"),
        ]
    ),
    case(
        "static_before_two_streams",
        "4.1 4.5",
        None,
        [
            *stream(name="l"),
            join("l.w = s.w", *static(), kind="left"),
            select("l.t AS t", "l.w AS w", "l.v AS v", "s.x AS x"),
            alias("l"),
            join(RANGE, *stream(name="r"), kind="left"),
            select("l.t AS t", "l.w AS w", "l.v AS v", "l.x AS x", "r.t AS rt", "r.v AS rv"),
        ],
        inputs={**LAST, **table()},
    ),
]

CASES = [*KINDS_OF_JOIN, *ABOVE_AND_BELOW]

# Where millstream is meant to differ from Spark, by the name of the case.
DIFFERS = {
    "static_windows_then_anti_append": "2.4: a row that is late is counted; Spark moves the join below the aggregation, where the row goes before anyone judges it",
    "static_windows_then_anti_update": "2.4: a row that is late is counted; Spark moves the join below the aggregation, where the row goes before anyone judges it",
}
# A join or a filter sinks to another place than on Spark, so that operators hold other rows; nothing else differs.
OTHER_STATE = {
    "static_windows_then_semi_append",
    "static_windows_then_semi_update",
    "static_windows_then_semi_complete",
    "static_windows_then_anti_complete",
}

for one in CASES:
    if one["name"] in OTHER_STATE:
        one["compare"] = {"state_rows": False}
    if one["name"] in DIFFERS:
        one["compare"] = {"state_rows": True, "differs": DIFFERS[one["name"]]}
