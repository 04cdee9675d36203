use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use millstream::arrow::datatypes::DataType;
use millstream::arrow::record_batch::RecordBatch;
use millstream::prelude::*;

use crate::support::{assert_says, message, rows, session, sorted};

/// Words with the minute they were said at, after 2021-10-01 12:00; the last one at no time.
fn words(session: &Session) -> DataFrame {
    let noon = 1_633_089_600_000_000;
    let minutes = [Some(2), Some(3), Some(7), Some(11), Some(11), None];
    let times: TimestampMicrosecondArray =
        minutes.into_iter().map(|minute| minute.map(|minute: i64| noon + minute * 60_000_000)).collect();
    let words = ["cat", "dog", "cat", "owl", "dog", "elk"];
    let columns: [(&str, ArrayRef); 3] = [
        ("t", Arc::new(times.with_timezone("UTC"))),
        ("word", Arc::new(StringArray::from(words.to_vec()))),
        ("n", Arc::new(Int64Array::from_iter_values(1..=6))),
    ];
    session.create_data_frame(vec![RecordBatch::try_from_iter(columns).unwrap()])
}

/// The rows with `2021-10-01T` and `:00Z` left out of times, sorted.
fn short(frame: &DataFrame) -> Vec<String> {
    let shorten = |row: &String| row.replace("2021-10-01T", "").replace(":00Z", "");
    sorted(frame).iter().map(shorten).collect()
}

fn refused(frame: &DataFrame) -> String {
    message(frame.schema())
}

#[test]
fn rows_are_grouped_by_window_and_word() {
    let session = session(1);
    let counts = words(&session).group_by((window("t", "5 minutes"), "word")).count();
    assert_eq!(
        short(&counts),
        [
            "{start: 12:00, end: 12:05}|cat|1",
            "{start: 12:00, end: 12:05}|dog|1",
            "{start: 12:05, end: 12:10}|cat|1",
            "{start: 12:10, end: 12:15}|dog|1",
            "{start: 12:10, end: 12:15}|owl|1",
        ]
    );
    let schema = counts.schema().unwrap();
    assert_eq!(counts.columns().unwrap(), ["window", "word", "count"]);
    let DataType::Struct(fields) = schema.field(0).data_type() else { panic!("{schema}") };
    assert_eq!(fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["start", "end"]);
}

#[test]
fn a_row_counts_in_every_sliding_window_that_holds_it() {
    let session = session(1);
    let words = words(&session);
    let counts = words.group_by(window_sliding("t", "10 minutes", "5 minutes")).count();
    assert_eq!(
        short(&counts.select(["window.start", "window.end", "count"])),
        ["11:55|12:05|2", "12:00|12:10|3", "12:05|12:15|3", "12:10|12:20|2"]
    );
    let moved = words.group_by(window_sliding_from("t", "5 minutes", "5 minutes", "-2 minutes")).count();
    assert_eq!(short(&moved.select(["window.start", "count"])), ["11:58|1", "12:03|2", "12:08|2"]);
}

#[test]
fn a_selected_window_makes_rows_and_drops_those_without_a_time() {
    let session = session(1);
    let words = words(&session);
    let selected = words.select((col("word"), window("t", "5 minutes")));
    assert_eq!(rows(&selected).len(), 5);
    assert_eq!(selected.columns().unwrap(), ["word", "window"]);
    let both = words.with_column("w", window_sliding("t", "10 minutes", "5 minutes")).filter("word = 'owl'");
    assert_eq!(short(&both.select(["word", "w.start", "w.end"])), ["owl|12:05|12:15", "owl|12:10|12:20"]);
    assert_eq!(both.columns().unwrap(), ["t", "word", "n", "w"]);
    let parts = words.select((
        window("t", "5 minutes").field("start").alias("start"),
        window_time(window("t", "5 minutes")).alias("time"),
        col("word"),
    ));
    assert_eq!(short(&parts)[0], "12:00|2021-10-01T12:04:59.999999Z|cat".replace("2021-10-01T", ""));
}

#[test]
fn windows_of_windows_are_made_of_the_last_time_they_hold() {
    let session = session(1);
    let five = words(&session).group_by((window("t", "5 minutes"), "word")).count();
    let ten = five.group_by(window("window", "10 minutes")).agg(sum("count"));
    assert_eq!(short(&ten), ["{start: 12:00, end: 12:10}|3", "{start: 12:10, end: 12:20}|2"]);
    let by_time = five.group_by(window(window_time("window"), "10 minutes")).agg(sum("count"));
    assert_eq!(short(&by_time), short(&ten));
    let times = five.select((window_time("window"), col("word"))).distinct();
    assert_eq!(times.columns().unwrap(), ["window_time(window)", "word"]);
    five.create_or_replace_temp_view("five");
    let text = "SELECT window(window, '10 minutes') AS w, sum(count) FROM five GROUP BY window(window, '10 minutes')";
    assert_eq!(short(&session.sql(text)), short(&ten));
}

#[test]
fn sql_text_says_the_same() {
    let session = session(1);
    words(&session).create_or_replace_temp_view("words");
    let cases: [(&str, &[&str]); 8] = [
        (
            "SELECT window(t, '5 minutes').start, count(*) FROM words GROUP BY window(t, '5 minutes')",
            &["12:00|2", "12:05|1", "12:10|2"],
        ),
        (
            "SELECT window.start, window.end, max(n) AS m FROM words GROUP BY window(t, INTERVAL 5 MINUTES) \
             HAVING window.start > TIMESTAMP '2021-10-01 12:00:00' ORDER BY window.start",
            &["12:05|12:10|3", "12:10|12:15|5"],
        ),
        (
            "SELECT w.start, word FROM (SELECT window(t, '10 minutes') AS w, word FROM words) WHERE word = 'dog'",
            &["12:00|dog", "12:10|dog"],
        ),
        (
            "SELECT window(t, '10 minutes') AS w, count(*) FROM words GROUP BY w",
            &["{start: 12:00, end: 12:10}|3", "{start: 12:10, end: 12:20}|2"],
        ),
        (
            "SELECT window, count(*) FROM words GROUP BY window(t, '10 minutes') ORDER BY window.end DESC",
            &["{start: 12:00, end: 12:10}|3", "{start: 12:10, end: 12:20}|2"],
        ),
        (
            "SELECT window.start, sum(n) FROM words GROUP BY window(t, '10 minutes', '5 minutes', '2 minutes')",
            &["11:57|3", "12:02|15", "12:07|12"],
        ),
        ("SELECT max(window(t, '5 minutes').end) FROM words", &["12:15"]),
        ("SELECT window(DATE '2021-10-01', '1 day').end AS e", &["2021-10-02T00:00"]),
    ];
    for (text, expected) in cases {
        assert_eq!(short(&session.sql(text)), *expected, "{text}");
    }
}

#[test]
fn the_order_of_groups_may_name_the_window() {
    let session = session(1);
    words(&session).create_or_replace_temp_view("words");
    let grouped = "FROM words GROUP BY window(t, '5 minutes') ORDER BY window.start DESC";
    for list in ["window.start, count(*)", "window.start AS s, count(*)"] {
        let found = rows(&session.sql(format!("SELECT {list} {grouped}")));
        assert_eq!(found.len(), 3);
        assert!(found.is_sorted_by(|a, b| a > b), "{list}: {found:?}");
    }
}

#[test]
fn the_session_of_a_row_lasts_for_its_gap() {
    let session = session(1);
    let words = words(&session);
    let alone = words.select((session_window("t", "5 minutes").field("end").alias("end"), col("word")));
    assert_eq!(short(&alone), ["12:07|cat", "12:08|dog", "12:12|cat", "12:16|dog", "12:16|owl"]);
    assert_eq!(words.select([session_window("t", "5 minutes")]).columns().unwrap(), ["session_window"]);
    words.create_or_replace_temp_view("words");
    let text = "SELECT session_window(t, CASE WHEN word = 'cat' THEN '1 minute' WHEN word = 'dog' THEN '2 minutes' \
                ELSE 'soon' END).end AS end, word FROM words";
    assert_eq!(short(&session.sql(text)), ["12:03|cat", "12:05|dog", "12:08|cat", "12:13|dog"]);
    let interval = "SELECT session_window(t, INTERVAL 1 MINUTE * n).end AS end, word FROM words";
    assert_eq!(short(&session.sql(interval)), ["12:03|cat", "12:05|dog", "12:10|cat", "12:15|owl", "12:16|dog"]);
    assert!(rows(&words.select([session_window("t", "0 seconds")])).is_empty());
}

#[test]
fn what_no_window_can_be_made_of_is_refused_with_the_line_and_the_remedy() {
    let session = session(1);
    let words = words(&session);
    let five = || window("t", "5 minutes");
    let cases: [(DataFrame, &[&str]); 11] = [
        (words.select([window("word", "5 minutes")]), &["needs a TIMESTAMP, but `word` is STRING", "cast("]),
        (words.select([window("t", "1 month")]), &["months or years", "write it in days"]),
        (words.group_by(window_sliding("t", "5 minutes", "10 minutes")).count(), &["slide", "longer than the size"]),
        (words.group_by(window_sliding_from("t", "5 minutes", "5 minutes", "5 minutes")).count(), &["start time"]),
        (words.select([window_time("t")]), &["window_time(…) needs a window, but `t` is TIMESTAMP"]),
        (
            words.group_by((five(), window("t", "10 minutes"))).count(),
            &["window(…) of 5 minutes and window(…) of 10 minutes", "one query for each"],
        ),
        (words.select((five(), session_window("t", "5 minutes"))), &["and session_window(…) cannot stand in one"]),
        (words.select([window(five(), "10 minutes")]), &["window(…) of 10 minutes and window(…) of 5 minutes"]),
        (words.filter(five().field("start").is_null()), &["only in select, with_column, group_by and agg"]),
        (words.sort(five()), &["only in select", "with_column(\"window\", window(…))"]),
        (words.group_by("word").agg((count_all(), five().field("start"))), &["`window` is neither grouped"]),
    ];
    for (frame, expected) in cases {
        let said = refused(&frame);
        assert_says(&said, expected);
        assert_says(&said, &["windows_static.rs:"]);
    }
    let joined = words.alias("a").join(&words.alias("b"), window("a.t", "5 minutes").is_null(), JoinType::Inner);
    assert_says(&refused(&joined), &["only in select"]);
}

#[test]
fn a_function_of_the_user_may_be_called_window() {
    let session = session(1);
    let types = vec![DataType::Int64, DataType::Int64];
    session.register_udf(ScalarUdf::new("window", types, DataType::Int64, |args| Ok(args[0].clone())));
    words(&session).create_or_replace_temp_view("words");
    let found = rows(&session.sql("SELECT window(n, 1) AS w FROM words WHERE window(n, 1) > 4"));
    assert_eq!(found, ["5", "6"]);
}

#[test]
fn the_plan_makes_the_windows_below_what_uses_them() {
    let session = session(1);
    let words = words(&session);
    let plan = words.group_by((window("t", "5 minutes"), "word")).count().explain().unwrap();
    let place = |part: &str| plan.rfind(part).unwrap_or_else(|| panic!("no {part} in {plan}"));
    assert!(place("Aggregate: ") < place("Unnest: ") && place("Unnest: ") < place("windows(t#"), "{plan}");
    let plan = words.select([session_window("t", "5 minutes")]).explain().unwrap();
    let place = |part: &str| plan.rfind(part).unwrap_or_else(|| panic!("no {part} in {plan}"));
    assert!(place("IS NOT NULL") < place("session_windows(t#"), "{plan}");
}

#[test]
fn windows_over_a_stream_have_the_same_columns() {
    let session = session(1);
    let lines = MemoryStream::new(&session, "t TIMESTAMP, word STRING").to_df();
    let counts = lines.group_by((window("t", "10 minutes"), "word")).count();
    assert_eq!(counts.columns().unwrap(), ["window", "word", "count"]);
    let sessions = lines.group_by((session_window("t", "10 minutes"), "word")).count();
    assert_eq!(sessions.columns().unwrap(), ["session_window", "word", "count"]);
    assert_eq!(sessions.schema().unwrap().field(0).data_type(), counts.schema().unwrap().field(0).data_type());
    assert_eq!(lines.select([window("t", "1 day"), col("word")]).columns().unwrap(), ["window", "word"]);
}
