//! The story of a late line: windows of five minutes wait ten minutes for it, and one comes later still.
//!
//! Run:    cargo run --example late_data
//!         (reads `assets/events/late.txt`, block by block, and ends)
//! Live:   nc -lk 9999    in one terminal, then
//!         cargo run --example late_data -- --host localhost --port 9999    in another; Ctrl-C ends it
//! Prints: the final counts of each window once the watermark has passed its end; where the watermark stands after each
//!         block; and at last the lines that were dropped, with the reason, as a table of their own

mod support;

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    // One instance of each operator, so that the rows always come in the same order.
    let session = Session::builder().app_name("late-data").parallelism(1).build()?;
    let lines = support::Lines::new(&session, include_str!("../assets/events/late.txt"));

    let words = lines.timed().select((col("eventTime"), explode(split(col("text"), " ")).alias("word")));
    let counts =
        words.with_watermark("eventTime", "10 minutes").group_by((window("eventTime", "5 minutes"), "word")).count();

    let query = counts
        .write_stream()
        .format("console")
        .option("truncate", false)
        .output_mode(OutputMode::Append)
        .query_name("late-data")
        .start()?;
    lines.run(&query)?;

    for progress in query.recent_progress() {
        let (watermark, dropped) = (&progress.event_time["watermark"], &progress.dropped_rows);
        println!("epoch {}: ran under the watermark {watermark}, dropped {dropped:?}", progress.batch_id);
    }
    println!("\nWhat was dropped, as a stream of its own:");
    let dropped = query.late_rows().select(["eventTime", "word", "reason", "watermark", "lateness", "operator"]);
    let report = dropped.write_stream().format("console").option("truncate", false);
    report.query_name("dropped").trigger(Trigger::available_now()).start()?.await_termination()
}
