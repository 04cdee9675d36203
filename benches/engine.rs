//! What the engine itself costs: an epoch, a hop from actor to actor, a snapshot; and what more cores give.
//!
//! Run:    cargo bench --bench engine [-- --lines 2000000] [-- --small]
//! Prints: 1 how long an epoch without rows and with one row takes from `add` until its progress is told, median and
//!         p99, with a commit for each (the default trigger, temporary checkpoint) and with one an hour (continuous);
//!         2 what one operator more costs for each batch; 3 how long epochs of a count take that change 1 %, 10 % and
//!         100 % of the words, with a snapshot and commit for each and with one an hour, and their steps in ms: the
//!         difference is what these cost, and that of `addBatch` the pause of the operators; 4 lines a second and CPU
//!         seconds of a word count with one instance of each operator and with more, beside a purpose-written loop
//!         with as many threads; fails when rows or groups are missing
//!
//! Epochs are awaited by a listener: `process_all_available` would close each with a commit under both triggers.
//! Input of 2: one operator puts out batches of one row, one or five hand them on as a select of renamed columns would,
//! and one counts; all on one thread, in a topology by hand, as a DataFrame's selects and filters would be made one. Of
//! 3: a checkpoint on this machine's disk. Of 4: eight words a line by Zipf's law from 100,000, fixed seed, in eight
//! files and one epoch. Reading and decoding run on IO threads of their own, so one instance already has more than one
//! core: the speed-up says less than the CPU seconds. Runs of 2 and 4 alternate; medians are shown. CPU time is Linux
//! only.

#![expect(clippy::cast_precision_loss, reason = "rates are estimates")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use hashbrown::HashMap;
use millstream::arrow::array::{ArrayRef, Int64Array, StringViewArray};
use millstream::arrow::datatypes::SchemaRef;
use millstream::arrow::record_batch::RecordBatch;
use millstream::connector::sink::Noop;
use millstream::connector::source::memory::{MemoryStreamCore, MemoryStreamFactory};
use millstream::operator::{Batch, Flow, Operator, Output, Union};
use millstream::prelude::*;
use support::{Words, cpu_seconds, median, timed};

const RUNS: usize = 3;
/// Epochs before those that are measured.
const WARM_UP: usize = 10;
/// An epoch that takes longer will not end.
const PATIENCE: Duration = Duration::from_mins(1);
/// So many operators hand batches on.
const SHORT: usize = 1;
const LONG: usize = 5;
const FILES: usize = 8;
const WORDS_A_LINE: usize = 8;

fn main() {
    let is_small = std::env::args().any(|argument| argument == "--small");
    let pick = |small: usize, usual: usize| if is_small { small } else { usual };
    epochs(pick(50, 2_000));
    hops(pick(2_000, 300_000));
    snapshots(pick(2_000, 100_000), pick(3, 9));
    scaling(support::lines(20_000, 2_000_000));
}

fn triggers() -> [(&'static str, Trigger); 2] {
    [("a commit an epoch", Trigger::default()), ("a commit an hour", Trigger::continuous("1 hour"))]
}

/// Passes progress on.
struct Listener(Sender<StreamingQueryProgress>);

impl StreamingQueryListener for Listener {
    fn on_query_progress(&self, progress: &StreamingQueryProgress) {
        // Nobody listens any more at the end.
        let _ = self.0.send(progress.clone());
    }
}

type Told = Receiver<StreamingQueryProgress>;

fn listen(session: &Session) -> Told {
    let (sender, told) = channel();
    session.streams().add_listener(Arc::new(Listener(sender)));
    told
}

/// Runs an epoch of these rows; answers its progress, and the seconds until it came.
fn epoch(stream: &MemoryStream, told: &Told, rows: &ArrayRef) -> (StreamingQueryProgress, f64) {
    timed(|| {
        stream.add_rows([Arc::clone(rows)]).expect("the rows fit");
        told.recv_timeout(PATIENCE).expect("the epoch ends")
    })
}

fn numbers(count: i64) -> ArrayRef {
    Arc::new((0..count).collect::<Int64Array>())
}

fn epochs(count: usize) {
    for (name, trigger) in triggers() {
        for rows in [0_i64, 1] {
            let session = Session::builder().build().expect("a session");
            let (told, stream) = (listen(&session), MemoryStream::new(&session, "value BIGINT"));
            let writer = stream.to_df().filter("value >= 0").write_stream().format("noop");
            let query = writer.trigger(trigger.clone()).start().expect("the query starts");
            let mut micros = Vec::new();
            for number in 0..WARM_UP + count {
                let (progress, seconds) = epoch(&stream, &told, &numbers(rows));
                let found = (progress.batch_id, progress.sink.num_output_rows);
                assert_eq!(found, (number as u64, rows.cast_unsigned()), "an add is an epoch");
                micros.push(seconds * 1e6);
            }
            query.stop().expect("the query stops");
            micros.drain(..WARM_UP);
            micros.sort_by(f64::total_cmp);
            let (half, most) = (micros[count / 2], micros[count * 99 / 100]);
            println!("an epoch with {rows} rows, {name}: median {half:.0} µs, p99 {most:.0} µs");
        }
    }
}

/// Puts out one row again and again, each time as a batch of its own.
#[derive(Clone)]
struct Burst {
    row: RecordBatch,
    left: usize,
}

impl Operator for Burst {
    fn output_schema(&self, _: &[SchemaRef]) -> Result<SchemaRef> {
        Ok(self.row.schema())
    }

    fn on_batch(&mut self, _: usize, _: Batch, output: &mut Output) -> Result<Flow> {
        self.resume(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        while self.left > 0 && !output.is_full() {
            output.batch(self.row.clone());
            self.left -= 1;
        }
        Ok(if self.left == 0 { Flow::Done } else { Flow::More })
    }
}

fn hops(batches: usize) {
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        short.push(pass(batches, SHORT));
        long.push(pass(batches, LONG));
    }
    let nanos = (median(long) - median(short)) / (batches * (LONG - SHORT)) as f64 * 1e9;
    println!("one operator more: {nanos:.0} ns for a batch of one row ({batches} batches in an epoch, one thread)");
}

/// The seconds in which so many batches go through so many operators.
fn pass(batches: usize, operators: usize) -> f64 {
    let row = RecordBatch::try_from_iter_with_nullable([("n", numbers(1), true)]).expect("one column");
    let core = MemoryStreamCore::new(row.schema());
    core.add(row.clone()).expect("the row fits");
    let mut topology = Topology::builder("hops");
    let source = topology.source("row", MemoryStreamFactory { core });
    let mut last = topology.operator("burst", Burst { row, left: batches }).after(source);
    for number in 0..operators {
        last = topology.operator(format!("pass-{number}"), Union::new(1)).after(last);
    }
    let counts = topology.operator("count", CountBy::new("n").mode(OutputMode::Update)).after(last);
    topology.sink("nothing", Noop).after(counts);
    let topology = topology.build().expect("a topology");
    let session = Session::builder().parallelism(1).build().expect("a session");
    let (query, seconds) = timed(|| {
        let query = session.run(topology, Trigger::available_now()).expect("the query starts");
        query.await_termination().expect("the query runs");
        query
    });
    let counted = query.last_progress().map_or(0, |progress| progress.operator_rows[0].rows_in);
    assert_eq!(counted, batches as u64, "rows that came through");
    seconds
}

fn words(count: usize) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values((0..count).map(|number| format!("word{number}"))))
}

fn snapshots(keys: usize, count: usize) {
    for (name, trigger) in triggers() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let session = Session::builder().build().expect("a session");
        let (told, stream) = (listen(&session), MemoryStream::new(&session, "word STRING"));
        let writer = stream.to_df().group_by("word").count().write_stream().output_mode(OutputMode::Update);
        let writer = writer.format("noop").option("checkpointLocation", directory.path().display());
        let query = writer.trigger(trigger).start().expect("the query starts");
        epoch(&stream, &told, &words(keys));
        for changed in [keys / 100, keys / 10, keys] {
            let (mut millis, mut steps) = (Vec::new(), BTreeMap::<String, Vec<f64>>::new());
            for _ in 0..count {
                let (progress, seconds) = epoch(&stream, &told, &words(changed));
                assert_eq!(progress.state_operators[0].num_rows_updated, changed as u64, "words that changed");
                millis.push(seconds * 1e3);
                for (step, millis) in progress.duration_ms {
                    steps.entry(step).or_default().push(millis as f64);
                }
            }
            let steps: Vec<String> = steps.into_iter().map(|(step, all)| format!("{step} {}", median(all))).collect();
            let (millis, steps) = (median(millis), steps.join(", "));
            println!("{changed} of {keys} words changed, {name}: an epoch takes {millis:.1} ms ({steps})");
        }
        query.stop().expect("the query stops");
    }
}

/// What the runs of one program took: seconds, and CPU seconds.
type Costs = (Vec<f64>, Vec<f64>);

fn cost<T>((wall, cpu): &mut Costs, work: impl FnOnce() -> T) -> T {
    let before = cpu_seconds();
    let (result, seconds) = timed(work);
    wall.push(seconds);
    cpu.push(cpu_seconds() - before);
    result
}

fn scaling(lines: usize) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    generate(directory, lines);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let widths: Vec<usize> = [1, 2, 4, 8].into_iter().filter(|width| *width <= cores).collect();
    let mut costs = [vec![Costs::default(); widths.len()], vec![Costs::default(); widths.len()]];
    for _ in 0..RUNS {
        for (place, width) in widths.iter().enumerate() {
            let words = cost(&mut costs[0][place], || loop_on_threads(directory, *width, lines));
            let found = cost(&mut costs[1][place], || count_words(directory, *width));
            assert_eq!(found, (lines as u64, words as u64), "lines read and words held");
        }
    }
    for (name, costs) in ["purpose-written, threads", "millstream, instances"].into_iter().zip(costs) {
        let first = median(costs[0].0.clone());
        for (width, (wall, cpu)) in widths.iter().zip(costs) {
            let (wall, cpu) = (median(wall), median(cpu));
            let (rate, speed_up) = (lines as f64 / wall / 1e6, first / wall);
            println!("{name}: {width}, {rate:.2} M lines/s, {cpu:.2} CPU s, speed-up {speed_up:.2}");
        }
    }
}

fn path(directory: &Path, file: usize) -> PathBuf {
    directory.join(format!("{file}.txt"))
}

fn generate(directory: &Path, lines: usize) {
    let mut words = Words::new(42);
    for file in 0..FILES {
        let mut text = Vec::new();
        for word in 1..=(lines * (file + 1) / FILES - lines * file / FILES) * WORDS_A_LINE {
            text.extend_from_slice(words.draw());
            text.push(if word.is_multiple_of(WORDS_A_LINE) { b'\n' } else { b' ' });
        }
        std::fs::write(path(directory, file), text).expect("the input can be written");
    }
}

type Counts = HashMap<Box<[u8]>, usize>;

/// Counts words on so many threads, each with files of its own; answers how many words there are.
fn loop_on_threads(directory: &Path, threads: usize, lines: usize) -> usize {
    let mut parts: Vec<Counts> = std::thread::scope(|scope| {
        let share = |first: usize| scope.spawn(move || count(directory, (first..FILES).step_by(threads)));
        let running: Vec<_> = (0..threads).map(share).collect();
        running.into_iter().map(|thread| thread.join().expect("counting does not panic")).collect()
    });
    let mut counts = parts.pop().unwrap_or_default();
    for (word, times) in parts.into_iter().flatten() {
        *counts.entry(word).or_default() += times;
    }
    assert_eq!(counts.values().sum::<usize>(), lines * WORDS_A_LINE, "words the loop counted");
    counts.len()
}

fn count(directory: &Path, files: impl Iterator<Item = usize>) -> Counts {
    let mut counts = Counts::new();
    for file in files {
        let text = std::fs::read(path(directory, file)).expect("the input can be read");
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            for word in line.split(|byte| *byte == b' ') {
                *counts.entry_ref(word).or_default() += 1;
            }
        }
    }
    counts
}

/// The lines read and the words held.
fn count_words(directory: &Path, instances: usize) -> (u64, u64) {
    let session = Session::builder().parallelism(instances).build().expect("a session");
    let lines = session.read_stream().text(directory.to_string_lossy().into_owned());
    let words = lines.select([explode(split(col("value"), " ")).alias("word")]);
    let writer = words.group_by("word").count().write_stream().output_mode(OutputMode::Update).format("noop");
    let query = writer.trigger(Trigger::available_now()).start().expect("the query starts");
    query.await_termination().expect("the query runs");
    let epochs = query.recent_progress();
    let held = epochs.last().map_or(0, |epoch| epoch.state_operators[0].num_rows_total);
    (epochs.iter().map(|epoch| epoch.num_input_rows).sum(), held)
}
