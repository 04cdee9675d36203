//! Three queries in one session: one counts, one filters, one fails; the others do not notice.
//!
//! Run:    cargo run --example many_queries
//! Prints: what each query found, and why the third failed

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    let session = Session::builder().app_name("many-queries").build()?;
    let numbers = session.read_stream().format("rate-micro-batch").option("rowsPerBatch", 100).load();
    let once = Trigger::available_now();

    let tens = numbers.select([(col("value") % 10).alias("digit")]).group_by("digit").count();
    let counting = tens
        .write_stream()
        .format("memory")
        .query_name("digits")
        .output_mode(OutputMode::Complete)
        .trigger(once.clone())
        .start()?;

    let filtering = numbers
        .filter("value % 40 = 0")
        .select(["value"])
        .write_stream()
        .format("memory")
        .query_name("forties")
        .trigger(once.clone())
        .start()?;

    let failing = numbers
        .write_stream()
        .query_name("fragile")
        .trigger(once)
        .foreach_batch(|batch, epoch| -> Result<(), String> {
            Err(format!("epoch {epoch} has {} rows too many", batch.count_rows().map_err(|error| error.to_string())?))
        })
        .start()?;

    counting.await_termination()?;
    filtering.await_termination()?;
    session.table("digits").sort("digit").show()?;
    session.table("forties").sort("value").show()?;
    match failing.await_termination() {
        Ok(()) => println!("the fragile query ended without an error"),
        Err(error) => println!("{} failed: {}", failing.name().unwrap_or("?"), error.message()),
    }
    println!("{} queries are active", session.streams().active().len());
    Ok(())
}
