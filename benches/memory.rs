//! State of ten times the memory a query may have: what it costs, and whether the limit is kept.
//!
//! Run:    cargo bench --features spill --bench memory [-- --limit-mb 32] [-- --small]
//! Prints: for a query without a limit and one with it: rows a second, groups, groups outside memory, the most memory the process held
//!         beyond what it had before, bytes of state in memory; the ratio of the rates; fails when a count is wrong
//!
//! Input: numbers in epochs of 50,000, in no order; each key comes twice, the second time long after the first. A group takes about 45
//! bytes in memory, so there are as many as fill ten times the limit. Sum and count by key, update mode, into `noop`, a commit each epoch
//! in a directory on this machine's disk. The groups go to a file in the directory for temporary files.

#![expect(clippy::disallowed_methods, reason = "a bench waits for the rows it wants")]
#![expect(clippy::cast_precision_loss, reason = "rates are estimates")]

mod support;

use std::thread::sleep;
use std::time::{Duration, Instant};

use millstream::prelude::*;

const ROWS_AN_EPOCH: u64 = 50_000;
const BYTES_A_GROUP: u64 = 45;
/// No divisor of any number of keys used here.
const STRIDE: u64 = 7_368_787;

fn main() {
    let is_small = std::env::args().any(|argument| argument == "--small");
    let limit_mb = support::number("--limit-mb").unwrap_or(if is_small { 16 } else { 32 }) as u64;
    let times = if is_small { 1 } else { 10 };
    let keys = (limit_mb << 20) * times / BYTES_A_GROUP / ROWS_AN_EPOCH * ROWS_AN_EPOCH;
    println!("{keys} keys, each twice; limit {limit_mb} MB");
    // First with the limit, while the process holds nothing yet.
    let limited = run(keys, Some(limit_mb));
    let unlimited = run(keys, None);
    println!("ratio of the rates: {:.2}", limited / unlimited);
}

/// Runs the query to the end of its rows; rows a second.
fn run(keys: u64, limit_mb: Option<u64>) -> f64 {
    let session = Session::builder().parallelism(2).build().expect("a session");
    if let Some(limit) = limit_mb {
        session.set_config("millstream.memory.limit", format!("{limit}m")).expect("a limit");
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    let numbers = session.read_stream().format("rate-micro-batch").option("rowsPerBatch", ROWS_AN_EPOCH).load();
    let keyed = numbers.select_expr([format!("(value * {STRIDE}) % {keys} AS k"), "value".to_string()]);
    let sums = keyed.group_by("k").agg([count("*").alias("times"), sum("value").alias("sum")]);
    let writer = sums.write_stream().format("noop").output_mode(OutputMode::Update);
    let writer = writer.option("checkpointLocation", place.path().display());
    let before = resident_mb();
    let begin = Instant::now();
    let query = writer.start().expect("the query starts");
    let last = 2 * keys / ROWS_AN_EPOCH - 1;
    let mut peak = before;
    while query.is_active() && query.last_progress().is_none_or(|progress| progress.batch_id < last) {
        peak = peak.max(resident_mb());
        sleep(Duration::from_millis(5));
    }
    let seconds = begin.elapsed().as_secs_f64();
    query.stop().expect("the query stops");
    assert!(query.exception().is_none(), "{:?}", query.exception());
    let progress = query.last_progress().expect("there were epochs");
    let state = &progress.state_operators[0];
    assert_eq!(state.num_rows_total, keys, "every key is counted");
    let outside = state.custom_metrics.get("rowsOutsideMemory").copied().unwrap_or_default();
    let rate = (progress.batch_id + 1) as f64 * ROWS_AN_EPOCH as f64 / seconds;
    println!(
        "{}: {:.0} thousand rows/s; {} groups, {outside} of them outside memory; {:.0} MB at most beyond the {before:.0} MB before, {} MB of \
         state in memory at the end",
        limit_mb.map_or_else(|| "without a limit".to_string(), |limit| format!("limit of {limit} MB")),
        rate / 1e3,
        state.num_rows_total,
        peak - before,
        state.memory_used_bytes / 1_000_000
    );
    rate
}

/// Resident memory in MB.
fn resident_mb() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0.0);
    pages * 4096.0 / 1e6
}
