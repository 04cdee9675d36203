//! What the benches share: made-up words by Zipf's law, times of a day, CSV read by hand, time, medians, checksums.

#![allow(dead_code, reason = "no bench uses all of it")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::cast_precision_loss, reason = "draws and rates are estimates")]

pub(crate) mod fields;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millstream::arrow::array::AsArray;
use millstream::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use millstream::arrow::record_batch::RecordBatch;
use millstream::prelude::{DataFrame, OutputMode, Result, Session, Trigger};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How many made-up words there are.
pub(crate) const VOCABULARY: usize = 100_000;
/// The seconds of a day.
pub(crate) const DAY: u64 = 86_400;
/// 2021-10-01T00:00:00Z in seconds.
pub(crate) const START: u64 = 1_633_046_400;
/// What people do with videos.
pub(crate) const EVENTS: [&str; 4] = ["view", "like", "comment", "forward"];

/// Words drawn by Zipf's law (exponent 1), the same ones for the same seed.
pub(crate) struct Words {
    random: Random,
    vocabulary: Vec<Vec<u8>>,
    zipf: Zipf,
}

impl Words {
    /// The words and draws of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let letter = |random: &mut Random| b'a' + (random.next() % 26) as u8;
        let vocabulary = (0..VOCABULARY).map(|_| (0..3 + random.below(7)).map(|_| letter(&mut random)).collect());
        let vocabulary = vocabulary.collect();
        Self { random, vocabulary, zipf: Zipf::new(VOCABULARY) }
    }

    /// The next word.
    pub(crate) fn draw(&mut self) -> &[u8] {
        &self.vocabulary[self.zipf.draw(&mut self.random)]
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }
}

/// Ranks from 0, the first the most frequent, by Zipf's law with exponent 1.
pub(crate) struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Ranks below `count`.
    pub(crate) fn new(count: usize) -> Self {
        let mut cumulative: Vec<f64> = Vec::with_capacity(count);
        for rank in 1..=count {
            cumulative.push(cumulative.last().copied().unwrap_or(0.0) + 1.0 / rank as f64);
        }
        Self { cumulative }
    }

    /// The next rank.
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let last = self.cumulative.len() - 1;
        let draw = (random.next() >> 11) as f64 / (1_u64 << 53) as f64 * self.cumulative[last];
        self.cumulative.partition_point(|bound| *bound < draw).min(last)
    }
}

/// Splitmix64 from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of [`EVENTS`]: of twenty, twelve views, five likes, two comments, one forward.
    pub(crate) fn event(&mut self) -> &'static [u8] {
        let draw = self.below(20);
        let index = [12, 17, 19].partition_point(|bound| *bound <= draw);
        EVENTS[index].as_bytes()
    }
}

/// The id of the thing with this number: another one for each below 2^40, and in no order.
pub(crate) fn id(number: u64) -> u64 {
    number.wrapping_mul(0x9e_3779_b97f) & ((1 << 40) - 1)
}

/// The texts of the seconds from [`START`] on, because formatting each time anew would take most of a generator's time.
pub(crate) struct Times(Vec<String>);

impl Times {
    /// Those of the first `seconds`.
    pub(crate) fn new(seconds: u64) -> Self {
        let text = |second: u64| {
            let time = chrono::DateTime::from_timestamp((START + second).cast_signed(), 0).expect("a time of that day");
            time.format("%Y-%m-%d %H:%M:%S").to_string()
        };
        Self((0..seconds).map(text).collect())
    }

    /// The text of a second since [`START`].
    pub(crate) fn text(&self, second: u64) -> &[u8] {
        self.0[usize::try_from(second).expect("a second of that day")].as_bytes()
    }
}

/// How many rows there are and what they hold, in whatever order.
#[derive(Debug, Default, PartialEq, Clone, Copy)]
pub(crate) struct Checksum {
    /// The rows.
    pub(crate) rows: usize,
    sum: u64,
}

impl Checksum {
    /// Takes a row.
    pub(crate) fn add(&mut self, numbers: &[i64], texts: &[&[u8]]) {
        let hash = numbers.iter().fold(0, |hash, number| xxh3_64_with_seed(&number.to_le_bytes(), hash));
        let hash = texts.iter().fold(hash, |hash, text| xxh3_64_with_seed(text, hash));
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }
}

/// A durable commit each second, which is what is measured.
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// One commit at the beginning and one at the end: what the same query costs without.
pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// What a query left in its checkpoint.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CheckpointSize {
    pub(crate) commits: usize,
    bytes: u64,
}

/// Runs the loop, millstream with a commit a second and millstream with one an hour `runs` times in turn, demands that they give the
/// same rows, and prints memory, rates and ratios.
pub(crate) fn compare<T>(
    runs: usize,
    lines: usize,
    (loop_on_two_threads, of_loop): (impl Fn() -> T, impl Fn(T) -> Checksum),
    (millstream, of_millstream): (impl Fn(Duration) -> Collected, impl Fn(&[RecordBatch]) -> Checksum),
) {
    let (mut ours, mut rarely, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = 0;
    for run in 0..runs {
        let (expected, seconds, loop_mb) = measured(&loop_on_two_threads);
        theirs.push(seconds);
        let expected = of_loop(expected);
        for (interval, times) in [(SECOND, &mut ours), (HOUR, &mut rarely)] {
            let (found, seconds, mb) = measured(|| millstream(interval));
            times.push(seconds);
            if run == 0 && interval == SECOND {
                let memory =
                    loop_mb.zip(mb).map(|(theirs, ours)| format!("{theirs} MB in the loop, {ours} MB in millstream"));
                println!("peak memory, results included: {}", memory.unwrap_or_else(|| "not known here".to_string()));
                println!(
                    "checkpoint: {} commits, {:.1} MB at the end",
                    found.checkpoint.commits,
                    found.checkpoint.bytes as f64 / 1e6
                );
            }
            let found = of_millstream(&found.batches);
            assert!(found == expected, "run {run}: the rows differ, {found:?} instead of {expected:?}");
            rows = found.rows;
        }
    }
    println!("{lines} lines, {rows} rows in the result");
    let without = median(rarely.clone()) / median(ours.clone());
    report(lines, ours, theirs);
    println!(
        "with a commit an hour:      {:.2} M lines/s; a commit a second costs {:.3} of it",
        lines as f64 / median(rarely) / 1e6,
        without
    );
}

/// What `work` gives, the seconds it took and the most memory the process held, in megabytes, where the system tells.
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> (T, f64, Option<u64>) {
    // Linux begins to count the peak anew.
    let is_reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let (result, seconds) = timed(work);
    (result, seconds, peak_memory_mb().filter(|_| is_reset))
}

/// What `work` gives, and the seconds it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

/// What both give, the second from a thread of its own.
pub(crate) fn on_two_threads<T: Send>(first: impl FnOnce() -> T, second: impl FnOnce() -> T + Send) -> [T; 2] {
    std::thread::scope(|scope| {
        let second = scope.spawn(second);
        [first(), second.join().expect("the loop does not panic")]
    })
}

/// The rows of a query, and its checkpoint.
pub(crate) struct Collected {
    pub(crate) batches: Vec<RecordBatch>,
    checkpoint: CheckpointSize,
}

/// All the rows a stream gives until it has read what is there, with exactly-once commits at this interval.
pub(crate) fn rows_of(
    session: &Session,
    stream: &DataFrame,
    mode: OutputMode,
    interval: Duration,
) -> Result<Collected> {
    let place = tempfile::tempdir().expect("a temporary directory");
    let writer = stream.write_stream().format("memory").query_name("rows").output_mode(mode);
    let writer = writer.option("checkpointLocation", place.path().display()).trigger(Trigger::continuous(interval));
    let query = writer.start()?;
    query.process_all_available()?;
    query.stop()?;
    report_state(&query);
    let batches = session.table("rows").collect()?;
    Ok(Collected { batches, checkpoint: checkpoint_size(place.path()) })
}

/// The commits ever made in a checkpoint and the bytes of all its files now.
pub(crate) fn checkpoint_size(place: &Path) -> CheckpointSize {
    fn files(place: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(place).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }
    let bytes = files(place).iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    let number = |file: PathBuf| file.file_name()?.to_string_lossy().parse::<usize>().ok();
    let last = files(&place.join("commits")).into_iter().filter_map(number).max();
    CheckpointSize { commits: last.map_or(0, |last| last + 1), bytes }
}

/// The most that stateful operators held after any epoch, once a process.
fn report_state(query: &millstream::StreamingQuery) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    let progress = query.recent_progress();
    ONCE.call_once(|| {
        for operator in progress.last().map(|last| last.state_operators.clone()).unwrap_or_default() {
            let of = |count: fn(&millstream::observability::StateOperatorProgress) -> u64| {
                let name = &operator.operator_name;
                let same = progress
                    .iter()
                    .flat_map(|one| one.state_operators.iter().filter(move |own| own.operator_name == *name));
                same.map(count).collect::<Vec<u64>>()
            };
            let most = |count| of(count).into_iter().max().unwrap_or(0);
            let all = |count| of(count).into_iter().sum::<u64>();
            println!(
                "state of {}: {} rows and {} MB at most, {} rows added, {} freed, {} late",
                operator.operator_name,
                most(|own| own.num_rows_total),
                most(|own| own.memory_used_bytes) / 1_000_000,
                all(|own| own.num_rows_updated),
                all(|own| own.num_rows_removed),
                all(|own| own.num_rows_dropped_by_watermark),
            );
        }
    });
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The size asked for: `--lines N`, or `small` with `--small`, or `usual`.
pub(crate) fn lines(small: usize, usual: usize) -> usize {
    let is_small = std::env::args().any(|argument| argument == "--small");
    number("--lines").unwrap_or(if is_small { small } else { usual })
}

/// The number behind an argument, if it is there.
pub(crate) fn number(name: &str) -> Option<usize> {
    let given = std::env::args().skip_while(|argument| argument != name).nth(1);
    given.map(|given| given.parse().unwrap_or_else(|_| panic!("{name} is followed by a number")))
}

/// Prints the rates of both programs and their ratio.
pub(crate) fn report(lines: usize, ours: Vec<f64>, theirs: Vec<f64>) {
    let rate = |seconds: f64| lines as f64 / seconds / 1e6;
    let (ours, theirs) = (median(ours), median(theirs));
    println!("purpose-written, 2 threads: {:.2} M lines/s", rate(theirs));
    println!("millstream:                 {:.2} M lines/s", rate(ours));
    println!("ratio:                      {:.2}", theirs / ours);
}

/// The most memory this process has held so far, in megabytes, where the system tells.
pub(crate) fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes / 1000)
}

/// Processor time this process has used so far, in seconds, where the system tells.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Memory this process holds now, in megabytes, where the system tells.
pub(crate) fn resident_mb() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0.0);
    pages * 4096.0 / 1e6
}

/// The checksum of rows of a window, a word and a count.
pub(crate) fn checksum_of_windows(batches: &[RecordBatch]) -> Checksum {
    let mut checksum = Checksum::default();
    for batch in batches {
        let starts = batch.column(0).as_struct().column(0).as_primitive::<TimestampMicrosecondType>().clone();
        let (words, counts) = (batch.column(1).as_string::<i32>(), batch.column(2).as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            checksum.add(&[starts.value(row) / 1_000_000, counts.value(row)], &[words.value(row).as_bytes()]);
        }
    }
    checksum
}
