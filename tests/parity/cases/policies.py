"""Several watermarks in one query: the lowest or the highest counts."""

from cases.tools import COUNT, DISTINCT, aggregate, case, dedup, read, row, rows, select, streams, union, watermark

SPANS = aggregate(["window(t, '10 seconds')", "w"])
HIGHEST = {"multipleWatermarkPolicy": "max"}
BOTH = streams(
    a=[rows(5, 12), rows(30), [row(3, "x")], rows(60), rows(45, 95)],
    b=[rows(1, w="b"), rows(50, w="b"), [row(9, "y"), row(20, "y")], rows(31, w="b"), rows(97, w="b")],
)
ONE_BEHIND = streams(
    a=[rows(50), rows(80), rows(120), rows(10), rows(130)],
    b=[rows(5, w="b"), None, None, rows(66, w="b"), rows(15, w="b")],
)
SILENT = streams(a=[rows(50), rows(80), rows(40), rows(120)], b=[])
EMPTY = streams(a=[rows(50), rows(80), rows(40), rows(120)], b=[[], [], [], []])


def both(*above, a="5 seconds", b="10 seconds"):
    return [read("a"), watermark(a), union(read("b"), watermark(b)), *above]


CASES = [
    case("lowest", "2.2 2.3", None, both(SPANS), inputs=BOTH),
    case("highest", "2.2 2.3", None, both(SPANS), inputs=BOTH, config=HIGHEST),
    case("lowest_update", "2.2 2.4", None, both(SPANS), "update", inputs=BOTH),
    case("highest_update", "2.2 2.4", None, both(SPANS), "update", inputs=BOTH, config=HIGHEST),
    case("highest_complete", "2.2 1.4", None, both(SPANS), "complete", inputs=BOTH, config=HIGHEST),
    case("lowest_at_once", "2.2", None, both(SPANS), inputs=BOTH, feed="together"),
    case("highest_at_once", "2.2", None, both(SPANS), inputs=BOTH, feed="together", config=HIGHEST),
    case("one_behind", "2.2", None, both(SPANS), inputs=ONE_BEHIND),
    case("one_behind_highest", "2.2", None, both(SPANS), inputs=ONE_BEHIND, config=HIGHEST),
    case("one_silent", "2.2 3.6", None, both(SPANS), inputs=SILENT),
    case("one_silent_highest", "2.2 3.6", None, both(SPANS), inputs=SILENT, config=HIGHEST),
    case("one_empty", "2.2", None, both(SPANS), inputs=EMPTY),
    case("one_empty_highest", "2.2", None, both(SPANS), inputs=EMPTY, config=HIGHEST),
    case(
        "one_null", "2.1 2.2", None, both(SPANS), inputs=streams(a=[rows(50), rows(80)], b=[rows(None), rows(None, 70)])
    ),
    case("both_dedup", "2.2 5.1", None, both(dedup("t", "w")), inputs=BOTH),
    case("both_dedup_highest", "2.2 5.1", None, both(select("t", "w"), DISTINCT), inputs=BOTH, config=HIGHEST),
    case(
        "watermark_above_the_union",
        "2.2",
        None,
        [read("a"), union(read("b")), watermark("5 seconds"), SPANS],
        inputs=BOTH,
    ),
    case(
        "one_stream_twice",
        "2.2",
        None,
        [read("a"), watermark("5 seconds"), union(read("a"), watermark("20 seconds")), SPANS],
        inputs=streams(a=[rows(5, 12), rows(30), rows(60), rows(95)]),
    ),
    case(
        "three_streams",
        "2.2",
        None,
        [*both(), union(read("c"), watermark("0 seconds")), SPANS],
        inputs={**BOTH, **streams(c=[rows(2, w="c"), None, rows(44, w="c"), rows(45, w="c"), rows(96, w="c")])},
    ),
    case(
        "aggregates_of_two_streams",
        "2.6 2.2",
        None,
        [read("a"), watermark("5 seconds"), SPANS, union(read("b"), watermark("10 seconds"), SPANS)],
        inputs=BOTH,
    ),
    case("both_unused", "2.2", None, both(select("w")), inputs=BOTH),
    case(
        "both_chain",
        "2.2 2.6",
        None,
        both(SPANS, aggregate(["window(window, '20 seconds')"], ["sum(n) AS n"])),
        inputs=BOTH,
        config=HIGHEST,
    ),
    case("both_time_key", "2.2 2.5", None, both(aggregate(["t"], COUNT)), inputs=BOTH),
]
