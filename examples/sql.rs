//! A streaming query written in Spark SQL over a temporary view.
//!
//! Run:    cargo run --example sql
//! Prints: the words longer than three letters that occur at least twice, most frequent first, then the operators the query became

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    let session = Session::builder().app_name("sql").build()?;
    session.read_stream().text("assets/lines").create_or_replace_temp_view("lines");

    let counts = session.sql(
        "SELECT word, count(*) AS times
         FROM (SELECT explode(split(value, ' ')) AS word FROM lines)
         WHERE length(word) > 3
         GROUP BY word
         HAVING count(*) >= 2
         ORDER BY times DESC, word",
    );

    let query = counts
        .write_stream()
        .format("console")
        .output_mode(OutputMode::Complete)
        .trigger(Trigger::available_now())
        .query_name("frequent-words")
        .start()?;
    query.await_termination()?;
    println!("{}", query.topology());
    Ok(())
}
