//! Words counted in windows of event time: millstream beside a purpose-written two-thread loop, in the same run.
//!
//! Run:    cargo bench --bench window_count [-- --lines 4000000] [-- --small]
//! Prints: lines a second of each, millstream's as a share of the loop's, and as a share of its own with one commit an hour; groups, peak
//!         memory, size of the checkpoint; fails when the results differ
//!
//! Input: lines `2021-10-01 09:30:00,w w w w` in 16 files, words by Zipf's law from 100,000, fixed seed. Times move on over a day
//! and are up to eight minutes out of order. Windows of five minutes, watermark ten minutes, append mode: a window comes
//! out when the watermark passes its end. Each file is an epoch. The loop reads the same files one after the other, counts each
//! half on a thread of its own, merges, and gives out the windows that the same rule makes final. millstream runs with
//! `Trigger::continuous` and a commit a second in a directory on this machine's disk. Runs alternate; medians are shown.

mod support;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use hashbrown::HashMap;
use millstream::prelude::*;
use support::fields::{halves, seconds};
use support::{Checksum, Collected, DAY, START, Words, checksum_of_windows, compare, rows_of};

const FILES: usize = 16;
const WORDS_A_LINE: usize = 4;
const RUNS: usize = 3;
const WINDOW: i64 = 300;
const DELAY: i64 = 600;

fn main() {
    let lines = support::lines(20_000, 4_000_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    generate(directory, lines).expect("the input can be written");
    let of_loop = |closed: Closed| closed.checksum();
    let millstream = |interval| millstream(directory, interval).expect("the query runs");
    compare(RUNS, lines, (|| loop_on_two_threads(directory), of_loop), (millstream, checksum_of_windows));
}

fn path(directory: &Path, file: usize) -> std::path::PathBuf {
    directory.join(format!("lines-{file:02}.txt"))
}

fn generate(directory: &Path, lines: usize) -> std::io::Result<()> {
    let mut words = Words::new(42);
    for file in 0..FILES {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path(directory, file))?);
        let (first, last) = (lines * file / FILES, lines * (file + 1) / FILES);
        for line in first..last {
            let time = START + 480 + line as u64 * DAY / lines as u64 - words.below(480);
            let time = chrono::DateTime::from_timestamp(time.cast_signed(), 0).expect("a time of that day");
            write!(out, "{},", time.format("%Y-%m-%d %H:%M:%S"))?;
            for word in 0..WORDS_A_LINE {
                if word > 0 {
                    out.write_all(b" ")?;
                }
                out.write_all(words.draw())?;
            }
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// What the loop gives out: columns.
#[derive(Default)]
struct Closed {
    starts: Vec<i64>,
    words: Vec<u8>,
    ends: Vec<usize>,
    counts: Vec<i64>,
}

impl Closed {
    fn push(&mut self, start: i64, word: &[u8], count: i64) {
        self.starts.push(start);
        self.words.extend_from_slice(word);
        self.ends.push(self.words.len());
        self.counts.push(count);
    }

    fn checksum(&self) -> Checksum {
        let mut checksum = Checksum::default();
        let mut begin = 0;
        for (row, end) in self.ends.iter().enumerate() {
            checksum.add(&[self.starts[row], self.counts[row]], &[&self.words[begin..*end]]);
            begin = *end;
        }
        checksum
    }
}

/// One thread's half of the job: words as numbers, and of each window the counts by these.
#[derive(Default)]
struct Half {
    ids: HashMap<Box<[u8]>, u32>,
    words: Vec<Box<[u8]>>,
    windows: HashMap<i64, HashMap<u32, i64>>,
    highest: i64,
}

impl Half {
    fn count(&mut self, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n').filter(|line| line.len() > 20) {
            let time = seconds(&line[..19]);
            self.highest = self.highest.max(time);
            let counts = self.windows.entry(time - time.rem_euclid(WINDOW)).or_default();
            for word in line[20..].split(|byte| *byte == b' ') {
                let id = if let Some(id) = self.ids.get(word) {
                    *id
                } else {
                    let id = u32::try_from(self.words.len()).expect("few words");
                    self.words.push(word.into());
                    self.ids.insert(word.into(), id);
                    id
                };
                *counts.entry(id).or_default() += 1;
            }
        }
    }
}

/// What one would write for this job alone: each thread counts half of every file into its own windows, and the windows that
/// are closed are put together.
fn loop_on_two_threads(directory: &Path) -> Closed {
    let (mut left, mut right) = (Half::default(), Half::default());
    let mut closed = Closed::default();
    let mut watermark = 0;
    for file in 0..FILES {
        let text = std::fs::read(path(directory, file)).expect("the input can be read");
        let [first, second] = halves(&text);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| right.count(second));
            left.count(first);
            other.join().expect("counting does not panic");
        });
        close(&mut left, &mut right, watermark, &mut closed);
        watermark = watermark.max(left.highest.max(right.highest) - DELAY);
    }
    // The epoch without input that follows the last one.
    close(&mut left, &mut right, watermark, &mut closed);
    closed
}

fn close(left: &mut Half, right: &mut Half, watermark: i64, closed: &mut Closed) {
    let is_closed = |start: &i64| start + WINDOW <= watermark;
    let mut ended: Vec<(i64, HashMap<u32, i64>)> = left.windows.extract_if(|start, _| is_closed(start)).collect();
    for (start, counts) in right.windows.extract_if(|start, _| is_closed(start)) {
        let place = ended.iter().position(|(other, _)| *other == start);
        let place = place.unwrap_or_else(|| {
            ended.push((start, HashMap::new()));
            ended.len() - 1
        });
        for (id, count) in counts {
            let word = &right.words[id as usize];
            match left.ids.get(word) {
                Some(id) => *ended[place].1.entry(*id).or_default() += count,
                None => closed.push(start, word, count),
            }
        }
    }
    for (start, counts) in ended {
        for (id, count) in counts {
            closed.push(start, &left.words[id as usize], count);
        }
    }
}

fn millstream(directory: &Path, interval: Duration) -> Result<Collected> {
    let session = Session::builder().build()?;
    let lines = session.read_stream().option("maxFilesPerTrigger", 1).text(directory.to_string_lossy().into_owned());
    let parts = lines.select([split(col("value"), ",").alias("parts")]);
    let timed = parts.select([
        element_at(col("parts"), 1).cast("timestamp").alias("time"),
        element_at(col("parts"), 2).alias("text"),
    ]);
    let words = timed.select((col("time"), explode(split(col("text"), " ")).alias("word")));
    let counts = words.with_watermark("time", "10 minutes").group_by((window("time", "5 minutes"), "word")).count();
    let rows = rows_of(&session, &counts, OutputMode::Append, interval)?;
    session.stop()?;
    Ok(rows)
}
