//! Words counted in windows of event time: millstream beside a purpose-written two-thread loop, in the same run.
//!
//! Run:    cargo bench --bench window_count [-- --lines 4000000] [-- --small]
//! Prints: lines a second of each, millstream's as a share of the loop's, groups, peak memory; fails when the results differ
//!
//! Input: lines `2021-10-01 09:30:00,w w w w` in 16 files, words by Zipf's law from 100,000, fixed seed. Times move on over a day
//! and are up to eight minutes out of order. Windows of five minutes, watermark ten minutes, append mode: a window comes
//! out when the watermark passes its end. Each file is an epoch. The loop reads the same files one after the other, counts each
//! half on a thread of its own, merges, and gives out the windows that the same rule makes final. Runs alternate; medians are shown.

mod support;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use hashbrown::HashMap;
use millstream::arrow::array::AsArray;
use millstream::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use millstream::prelude::*;
use support::{Words, peak_memory_mb, report, timed};

const FILES: usize = 16;
const WORDS_A_LINE: usize = 4;
const RUNS: usize = 3;
const DAY: u64 = 86_400;
/// 2021-10-01T00:00:00Z in seconds.
const START: u64 = 1_633_046_400;
const WINDOW: i64 = 300;
const DELAY: i64 = 600;

/// Window start in seconds and word, to count.
type Counts = HashMap<(i64, Vec<u8>), i64>;

fn main() {
    let lines = support::lines(20_000, 4_000_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    generate(directory.path(), lines).expect("the input can be written");

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut groups = 0;
    for run in 0..RUNS {
        let (expected, seconds) = timed(|| loop_on_two_threads(directory.path()));
        theirs.push(seconds);
        let before = peak_memory_mb();
        let (found, seconds) = timed(|| millstream(directory.path()));
        ours.push(seconds);
        if run == 0 {
            println!("peak memory: {before:?} MB after the loop, {:?} MB after millstream", peak_memory_mb());
        }
        groups = found.len();
        assert!(found == expected, "run {run}: the counts differ, {} and {} groups", found.len(), expected.len());
    }
    println!("{lines} lines, {groups} groups");
    report(lines, ours, theirs);
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

/// What one would write for this job alone.
fn loop_on_two_threads(directory: &Path) -> Counts {
    let mut open = Counts::new();
    let mut closed = Counts::new();
    let mut watermark = 0;
    for file in 0..FILES {
        let text = std::fs::read(path(directory, file)).expect("the input can be read");
        let middle = text.len() / 2;
        let cut = middle + text[middle..].iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (left, right) = text.split_at(cut);
        let (left, right) = std::thread::scope(|scope| {
            let right = scope.spawn(|| count(right));
            (count(left), right.join().expect("counting does not panic"))
        });
        for ((window, word), times) in left.1.into_iter().chain(right.1) {
            *open.entry((window, word.to_vec())).or_default() += times;
        }
        closed.extend(open.extract_if(|(start, _), _| start + WINDOW <= watermark));
        watermark = watermark.max(left.0.max(right.0) - DELAY);
    }
    // The epoch without input that follows the last one.
    closed.extend(open.extract_if(|(start, _), _| start + WINDOW <= watermark));
    closed
}

/// The highest time, and the counts.
fn count(text: &[u8]) -> (i64, HashMap<(i64, &[u8]), i64>) {
    let mut counts: HashMap<(i64, &[u8]), i64> = HashMap::new();
    let mut highest = i64::MIN;
    for line in text.split(|byte| *byte == b'\n').filter(|line| line.len() > 20) {
        let time = seconds(&line[..19]);
        highest = highest.max(time);
        let window = time - time.rem_euclid(WINDOW);
        for word in line[20..].split(|byte| *byte == b' ') {
            *counts.entry((window, word)).or_default() += 1;
        }
    }
    (highest, counts)
}

/// The seconds since 1970 of `yyyy-MM-dd HH:mm:ss`, by the days of the civil calendar.
fn seconds(text: &[u8]) -> i64 {
    let number =
        |range: std::ops::Range<usize>| text[range].iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let year = if month <= 2 { year - 1 } else { year };
    let (era, month) = (year.div_euclid(400), (month + 9) % 12);
    let day_of_era =
        (year - era * 400) * 365 + (year - era * 400) / 4 - (year - era * 400) / 100 + (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + day_of_era - 719_468;
    days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19)
}

fn millstream(directory: &Path) -> Counts {
    let run = || -> Result<Counts> {
        let session = Session::builder().build()?;
        let lines =
            session.read_stream().option("maxFilesPerTrigger", 1).text(directory.to_string_lossy().into_owned());
        let parts = lines.select([split(col("value"), ",").alias("parts")]);
        let timed = parts.select([
            element_at(col("parts"), 1).cast("timestamp").alias("time"),
            element_at(col("parts"), 2).alias("text"),
        ]);
        let words = timed.select((col("time"), explode(split(col("text"), " ")).alias("word")));
        let counts = words.with_watermark("time", "10 minutes").group_by((window("time", "5 minutes"), "word")).count();
        let found = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&found);
        let keep = move |batch: DataFrame, _: u64| -> Result<()> {
            sink.lock().expect("nobody panics").extend(batch.collect()?);
            Ok(())
        };
        counts.write_stream().foreach_batch(keep).trigger(Trigger::available_now()).start()?.await_termination()?;
        session.stop()?;
        let batches = std::mem::take(&mut *found.lock().expect("nobody panics"));
        let mut counts = Counts::new();
        for batch in batches {
            let starts = batch.column(0).as_struct().column(0).as_primitive::<TimestampMicrosecondType>().clone();
            let (words, times) = (batch.column(1).as_string::<i32>(), batch.column(2).as_primitive::<Int64Type>());
            for ((start, word), times) in starts.values().iter().zip(words).zip(times.values()) {
                counts.insert((start / 1_000_000, word.unwrap_or_default().as_bytes().to_vec()), *times);
            }
        }
        Ok(counts)
    };
    run().expect("the query runs")
}
