"""Windows: sizes, slides, starts, boundaries, and what may be done with the window column."""

from cases.tools import COUNT, aggregate, case, early, filter_, modes, row, rows, select, watermark, with_column

STEPS = [[row(1, "a", 1), row(12, "b", 2)], [row(25, "a", 3)], [row(3, "a", 9), row(41, "b", 4)], [row(60, "c", 5)]]
SECONDS = [rows(*range(0, 12)), rows(13.5, 19.999999, 20, 20.000001), rows(40), rows(75)]
EDGES = [
    [row(0), row(0, micros=-1), row(0, micros=1), row(0, micros=-1000), row(0, micros=1000)],
    [row(10), row(10, micros=-1), row(10, micros=1)],
    [row(40)],
]
EARLY = [
    [early(-1), early(-10), early(-10, micros=-1), early(0), early(-0.000001), early(-86401.5)],
    [early(5), early(-5)],
    [early(30), early(3), early(-3)],
    [early(60)],
]


def by(*arguments, column="t"):
    return [aggregate([f"window({column}, {', '.join(repr(text) for text in arguments)})", "w"])]


CASES = [
    *modes("tumbling", "2.2 2.3 2.4 2.5 3.1 3.5 3.6", STEPS, [watermark("10 seconds"), *by("10 seconds")]),
    *modes("sliding", "2.3 2.4 2.5 3.1 3.5", STEPS, [watermark("10 seconds"), *by("10 seconds", "5 seconds")]),
    case("slide_not_dividing_size", "3.1 3.5", SECONDS, [watermark("5 seconds"), *by("10 seconds", "4 seconds")]),
    case(
        "slide_not_dividing_size_update",
        "3.1 3.5",
        SECONDS,
        [watermark("5 seconds"), *by("7 seconds", "3 seconds", "1 second")],
        mode="update",
    ),
    case(
        "slide_of_most_of_the_size",
        "3.1",
        SECONDS,
        [watermark("0 seconds"), *by("10 seconds", "9 seconds")],
        feed="together",
    ),
    case("start_positive", "3.1 3.5", STEPS, [watermark("10 seconds"), *by("10 seconds", "10 seconds", "3 seconds")]),
    case("start_negative", "3.1 3.5", STEPS, [watermark("10 seconds"), *by("10 seconds", "10 seconds", "-3 seconds")]),
    case(
        "start_negative_sliding",
        "3.1",
        SECONDS,
        [watermark("5 seconds"), *by("30 seconds", "12 seconds", "-11 seconds 500 milliseconds")],
        mode="update",
    ),
    case("edges", "3.1 2.5", EDGES, [watermark("0 seconds"), *by("10 seconds")]),
    case("edges_sliding", "3.1 2.5", EDGES, [watermark("0 seconds"), *by("10 seconds", "5 seconds")]),
    case("edges_update", "3.1 2.4", EDGES, [watermark("1 second"), *by("10 seconds")], mode="update"),
    case("before_1970_append", "2.4 2.2 3.1", EARLY, [watermark("2 seconds"), *by("10 seconds")]),
    case("before_1970_update", "2.4 2.2 3.1", EARLY, [watermark("2 seconds"), *by("10 seconds")], mode="update"),
    case(
        "before_1970_complete",
        "1.4 3.1",
        EARLY,
        [watermark("2 seconds"), *by("10 seconds", "4 seconds", "-1 second")],
        mode="complete",
    ),
    case("before_1970_without_watermark", "3.1", EARLY, by("7 seconds", "3 seconds"), mode="update"),
    case("before_1970_far", "3.1", [rows(-3e9), rows(-5e9 - 0.25), rows(-7e9)], by("1 hour"), mode="complete"),
    case(
        "null_times",
        "2.1 2.4 3.1",
        [[row(None), row(5)], [row(None, None), row(21)], [row(40)]],
        [watermark("1 second"), *by("10 seconds")],
    ),
    case(
        "null_times_complete",
        "3.1",
        [[row(None)], [row(None, None), row(21)], [row(None)]],
        [watermark("1 second"), *by("10 seconds", "5 seconds")],
        mode="complete",
    ),
    case(
        "windows_of_microseconds",
        "2.2 2.5 3.1",
        [[row(1, micros=m) for m in (0, 99, 100, 499, 500, 999)], [row(1.002, micros=400)], [row(1.0029)], [row(2)]],
        [watermark("0 seconds"), *by("100 microseconds")],
    ),
    case(
        "windows_of_a_millisecond",
        "2.2 2.5 3.1",
        [[row(1), row(1, micros=999), row(1.001)], [row(1.002, micros=999)], [row(1.001)], [row(1.003)]],
        [watermark("1 millisecond"), *by("1 millisecond")],
    ),
    case(
        "windows_of_a_week",
        "3.1",
        [rows(0, 86400 * 6, 86400 * 5.6), rows(86400 * 20), rows(86400 * 40)],
        [watermark("1 day 12 hours"), *by("1 week")],
    ),
    case(
        "windows_of_a_day_sliding",
        "3.1",
        [rows(0, 7200, 80000), rows(200000), rows(300000)],
        [watermark("2 hours"), *by("1 day", "8 hours", "1 hour")],
    ),
    case(
        "size_of_mixed_units",
        "3.1",
        STEPS,
        [watermark("1 second 500 milliseconds"), *by("0 minutes 12 seconds 500 milliseconds")],
        mode="update",
    ),
    case(
        "size_as_interval",
        "3.1",
        STEPS,
        [watermark("interval 10 seconds"), *by("interval 10 seconds", "INTERVAL 5 SECONDS")],
        mode="update",
    ),
    case("windows_without_watermark", "3.1 3.5", STEPS, by("10 seconds", "5 seconds"), mode="update"),
    case("windows_without_watermark_complete", "3.1", STEPS, by("10 seconds"), mode="complete"),
    case("window_alone", "3.1 3.5", STEPS, [watermark("10 seconds"), aggregate(["window(t, '10 seconds')"], COUNT)]),
    case(
        "window_key_named",
        "2.8 3.5",
        STEPS,
        [watermark("10 seconds"), aggregate(["window(t, '10 seconds') AS span", "w"]), select("span.end", "w", "n")],
    ),
    case(
        "window_in_select",
        "2.8 3.1",
        [*STEPS, [row(None)]],
        [watermark("10 seconds"), select("window(t, '10 seconds') AS span", "w")],
    ),
    case(
        "window_in_select_sliding",
        "3.1",
        [*STEPS, [row(None)]],
        [select("window(t, '10 seconds', '4 seconds') AS span", "w", "v")],
    ),
    *modes(
        "window_column",
        "2.8 3.5",
        STEPS,
        [watermark("10 seconds"), with_column("span", "window(t, '10 seconds')"), aggregate(["span", "w"])],
        wanted=("append", "update"),
    ),
    case(
        "window_of_a_window_column",
        "2.8 3.1",
        STEPS,
        [watermark("10 seconds"), with_column("span", "window(t, '5 seconds')"), *by("20 seconds", column="span")],
    ),
    case(
        "window_of_a_window_column_sliding",
        "2.8 3.1",
        SECONDS,
        [
            watermark("5 seconds"),
            with_column("span", "window(t, '5 seconds')"),
            *by("10 seconds", "5 seconds", column="span"),
        ],
        mode="update",
    ),
    case(
        "window_time_key",
        "2.8 3.1 3.5",
        STEPS,
        [
            watermark("10 seconds"),
            with_column("span", "window(t, '10 seconds')"),
            with_column("last", "window_time(span)"),
            aggregate(["last", "w"]),
        ],
    ),
    case(
        "window_time_after_aggregation",
        "2.8 3.1",
        STEPS,
        [watermark("10 seconds"), *by("10 seconds"), select("window_time(window) AS last", "w", "n")],
    ),
    case(
        "window_fields_as_keys",
        "2.8 3.5",
        STEPS,
        [
            watermark("10 seconds"),
            with_column("span", "window(t, '10 seconds')"),
            aggregate(["span.start", "span.end"]),
        ],
        mode="update",
    ),
    case(
        "window_end_as_key_complete",
        "2.8",
        STEPS,
        [watermark("10 seconds"), with_column("span", "window(t, '10 seconds')"), aggregate(["span.end AS last"])],
        mode="complete",
    ),
    case(
        "same_window_twice",
        "3.3 3.1",
        STEPS,
        [watermark("10 seconds"), aggregate(["window(t, '10 seconds')", "window(t, '10 seconds').end AS last"], COUNT)],
    ),
    case(
        "same_window_in_key_and_value",
        "3.3",
        STEPS,
        [watermark("10 seconds"), aggregate(["window(t, '10 seconds').start AS first", "w"], COUNT)],
        mode="update",
    ),
    case(
        "same_window_twice_in_select",
        "3.3",
        STEPS,
        [
            select(
                "window(t, '10 seconds', '5 seconds').start AS b", "window(t, '10 seconds', '5 seconds').end AS e", "v"
            )
        ],
    ),
    case(
        "two_windows_in_two_steps",
        "3.3 2.8",
        STEPS,
        [
            watermark("10 seconds"),
            with_column("small", "window(t, '5 seconds')"),
            with_column("large", "window(t, '20 seconds', '10 seconds')"),
            select("t", "w", "small.start", "large.end"),
        ],
    ),
    case(
        "window_filtered_by_another",
        "3.3 2.8",
        STEPS,
        [
            watermark("10 seconds"),
            with_column("small", "window(t, '2 seconds')"),
            filter_("second(small.end) <> 14"),
            aggregate(["window(t, '10 seconds')"]),
        ],
    ),
    case(
        "empty_files",
        "2.2 3.5 3.6",
        [[], rows(5), [], rows(31), [], [], rows(60)],
        [watermark("5 seconds"), *by("10 seconds")],
    ),
    case(
        "files_at_once",
        "1.2 3.5 3.6",
        [rows(5, 1), rows(15, 3), rows(42), [], rows(7, 55)],
        [watermark("5 seconds"), *by("10 seconds")],
        feed="together",
    ),
]
