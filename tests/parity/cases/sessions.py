"""Session windows."""

from cases.tools import (
    COMPLETE,
    COUNT,
    COUNT_AND_SUM,
    SCHEMA,
    aggregate,
    case,
    early,
    filter_,
    row,
    rows,
    select,
    streams,
    watermark,
    with_column,
)


def sessions(gap="'5 seconds'", *keys, aggs=COUNT_AND_SUM, column="t"):
    return aggregate([f"session_window({column}, {gap})", *(keys or ("w",))], aggs)


MARKED = watermark("10 seconds")
STEPS = [
    [row(1, "a", 1), row(3, "a", 2), row(3, "b", 5), row(20, "b", 7)],
    [row(7.5, "a", 4), row(24.999999, "b", 1)],
    [row(31, "c", 8), row(50, "a", 2)],
    [row(30, "a", 9), row(49, "a", 1), row(36, "c", 1)],
    [row(90, "c", 5)],
]
TOUCHING = [
    [row(0), row(5), row(10.000001), row(20), row(25, micros=-1), row(30, micros=1)],
    [row(40), row(50)],
    [row(45)],
    [row(100)],
]
BRIDGE = [
    [row(0, v=1), row(8, v=10), row(16, v=100)],
    [row(4, v=1000)],
    [row(12, v=10000)],
    [row(40, v=7)],
    [row(80, v=8)],
]
GAPS = (
    "CASE WHEN v < 0 THEN '-1 seconds' WHEN v = 0 THEN '0 seconds' WHEN v < 10 THEN '5 seconds' ELSE '20 seconds' END"
)
MIXED = [
    [row(1, "a", 1), row(2, "a", 0), row(3, "a", -1), row(4, "b", 10)],
    [row(6, "a", 50), row(20, "b", 0), row(24, "b", 2)],
    [row(25, "a", 3), row(44, "b", -9), row(60, "c", 1)],
    [row(100, "c", 1)],
]
LATE = [
    rows(5, 50),
    [row(34), row(35), row(35, micros=1), row(36)],
    rows(70),
    [row(40), row(54), row(55), row(56), row(66)],
    rows(120),
    rows(80, 104, 106, 140),
]
TEXT_GAP = "t TIMESTAMP, w STRING, gap STRING"


def gap_row(t, gap, w="a"):
    return {"t": row(t)["t"], "w": w, "gap": gap}


TEXTS = [
    [
        gap_row(1, "5 seconds"),
        gap_row(3, "nonsense"),
        gap_row(5, None),
        gap_row(7, ""),
        gap_row(8, "interval 2 seconds"),
    ],
    [
        gap_row(20, "1 minute"),
        gap_row(50, "5 parsecs"),
        gap_row(60, "1 hour -59 minutes"),
        gap_row(30, "500 milliseconds"),
    ],
    [gap_row(300, "10 seconds"), gap_row(301, "1 month"), gap_row(299.5, "1 microsecond")],
    [gap_row(900, "10 seconds")],
]

CASES = [
    case("sessions", "3.2 3.5 2.5", STEPS, [MARKED, sessions()]),
    case("sessions_complete", "3.2 1.4", STEPS, [MARKED, sessions()], mode="complete"),
    case("sessions_complete_without_watermark", "3.2 1.4", STEPS, [sessions()], mode="complete"),
    case("sessions_at_once", "3.2 3.6", STEPS, [MARKED, sessions()], feed="together"),
    case("sessions_touching", "3.2", TOUCHING, [MARKED, sessions()]),
    case("sessions_touching_complete", "3.2", TOUCHING, [MARKED, sessions()], mode="complete"),
    case("sessions_bridged", "3.2", BRIDGE, [watermark("20 seconds"), sessions("'5 seconds'")]),
    case(
        "sessions_bridged_complete", "3.2", BRIDGE, [watermark("20 seconds"), sessions("'5 seconds'")], mode="complete"
    ),
    case(
        "sessions_out_of_order",
        "3.2 1.2",
        [[row(t, v=1) for t in (30, 2, 18, 6, 10, 14, 26)], [row(22)], [row(90)]],
        [watermark("1 minute"), sessions()],
    ),
    case("sessions_late", "3.2 2.4", LATE, [MARKED, sessions()]),
    case("sessions_late_complete", "3.2 1.4", LATE, [MARKED, sessions()], mode="complete"),
    case(
        "sessions_very_late_complete",
        "3.2 1.4 2.4",
        [rows(5, 50), rows(70), [row(5, "z"), row(34, "z"), row(35, "z"), row(36, "z")], rows(90), rows(55, 56), rows(75)],
        [MARKED, sessions()],
        mode="complete",
        compare={"state_rows": False, "differs": COMPLETE},
    ),
    case(
        "sessions_late_row_reaching_an_open_session",
        "3.2 2.4",
        [rows(30, 32), rows(43), [row(28), row(28, micros=1)], rows(33), rows(60), rows(100)],
        [MARKED, sessions()],
    ),
    case("sessions_null_times", "3.2 3.1", [rows(None, 1), rows(None), rows(30, None), rows(70)], [MARKED, sessions()]),
    case(
        "sessions_null_keys",
        "3.2 3.4",
        [[row(1, None), row(3, "a"), row(4, None)], [row(8, None)], [row(60, None)]],
        [MARKED, sessions()],
    ),
    case(
        "sessions_before_1970",
        "3.2 2.4",
        [[early(-8), early(-5), early(-4)], [early(3)], [early(60)], [early(90)]],
        [MARKED, sessions()],
    ),
    case(
        "sessions_before_1970_complete",
        "3.2",
        [[early(-8), early(-20)], [early(-4), early(3)], [early(60)]],
        [MARKED, sessions()],
        mode="complete",
        compare={"state_rows": False, "differs": COMPLETE},
    ),
    case(
        "sessions_below_milliseconds",
        "3.2",
        [[row(1), row(1, micros=1500), row(1, micros=3001)], [row(1, micros=3000)], [row(2)], [row(3)]],
        [watermark("1 millisecond"), sessions("'1 milliseconds 500 microseconds'")],
    ),
    case("sessions_gap_by_row", "3.2", MIXED, [MARKED, sessions(GAPS)]),
    case("sessions_gap_by_row_complete", "3.2", MIXED, [MARKED, sessions(GAPS)], mode="complete"),
    case("sessions_gap_column", "3.2", TEXTS, [MARKED, sessions("gap", aggs=COUNT)], schema=TEXT_GAP),
    case(
        "sessions_gap_column_complete", "3.2", TEXTS, [MARKED, sessions("gap", aggs=COUNT)], "complete", schema=TEXT_GAP
    ),
    case("sessions_gap_of_intervals", "3.2", MIXED, [MARKED, sessions("make_interval(0, 0, 0, 0, 0, 0, v)")]),
    case(
        "sessions_contained",
        "3.2",
        [[row(10, v=99)], [row(12, v=1)], [row(8, v=1)], [row(30, v=1)], [row(80)], [row(130)]],
        [watermark("30 seconds"), sessions(GAPS)],
    ),
    case("sessions_two_keys", "3.2", STEPS, [MARKED, sessions("'8 seconds'", "w", "v % 2")]),
    case(
        "sessions_fields_selected",
        "3.2 2.8",
        STEPS,
        [MARKED, sessions(), select("session_window.start AS b", "session_window.end AS e", "w", "n")],
    ),
    case(
        "sessions_window_time",
        "3.2 2.8",
        STEPS,
        [MARKED, sessions(), select("window_time(session_window) AS last", "w")],
    ),
    case(
        "sessions_key_named", "3.2", STEPS, [MARKED, aggregate(["w", "session_window(t, '5 seconds') AS visit"], COUNT)]
    ),
    case(
        "sessions_every_function",
        "3.2",
        STEPS,
        [
            MARKED,
            sessions(aggs=("min(v) AS lo", "max(v) AS hi", "avg(v) AS mean", "min(t) AS first", "max(t) AS last")),
        ],
    ),
    case(
        "sessions_without_no_data_epochs",
        "3.2 3.6",
        STEPS,
        [MARKED, sessions()],
        config={"noDataEpochs.enabled": False},
    ),
    case("sessions_empty_files", "3.2 3.6", [[], rows(1), [], rows(30), [], rows(60)], [MARKED, sessions()]),
    case("sessions_filtered_key", "3.2 2.7", STEPS, [MARKED, sessions(), filter_("w = 'a'")]),
    case(
        "sessions_then_windows",
        "3.2 2.6",
        STEPS + [rows(130, w="z")],
        [MARKED, sessions(), aggregate(["window(session_window, '20 seconds')"], ["count(*) AS n", "sum(s) AS s"])],
    ),
    case(
        "sessions_then_window_time_windows",
        "3.2 2.6",
        STEPS + [rows(130, w="z"), rows(200, w="z")],
        [
            MARKED,
            sessions(),
            with_column("last", "window_time(session_window)"),
            aggregate(["window(last, '1 minute', '30 seconds')", "w"], ["sum(n) AS n"]),
        ],
    ),
    case(
        "sessions_then_windows_at_once",
        "3.2 2.6",
        STEPS + [rows(130, w="z")],
        [MARKED, sessions(), aggregate(["window(session_window, '20 seconds')"], ["count(*) AS n"])],
        feed="together",
    ),
    case(
        "windows_then_sessions",
        "3.2 2.6",
        STEPS + [rows(130, w="z")],
        [
            MARKED,
            aggregate(["window(t, '2 seconds')", "w"], COUNT),
            aggregate(["session_window(window, '4 seconds')", "w"], ["sum(n) AS n"]),
        ],
    ),
    case(
        "sessions_of_a_union",
        "3.2 2.2",
        None,
        [
            {"op": "read", "input": "a"},
            MARKED,
            {"op": "union", "with": [{"op": "read", "input": "b"}, watermark("20 seconds")]},
            sessions(),
        ],
        inputs=streams(SCHEMA, a=STEPS, b=[rows(4, w="a"), None, rows(33, w="c"), None, rows(91, 95, w="b")]),
    ),
]
