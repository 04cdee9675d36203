//! Orders that are sent again and again, each let through once; an id is remembered for ten minutes of event time.
//!
//! Run:    cargo run --example deduplicate
//!         (reads `assets/events/orders.txt`, block by block, and ends)
//! Live:   nc -lk 9999    in one terminal, then
//!         cargo run --example deduplicate -- --host localhost --port 9999    in another; Ctrl-C ends it.
//!         Type lines such as  2021-10-01 09:30:00,order-1
//! Prints: the first line of each order, and after each epoch how many ids are remembered

mod support;

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    // One instance of each operator, so that the rows always come in the same order.
    let session = Session::builder().app_name("deduplicate").parallelism(1).build()?;
    let lines = support::Lines::new(&session, include_str!("../assets/events/orders.txt"));

    let orders = lines
        .timed()
        .with_column_renamed("text", "order")
        .with_watermark("eventTime", "10 minutes")
        .drop_duplicates_within_watermark("order");

    let query = orders
        .write_stream()
        .format("console")
        .option("truncate", false)
        .output_mode(OutputMode::Append)
        .query_name("deduplicate")
        .start()?;
    lines.run(&query)?;

    for progress in query.recent_progress() {
        let state = &progress.state_operators[0];
        let duplicates = state.custom_metrics["numDroppedDuplicateRows"];
        println!("epoch {}: {duplicates} duplicates, {} ids remembered", progress.batch_id, state.num_rows_total);
    }
    Ok(())
}
