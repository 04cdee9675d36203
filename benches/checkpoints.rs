//! What checkpoints cost, how large they are, and how long it takes to come back from one.
//!
//! Run:    cargo bench --bench checkpoints [-- --lines 20000000] [-- --keys 1000000] [-- --small]
//! Prints: 1 lines a second of a word count with a durable commit each second, as a share of the same query's that commits once
//!         an hour; 2 bytes and time of a commit when 1 %, 10 % and 100 % of the keys have changed; 3 how long a restart takes until
//!         the query runs, with all keys restored; fails when a count is wrong afterwards
//!
//! Input of 1: lines of eight words by Zipf's law from 100,000, fixed seed, in files of which each epoch reads one. Both queries run
//! with `Trigger::continuous`, in a directory on this machine's disk, in turns; medians are shown. Of 2 and 3: numbers, each a key.

#![expect(clippy::cast_precision_loss, reason = "rates are estimates")]

mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream::arrow::array::{ArrayRef, AsArray, Int64Array};
use millstream::arrow::datatypes::Int64Type;
use millstream::checkpoint::Checkpoint;
use millstream::prelude::*;
use support::{Words, median, timed};

const FILES: usize = 80;
const RUNS: usize = 5;
const RESTARTS: usize = 3;

fn main() {
    let lines = support::lines(20_000, 20_000_000);
    let keys = support::number("--keys").unwrap_or(if lines < 100_000 { 10_000 } else { 1_000_000 });
    interval(lines);
    changes_and_recovery(i64::try_from(keys).expect("so many keys"));
}

fn interval(lines: usize) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let input = directory.path().join("in");
    generate(&input, lines).expect("the input can be written");
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let place = |name: &str| directory.path().join(format!("{name}-{run}"));
        without.push(timed(|| count_words(&input, &place("hour"), Duration::from_hours(1))).1);
        let (commits, seconds) = timed(|| count_words(&input, &place("second"), Duration::from_secs(1)));
        with.push(seconds);
        println!("run {run}: {seconds:.2} s with {commits} commits, {:.2} s without", without[run]);
    }
    let rate = |seconds: f64| lines as f64 / seconds / 1e6;
    let (with, without) = (median(with), median(without));
    println!(
        "{lines} lines: {:.2} M lines/s with a commit a second, {:.2} M lines/s without: ratio {:.3}",
        rate(with),
        rate(without),
        without / with
    );
}

fn generate(input: &Path, lines: usize) -> std::io::Result<()> {
    fs::create_dir(input)?;
    let mut words = Words::new(42);
    for file in 0..FILES {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(input.join(format!("{file:03}.txt")))?);
        for _ in lines * file / FILES..lines * (file + 1) / FILES {
            for _ in 0..7 {
                out.write_all(words.draw())?;
                out.write_all(b" ")?;
            }
            out.write_all(words.draw())?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Counts all words, and answers how many commits that took.
fn count_words(input: &Path, checkpoint: &Path, interval: Duration) -> u64 {
    let session = Session::builder().parallelism(2).build().expect("a session");
    let lines = session.read_stream().option("maxFilesPerTrigger", 1).text(input.to_string_lossy().into_owned());
    let words = lines.select([explode(split(col("value"), " ")).alias("word")]);
    let writer = words.group_by(["word"]).count().write_stream().output_mode(OutputMode::Update).format("noop");
    let writer = writer.option("checkpointLocation", checkpoint.display());
    let query = writer.trigger(Trigger::continuous(interval)).start().expect("the query starts");
    query.process_all_available().expect("all is counted");
    query.stop().expect("the query stops");
    let commits = fs::read_dir(checkpoint.join("commits")).expect("there are commits");
    let numbers = commits.filter_map(|entry| entry.ok()?.file_name().to_string_lossy().parse::<u64>().ok());
    numbers.max().unwrap_or_default() + 1
}

fn changes_and_recovery(keys: i64) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let session = Session::builder().parallelism(2).build().expect("a session");
    let stream = MemoryStream::new(&session, "id BIGINT");
    let counts = stream.to_df().group_by(["id"]).count();
    let place = directory.path().join("checkpoint");
    let start = || {
        let writer = counts.write_stream().output_mode(OutputMode::Update).format("memory").query_name("counts");
        writer.option("checkpointLocation", place.display()).start().expect("the query starts")
    };
    let add = |query: &StreamingQuery, count: i64| {
        let ids: ArrayRef = Arc::new((0..count).collect::<Int64Array>());
        let before = state_bytes(&place);
        stream.add_rows([ids]).expect("rows can be added");
        query.process_all_available().expect("all is counted");
        let written = state_bytes(&place) - before;
        let commit = query.last_progress().map_or(0, |progress| progress.duration_ms["commitOffsets"]);
        println!("{count} of {keys} keys changed: {:.2} MB of state written, commit {commit} ms", written as f64 / 1e6);
    };
    let query = start();
    for part in [1, 100, 10, 1] {
        add(&query, keys / part);
    }
    query.stop().expect("the query stops");
    let mut seconds = Vec::new();
    for _ in 0..RESTARTS {
        let (query, took) = timed(start);
        query.stop().expect("the query stops");
        seconds.push(took);
    }
    let commits = Checkpoint::open(&place.to_string_lossy()).and_then(|checkpoint| checkpoint.commits());
    let commits = commits.expect("the checkpoint can be read");
    let state = &commits.last().expect("there are commits").operators[0];
    println!(
        "restart with {keys} keys: {:.0} ms (median of {RESTARTS}), for {} rows in {} files",
        median(seconds) * 1e3,
        state.rows,
        state.files
    );
    let query = start();
    stream.add_rows([Arc::new(Int64Array::from(vec![0])) as ArrayRef]).expect("a row can be added");
    query.process_all_available().expect("all is counted");
    query.stop().expect("the query stops");
    let found = session.table("counts").filter("id = 0").agg([max("count").alias("count")]).collect().expect("a table");
    assert_eq!(found[0].column(0).as_primitive::<Int64Type>().value(0), 5, "the count of a key that was in each part");
}

/// All bytes of state that lie there.
fn state_bytes(checkpoint: &Path) -> u64 {
    let files = fs::read_dir(checkpoint.join("state/0")).into_iter().flatten();
    files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
}
