//! The same word counts in the three output modes.
//!
//! Run:    cargo run --example output_modes
//! Prints: complete mode, the whole table each time; update mode, only the words each line touched; append mode, why it is
//!         refused for counts that can still change

use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, StringArray};
use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    let session = Session::builder().app_name("output-modes").build()?;

    for mode in [OutputMode::Complete, OutputMode::Update, OutputMode::Append] {
        println!("===== {mode} mode =====");
        let lines = MemoryStream::new(&session, "value STRING");
        let words = lines.to_df().select([explode(split(col("value"), " ")).alias("word")]);
        let mut counts = words.group_by("word").count();
        if mode == OutputMode::Complete {
            counts = counts.sort("word");
        }
        let query = match counts.write_stream().format("console").output_mode(mode).start() {
            Ok(query) => query,
            Err(refused) => {
                println!("refused: {}", refused.message());
                continue;
            }
        };
        for line in ["cat", "dog", "cat"] {
            lines.add_rows([Arc::new(StringArray::from(vec![line])) as ArrayRef])?;
            query.process_all_available()?;
        }
        query.stop()?;
    }
    session.stop()
}
