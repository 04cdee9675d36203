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

#[test]
fn rows_of_a_join_beyond_the_limit_find_their_partners_also_at_another_parallelism() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint").to_string_lossy().into_owned();
    let session = limited(2);
    let (left, right) = (MemoryStream::new(&session, "n BIGINT"), MemoryStream::new(&session, "m BIGINT"));
    let pairs = left.to_df().join(&right.to_df(), "n = m", JoinType::Inner);
    let run = || {
        let writer = pairs.write_stream().format("memory").query_name("pairs");
        let query = writer.option("checkpointLocation", &place).start().unwrap();
        query.process_all_available().unwrap();
        query.stop().unwrap();
        query.last_progress().unwrap().state_operators[0].clone()
    };
    add_all(&left);
    let state = run();
    assert_eq!(state.num_rows_total, KEYS.unsigned_abs());
    let outside = state.custom_metrics["rowsOutsideMemory"];
    assert!(outside > KEYS.unsigned_abs() / 4, "{outside} rows are outside memory");
    assert!(state.memory_used_bytes < 8 << 20, "{} bytes of state are in memory", state.memory_used_bytes);

    session.set_config("millstream.parallelism", 3).unwrap();
    add_all(&right);
    left.add_rows([numbers(&[7, KEYS])]).unwrap();
    assert_eq!(run().num_rows_total, 2 * KEYS.unsigned_abs() + 2);
    let pairs = session.table("pairs").where_("n = m");
    let shown = pairs.agg([count("*").alias("pairs"), sum("n").alias("sum")]);
    assert_eq!(sorted(&shown), [format!("{}|{}", KEYS + 1, KEYS * (KEYS - 1) / 2 + 7)]);
}

/// Adds numbers that are their own milliseconds of event time.
fn add_timed(stream: &MemoryStream, millis: &[i64]) {
    let micros = millis.iter().map(|millis| millis * 1000);
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"));
    stream.add_rows([times, numbers(millis)]).unwrap();
}

fn watermarked(stream: &MemoryStream) -> DataFrame {
    stream.to_df().with_watermark("time", "1 hour")
}

/// How many rows of state there are, outside memory and in all, how many were dropped as duplicates and removed since the start.
fn deduplicated(frame: &DataFrame, place: &str) -> [u64; 4] {
    let writer = frame.write_stream().format("memory").query_name("firsts").option("checkpointLocation", place);
    let query = writer.start().unwrap();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    let operators = query.recent_progress().into_iter().map(|progress| progress.state_operators[0].clone());
    let operators: Vec<_> = operators.collect();
    let duplicates = operators.iter().map(|state| state.custom_metrics["numDroppedDuplicateRows"]).sum();
    let last = &operators[operators.len() - 1];
    assert!(last.memory_used_bytes < 8 << 20, "{} bytes of state are in memory", last.memory_used_bytes);
    let removed = operators.iter().map(|state| state.num_rows_removed).sum();
    [last.custom_metrics["rowsOutsideMemory"], last.num_rows_total, duplicates, removed]
}

/// A deduplication, and whether a row far ahead frees all others.
type Case = (&'static str, fn(&MemoryStream) -> DataFrame, bool);

#[test]
fn keys_beyond_the_limit_are_known_on_and_come_back_at_another_parallelism() {
    let keys = KEYS.unsigned_abs();
    let far = 36_000_000;
    let cases: [Case; 3] = [
        ("for ever", |stream| stream.to_df().drop_duplicates(["n", "time"]), false),
        ("by time", |stream| watermarked(stream).drop_duplicates(["n", "time"]), true),
        ("within", |stream| watermarked(stream).drop_duplicates_within_watermark("n"), true),
    ];
    for (case, deduplicate, is_freed) in cases {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("checkpoint").to_string_lossy().into_owned();
        let session = limited(2);
        let stream = MemoryStream::new(&session, "time TIMESTAMP, n BIGINT");
        let firsts = deduplicate(&stream);
        let add_all = || {
            for first in (1..=KEYS).step_by(usize::try_from(ROWS).unwrap()) {
                add_timed(&stream, &(first..first + ROWS).collect::<Vec<_>>());
            }
        };
        add_all();
        let [outside, total, duplicates, removed] = deduplicated(&firsts, &place);
        assert_eq!((total, duplicates, removed), (keys, 0, 0), "{case}");
        assert!(outside > keys / 3, "{case}: {outside} keys are outside memory");

        session.set_config("millstream.parallelism", 3).unwrap();
        add_all();
        add_timed(&stream, &[KEYS, far]);
        let [outside, total, duplicates, removed] = deduplicated(&firsts, &place);
        assert_eq!(duplicates, keys + 1, "{case}");
        assert_eq!((total, removed), if is_freed { (1, keys) } else { (keys + 1, 0) }, "{case}");
        assert_eq!(outside > 0, !is_freed, "{case}");
        let passed = session.table("firsts").agg([count("*"), sum("n")]);
        assert_eq!(sorted(&passed), [format!("{}|{}", keys + 1, KEYS * (KEYS + 1) / 2 + far)], "{case}");
    }
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
