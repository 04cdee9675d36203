use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, TimestampMicrosecondArray};
use millstream::prelude::*;

use crate::support::{numbers, session, sorted};

/// What the least limit there can be leaves for the state of one instance is a fraction of this many groups.
const KEYS: i64 = 240_000;
/// So many rows at a time.
const ROWS: i64 = 30_000;

fn limited(parallelism: usize) -> Session {
    let session = session(parallelism);
    session.set_config("millstream.memory.limit", "16m").unwrap();
    session
}

/// Adds each key once, in order.
fn add_all(stream: &MemoryStream) {
    for first in (0..KEYS).step_by(usize::try_from(ROWS).unwrap()) {
        stream.add_rows([numbers(&(first..first + ROWS).collect::<Vec<_>>())]).unwrap();
    }
}

#[test]
fn an_epoch_reads_no_more_than_a_part_of_the_limit() {
    let counted = |session: &Session| {
        let stream = MemoryStream::new(session, "n BIGINT");
        add_all(&stream);
        let query = stream.to_df().write_stream().format("noop").start().unwrap();
        query.process_all_available().unwrap();
        query.stop().unwrap();
        query.recent_progress().iter().map(|progress| progress.num_input_rows).collect::<Vec<_>>()
    };
    assert_eq!(counted(&session(2)), [KEYS.unsigned_abs()]);
    let epochs = counted(&limited(2));
    assert_eq!(epochs.iter().sum::<u64>(), KEYS.unsigned_abs());
    // 16 MB / 16, and the add that reaches it.
    assert!(epochs.iter().all(|rows| rows * 8 <= (1 << 20) + ROWS.unsigned_abs() * 8), "{epochs:?}");
}

#[test]
fn groups_beyond_the_limit_are_counted_on_and_come_back_at_another_parallelism() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint").to_string_lossy().into_owned();
    let session = limited(2);
    let stream = MemoryStream::new(&session, "n BIGINT");
    let counts = stream.to_df().group_by("n").agg([count("*").alias("times"), max("n").alias("most")]);
    let run = || {
        let writer = counts.write_stream().format("memory").query_name("counts").output_mode(OutputMode::Update);
        let query = writer.option("checkpointLocation", &place).start().unwrap();
        query.process_all_available().unwrap();
        query.stop().unwrap();
        query.last_progress().unwrap().state_operators[0].clone()
    };
    add_all(&stream);
    let state = run();
    assert_eq!(state.num_rows_total, KEYS.unsigned_abs());
    let outside = state.custom_metrics["rowsOutsideMemory"];
    assert!(outside > KEYS.unsigned_abs() / 2, "{outside} groups are outside memory");
    assert!(state.memory_used_bytes < 8 << 20, "{} bytes of state are in memory", state.memory_used_bytes);

    session.set_config("millstream.parallelism", 3).unwrap();
    add_all(&stream);
    stream.add_rows([numbers(&[KEYS - 1, KEYS])]).unwrap();
    assert_eq!(run().num_rows_total, KEYS.unsigned_abs() + 1);
    let counts = session.table("counts").group_by("n").agg([max("times").alias("times")]);
    let shown = counts.group_by("times").agg([count("*").alias("keys"), sum("n").alias("sum")]);
    let others = KEYS - 1;
    let expected =
        [format!("1|1|{KEYS}"), format!("2|{others}|{}", others * (others - 1) / 2), format!("3|1|{others}")];
    assert_eq!(sorted(&shown), expected);
}

/// Sessions by key, a fraction of which are held in memory, too.
const SESSIONS: i64 = KEYS / 2;

/// Adds each of these keys once, in order, at so many seconds since 1970-01-01T00:00:00Z.
fn add_at(stream: &MemoryStream, second: i64, keys: std::ops::Range<i64>) {
    for keys in keys.collect::<Vec<_>>().chunks(usize::try_from(ROWS).unwrap()) {
        let times = TimestampMicrosecondArray::from(vec![second * 1_000_000; keys.len()]).with_timezone("UTC");
        stream.add_rows([Arc::new(times) as ArrayRef, numbers(keys)]).unwrap();
    }
}

#[test]
fn sessions_beyond_the_limit_grow_come_back_at_another_parallelism_and_end() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint").to_string_lossy().into_owned();
    let session = limited(2);
    let stream = MemoryStream::new(&session, "time TIMESTAMP, n BIGINT");
    let sessions = stream.to_df().with_watermark("time", "10 seconds");
    let sessions = sessions.group_by((session_window("time", "5 seconds"), "n")).count();
    let sessions = sessions.select_expr(["n", "session_window.end AS end", "count"]);
    let run = || {
        let writer = sessions.write_stream().format("memory").query_name("sessions").output_mode(OutputMode::Append);
        let query = writer.option("checkpointLocation", &place).start().unwrap();
        query.process_all_available().unwrap();
        query.stop().unwrap();
        query.last_progress().unwrap().state_operators[0].clone()
    };
    add_at(&stream, 100, 0..SESSIONS);
    let state = run();
    assert_eq!(state.num_rows_total, SESSIONS.unsigned_abs());
    let outside = state.custom_metrics["rowsOutsideMemory"];
    assert!(outside > SESSIONS.unsigned_abs() / 3, "{outside} sessions are outside memory");
    assert!(state.memory_used_bytes < 8 << 20, "{} bytes of state are in memory", state.memory_used_bytes);

    session.set_config("millstream.parallelism", 3).unwrap();
    // The first half goes on, and then all is final but what says so.
    let half = SESSIONS / 2;
    add_at(&stream, 104, 0..half);
    add_at(&stream, 1000, 0..1);
    assert_eq!(run().num_rows_total, 1);
    let shown =
        session.table("sessions").group_by(["count", "end"]).agg([count("*").alias("keys"), sum("n").alias("sum")]);
    let sum = |keys: i64| keys * (keys - 1) / 2;
    let expected = [
        format!("1|1970-01-01T00:01:45Z|{half}|{}", sum(SESSIONS) - sum(half)),
        format!("2|1970-01-01T00:01:49Z|{half}|{}", sum(half)),
    ];
    assert_eq!(sorted(&shown), expected);
}
