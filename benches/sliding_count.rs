//! Words counted in windows of ten minutes every minute: millstream beside a purpose-written two-thread loop, in one run.
//!
//! Run:    cargo bench --bench sliding_count [-- --lines 2000000] [-- --small]
//! Prints: lines a second of each, millstream's as a share of the loop's, and as a share of its own with one commit an hour; groups, peak
//!         memory, size of the checkpoint; fails when the results differ
//!
//! Input: rows `word,time` in 16 CSV files, words by Zipf's law from 100,000, fixed seed. Times move on over six hours
//! and are up to eight minutes out of order. Each row is in ten windows; watermark ten minutes, append mode. Each file
//! is an epoch. The loop reads the same files one after the other: each thread counts half of every file by minute, in
//! tables for two parts of the words. When windows close each thread goes from window to window with one part, adds the
//! minute that enters and takes off the one that leaves, which counts allow and other functions would not. millstream
//! runs with `Trigger::continuous` and a commit a second in a directory on this machine's disk. Runs alternate; medians
//! are shown.

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use millstream::prelude::*;
use support::fields::{Fields, halves};
use support::{Checksum, Collected, Random, Times, Words, checksum_of_windows, compare, on_two_threads, rows_of};

const FILES: usize = 16;
const RUNS: usize = 3;
const SIZE: i64 = 600;
const SLIDE: i64 = 60;
const DELAY: i64 = 600;
/// The seconds over which times move on.
const SPAN: u64 = 6 * 3600;
/// Times are up to so many seconds out of order.
const DISORDER: u64 = 480;

fn main() {
    let lines = support::lines(20_000, 2_000_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    generate(directory, lines).expect("the input can be written");
    let of_loop = |rows: [Rows; 2]| checksum_of_loop(&rows);
    let millstream = |interval| millstream(directory, interval).expect("the query runs");
    compare(RUNS, lines, (|| loop_on_two_threads(directory), of_loop), (millstream, checksum_of_windows));
}

fn path(directory: &Path, file: usize) -> PathBuf {
    directory.join(format!("{file:02}.csv"))
}

fn generate(directory: &Path, lines: usize) -> std::io::Result<()> {
    let (mut words, mut random, times) = (Words::new(42), Random(43), Times::new(SPAN + DISORDER));
    for file in 0..FILES {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path(directory, file))?);
        for line in lines * file / FILES..lines * (file + 1) / FILES {
            out.write_all(words.draw())?;
            out.write_all(b",")?;
            out.write_all(times.text(line as u64 * SPAN / lines as u64 + random.below(DISORDER)))?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Half of the words: a thread counts both, and puts the windows of one together.
fn part(word: &[u8]) -> usize {
    word.iter().map(|byte| usize::from(*byte)).sum::<usize>() % 2
}

/// Words as numbers.
#[derive(Default)]
struct Numbers {
    by_word: HashMap<Box<[u8]>, u32>,
    words: Vec<Box<[u8]>>,
}

impl Numbers {
    fn of(&mut self, word: &[u8]) -> u32 {
        if let Some(number) = self.by_word.get(word) {
            return *number;
        }
        let number = u32::try_from(self.words.len()).expect("few words");
        self.words.push(word.into());
        self.by_word.insert(word.into(), number);
        number
    }
}

/// Counts by the numbers of words.
type Counts = HashMap<u32, i64>;

/// What one thread has counted of one part of the words: by the second in which a minute begins.
#[derive(Default)]
struct Counted {
    numbers: Numbers,
    minutes: BTreeMap<i64, Counts>,
}

/// One thread's half of the files.
#[derive(Default)]
struct Half {
    parts: [Counted; 2],
    highest: i64,
}

impl Half {
    fn count(&mut self, text: &[u8]) {
        let mut fields = Fields::new(text);
        while !fields.is_empty() {
            let (word, time) = (fields.word(), fields.time());
            self.highest = self.highest.max(time);
            let counted = &mut self.parts[part(word)];
            let number = counted.numbers.of(word);
            let counts = counted.minutes.entry(time - time.rem_euclid(SLIDE)).or_default();
            *counts.entry(number).or_default() += 1;
        }
    }
}

/// What the loop gives out for one part of the words: columns.
#[derive(Default)]
struct Rows {
    starts: Vec<i64>,
    words: Vec<u8>,
    ends: Vec<usize>,
    counts: Vec<i64>,
}

impl Rows {
    fn push(&mut self, start: i64, word: &[u8], count: i64) {
        self.starts.push(start);
        self.words.extend_from_slice(word);
        self.ends.push(self.words.len());
        self.counts.push(count);
    }
}

/// One part of the words, of both threads.
#[derive(Default)]
struct Part {
    all: Counted,
    /// The number here of each word of either thread.
    known: [Vec<u32>; 2],
    /// The counts of the window that was given out last.
    window: Counts,
    /// Where the next window ends.
    next: Option<i64>,
    rows: Rows,
}

impl Part {
    fn take(&mut self, thread: usize, counted: &mut Counted) {
        let (words, known) = (&counted.numbers.words, &mut self.known[thread]);
        known.extend(words[known.len()..].iter().map(|word| self.all.numbers.of(word)));
        for (minute, counts) in std::mem::take(&mut counted.minutes) {
            add(
                self.all.minutes.entry(minute).or_default(),
                counts.iter().map(|(number, count)| (known[*number as usize], *count)),
            );
        }
    }

    /// Gives out the windows that are closed. No row will come of the minutes they are made of.
    fn close(&mut self, watermark: i64) {
        let Some(first) = self.all.minutes.keys().next() else { return };
        let mut end = self.next.unwrap_or(first + SLIDE);
        while end <= watermark {
            if let Some(entering) = self.all.minutes.get(&(end - SLIDE)) {
                add(&mut self.window, entering.iter().map(|(number, count)| (*number, *count)));
            }
            if let Some(leaving) = self.all.minutes.remove(&(end - SLIDE - SIZE)) {
                add(&mut self.window, leaving.iter().map(|(number, count)| (*number, -count)));
            }
            for (number, count) in &self.window {
                self.rows.push(end - SIZE, &self.all.numbers.words[*number as usize], *count);
            }
            end += SLIDE;
        }
        self.next = Some(end).filter(|_| watermark > 0);
    }
}

/// Adds counts, and forgets those that are 0 then.
fn add(to: &mut Counts, counts: impl Iterator<Item = (u32, i64)>) {
    for (number, count) in counts {
        match to.entry(number) {
            Entry::Vacant(place) => {
                place.insert(count);
            }
            Entry::Occupied(sum) if *sum.get() == -count => {
                sum.remove();
            }
            Entry::Occupied(mut sum) => *sum.get_mut() += count,
        }
    }
}

/// What one would write for this job alone.
fn loop_on_two_threads(directory: &Path) -> [Rows; 2] {
    let mut threads = [Half::default(), Half::default()];
    let mut parts = [Part::default(), Part::default()];
    let mut watermark = 0;
    for file in 0..FILES {
        let text = std::fs::read(path(directory, file)).expect("the input can be read");
        let [first, second] = halves(&text);
        let [left, right] = &mut threads;
        on_two_threads(|| left.count(first), || right.count(second));
        close(&mut threads, &mut parts, watermark);
        watermark = watermark.max(threads.iter().map(|half| half.highest).fold(0, i64::max) - DELAY);
    }
    // The epoch without input that follows the last one.
    close(&mut threads, &mut parts, watermark);
    parts.map(|part| part.rows)
}

fn close([left, right]: &mut [Half; 2], [first, second]: &mut [Part; 2], watermark: i64) {
    let close = |part: &mut Part, left: &mut Counted, right: &mut Counted| {
        part.take(0, left);
        part.take(1, right);
        part.close(watermark);
    };
    let ([left_first, left_second], [right_first, right_second]) = (&mut left.parts, &mut right.parts);
    on_two_threads(|| close(first, left_first, right_first), || close(second, left_second, right_second));
}

fn checksum_of_loop(parts: &[Rows; 2]) -> Checksum {
    let mut checksum = Checksum::default();
    for rows in parts {
        let mut begin = 0;
        for (row, end) in rows.ends.iter().enumerate() {
            checksum.add(&[rows.starts[row], rows.counts[row]], &[&rows.words[begin..*end]]);
            begin = *end;
        }
    }
    checksum
}

fn millstream(directory: &Path, interval: Duration) -> Result<Collected> {
    let session = Session::builder().build()?;
    let rows = session
        .read_stream()
        .format("csv")
        .schema("word STRING, time TIMESTAMP")
        .option("maxFilesPerTrigger", 1)
        .load_path(directory.to_string_lossy());
    let windows = window_sliding("time", "10 minutes", "1 minute");
    let counts = rows.with_watermark("time", "10 minutes").group_by((windows, "word")).count();
    let rows = rows_of(&session, &counts, OutputMode::Append, interval)?;
    session.stop()?;
    Ok(rows)
}
