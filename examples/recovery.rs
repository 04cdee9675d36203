//! Counts words in windows into CSV files, and goes on where it was killed: no row is lost and none is counted twice.
//!
//! Run:    cargo run --example recovery
//!         (in a temporary directory: a first run reads some files, a second goes on with those that came since, and it ends)
//! Kill:   RUST_LOG=info cargo run --example recovery -- --directory /tmp/recovery
//!         Reads 400 files, one an epoch. End it with Ctrl-C or `kill -9` and run it again, as often as you like: the log tells what
//!         was restored (`checkpoint_restored`), and the sum at the end is the same. Remove the directory to begin anew.
//! Prints: which epochs each run committed, and the sum of all counts that are final

mod support;

use std::fmt::Write;

use millstream::prelude::*;

/// Puts files of one minute each into the directory `input`: a word every second.
fn write_minutes(input: &str, minutes: std::ops::Range<u32>) -> std::io::Result<()> {
    for minute in minutes {
        let mut lines = String::new();
        for second in 0..60 {
            let (hour, word) =
                (minute / 60, ["barrier", "epoch", "state", "watermark"][(minute + second) as usize % 4]);
            let _ = writeln!(lines, "2024-01-01 {hour:02}:{:02}:{second:02},{word}", minute % 60);
        }
        std::fs::write(format!("{input}/minute-{minute:04}.csv"), lines)?;
    }
    Ok(())
}

fn run(session: &Session, directory: &str) -> Result<()> {
    let lines = session.read_stream().schema("time TIMESTAMP, word STRING").option("maxFilesPerTrigger", 1);
    let words = lines.csv(format!("{directory}/in")).with_watermark("time", "2 minutes");
    let counts = words.group_by((window("time", "5 minutes"), "word")).count();
    let query = counts
        .select(["window.start", "word", "count"])
        .write_stream()
        .format("csv")
        .option("checkpointLocation", format!("{directory}/checkpoint"))
        .query_name("recovery")
        .trigger(Trigger::available_now())
        .start_path(format!("{directory}/out"))?;
    query.await_termination()?;
    let epochs = query.recent_progress();
    if let (Some(first), Some(last)) = (epochs.first(), epochs.last()) {
        println!("committed epochs, the last hundred of them: {} to {}", first.batch_id, last.batch_id);
    }
    Ok(())
}

fn main() -> Result<()> {
    env_logger::init();
    let session = Session::builder().app_name("recovery").build()?;
    let (directory, batches) = support::Place::new(&[0..12, 12..30], 0..400)?;
    for minutes in batches {
        write_minutes(&directory.input(), minutes).map_err(|error| Error::connector(error.to_string()))?;
        run(&session, directory.path())?;
    }
    let counts =
        session.read().schema("start TIMESTAMP, word STRING, count BIGINT").csv(format!("{}/out", directory.path()));
    counts.group_by(["word"]).agg([sum("count").alias("counted")]).sort("word").show()
}
