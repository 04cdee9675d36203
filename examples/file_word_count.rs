//! Counts the words of every file in a directory, one file an epoch, and ends.
//!
//! Run:    cargo run --example file_word_count [directory]
//! Prints: the ten most frequent words after the last file, and how many lines were read

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    let directory = std::env::args().nth(1).unwrap_or_else(|| "assets/lines".to_string());
    let session = Session::builder().app_name("file-word-count").build()?;

    let lines = session.read_stream().option("maxFilesPerTrigger", 1).text(directory);
    let words = lines.select([explode(split(lower("value"), " ")).alias("word")]);
    let counts = words.group_by("word").count();

    let query = counts
        .write_stream()
        .format("memory")
        .query_name("counts")
        .output_mode(OutputMode::Complete)
        .trigger(Trigger::available_now())
        .start()?;
    query.await_termination()?;

    session.sql("SELECT word, count FROM counts ORDER BY count DESC, word LIMIT 10").show()?;
    let rows: u64 = query.recent_progress().iter().map(|progress| progress.num_input_rows).sum();
    println!("{rows} lines in {} epochs", query.recent_progress().len());
    Ok(())
}
