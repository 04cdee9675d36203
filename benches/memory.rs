//! State of ten times the memory a query may have: what it costs, and whether the limit is kept.
//!
//! Run:    cargo bench --features spill --bench memory [-- --limit-mb 32] [-- --only joins] [-- --small]
//! Prints: for each kind of state, without a limit and with one: rows a second, rows of state, those outside memory, the most memory the
//!         process held beyond what it had before, bytes of state in memory; the ratio of the rates; fails when a result is wrong
//!
//! Input: numbers in epochs of 50,000, in no order, a commit each epoch in a directory on this machine's disk, into `noop`.
//! Rows of state go to a file in the directory for temporary files. There are as many keys as fill ten times the limit.
//!
//! | `--only`   | query                                                                 | state               |
//! |------------|-----------------------------------------------------------------------|---------------------|
//! | `groups`   | count and sum by key; each key comes twice, the second time long after the first | a group a key |
//! | `joins`    | inner join of two streams; a key comes once on each side, at times far apart | two rows a key    |
//! | `keys`     | `drop_duplicates`; each key comes twice, as above                       | a key               |
//! | `sessions` | count by session window; each key comes twice within its gap            | an open session a key |

#![expect(clippy::disallowed_methods, reason = "a bench waits for the rows it wants")]
#![expect(clippy::cast_precision_loss, reason = "rates are estimates")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use millstream::prelude::*;
use support::resident_mb;

const ROWS_AN_EPOCH: u64 = 50_000;
/// No divisor of any number of keys used here.
const STRIDE: u64 = 7_368_787;

/// A kind of state.
struct Kind {
    name: &'static str,
    /// About what a key takes in memory.
    bytes_a_key: u64,
    query: fn(&Session, u64) -> DataFrame,
    mode: OutputMode,
    streams: u64,
    /// Times that a key is read in a stream.
    times: u64,
    /// What has come out at the end, and what is stored, for so many keys.
    rows_out: fn(u64) -> u64,
    rows_stored: fn(u64) -> u64,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "groups",
        bytes_a_key: 45,
        query: groups,
        mode: OutputMode::Update,
        streams: 1,
        times: 2,
        rows_out: |keys| 2 * keys,
        rows_stored: |keys| keys,
    },
    Kind {
        name: "joins",
        bytes_a_key: 2 * 48,
        query: joins,
        mode: OutputMode::Append,
        streams: 2,
        times: 1,
        rows_out: |keys| keys,
        rows_stored: |keys| 2 * keys,
    },
    Kind {
        name: "keys",
        bytes_a_key: 32,
        query: keys,
        mode: OutputMode::Append,
        streams: 1,
        times: 2,
        rows_out: |keys| keys,
        rows_stored: |keys| keys,
    },
    Kind {
        name: "sessions",
        bytes_a_key: 100,
        query: sessions,
        mode: OutputMode::Append,
        streams: 1,
        times: 2,
        rows_out: |_| 0,
        rows_stored: |keys| keys,
    },
];

fn main() {
    let is_small = std::env::args().any(|argument| argument == "--small");
    let limit_mb = support::number("--limit-mb").unwrap_or(if is_small { 16 } else { 32 }) as u64;
    let only = std::env::args().skip_while(|argument| argument != "--only").nth(1);
    for kind in KINDS.iter().filter(|kind| only.as_deref().is_none_or(|only| only == kind.name)) {
        let times = if is_small { 1 } else { 10 };
        let keys = (limit_mb << 20) * times / kind.bytes_a_key / ROWS_AN_EPOCH * ROWS_AN_EPOCH;
        println!("{}: {keys} keys; limit {limit_mb} MB", kind.name);
        // First with the limit, while the process holds little.
        let limited = run(kind, keys, Some(limit_mb));
        let unlimited = run(kind, keys, None);
        println!("ratio of the rates: {:.3}", limited / unlimited);
    }
}

/// Numbers from `first` on as keys `k`, in an order in which each comes again after all others.
fn keyed(session: &Session, keys: u64, first: u64) -> DataFrame {
    let numbers = session.read_stream().format("rate-micro-batch").option("rowsPerBatch", ROWS_AN_EPOCH);
    let numbers = numbers.option("advanceMillisPerBatch", 1000).load();
    let key = format!("((value + {first}) * {STRIDE}) % {keys} AS k");
    numbers.select_expr([key, "value".to_string(), "timestamp".to_string()])
}

fn groups(session: &Session, keys: u64) -> DataFrame {
    let keyed = keyed(session, keys, 0);
    keyed.group_by("k").agg([count("*").alias("times"), sum("value").alias("sum")])
}

/// A key comes on one side half of all keys after it came on the other.
fn joins(session: &Session, keys: u64) -> DataFrame {
    let right = keyed(session, keys, keys / 2).select_expr(["k AS r"]);
    keyed(session, keys, 0).select(["k"]).join(&right, "k = r", JoinType::Inner)
}

fn keys(session: &Session, keys: u64) -> DataFrame {
    keyed(session, keys, 0).select(["k"]).drop_duplicates(["k"])
}

fn sessions(session: &Session, keys: u64) -> DataFrame {
    let keyed = keyed(session, keys, 0).with_watermark("timestamp", "30 days");
    keyed.group_by([session_window(col("timestamp"), "1 day"), col("k")]).count()
}

/// Counts the rows that come out until the last epoch that matters.
struct Counted {
    last: u64,
    rows: AtomicU64,
    is_over: AtomicBool,
}

impl StreamingQueryListener for Counted {
    fn on_query_progress(&self, progress: &StreamingQueryProgress) {
        if progress.batch_id <= self.last {
            self.rows.fetch_add(progress.sink.num_output_rows, Ordering::SeqCst);
        }
        self.is_over.fetch_or(progress.batch_id >= self.last, Ordering::SeqCst);
    }
}

/// Runs the query to the end of its rows; rows a second.
fn run(kind: &Kind, keys: u64, limit_mb: Option<u64>) -> f64 {
    let session = Session::builder().parallelism(2).build().expect("a session");
    if let Some(limit) = limit_mb {
        session.set_config("millstream.memory.limit", format!("{limit}m")).expect("a limit");
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    let last = kind.times * keys / ROWS_AN_EPOCH - 1;
    let counted = Arc::new(Counted { last, rows: AtomicU64::new(0), is_over: AtomicBool::new(false) });
    session.streams().add_listener(counted.clone());
    let writer = (kind.query)(&session, keys).write_stream().format("noop").output_mode(kind.mode);
    let writer = writer.option("checkpointLocation", place.path().display());
    let before = resident_mb();
    let begin = Instant::now();
    let query = writer.start().expect("the query starts");
    let mut peak = before;
    while query.is_active() && !counted.is_over.load(Ordering::SeqCst) {
        peak = peak.max(resident_mb());
        sleep(Duration::from_millis(5));
    }
    let seconds = begin.elapsed().as_secs_f64();
    let progress = query.last_progress().expect("there were epochs");
    query.stop().expect("the query stops");
    assert!(query.exception().is_none(), "{:?}", query.exception());
    let state = &progress.state_operators[0];
    if progress.batch_id == last {
        assert_eq!(state.num_rows_total, (kind.rows_stored)(keys), "rows of state");
    }
    assert_eq!(counted.rows.load(Ordering::SeqCst), (kind.rows_out)(keys), "rows that came out");
    let outside = state.custom_metrics.get("rowsOutsideMemory").copied().unwrap_or_default();
    let rate = (progress.batch_id + 1) as f64 * (kind.streams * ROWS_AN_EPOCH) as f64 / seconds;
    println!(
        "{}: {:.0} thousand rows/s; {} rows of state, {outside} of them outside memory; {:.0} MB at most beyond the {before:.0} MB before, {} MB \
         of state in memory at the end",
        limit_mb.map_or_else(|| "without a limit".to_string(), |limit| format!("limit of {limit} MB")),
        rate / 1e3,
        state.num_rows_total,
        peak - before,
        state.memory_used_bytes / 1_000_000
    );
    rate
}
