//! Counts and sums by key, from ten keys to ten million: millstream beside a purpose-written two-thread loop.
//!
//! Run:    cargo bench --bench groups [-- --rows 20000000] [-- --small]
//! Prints: for each number of keys, rows a second of each and the most memory it held, and millstream's rate as a share
//!         of the loop's; fails when the groups differ
//!
//! Input: a column `id BIGINT` in batches of 8192 rows, made before the clock starts, fixed seed. Every key comes once,
//! in scattered order, then keys are drawn uniformly. To bound memory 256 batches come again and again; for ten million
//! keys as many as hold each key twice. The input is part of the memory shown.
//! Both count and sum by `id`: millstream in update mode, in one epoch, into the sink that throws rows away, with its
//! state in a temporary checkpoint as always; in the loop each thread takes half of the batches, in tables for two
//! parts of the keys, then puts one part together. Runs alternate; medians are shown. Over the first 200,000 rows each
//! group is compared; over all, how many rows were read and how many groups there are.

#![expect(clippy::cast_precision_loss, reason = "rates are estimates")]

mod support;

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;
use millstream::arrow::array::{ArrayRef, AsArray, Int64Array};
use millstream::arrow::datatypes::Int64Type;
use millstream::arrow::record_batch::RecordBatch;
use millstream::prelude::*;
use support::{Checksum, Random, median, on_two_threads, peak_memory_mb, timed};

const KEYS: [usize; 4] = [10, 1_000, 100_000, 10_000_000];
const RUNS: usize = 3;
const BATCH: usize = 8192;
/// So many batches come again and again, if they hold enough keys.
const ROUND: usize = 256;
/// A prime; it shares no divisor with a number of keys, so its multiples are all keys.
const SCATTER: usize = 982_451_653;
/// Over so many rows each group is compared.
const COMPARED: usize = 200_000;

/// Count and sum of each key.
type Groups = HashMap<i64, (i64, i64)>;

fn main() {
    let is_small = std::env::args().any(|argument| argument == "--small");
    let rows = support::number("--rows").unwrap_or(if is_small { 200_000 } else { 20_000_000 });
    for keys in KEYS.into_iter().filter(|keys| !is_small || *keys <= 100_000) {
        check_groups(&Input::new(rows.min(COMPARED), keys));
        measure(&Input::new(rows, keys));
    }
}

/// Batches that are read round after round.
struct Input {
    keys: usize,
    round: Vec<RecordBatch>,
    /// How many are read in all.
    batches: usize,
}

impl Input {
    fn new(rows: usize, keys: usize) -> Self {
        let batches = rows.div_ceil(BATCH);
        let mut random = Random(42);
        let mut id = |row: usize| {
            let id = if row < keys { (row * SCATTER % keys) as u64 } else { random.below(keys as u64) };
            id.cast_signed()
        };
        let batch = |number: usize| {
            let ids: Int64Array = (number * BATCH..(number + 1) * BATCH).map(&mut id).collect();
            RecordBatch::try_from_iter_with_nullable([("id", Arc::new(ids) as ArrayRef, true)]).expect("one column")
        };
        let round = ROUND.max((2 * keys).div_ceil(BATCH)).min(batches);
        Self { keys, round: (0..round).map(batch).collect(), batches }
    }

    fn rows(&self) -> usize {
        self.batches * BATCH
    }

    fn part(&self, range: Range<usize>) -> impl Iterator<Item = &RecordBatch> {
        self.round.iter().cycle().skip(range.start).take(range.len())
    }

    fn stream(&self, session: &Session) -> MemoryStream {
        let stream = MemoryStream::new(session, "id BIGINT");
        for batch in self.part(0..self.batches) {
            stream.add(batch.clone()).expect("the rows fit");
        }
        stream
    }
}

/// What one would write for this job alone.
fn loop_on_two_threads(input: &Input) -> [Groups; 2] {
    let middle = input.batches / 2;
    let halves = on_two_threads(|| group(input.part(0..middle)), || group(input.part(middle..input.batches)));
    let [[left_even, left_odd], [right_even, right_odd]] = halves;
    on_two_threads(|| merged(left_even, right_even), || merged(left_odd, right_odd))
}

/// The groups of even keys and of odd ones.
fn group<'a>(batches: impl Iterator<Item = &'a RecordBatch>) -> [Groups; 2] {
    let mut groups = [Groups::new(), Groups::new()];
    for batch in batches {
        for id in batch.column(0).as_primitive::<Int64Type>().values() {
            let (count, sum) = groups[usize::from(*id & 1 == 1)].entry(*id).or_default();
            *count += 1;
            *sum += *id;
        }
    }
    groups
}

fn merged(mut groups: Groups, others: Groups) -> Groups {
    for (id, (count, sum)) in others {
        let group = groups.entry(id).or_default();
        group.0 += count;
        group.1 += sum;
    }
    groups
}

fn run_query(stream: &MemoryStream, format: &str) -> StreamingQuery {
    let groups = stream.to_df().group_by("id").agg([count_all().alias("count"), sum("id").alias("sum")]);
    let writer = groups.write_stream().format(format).query_name("groups").output_mode(OutputMode::Update);
    let query = writer.trigger(Trigger::available_now()).start().expect("the query starts");
    query.await_termination().expect("the query runs");
    query
}

/// Compares every group.
fn check_groups(input: &Input) {
    let session = Session::builder().build().expect("a session");
    run_query(&input.stream(&session), "memory");
    let (mut found, mut expected) = (Checksum::default(), Checksum::default());
    for batch in session.table("groups").collect().expect("a table") {
        let [ids, counts, sums] = [0, 1, 2].map(|column| batch.column(column).as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            found.add(&[ids.value(row), counts.value(row), sums.value(row)], &[]);
        }
    }
    for (id, (count, sum)) in loop_on_two_threads(input).into_iter().flatten() {
        expected.add(&[id, count, sum], &[]);
    }
    assert_eq!(found, expected, "the groups of {} keys", input.keys);
}

fn measure(input: &Input) {
    let (keys, rows) = (input.keys, input.rows());
    let groups = keys.min(rows);
    let session = Session::builder().build().expect("a session");
    let stream = input.stream(&session);
    let (mut ours, mut theirs, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        forget_peak_memory();
        let (found, seconds) = timed(|| loop_on_two_threads(input));
        theirs.push(seconds);
        peaks.push(peak_memory_mb());
        assert_eq!(found.iter().map(HashMap::len).sum::<usize>(), groups, "groups of the loop");
        drop(found);
        forget_peak_memory();
        let (query, seconds) = timed(|| run_query(&stream, "noop"));
        ours.push(seconds);
        peaks.push(peak_memory_mb());
        let epochs = query.recent_progress();
        let read: u64 = epochs.iter().map(|epoch| epoch.num_input_rows).sum();
        let shown: u64 = epochs.iter().map(|epoch| epoch.sink.num_output_rows).sum();
        let held = epochs.last().map_or(0, |epoch| epoch.state_operators[0].num_rows_total);
        let expected = (rows as u64, groups as u64, groups as u64);
        assert_eq!((read, shown, held), expected, "rows read, groups shown, groups held");
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let rate = |seconds: f64| rows as f64 / seconds / 1e6;
    // Of the first run: later ones begin with what the allocator has kept of it.
    let peak = |program: usize| peaks[program].map_or_else(String::new, |peak| format!(", {peak} MB at most"));
    println!("{keys} keys, {rows} rows");
    println!("purpose-written, 2 threads: {:.1} M rows/s{}", rate(theirs), peak(0));
    println!("millstream:                 {:.1} M rows/s{}", rate(ours), peak(1));
    println!("ratio:                      {:.2}", theirs / ours);
}

/// From now on the peak is that of what follows. Linux only; elsewhere no peak is shown.
fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
