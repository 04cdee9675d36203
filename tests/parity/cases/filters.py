"""What stands between the source and the watermark, in the order in which it takes effect; limit."""

from cases.tools import (
    COUNT,
    aggregate,
    case,
    dedup,
    drop,
    filter_,
    limit,
    read,
    rename,
    row,
    rows,
    select,
    streams,
    union,
    watermark,
    with_column,
)

MARKED = watermark("10 seconds")
SPANS = aggregate(["window(t, '10 seconds')", "w"])
STEPS = [
    [row(1, "a", 1), row(2, "b", 2)],
    [row(40, "b", 30), row(12, "a", 3)],
    [row(9, "a", 4), row(25, "a", -6)],
    [row(70, "b", 5), row(41, "a", 7)],
    [row(15, "a", 8), row(120, "c", 40)],
]

# A condition on the window may be taken below the aggregation, which then has less to remember.
ROWS = {"state_rows": False}


def behind(name, *steps, mode="append", rules="2.7", **more):
    return case(name, rules, STEPS, [MARKED, *steps], mode, **more)


CASES = [
    behind("filter_other_column", filter_("w = 'a'"), SPANS),
    behind("filter_other_column_update", filter_("w = 'a'"), SPANS, mode="update"),
    behind("filter_time_column", filter_("t < TIMESTAMP '2021-10-01 09:30:50'"), SPANS),
    behind("filter_both_columns", filter_("w = 'a' AND t < TIMESTAMP '2021-10-01 09:31:00'"), SPANS),
    behind("filter_either_column", filter_("w = 'a' OR t < TIMESTAMP '2021-10-01 09:30:30'"), SPANS),
    behind("filter_twice", filter_("t < TIMESTAMP '2021-10-01 09:31:50'"), filter_("w = 'a'"), filter_("v > 1"), SPANS),
    behind("filter_time_not_null", filter_("t IS NOT NULL"), filter_("v <> 5"), SPANS),
    behind("filter_values", filter_("v BETWEEN 0 AND 10"), SPANS, mode="complete"),
    behind("filter_computed", with_column("big", "v > 10"), filter_("NOT big"), SPANS),
    behind("filter_computed_from_time", with_column("s", "second(t)"), filter_("s < 30"), SPANS),
    behind("filter_computed_from_both", with_column("s", "second(t)"), filter_("s < 30 AND w = 'a'"), SPANS),
    behind(
        "filter_under_another_name",
        select("t AS time", "w AS word", "v"),
        filter_("word = 'a'"),
        aggregate(["window(time, '10 seconds')", "word"]),
    ),
    behind(
        "filter_time_under_another_name",
        rename("t", "time"),
        filter_("time < TIMESTAMP '2021-10-01 09:30:50'"),
        aggregate(["window(time, '10 seconds')", "w"]),
    ),
    behind("filter_in_a_row_with_null", filter_("w = 'a' OR w IS NULL"), SPANS),
    case("filter_below_the_watermark", "2.7", STEPS, [filter_("t < TIMESTAMP '2021-10-01 09:30:50'"), MARKED, SPANS]),
    case("filter_other_below_the_watermark", "2.7", STEPS, [filter_("w = 'a'"), MARKED, SPANS]),
    behind("filter_on_a_key_above", SPANS, filter_("w = 'a'")),
    behind("filter_on_a_key_above_update", SPANS, filter_("w = 'a'"), mode="update"),
    behind("filter_on_a_key_above_complete", SPANS, filter_("w = 'a'"), mode="complete"),
    behind(
        "filter_on_the_window_above", SPANS, filter_("window.start >= TIMESTAMP '2021-10-01 09:30:10'"), compare=ROWS
    ),
    behind(
        "filter_on_the_window_above_update",
        SPANS,
        filter_("window.end < TIMESTAMP '2021-10-01 09:31:15'"),
        mode="update",
        compare=ROWS,
    ),
    behind("filter_on_a_count_above", SPANS, filter_("n > 0 AND s > 3")),
    behind("filter_on_a_key_and_a_count_above", SPANS, filter_("w = 'a' AND s > 3")),
    behind(
        "filter_on_a_computed_key_above",
        aggregate(["window(t, '10 seconds')", "upper(w) AS u"], COUNT),
        filter_("u = 'A'"),
    ),
    behind("filter_on_a_time_key_above", aggregate(["t", "w"], COUNT), filter_("t < TIMESTAMP '2021-10-01 09:30:50'")),
    behind("filter_stateless", filter_("w = 'a'"), select("t", "v")),
    behind("filter_stateless_above_select", select("t", "v"), filter_("v > 3")),
    behind("filter_above_dedup", dedup("t", "w"), filter_("w = 'a'"), rules="2.7 5.1"),
    behind("filter_above_dedup_then_count", dedup("t", "w"), filter_("v < 10"), SPANS, rules="2.7 2.6 5.1"),
    behind(
        "filter_in_a_chain",
        SPANS,
        filter_("w = 'a'"),
        aggregate(["window(window, '30 seconds')"], ["sum(n) AS n"]),
        rules="2.7 2.6",
    ),
    behind("filter_of_nothing", filter_("v > 1000"), SPANS),
    behind(
        "window_then_filter", with_column("span", "window(t, '10 seconds')"), filter_("w = 'a'"), aggregate(["span"])
    ),
    behind(
        "window_then_filter_on_it",
        with_column("span", "window(t, '10 seconds')"),
        filter_("span.end < TIMESTAMP '2021-10-01 09:31:15'"),
        aggregate(["span"]),
    ),
    behind("dropped_then_filter", drop("t"), filter_("w = 'a'"), aggregate(["w"]), mode="update"),
    case(
        "filter_above_a_union",
        "2.7 2.2",
        None,
        [read("a"), MARKED, union(read("b"), watermark("5 seconds")), filter_("w = 'a'"), SPANS],
        inputs=streams(a=STEPS, b=[rows(4), rows(50, w="b"), rows(33), rows(90), rows(100)]),
    ),
    # Limits.
    case("limit", "1.4", STEPS, [limit(5)]),
    case("limit_within_a_file", "1.4", [rows(1, 2, 3, 4), rows(5)], [limit(2)]),
    case("limit_at_once", "1.4", STEPS, [select("w", "v"), limit(3)], feed="together"),
    case("limit_none", "1.4", STEPS, [limit(0)]),
    case("limit_of_windows", "1.4 2.6", STEPS, [MARKED, aggregate(["window(t, '10 seconds')"], COUNT), limit(2)]),
    case("limit_complete", "1.4", [rows(1), rows(2)], [aggregate(["w"]), limit(1)], mode="complete"),
]
