//! Watermarks, windows and late rows as a user sees them; what Spark does with the same rows is in `tests/parity`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millstream::arrow::array::{ArrayRef, TimestampMicrosecondArray};
use millstream::arrow::record_batch::RecordBatch;
use millstream::prelude::*;
use millstream::testing::ManualClock;
use proptest::prelude::*;

use crate::support::{into_memory, rows, session, sorted, timed, timed_stream};

/// Counts of words in windows of ten seconds under a watermark of ten seconds.
fn window_counts(stream: &MemoryStream) -> DataFrame {
    let marked = stream.to_df().with_watermark("time", "10 seconds");
    marked.group_by((window("time", "10 seconds"), "word")).count()
}

fn feed(stream: &MemoryStream, query: &StreamingQuery, rows: &[(i64, &str)]) {
    stream.add_rows(timed(rows)).unwrap();
    query.process_all_available().unwrap();
}

/// The rows a query dropped, read by a query over its late rows.
fn late(session: &Session, query: &StreamingQuery, columns: &[&str]) -> Vec<String> {
    let rows = query.late_rows().select(columns);
    let name = "late_rows_seen";
    let reader = rows.write_stream().format("memory").query_name(name).trigger(Trigger::available_now());
    reader.start().unwrap().await_termination().unwrap();
    sorted(&session.table(name))
}

#[test]
fn a_window_is_shown_once_the_watermark_has_passed_its_end() {
    let session = session(2);
    let stream = timed_stream(&session);
    let query = into_memory(&window_counts(&stream), "counts", OutputMode::Append);
    feed(&stream, &query, &[(1, "a"), (2, "a"), (3, "b"), (11, "a")]);
    assert!(rows(&session.table("counts")).is_empty());
    feed(&stream, &query, &[(20, "c")]);
    let shown = session.table("counts").select_expr(["window.end AS end", "word", "count"]);
    assert_eq!(sorted(&shown), ["1970-01-01T00:00:10Z|a|2", "1970-01-01T00:00:10Z|b|1"]);
    assert_eq!(query.watermark(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(10)));
    query.stop().unwrap();
}

#[test]
fn late_rows_are_counted_by_reason_and_can_be_read_as_a_stream() {
    let session = session(2);
    let stream = timed_stream(&session);
    let query = into_memory(&window_counts(&stream), "counts", OutputMode::Append);
    feed(&stream, &query, &[(5, "a"), (40, "b")]);
    // The watermark is 30 s now, by which rows are judged from the next epoch on.
    feed(&stream, &query, &[(3, "late"), (29, "late"), (31, "kept")]);
    let progress = query.last_progress().unwrap();
    assert_eq!(progress.dropped_rows, BTreeMap::from([("late".to_string(), 2)]));
    assert_eq!(progress.state_operators[0].num_rows_dropped_by_watermark, 2);
    let seen = late(&session, &query, &["time", "word", "reason", "watermark", "lateness", "operator"]);
    assert_eq!(
        seen,
        [
            "1970-01-01T00:00:03Z|late|late|1970-01-01T00:00:30Z|20000|aggregate",
            "1970-01-01T00:00:29Z|late|late|1970-01-01T00:00:30Z|0|aggregate",
        ]
    );
    query.stop().unwrap();
}

#[test]
fn a_row_without_an_event_time_is_in_no_window_and_is_counted() {
    let session = session(1);
    let stream = timed_stream(&session);
    let query = into_memory(&window_counts(&stream), "counts", OutputMode::Update);
    let nulls = session.sql("SELECT CAST(NULL AS TIMESTAMP) AS time, 'x' AS word").collect().unwrap();
    stream.add(nulls[0].clone()).unwrap();
    query.process_all_available().unwrap();
    let dropped = query.last_progress().unwrap().dropped_rows;
    assert_eq!(dropped, BTreeMap::from([("null event time".to_string(), 1)]));
    assert_eq!(late(&session, &query, &["word", "reason"]), ["x|null event time"]);
    query.stop().unwrap();
}

#[test]
fn rows_that_a_selected_window_or_session_has_no_place_for_can_be_read_too() {
    let session = session(1);
    let stream = MemoryStream::new(&session, "time TIMESTAMP, word STRING, gap STRING");
    let rows = session.sql(
        "SELECT CAST(t AS TIMESTAMP) AS time, w AS word, g AS gap FROM (VALUES (CAST(NULL AS STRING), 'no time', '1 second'), \
         ('2021-10-01 09:30:00', 'no gap', '0 seconds')) AS v(t, w, g)",
    );
    for batch in rows.collect().unwrap() {
        stream.add(batch).unwrap();
    }
    let windows = stream.to_df().select((window("time", "10 seconds"), "word"));
    let sessions = stream.to_df().group_by((session_window("time", col("gap")), "word")).count();
    for (frame, mode, lost) in [
        (windows, OutputMode::Append, vec!["no time|null event time"]),
        (
            sessions,
            OutputMode::Complete,
            vec![
                "no gap|no session: null event time, or gap not positive",
                "no time|no session: null event time, or gap not positive",
            ],
        ),
    ] {
        let query = frame.write_stream().format("noop").output_mode(mode).start().unwrap();
        query.process_all_available().unwrap();
        assert_eq!(late(&session, &query, &["word", "reason"]), lost);
        query.stop().unwrap();
    }
}

#[test]
fn operators_that_read_different_columns_share_one_stream_of_late_rows() {
    let session = session(1);
    let stream = timed_stream(&session);
    let once = stream.to_df().with_watermark("time", "0 seconds").drop_duplicates(["time", "word"]);
    let counts = once.group_by(window("time", "10 seconds")).count();
    let query = into_memory(&counts, "counts", OutputMode::Append);
    feed(&stream, &query, &[(50, "a")]);
    feed(&stream, &query, &[(20, "late"), (60, "b")]);
    assert_eq!(late(&session, &query, &["word", "reason", "operator"]), ["late|late|deduplicate"]);
    query.stop().unwrap();
}

#[test]
fn progress_tells_event_times_and_duplicates() {
    let session = session(1);
    let stream = timed_stream(&session);
    let once = stream.to_df().with_watermark("time", "10 seconds").drop_duplicates(["time", "word"]);
    let query = into_memory(&once, "once", OutputMode::Append);
    feed(&stream, &query, &[(10, "a"), (30, "a"), (10, "a"), (30, "b")]);
    let first = &query.recent_progress()[0];
    assert_eq!(first.event_time["min"], "1970-01-01T00:00:10.000Z");
    assert_eq!(first.event_time["max"], "1970-01-01T00:00:30.000Z");
    assert_eq!(first.event_time["avg"], "1970-01-01T00:00:20.000Z");
    assert_eq!(first.event_time["watermark"], "1970-01-01T00:00:00.000Z");
    assert_eq!(first.state_operators[0].custom_metrics["numDroppedDuplicateRows"], 1);
    let second = query.last_progress().unwrap();
    assert_eq!((second.batch_id, second.num_input_rows), (1, 0), "an epoch without input follows");
    assert_eq!((second.state_operators[0].num_rows_total, second.state_operators[0].num_rows_removed), (2, 1));
    query.stop().unwrap();
}

#[test]
fn progress_accounts_for_every_row_of_every_operator() {
    let session = session(2);
    let stream = timed_stream(&session);
    let marked = stream.to_df().filter("word <> 'no'").with_watermark("time", "0 seconds");
    let counts = marked.group_by((window_sliding("time", "10 seconds", "5 seconds"), "word")).count();
    let query = into_memory(&counts, "counts", OutputMode::Append);
    feed(&stream, &query, &[(7, "a"), (31, "b"), (32, "no")]);
    feed(&stream, &query, &[(8, "late"), (40, "c")]);
    for progress in query.recent_progress() {
        for rows in &progress.operator_rows {
            let dropped: u64 = rows.rows_dropped.values().sum();
            let (taken, given) = (rows.rows_in + rows.rows_made, rows.rows_out + rows.rows_absorbed + dropped);
            assert_eq!(taken, given, "{rows:?} of {progress}");
        }
    }
    let second = &query.recent_progress()[2];
    let names: Vec<&str> = second.operator_rows.iter().map(|rows| rows.operator_name.as_str()).collect();
    assert_eq!(names, ["output", "aggregate", "watermark", "filter"]);
    // The late row is in two windows, both of which are over.
    assert_eq!(second.operator_rows[1].rows_dropped, BTreeMap::from([("late".to_string(), 2)]));
    query.stop().unwrap();
}

#[test]
fn the_watermark_is_explained_with_who_holds_it() {
    let session = session(1);
    let (fast, slow) = (timed_stream(&session), timed_stream(&session));
    let marked = |stream: &MemoryStream| stream.to_df().with_watermark("time", "5 seconds");
    let both = marked(&fast).union(&marked(&slow)).group_by((window("time", "10 seconds"), "word")).count();
    let query = into_memory(&both, "counts", OutputMode::Append);
    feed(&fast, &query, &[(100, "a")]);
    let status = query.explain_watermark().unwrap();
    assert_eq!(status.watermark_ms, 0);
    let holder = status.nodes.iter().find(|node| node.decides).unwrap();
    assert_eq!((holder.max_event_time_ms, holder.rows), (None, 0));
    let text = status.to_string();
    assert!(text.contains("has seen no row") && text.contains("millstream.watermark.idleTimeout"), "{text}");
    query.stop().unwrap();
}

#[test]
fn a_stream_without_rows_stops_holding_the_watermark_if_that_is_wanted() {
    let clock = Arc::new(ManualClock::default());
    let builder = Session::builder().parallelism(1).clock(clock.clone());
    let session = builder.config("millstream.watermark.idleTimeout", "30 seconds").build().unwrap();
    let (fast, slow) = (timed_stream(&session), timed_stream(&session));
    let marked = |stream: &MemoryStream| stream.to_df().with_watermark("time", "0 seconds");
    let both = marked(&fast).union(&marked(&slow)).group_by((window("time", "10 seconds"), "word")).count();
    let query = into_memory(&both, "counts", OutputMode::Append);
    feed(&fast, &query, &[(5, "a"), (100, "b")]);
    assert!(rows(&session.table("counts")).is_empty());
    clock.advance(Duration::from_secs(20));
    feed(&fast, &query, &[(101, "b")]);
    assert!(rows(&session.table("counts")).is_empty());
    clock.advance(Duration::from_secs(15));
    query.process_all_available().unwrap();
    let words = session.table("counts").select(["word", "count"]);
    assert_eq!(rows(&words), ["a|1"], "{:?}", query.explain_watermark());
    query.stop().unwrap();
}

#[test]
fn one_clock_that_runs_ahead_does_not_make_everybody_late_if_that_is_wanted() {
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_secs(100));
    let builder = Session::builder().parallelism(1).clock(clock);
    let session = builder.config("millstream.watermark.maxAhead", "1 hour").build().unwrap();
    let stream = timed_stream(&session);
    let query = into_memory(&window_counts(&stream), "counts", OutputMode::Append);
    feed(&stream, &query, &[(95, "a"), (1_000_000, "wrong")]);
    assert_eq!(query.watermark(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(85)));
    assert_eq!(query.explain_watermark().unwrap().nodes[0].rows_ahead, 1);
    query.stop().unwrap();
}

#[test]
fn explain_says_what_bounds_the_state() {
    let session = session(1);
    let stream = timed_stream(&session);
    let says = |frame: &DataFrame, part: &str| {
        let text = frame.explain().unwrap();
        assert!(text.contains(part), "{text}\ndoes not say {part}");
    };
    let marked = stream.to_df().with_watermark("time", "10 minutes");
    says(
        &marked.group_by((window("time", "5 minutes"), "word")).count(),
        "aggregation by window, word: keys x (5 minutes + 10 minutes)",
    );
    says(&marked.group_by(("time", "word")).count(), "aggregation by time, word: keys x 10 minutes");
    says(
        &marked.group_by((session_window("time", "5 minutes"), "word")).count(),
        "aggregation by session_window, word: sessions of the last gap + 10 minutes",
    );
    says(&marked.drop_duplicates(["time", "word"]), "drop_duplicates by time, word: keys x 10 minutes");
    says(&marked.drop_duplicates(["word"]), "drop_duplicates by word: UNBOUNDED: every key is kept for ever; add");
    says(&marked.drop_duplicates_within_watermark("word"), "drop_duplicates by word: keys x 10 minutes");
    says(&stream.to_df().group_by("word").count(), "UNBOUNDED: complete mode keeps every group for ever");
    let query = into_memory(&stream.to_df().group_by("word").count(), "counts", OutputMode::Update);
    assert!(query.explain().contains("aggregation by word: UNBOUNDED: every key is kept for ever; group by window"));
    query.stop().unwrap();
}

#[test]
fn state_shrinks_as_event_time_moves_on() {
    let session = session(2);
    let stream = timed_stream(&session);
    let counts = window_counts(&stream);
    let query = counts.write_stream().format("noop").output_mode(OutputMode::Update).start().unwrap();
    let words: Vec<String> = (0..50).map(|word| format!("word {word}")).collect();
    let mut held = Vec::new();
    for epoch in 0..60 {
        let rows: Vec<(i64, &str)> = words.iter().map(|word| (epoch * 10, word.as_str())).collect();
        feed(&stream, &query, &rows);
        held.push(query.last_progress().unwrap().state_operators[0].num_rows_total);
    }
    // A window is open for its ten seconds and the ten of the delay.
    assert!(held[5..].iter().all(|rows| *rows == 100), "{held:?}");
    query.stop().unwrap();
}

#[test]
fn sessions_of_a_static_table_are_merged_too() {
    let session = session(1);
    let table = session.sql(
        "SELECT CAST(t AS TIMESTAMP) AS time, u AS user FROM (VALUES \
         ('2021-10-01 09:30:00', 'a'), ('2021-10-01 09:33:00', 'a'), ('2021-10-01 09:38:00', 'a'), \
         ('2021-10-01 09:44:00', 'a'), ('2021-10-01 09:30:00', 'b')) AS v(t, u)",
    );
    let sessions = table.group_by((session_window("time", "5 minutes"), "user")).count();
    let shown = sessions.select_expr(["user", "session_window.start AS s", "session_window.end AS e", "count"]);
    assert_eq!(
        sorted(&shown),
        [
            "a|2021-10-01T09:30:00Z|2021-10-01T09:43:00Z|3",
            "a|2021-10-01T09:44:00Z|2021-10-01T09:49:00Z|1",
            "b|2021-10-01T09:30:00Z|2021-10-01T09:35:00Z|1",
        ]
    );
}

/// Random events of a few epochs: seconds and word.
fn events() -> impl Strategy<Value = Vec<Vec<(i64, u8)>>> {
    let epoch = |number: i64| prop::collection::vec((number * 15..number * 15 + 60, 0_u8..3), 0..25);
    (1_i64..7).prop_flat_map(move |epochs| (0..epochs).map(epoch).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn append_mode_gives_the_batch_result_of_the_rows_not_dropped(epochs in events(), parallelism in 1_usize..4) {
        let session = session(parallelism);
        let stream = timed_stream(&session);
        let query = into_memory(&window_counts(&stream), "counts", OutputMode::Append);
        let word = |row: &(i64, u8)| ["a", "b", "c"][usize::from(row.1)];
        let mut all: Vec<(i64, &str)> = Vec::new();
        for epoch in &epochs {
            let rows: Vec<(i64, &str)> = epoch.iter().map(|row| (row.0, word(row))).collect();
            feed(&stream, &query, &rows);
            all.extend(rows);
        }
        // A row far ahead closes every window.
        feed(&stream, &query, &[(1_000_000, "end")]);
        let dropped = late(&session, &query, &["time", "word"]);
        let counted: u64 = query.recent_progress().iter().flat_map(|progress| progress.dropped_rows.values()).sum();
        prop_assert_eq!(dropped.len() as u64, counted);

        let table = |rows: &[(i64, &str)]| {
            let columns = ["time", "word"].into_iter().zip(timed(rows));
            session.create_data_frame(vec![RecordBatch::try_from_iter(columns).unwrap()])
        };
        let mut texts = rows(&table(&all));
        let mut kept = all;
        for row in &dropped {
            let place = texts.iter().position(|text| text == row).unwrap();
            texts.swap_remove(place);
            kept.swap_remove(place);
        }
        let columns = ["window.end AS end", "word", "count"];
        let expected = table(&kept).group_by((window("time", "10 seconds"), "word")).count().select_expr(columns);
        prop_assert_eq!(sorted(&session.table("counts").select_expr(columns)), sorted(&expected));
        query.stop().unwrap();
    }
}

#[test]
fn the_first_row_of_a_key_is_the_source_s_first_at_any_parallelism() {
    let numbers: Vec<i64> = (0..40_000).collect();
    for parallelism in [1, 2, 4] {
        let session = session(parallelism);
        let stream = MemoryStream::new(&session, "k STRING, n BIGINT");
        let once = stream.to_df().drop_duplicates("k");
        let firsts = stream.to_df().group_by("k").agg([first("n").alias("first"), last("n").alias("last")]);
        let queries =
            [into_memory(&once, "once", OutputMode::Append), into_memory(&firsts, "firsts", OutputMode::Update)];
        let keys = crate::support::strings(&vec!["k"; numbers.len()]);
        stream.add_rows([keys, crate::support::numbers(&numbers)]).unwrap();
        for query in queries {
            query.process_all_available().unwrap();
            query.stop().unwrap();
        }
        assert_eq!(rows(&session.table("once")), ["k|0"], "parallelism {parallelism}");
        assert_eq!(rows(&session.table("firsts")), ["k|0|39999"], "parallelism {parallelism}");
    }
}

#[test]
fn a_time_without_a_window_is_counted_and_one_key_may_stand_twice() {
    let session = session(1);
    let stream = timed_stream(&session);
    let marked = stream.to_df().with_watermark("time", "0 seconds");
    let twice =
        marked.group_by((window("time", "10 seconds"), window("time", "10 seconds").alias("w"), "word")).count();
    let query = into_memory(&twice, "twice", OutputMode::Update);
    feed(&stream, &query, &[(5, "a")]);
    assert_eq!(rows(&session.table("twice").select(["word", "count"])), ["a|1"]);
    query.stop().unwrap();

    let counts = stream.to_df().group_by(window("time", "10 seconds")).count();
    let query = into_memory(&counts, "counts", OutputMode::Update);
    let far = TimestampMicrosecondArray::from(vec![i64::MAX]).with_timezone("UTC");
    stream.add_rows([Arc::new(far) as ArrayRef, crate::support::strings(&["far"])]).unwrap();
    query.process_all_available().unwrap();
    let dropped = query.last_progress().unwrap().dropped_rows;
    assert_eq!(dropped, BTreeMap::from([("event time out of range".to_string(), 1)]));
    query.stop().unwrap();
}
