//! Word count over files: millstream beside a purpose-written two-thread loop, in the same run.
//!
//! Run:    cargo bench --bench word_count [-- --lines 5000000] [-- --small]
//! Prints: lines a second of each, millstream's as a share of the loop's, and as a share of its own with one commit an hour; words, peak
//!         memory, size of the checkpoint; fails when the counts differ
//!
//! Input: lines of eight words each in 16 files, words drawn by Zipf's law (exponent 1) from 100,000 made-up words, fixed seed. Each
//! program splits at single spaces and counts. The loop reads file after file, gives each thread half, and gives the table out once.
//! millstream takes a file an epoch and gives out the counts that an epoch changed (update mode); it runs with `Trigger::continuous` and a
//! commit a second in a directory on this machine's disk. Runs alternate; medians are shown.

mod support;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hashbrown::HashMap;
use millstream::arrow::array::AsArray;
use millstream::arrow::datatypes::Int64Type;
use millstream::arrow::record_batch::RecordBatch;
use millstream::prelude::*;
use support::fields::halves;
use support::{Checksum, Collected, Words, compare, on_two_threads, rows_of};

const FILES: usize = 16;
const WORDS_A_LINE: usize = 8;
const RUNS: usize = 5;

/// The counts of words, which live in memory of their own.
type Counts = HashMap<Box<[u8]>, i64>;

fn main() {
    let lines = support::lines(20_000, 5_000_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    generate(directory, lines).expect("the input can be written");
    let millstream = |interval| millstream(directory, interval).expect("the query runs");
    compare(
        RUNS,
        lines,
        (|| loop_on_two_threads(directory), |counts| checksum_of_loop(&counts)),
        (millstream, checksum_of),
    );
}

fn path(directory: &Path, file: usize) -> PathBuf {
    directory.join(format!("lines-{file:02}.txt"))
}

fn generate(directory: &Path, lines: usize) -> std::io::Result<()> {
    let mut words = Words::new(42);
    for number in 0..FILES {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path(directory, number))?);
        for _ in lines * number / FILES..lines * (number + 1) / FILES {
            for word in 0..WORDS_A_LINE {
                if word > 0 {
                    file.write_all(b" ")?;
                }
                file.write_all(words.draw())?;
            }
            file.write_all(b"\n")?;
        }
        file.flush()?;
    }
    Ok(())
}

/// What one would write for this job alone: each thread counts half of each file into its own table, then they are merged.
fn loop_on_two_threads(directory: &Path) -> Counts {
    let (mut left, mut right) = (Counts::new(), Counts::new());
    for number in 0..FILES {
        let text = std::fs::read(path(directory, number)).expect("the input can be read");
        let [first, second] = halves(&text);
        on_two_threads(|| count(first, &mut left), || count(second, &mut right));
    }
    for (word, times) in right {
        *left.entry(word).or_default() += times;
    }
    left
}

fn count(text: &[u8], counts: &mut Counts) {
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        for word in line.split(|byte| *byte == b' ') {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(counts.insert(word.into(), 1)),
            }
        }
    }
}

fn checksum_of_loop(counts: &Counts) -> Checksum {
    let mut checksum = Checksum::default();
    counts.iter().for_each(|(word, count)| checksum.add(&[*count], &[word]));
    checksum
}

fn millstream(directory: &Path, interval: Duration) -> Result<Collected> {
    let session = Session::builder().build()?;
    let lines = session.read_stream().option("maxFilesPerTrigger", 1).text(directory.to_string_lossy());
    let words = lines.select([explode(split(col("value"), " ")).alias("word")]);
    let rows = rows_of(&session, &words.group_by("word").count(), OutputMode::Update, interval)?;
    session.stop()?;
    Ok(rows)
}

/// Of the counts a word had after each epoch the highest is the last.
fn checksum_of(batches: &[RecordBatch]) -> Checksum {
    let mut last = Counts::new();
    for batch in batches {
        let (words, counts) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        for (word, count) in words.iter().zip(counts.values()) {
            let last = last.entry(word.unwrap_or_default().as_bytes().into()).or_default();
            *last = (*last).max(*count);
        }
    }
    checksum_of_loop(&last)
}
