"""Late rows."""

from cases.tools import COUNT, aggregate, case, modes, row, rows, watermark

SPANS = aggregate(["window(t, '10 seconds')", "w"])
SLIDING = aggregate(["window(t, '10 seconds', '5 seconds')", "w"])
STEPS = [
    rows(5, 15),
    rows(32),
    [row(5, "x"), row(15, "x"), row(21, "x"), row(29.999999, "x")],
    rows(46),
    [row(9, "y"), row(20, "y"), row(30, "y"), row(36, "y"), row(45, "y")],
    rows(90),
    [row(60, "z")],
    [row(80, "z"), row(79.9, "z")],
]

CASES = [
    *modes("late_rows", "2.3 2.4 3.5", STEPS, [watermark("6 seconds"), SPANS]),
    *modes("late_rows_sliding", "2.4 3.5", STEPS, [watermark("6 seconds"), SLIDING], wanted=("append", "update")),
    case("late_rows_at_once", "2.3 2.4", STEPS, [watermark("6 seconds"), SPANS], feed="together"),
    case("late_rows_at_once_update", "2.3 2.4", STEPS, [watermark("6 seconds"), SPANS], mode="update", feed="together"),
    case(
        "late_rows_without_no_data_epochs",
        "2.3 2.4 3.6",
        STEPS,
        [watermark("6 seconds"), SPANS],
        config={"noDataEpochs.enabled": False},
    ),
    case("late_rows_by_time", "2.4", STEPS, [watermark("6 seconds"), aggregate(["t", "w"], COUNT)]),
    case(
        "late_rows_by_time_update",
        "2.4",
        [*STEPS, [row(84, "q"), row(84, "q", micros=1)]],
        [watermark("6 seconds"), aggregate(["t", "w"], COUNT)],
        mode="update",
    ),
    case(
        "late_rows_within_one_file", "1.2 2.3", [rows(100, 1, 50, 2), rows(200, 3, 95)], [watermark("1 second"), SPANS]
    ),
    case(
        "window_open_but_row_behind",
        "2.4",
        [rows(18), rows(11, 12), rows(10), rows(20), rows(19), rows(50)],
        [watermark("1 second"), SPANS],
    ),
    case(
        "window_end_one_millisecond_away",
        "2.4",
        [
            [row(20.001)],
            [row(5, "k"), row(15, "k")],
            [row(20.999)],
            [row(15, "l")],
            [row(21)],
            [row(15, "m")],
            [row(22)],
        ],
        [watermark("1 second"), SPANS],
    ),
]
