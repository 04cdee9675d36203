//! Counts words in windows of five minutes that begin every three minutes, so that a line is in one or two of them.
//!
//! Run:    cargo run --example sliding_window_count
//!         (reads `assets/events/projects.txt`, block by block, and ends)
//! Live:   nc -lk 9999    in one terminal, then
//!         cargo run --example sliding_window_count -- --host localhost --port 9999    in another; Ctrl-C ends it.
//!         Type lines such as  2021-10-01 09:30:00,Apache Spark
//! Prints: after each block, the windows and words whose count it changed

mod support;

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    // One instance of each operator, so that the rows always come in the same order.
    let session = Session::builder().app_name("sliding-window-count").parallelism(1).build()?;
    let lines = support::Lines::new(&session, include_str!("../assets/events/projects.txt"));

    let words = lines.timed().select((col("eventTime"), explode(split(col("text"), " ")).alias("word")));
    let counts = words
        .with_watermark("eventTime", "10 minutes")
        .group_by((window_sliding("eventTime", "5 minutes", "3 minutes"), "word"))
        .count();

    let query = counts
        .write_stream()
        .format("console")
        .option("truncate", false)
        .output_mode(OutputMode::Update)
        .query_name("sliding-window-count")
        .start()?;
    lines.run(&query)
}
