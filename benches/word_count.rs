//! Word count over a file: millstream beside a purpose-written two-thread loop, in the same run.
//!
//! Run:    cargo bench --bench word_count [-- --lines 5000000] [-- --small]
//! Prints: lines a second of each, and millstream's as a share of the loop's; fails when the counts differ
//!
//! Input: lines of eight words each, words drawn by Zipf's law (exponent 1) from 100,000 made-up words, fixed seed. Each program reads
//! the same file, splits at single spaces, counts, and gives the whole table once. Runs alternate; medians are shown.

mod support;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use millstream::arrow::array::AsArray;
use millstream::arrow::datatypes::Int64Type;
use millstream::prelude::*;
use support::{Words, report, timed};

const WORDS_A_LINE: usize = 8;
const RUNS: usize = 3;

type Counts = HashMap<Vec<u8>, i64>;

fn main() {
    let lines = support::lines(20_000, 5_000_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("lines.txt");
    generate(&path, lines).expect("the input can be written");
    println!("{lines} lines, {} MB", std::fs::metadata(&path).map_or(0, |data| data.len() / 1_000_000));

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let (expected, seconds) = timed(|| loop_on_two_threads(&path));
        theirs.push(seconds);
        let (found, seconds) = timed(|| millstream(directory.path()));
        ours.push(seconds);
        assert!(found == expected, "run {run}: the counts differ");
    }
    report(lines, ours, theirs);
}

fn generate(path: &Path, lines: usize) -> std::io::Result<()> {
    let mut words = Words::new(42);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for _ in 0..lines {
        for word in 0..WORDS_A_LINE {
            if word > 0 {
                file.write_all(b" ")?;
            }
            file.write_all(words.draw())?;
        }
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// What one would write for this job alone: each thread counts half of the file into its own table, then they are merged.
fn loop_on_two_threads(path: &Path) -> Counts {
    let mut text = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut text)).expect("the input can be read");
    let middle = text.len() / 2;
    let cut = middle + text[middle..].iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (left, right) = text.split_at(cut);
    let (mut left, right) = std::thread::scope(|scope| {
        let right = scope.spawn(|| count(right));
        (count(left), right.join().expect("counting does not panic"))
    });
    for (word, times) in right {
        *left.entry(word).or_default() += times;
    }
    left.into_iter().map(|(word, times)| (word.to_vec(), times)).collect()
}

fn count(text: &[u8]) -> hashbrown::HashMap<&[u8], i64> {
    let mut counts: hashbrown::HashMap<&[u8], i64> = hashbrown::HashMap::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        for word in line.split(|byte| *byte == b' ') {
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}

fn millstream(directory: &Path) -> Counts {
    let run = || -> Result<Counts> {
        let session = Session::builder().build()?;
        let lines = session.read_stream().text(directory.to_string_lossy().into_owned());
        let words = lines.select([explode(split(col("value"), " ")).alias("word")]);
        let counts = words.group_by("word").count();
        let writer = counts.write_stream().format("memory").query_name("counts").output_mode(OutputMode::Complete);
        writer.trigger(Trigger::available_now()).start()?.await_termination()?;
        let mut found = Counts::new();
        for batch in session.table("counts").collect()? {
            let (words, times) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
            for (word, times) in words.iter().zip(times.values()) {
                found.insert(word.unwrap_or_default().as_bytes().to_vec(), *times);
            }
        }
        session.stop()?;
        Ok(found)
    };
    run().expect("the query runs")
}
