use std::sync::Arc;
use std::time::Duration;

use millstream::prelude::*;
use millstream::testing::ManualClock;

use crate::support::{numbers, rows, session, sorted, strings, text_stream};

fn copy(session: &Session, frame: &DataFrame, trigger: Trigger) -> StreamingQuery {
    let _ = session;
    frame.write_stream().format("memory").query_name("copy").trigger(trigger).start().unwrap()
}

#[test]
fn a_processing_time_trigger_waits_for_its_time_and_takes_all_that_came() {
    let clock = Arc::new(ManualClock::starting_at_millis(0));
    let session = Session::builder().clock(clock.clone()).build().unwrap();
    let lines = text_stream(&session);
    lines.add_rows([strings(&["first"])]).unwrap();
    let query = copy(&session, &lines.to_df(), Trigger::processing_time("10 seconds"));
    query.process_all_available().unwrap();
    assert_eq!(rows(&session.table("copy")), ["first"]);

    lines.add_rows([strings(&["second"])]).unwrap();
    lines.add_rows([strings(&["third"])]).unwrap();
    clock.advance(Duration::from_secs(10));
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("copy")), ["first", "second", "third"]);
    let progress = query.recent_progress();
    assert_eq!(progress.iter().map(|epoch| epoch.num_input_rows).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(progress[1].timestamp, "1970-01-01T00:00:10.000Z");
    query.stop().unwrap();
}

#[test]
fn once_takes_everything_in_one_epoch_and_ends() {
    let session = session(2);
    let lines = text_stream(&session);
    lines.add_rows([strings(&["a"])]).unwrap();
    lines.add_rows([strings(&["b"])]).unwrap();
    let query = copy(&session, &lines.to_df(), Trigger::once());
    query.await_termination().unwrap();
    assert_eq!(sorted(&session.table("copy")), ["a", "b"]);
    assert_eq!(query.recent_progress().len(), 1);
}

#[test]
fn available_now_keeps_to_the_rate_limits_and_ends_at_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["1.txt", "2.txt", "3.txt"] {
        std::fs::write(directory.path().join(name), format!("line of {name}\n")).unwrap();
    }
    let session = session(2);
    let path = directory.path().to_string_lossy().into_owned();
    let lines = session.read_stream().option("maxFilesPerTrigger", 2).text(path);
    let query = copy(&session, &lines, Trigger::available_now());
    query.await_termination().unwrap();
    assert_eq!(query.recent_progress().iter().map(|epoch| epoch.num_input_rows).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_continuous_query_gives_the_same_rows() {
    let session = session(2);
    let lines = text_stream(&session);
    let query = copy(&session, &lines.to_df(), Trigger::continuous("1 second"));
    for line in ["a", "b", "c"] {
        lines.add_rows([strings(&[line])]).unwrap();
        query.process_all_available().unwrap();
    }
    assert_eq!(sorted(&session.table("copy")), ["a", "b", "c"]);
    query.stop().unwrap();
}

#[test]
fn the_rate_source_follows_the_clock() {
    let clock = Arc::new(ManualClock::starting_at_millis(1_000_000));
    let session = Session::builder().clock(clock.clone()).build().unwrap();
    let ticks = session.read_stream().format("rate").option("rowsPerSecond", 2).load();
    let query = copy(&session, &ticks.select(["value"]), Trigger::default());
    query.process_all_available().unwrap();
    clock.advance(Duration::from_secs(3));
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("copy")), ["0", "1", "2", "3", "4", "5"]);
    query.stop().unwrap();
}

#[test]
fn current_timestamp_is_one_moment_for_a_whole_epoch() {
    let clock = Arc::new(ManualClock::starting_at_millis(5_000));
    let session = Session::builder().clock(clock).build().unwrap();
    let stream = MemoryStream::new(&session, "n BIGINT");
    let stamped = stream.to_df().select((col("n"), current_timestamp().cast("string").alias("at")));
    let query = copy(&session, &stamped, Trigger::default());
    stream.add_rows([numbers(&[1, 2])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("copy")), ["1|1970-01-01 00:00:05", "2|1970-01-01 00:00:05"]);
    query.stop().unwrap();
}

#[test]
fn a_bad_interval_is_an_error_of_start() {
    let session = session(1);
    let lines = text_stream(&session);
    let writer = lines.to_df().write_stream().format("noop").trigger(Trigger::processing_time("5 parsecs"));
    assert!(crate::support::message(writer.start()).contains("parsecs"));
}
