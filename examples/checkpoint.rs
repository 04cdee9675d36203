//! Looks into a checkpoint: its commits, whether it is whole, and the state of its operators as a table.
//!
//! Run:    cargo run --example checkpoint
//!         (a query counts some words, and its checkpoint is looked at)
//! Yours:  cargo run --example checkpoint -- LOCATION [list | explain | json | verify | state N]
//!         LOCATION is a query's checkpointLocation, N the place of an operator among those with state. `explain` is the default;
//!         `verify` ends with an error if something is missing or damaged.
//! Prints: the commits, what is wrong, and the state, row by row in the order in which it would be restored

use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, StringArray};
use millstream::checkpoint::Checkpoint;
use millstream::prelude::*;

fn list(checkpoint: &Checkpoint) -> Result<()> {
    for commit in checkpoint.commits()? {
        println!("{commit}");
        for operator in &commit.operators {
            println!("  {operator}");
        }
    }
    Ok(())
}

fn verify(checkpoint: &Checkpoint) -> Result<()> {
    let wrong = checkpoint.verify()?;
    if wrong.is_empty() {
        println!("nothing is missing or damaged");
        return Ok(());
    }
    Err(Error::state(wrong.join("\n")))
}

fn state(session: &Session, location: &str, operator: &str) -> Result<()> {
    session.read().format("statestore").option("operatorId", operator).load_path(location).show()
}

/// Counts words in two epochs.
fn count_words(session: &Session, location: &str) -> Result<()> {
    let lines = MemoryStream::new(session, "value STRING");
    let words = lines.to_df().select([explode(split(col("value"), " ")).alias("word")]);
    let writer = words.group_by(["word"]).count().write_stream().format("noop").output_mode(OutputMode::Update);
    let query = writer.option("checkpointLocation", location).start()?;
    for line in ["owl hen owl", "hen cat"] {
        lines.add_rows([Arc::new(StringArray::from(vec![line])) as ArrayRef])?;
        query.process_all_available()?;
    }
    query.stop()
}

fn main() -> Result<()> {
    env_logger::init();
    let session = Session::builder().app_name("checkpoint").parallelism(1).build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [location, what @ ..] = arguments.as_slice() else {
        count_words(&session, "memory://example")?;
        let checkpoint = Checkpoint::open("memory://example")?;
        list(&checkpoint)?;
        verify(&checkpoint)?;
        return state(&session, "memory://example", "0");
    };
    let checkpoint = Checkpoint::open(location)?;
    match what.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] | ["explain"] => print!("{}", checkpoint.explain()?),
        ["list"] => list(&checkpoint)?,
        ["json"] => println!("{}", checkpoint.to_json()?),
        ["verify"] => verify(&checkpoint)?,
        ["state", operator] => state(&session, location, operator)?,
        _ => return Err(Error::config("say list, explain, json, verify or state N behind the location")),
    }
    Ok(())
}
