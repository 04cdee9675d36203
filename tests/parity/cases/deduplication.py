"""drop_duplicates, distinct, and drop_duplicates_within_watermark."""

from cases.tools import (
    COMPLETE,
    COUNT,
    DISTINCT,
    aggregate,
    case,
    dedup,
    dedup_within,
    drop,
    early,
    filter_,
    modes,
    rename,
    row,
    rows,
    select,
    watermark,
    with_column,
)

MARKED = watermark("10 seconds")
STEPS = [
    [row(1, "a", 1), row(1, "a", 2), row(12, "b", 3), row(1, "b", 4)],
    [row(1, "a", 5), row(25, "a", 6), row(12, "b", 7)],
    [row(3, "a", 9), row(25, "a", 10), row(41, "b", 11), row(15, "n", 12), row(15, "n", 13, micros=1)],
    [row(25, "a", 14), row(41, "b", 15), row(60, "c", 16)],
]
NULLS = [
    [row(None, "a", 1), row(None, "a", 2), row(None, None, 3), row(4, None, 4)],
    [row(None, "a", 5), row(30, "a", 6), row(None, None, 7)],
    [row(70, "z", 8)],
    [row(None, "a", 9), row(4, None, 10)],
]
DOUBLES = "t TIMESTAMP, x DOUBLE, v BIGINT"
WITHIN = [
    [row(10, "a", 1), row(12, "a", 2), row(10, "b", 3)],
    [row(18, "a", 4), row(29.999, "x", 5)],
    [row(20, "a", 6)],
    [row(30, "y", 7)],
    [row(20.5, "a", 8), row(21, "a", 9), row(20, "b", 10, micros=1)],
    [row(31, "b", 11), row(55, "z", 12)],
    [row(44, "a", 13), row(46, "a", 14)],
    [row(90, "q", 15)],
]
SPANS = aggregate(["window(t, '10 seconds')", "w"])


def double_row(t, x, v):
    return {"t": row(t)["t"], "x": x, "v": v}


CASES = [
    *modes("dedup_with_time", "5.1 2.4 2.5 3.6", STEPS, [MARKED, dedup("t", "w")], wanted=("append", "update")),
    case("dedup_with_time_at_once", "5.1 2.3", STEPS, [MARKED, dedup("w", "t")], feed="together"),
    case("dedup_by_time_alone", "5.1 2.4", STEPS, [MARKED, dedup("t")]),
    *modes("dedup_by_word", "5.1 2.4", STEPS, [MARKED, dedup("w")], wanted=("append", "update")),
    *modes("dedup_without_watermark", "5.1", STEPS, [dedup("w")], wanted=("append", "update")),
    case("dedup_without_watermark_with_time", "5.1", STEPS, [dedup("t", "w")]),
    case("dedup_all_columns", "5.1", [*STEPS, STEPS[0], STEPS[-1]], [MARKED, dedup()]),
    case("dedup_of_no_columns_without_watermark", "5.1", [*STEPS, STEPS[0]], [dedup()]),
    case("distinct", "5.1", [*STEPS, STEPS[3]], [MARKED, DISTINCT]),
    case("distinct_words", "5.1", STEPS, [select("w"), DISTINCT], mode="update"),
    case("distinct_words_marked", "5.1 2.4", STEPS, [MARKED, select("w"), DISTINCT]),
    case("distinct_times", "5.1 2.5", STEPS, [MARKED, select("t", "w"), DISTINCT]),
    case("dedup_null_times", "5.1 2.4", NULLS, [MARKED, dedup("t", "w")]),
    case("dedup_null_times_by_word", "5.1 2.4", NULLS, [MARKED, dedup("w")]),
    case(
        "dedup_edges",
        "5.1 2.4 2.5",
        [
            [row(20), row(20, micros=1), row(20.001)],
            [row(30)],
            [row(20), row(20, micros=1), row(20.001)],
            [row(30.001)],
            [row(20, micros=1), row(20.001), row(20.002)],
            [row(60)],
        ],
        [MARKED, dedup("t")],
    ),
    case(
        "dedup_at_1970",
        "5.1 2.4",
        [[early(0), early(0, micros=1), early(-3), early(5)], [early(0), early(5)], [early(50)]],
        [MARKED, dedup("t")],
    ),
    case(
        "dedup_window_column",
        "5.1 2.8",
        STEPS,
        [MARKED, with_column("span", "window(t, '10 seconds')"), dedup("span", "w"), drop("t")],
    ),
    case("dedup_renamed_time", "5.1 2.8", STEPS, [MARKED, rename("t", "time"), dedup("time", "w")]),
    case("dedup_cast_time", "5.1 2.8", STEPS, [MARKED, select("CAST(t AS STRING) AS t", "w"), dedup("t", "w")]),
    case("dedup_time_dropped_above", "5.1 2.1", STEPS, [MARKED, dedup("t", "w"), select("w", "v")]),
    case("dedup_time_dropped_below", "5.1 2.1", STEPS, [MARKED, drop("t"), dedup("w")]),
    case("dedup_then_filter", "5.1 2.7", STEPS, [MARKED, dedup("t", "w"), filter_("w = 'a'")]),
    case("filter_then_dedup", "5.1 2.7", STEPS, [MARKED, filter_("w = 'a'"), dedup("t", "w")]),
    case(
        "dedup_no_data_epochs_off", "5.1 3.6", STEPS, [MARKED, dedup("t", "w")], config={"noDataEpochs.enabled": False}
    ),
    case("dedup_empty_files", "5.1 3.6", [[], rows(5, 5), [], rows(5, 31), []], [MARKED, dedup("t")]),
    case(
        "dedup_doubles",
        "5.1 3.4",
        [
            [double_row(1, 0.0, 1), double_row(1, -0.0, 2), double_row(1, "NaN", 3)],
            [double_row(2, -0.0, 4), double_row(2, "NaN", 5), double_row(2, None, 6), double_row(2, None, 7)],
        ],
        [dedup("x")],
        schema=DOUBLES,
    ),
    *modes("dedup_then_count", "5.1 2.6 3.5", STEPS, [MARKED, dedup("t", "w"), SPANS], wanted=("append", "update")),
    case(
        "dedup_then_count_complete",
        "5.1 2.6 3.5",
        STEPS,
        [MARKED, dedup("t", "w"), SPANS],
        mode="complete",
        compare={"state_rows": True, "differs": COMPLETE},
    ),
    *modes("dedup_by_word_then_count", "5.1 2.6", STEPS, [MARKED, dedup("w"), SPANS], wanted=("append", "update")),
    *modes(
        "dedup_then_count_words",
        "5.1 2.6",
        STEPS,
        [MARKED, dedup("t", "w"), aggregate(["w"])],
        wanted=("update",),
    ),
    case(
        "dedup_then_count_words_complete",
        "5.1 2.6",
        STEPS,
        [MARKED, dedup("t", "w"), aggregate(["w"])],
        mode="complete",
        compare={"state_rows": True, "differs": COMPLETE + "; 3.6: it has no epochs without input"},
    ),
    case("dedup_unmarked_then_count", "5.1", STEPS, [dedup("t", "w"), aggregate(["w"])], mode="complete"),
    case(
        "count_then_dedup",
        "5.1 2.6",
        STEPS,
        [MARKED, aggregate(["window(t, '10 seconds')", "w"], COUNT), dedup("window"), select("window")],
    ),
    case(
        "count_then_dedup_by_count",
        "5.1 2.6",
        STEPS,
        [MARKED, aggregate(["window(t, '10 seconds')", "w"], COUNT), dedup("n"), select("n")],
    ),
    case("dedup_then_dedup", "5.1 2.6", STEPS, [MARKED, dedup("t", "w"), dedup("t"), select("t")]),
    case(
        "dedup_then_dedup_update", "5.1 2.6", STEPS, [MARKED, dedup("t", "w"), dedup("w"), select("w")], mode="update"
    ),
    # Within the watermark.
    *modes("within", "5.2 2.4", WITHIN, [MARKED, dedup_within("w")], wanted=("append", "update")),
    case("within_at_once", "5.2", WITHIN, [MARKED, dedup_within("w")], feed="together"),
    case("within_delay_zero", "5.2", WITHIN, [watermark("0 seconds"), dedup_within("w")]),
    case("within_all_columns", "5.2", [*WITHIN, WITHIN[-1]], [MARKED, dedup_within()]),
    case("within_with_time", "5.2", STEPS, [MARKED, dedup_within("t", "w")]),
    case(
        "within_first_time_wins",
        "5.2",
        [
            [row(20, "k", 1), row(10, "k", 2), row(10, "m", 3), row(20, "m", 4)],
            rows(29, w="x"),
            [row(19.5, "k", 5)],
            rows(30, w="y"),
            [row(25, "k", 6), row(25, "m", 7)],
            rows(40.001, w="x"),
            [row(33, "k", 8)],
            rows(60, w="z"),
        ],
        [MARKED, dedup_within("w")],
    ),
    case(
        "within_duplicates_do_not_extend",
        "5.2",
        [rows(10), rows(15), rows(19), rows(20, w="b"), rows(24), rows(30, w="b"), rows(29), rows(80, w="b")],
        [MARKED, dedup_within("w")],
    ),
    case(
        "within_late_duplicate",
        "5.2 2.4",
        [rows(30, 31, w="a"), rows(10, w="c"), rows(20, 21, w="d"), rows(31.5, w="a")],
        [watermark("5 seconds"), dedup_within("w")],
    ),
    case(
        "within_no_data_epochs_off",
        "5.2 3.6",
        WITHIN,
        [MARKED, dedup_within("w")],
        config={"noDataEpochs.enabled": False},
    ),
    case(
        "within_edges",
        "5.2 2.5",
        [
            [row(10, "a", micros=500), row(10, "b", micros=1), row(10.001, "c")],
            [row(30)],
            [row(21, "b"), row(21, "c")],
            [row(30.001)],
            [row(21, w) for w in "abc"],
            [row(30.002)],
            [row(21, w) for w in "abc"],
        ],
        [MARKED, dedup_within("w")],
    ),
    case("within_then_count", "5.2 2.6", WITHIN, [MARKED, dedup_within("w"), SPANS]),
    case(
        "within_then_count_update",
        "5.2 2.6",
        WITHIN,
        [MARKED, dedup_within("w"), aggregate(["w"], COUNT)],
        mode="update",
    ),
    case("within_null_times", "5.2", NULLS, [MARKED, dedup_within("w")]),
    case(
        "within_before_1970",
        "5.2",
        [[early(-5), early(1), early(2)], [early(3)], [early(12)], [early(5)], [early(40)]],
        [MARKED, dedup_within("w")],
    ),
]
