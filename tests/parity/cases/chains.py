"""Stateful operators above stateful operators."""

from cases.tools import COUNT, aggregate, case, dedup, dedup_within, filter_, row, rows, select, watermark, with_column

MARKED = watermark("10 seconds")
STEPS = [
    [row(1, "a", 1), row(7, "b", 2), row(12, "a", 3)],
    [row(25, "a", 3), row(14, "b", 4)],
    [row(3, "a", 9), row(41, "b", 4), row(22, "a", 1)],
    [row(60, "c", 5)],
    [row(44, "b", 5), row(52, "a", 6), row(49.9, "a", 7)],
    [row(130, "c", 8)],
]
# Never two windows of one word in an epoch: which of them came first would not be said.
FEW = [
    [row(1, "a"), row(7, "b")],
    [row(20, "c")],
    [row(22, "a"), row(23, "b", micros=5)],
    [row(40, "d")],
    [row(36, "a"), row(31, "c")],
    [row(60, "e")],
    [row(52, "a"), row(57, "b")],
    [row(90, "f")],
]
SMALL = aggregate(["window(t, '5 seconds')", "w"], COUNT)


def above(*arguments, keys=(), column="window"):
    texts = ", ".join(repr(text) for text in arguments)
    return aggregate([f"window({column}, {texts})", *keys], ["sum(n) AS n", "count(*) AS parts"])


CASES = [
    case("windows_of_windows", "2.6 2.3", STEPS, [MARKED, SMALL, above("10 seconds")]),
    case("windows_of_windows_at_once", "2.6 2.3", STEPS, [MARKED, SMALL, above("10 seconds")], feed="together"),
    case("windows_of_windows_same_size", "2.6 2.3 2.4", STEPS, [MARKED, SMALL, above("5 seconds")]),
    case("windows_of_windows_keyed", "2.6", STEPS, [MARKED, SMALL, above("20 seconds", keys=["w"])]),
    case("windows_of_windows_sliding", "2.6", STEPS, [MARKED, SMALL, above("10 seconds", "5 seconds")]),
    case(
        "windows_of_smaller_windows",
        "2.6 2.4",
        STEPS,
        [MARKED, aggregate(["window(t, '10 seconds')", "w"], COUNT), above("2 seconds")],
    ),
    case(
        "windows_of_window_times",
        "2.6 2.8",
        STEPS,
        [MARKED, SMALL, with_column("last", "window_time(window)"), above("10 seconds", column="last")],
    ),
    case(
        "windows_of_windows_of_windows",
        "2.6",
        STEPS + [rows(300)],
        [
            MARKED,
            SMALL,
            above("10 seconds"),
            aggregate(["window(window, '1 minute')"], ["sum(n) AS n", "sum(parts) AS parts"]),
        ],
    ),
    case(
        "windows_of_windows_off",
        "2.6 3.6",
        STEPS,
        [MARKED, SMALL, above("10 seconds")],
        config={"noDataEpochs.enabled": False},
    ),
    case(
        "windows_of_windows_empty_files",
        "2.6 3.6",
        [[], rows(1), [], rows(30), [], rows(60), []],
        [MARKED, SMALL, above("10 seconds")],
    ),
    case("windows_of_filtered_windows", "2.6 2.7", STEPS, [MARKED, SMALL, filter_("n > 0"), above("10 seconds")]),
    case(
        "windows_of_renamed_windows",
        "2.6 2.8",
        STEPS,
        [MARKED, SMALL, select("window AS span", "n"), above("10 seconds", column="span")],
    ),
    case("windows_of_times", "2.6", STEPS, [MARKED, aggregate(["t"], COUNT), above("10 seconds", column="t")]),
    case(
        "times_of_windows",
        "2.6 2.8",
        STEPS,
        [MARKED, SMALL, aggregate(["window_time(window) AS last"], ["sum(n) AS n"])],
        # Spark reports one stateful operator here instead of two.
        compare={"state_rows": False},
    ),
    case(
        "late_rows_counted_by_both",
        "2.4 2.6",
        [rows(30), rows(1, 2, 31), rows(50), rows(10, 39, 41), rows(90), rows(40, 79, 81), rows(140)],
        [MARKED, SMALL, above("10 seconds")],
    ),
    case("delay_zero_chain", "2.6 2.3", STEPS, [watermark("0 seconds"), SMALL, above("10 seconds")]),
    case("dedup_then_windows_of_windows", "2.6 5.1", STEPS, [MARKED, dedup("t"), SMALL, above("10 seconds")]),
    case("within_then_windows_of_windows", "2.6 5.2", STEPS, [MARKED, dedup_within("v"), SMALL, above("10 seconds")]),
    case(
        "windows_then_within",
        "2.6 5.2",
        FEW,
        [MARKED, SMALL, dedup_within("w")],
        compare={
            "state_rows": True,
            "differs": "5.2: a key expires at its first time and the delay; Spark reads the memory of the window as that time",
        },
    ),
    case("windows_then_distinct", "2.6 5.1", STEPS, [MARKED, SMALL, select("window"), dedup()]),
    case("windows_then_words", "2.6 5.1", STEPS, [MARKED, SMALL, select("w"), dedup()]),
]
