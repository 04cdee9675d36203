"""Watermarks: how they move, what carries the event-time marking, no-data epochs."""

from cases.tools import (
    COUNT,
    aggregate,
    alias,
    case,
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

STEPS = [[row(1, "a", 1), row(12, "b", 2)], [row(25, "a", 3)], [row(3, "a", 9), row(41, "b", 4)], [row(60, "c", 5)]]
SPANS = aggregate(["window(t, '10 seconds')", "w"])
ENDING = [[row(5)], [row(20)], [row(5), row(15)], [row(20, micros=1)]]
CLOSE = [[row(5, "a")], [row(20, "b", micros=-1)], [row(20, "c")], [row(20, "d", micros=1)], [row(20.001, "e")]]
DAYS = [rows(0), rows(86400), rows(86400 * 3), rows(86400)]
MARKED = [watermark("10 seconds")]


CASES = [
    case("delay_zero", "2.2 2.3 2.4", STEPS, [watermark("0 seconds"), SPANS]),
    case("delay_of_days", "2.2", DAYS, [watermark("1 day 12 hours"), aggregate(["window(t, '1 hour')"])]),
    case("delay_of_a_week", "2.2", DAYS, [watermark("1 week"), SPANS], mode="update"),
    case("delay_of_minutes", "2.2", STEPS, [watermark("0 minutes 30 seconds"), SPANS], mode="update"),
    case("delay_of_microseconds", "2.2", ENDING, [watermark("1500 microseconds"), SPANS]),
    case("delay_of_a_month", "2.2", DAYS, [watermark("1 month"), SPANS], mode="update"),
    case("end_at_the_watermark", "2.5 2.2", ENDING, [watermark("10 seconds"), SPANS]),
    case("end_at_the_watermark_update", "2.4 2.5", ENDING, [watermark("10 seconds"), SPANS], mode="update"),
    case("end_close_to_the_watermark", "2.2 2.5", CLOSE, [watermark("10 seconds"), SPANS]),
    case(
        "below_milliseconds",
        "2.2",
        [[row(20.123, micros=999)], [row(30, micros=999)]],
        [watermark("1 millisecond"), SPANS],
    ),
    case(
        "never_below_zero",
        "2.2",
        [[early(5)], [early(9.999)], [early(10.001)], [early(30)]],
        [watermark("10 seconds"), aggregate(["window(t, '5 seconds')"])],
    ),
    case("never_back", "2.2", [rows(100), rows(50), rows(99), rows(130)], [watermark("5 seconds"), SPANS]),
    case(
        "negative_maximum",
        "2.2",
        [[early(-50)], [early(-20)], [early(None)], [early(20)]],
        [watermark("1 second"), SPANS],
        mode="update",
    ),
    case("only_null_times", "2.1 2.2", [rows(None), rows(None, None), rows(None)], [watermark("1 second"), SPANS]),
    case("stateless", "2.2 3.6", STEPS, [*MARKED, filter_("v > 1"), select("w", "t")]),
    case("stateless_disorder", "2.2", [rows(50, 10), rows(5, 7), [], rows(70)], [*MARKED, select("v + 1 AS next")]),
    *modes("time_as_key", "2.4 2.5 3.5", STEPS, [*MARKED, aggregate(["t"])]),
    case("time_as_key_ties", "2.5", [rows(1, 1, 2), rows(1, 11), rows(12), rows(2, 30)], [*MARKED, aggregate(["t"])]),
    case(
        "time_as_key_close",
        "2.4 2.5",
        CLOSE + [[row(20), row(20, micros=1), row(20.001)], [row(50)]],
        [watermark("0 seconds"), aggregate(["t", "w"])],
    ),
    case(
        "time_as_key_null",
        "2.4 2.5 3.4",
        [[row(None), row(1)], [row(20)], [row(None)], [row(40)]],
        [*MARKED, aggregate(["t", "w"])],
    ),
    case(
        "time_as_key_null_update",
        "2.4 3.5",
        [[row(None), row(1)], [row(20)], [row(None), row(2)], [row(40)]],
        [*MARKED, aggregate(["t"])],
        mode="update",
    ),
    case(
        "time_as_key_at_1970",
        "2.4",
        [[early(0), early(0, micros=1), early(-1)], [early(0)], [early(5)]],
        [watermark("1 second"), aggregate(["t"])],
        mode="update",
    ),
    case("word_as_key", "2.4 3.5 3.6", STEPS, [*MARKED, aggregate(["w"])], mode="update"),
    case("word_as_key_complete", "1.4 3.6", STEPS, [*MARKED, aggregate(["w"])], mode="complete"),
    # The marking.
    case("renamed", "2.8", STEPS, [*MARKED, rename("t", "time"), aggregate(["window(time, '10 seconds')", "w"])]),
    case(
        "renamed_twice_as_key",
        "2.8",
        STEPS,
        [*MARKED, rename("t", "time"), select("w", "time AS moment"), aggregate(["moment"], COUNT)],
    ),
    case("aliased", "2.8", STEPS, [*MARKED, select("t AS time", "w AS v"), aggregate(["time", "v"], COUNT)]),
    case("table_alias", "2.8", STEPS, [*MARKED, alias("x"), aggregate(["window(x.t, '10 seconds')", "x.w"])]),
    case("copied", "2.8", STEPS, [*MARKED, with_column("copy", "t"), drop("t"), aggregate(["copy"])]),
    case(
        "case_of_names",
        "2.8 2.1",
        STEPS,
        [watermark("10 seconds", "T"), aggregate(["window(T, '10 seconds')", "W"], ["COUNT(*) AS N"])],
    ),
    case("cast_to_date", "2.8", STEPS, [*MARKED, aggregate(["CAST(t AS DATE) AS day"])], mode="update"),
    case("cast_to_number", "2.8", STEPS, [*MARKED, aggregate(["CAST(t AS BIGINT) AS second"])], mode="update"),
    case(
        "cast_there_and_back",
        "2.8",
        STEPS,
        [*MARKED, with_column("t", "CAST(CAST(t AS STRING) AS TIMESTAMP)"), SPANS],
        mode="update",
    ),
    case("truncated", "2.8", STEPS, [*MARKED, with_column("t", "date_trunc('SECOND', t)"), SPANS], mode="update"),
    case("moved", "2.8", STEPS, [*MARKED, with_column("t", "t + INTERVAL 1 SECOND"), SPANS], mode="update"),
    case("coalesced", "2.8", STEPS, [*MARKED, aggregate(["coalesce(t, t) AS t"])], mode="update"),
    case("cast_to_the_same_type", "2.8", STEPS, [*MARKED, with_column("t", "CAST(t AS TIMESTAMP)"), SPANS], "update"),
    # No-data epochs.
    *modes("no_data_epochs_off", "3.6 3.5", STEPS, [*MARKED, SPANS], config={"noDataEpochs.enabled": False}),
    case(
        "no_data_epochs_off_empty_files",
        "3.6",
        [rows(5), rows(31), [], rows(60), [], []],
        [*MARKED, SPANS],
        config={"noDataEpochs.enabled": False},
    ),
    case(
        "no_data_epochs_off_at_once",
        "3.6",
        [rows(5), rows(31), [], rows(60)],
        [*MARKED, SPANS],
        config={"noDataEpochs.enabled": False},
        feed="together",
    ),
    case("no_data_epoch_unmoved", "3.6", [rows(50), rows(50), rows(20), rows(50.0001), rows(50.001)], [*MARKED, SPANS]),
    case("at_once_update", "3.6 2.3", STEPS, [*MARKED, SPANS], mode="update", feed="together"),
    case("at_once_complete", "3.6 1.4", STEPS, [*MARKED, SPANS], mode="complete", feed="together"),
]
