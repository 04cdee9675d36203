//! Rows as text, and small streams.

use std::path::Path;
use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use millstream::arrow::record_batch::RecordBatch;
use millstream::arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream::prelude::*;

/// Every row as `a|b|c`, null as `NULL`, in order.
pub(crate) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = columns.iter().map(|column| column.value(row).to_string()).collect();
            lines.push(cells.join("|"));
        }
    }
    lines
}

/// The rows of a static table, in order.
pub(crate) fn rows(frame: &DataFrame) -> Vec<String> {
    lines(&frame.collect().unwrap())
}

/// The rows of a static table, sorted.
pub(crate) fn sorted(frame: &DataFrame) -> Vec<String> {
    let mut rows = rows(frame);
    rows.sort();
    rows
}

pub(crate) fn session(parallelism: usize) -> Session {
    Session::builder().parallelism(parallelism).build().unwrap()
}

pub(crate) fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub(crate) fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// A stream of one STRING column.
pub(crate) fn text_stream(session: &Session) -> MemoryStream {
    MemoryStream::new(session, "value STRING")
}

/// A stream of a TIMESTAMP, `time`, and a STRING, `word`.
pub(crate) fn timed_stream(session: &Session) -> MemoryStream {
    MemoryStream::new(session, "time TIMESTAMP, word STRING")
}

/// Columns of a timed stream: seconds since 1970-01-01T00:00:00Z, and words.
pub(crate) fn timed(rows: &[(i64, &str)]) -> [ArrayRef; 2] {
    let micros: Vec<i64> = rows.iter().map(|row| row.0 * 1_000_000).collect();
    let times = Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"));
    [times, strings(&rows.iter().map(|row| row.1).collect::<Vec<_>>())]
}

/// The words of a stream of lines.
pub(crate) fn words(lines: &DataFrame) -> DataFrame {
    lines.select([explode(split(col("value"), " ")).alias("word")])
}

/// Starts `frame` into the memory table `name`.
pub(crate) fn into_memory(frame: &DataFrame, name: &str, mode: OutputMode) -> StreamingQuery {
    frame.write_stream().format("memory").query_name(name).output_mode(mode).start().unwrap()
}

/// Puts a file where a query that runs may look at any time: it is there as a whole or not at all.
pub(crate) fn place(path: &Path, text: &str) {
    let name = path.file_name().unwrap().to_string_lossy();
    let hidden = path.with_file_name(format!(".{name}"));
    std::fs::write(&hidden, text).unwrap();
    std::fs::rename(hidden, path).unwrap();
}

/// The message of an error that must come.
pub(crate) fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error.to_string(),
    }
}

/// Fails unless `text` holds every part.
#[track_caller]
pub(crate) fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{text}` does not say `{part}`");
    }
}
