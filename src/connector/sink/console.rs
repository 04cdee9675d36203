//! Prints each epoch as a table.
//!
//! Owns: which rows are shown and the frame around them. Does not own: how a table or a cell looks
//! (`types::table_text`). Of an epoch only the rows to be shown are kept, the others are counted. An epoch is printed at
//! least once: one that a crash interrupted is printed again, under the same number.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::connector::options::Options;
use crate::connector::{Guarantee, Prepared, Sink, SinkContext, SinkWriter};
use crate::error::{Error, Result};
use crate::types::{TableOptions, Zone, table_text};

/// The rows shown and the width of a cell when nothing else is said.
const DEFAULT_ROWS: usize = 20;
const DEFAULT_WIDTH: usize = 20;

/// Prints the rows of each epoch, in any output mode.
///
/// ```text
/// -------------------------------------------
/// Batch: 0
/// -------------------------------------------
/// +----+-----+
/// |word|count|
/// +----+-----+
/// |  be|    2|
/// +----+-----+
/// ```
#[derive(Clone)]
pub struct Console {
    rows: usize,
    width: Option<usize>,
    zone: Zone,
    output: Output,
}

/// Where the text goes.
#[derive(Clone)]
enum Output {
    Stdout,
    Writer(Arc<Mutex<dyn Write + Send>>),
}

impl Console {
    /// Prints to standard output up to 20 rows, cells cut to 20 characters, times in UTC.
    pub fn new() -> Self {
        Self { rows: DEFAULT_ROWS, width: Some(DEFAULT_WIDTH), zone: Zone::default(), output: Output::Stdout }
    }

    /// Shows at most `rows` rows of an epoch.
    #[must_use]
    pub fn num_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// Cuts cells to this many characters, or shows them whole with `None` or 0.
    #[must_use]
    pub fn truncate(self, width: impl Into<Option<usize>>) -> Self {
        Self { width: width.into().filter(|width| *width > 0), ..self }
    }

    /// Shows times in this zone.
    #[must_use]
    pub fn zone(self, zone: Zone) -> Self {
        Self { zone, ..self }
    }

    /// Prints to `writer` instead of standard output.
    #[must_use]
    pub fn writer(self, writer: Arc<Mutex<dyn Write + Send>>) -> Self {
        Self { output: Output::Writer(writer), ..self }
    }

    /// Reads the options `numRows` (20) and `truncate` (true, false, or a number of characters).
    pub(super) fn from_options(options: &Options, zone: Zone) -> Result<Self> {
        let rows = options.number("numRows")?.unwrap_or(DEFAULT_ROWS);
        let width = options.parsed("truncate", "true, false or a number of characters", parse_width)?;
        options.finish("the console sink")?;
        Ok(Self::new().num_rows(rows).truncate(width.unwrap_or(DEFAULT_WIDTH)).zone(zone))
    }

    fn print(&self, text: &str) -> Result<()> {
        let printed = match &self.output {
            Output::Stdout => print_to(&mut io::stdout().lock(), text),
            Output::Writer(writer) => print_to(&mut *writer.lock().unwrap_or_else(PoisonError::into_inner), text),
        };
        printed.map_err(|error| {
            let text = format!("the console sink cannot print: {error}; is the reader of the output gone?");
            Error::connector(text).with_source(error)
        })
    }
}

fn print_to(output: &mut dyn Write, text: &str) -> io::Result<()> {
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// The width of a cell, 0 for whole cells.
fn parse_width(text: &str) -> Option<usize> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(DEFAULT_WIDTH),
        "false" => Some(0),
        number => number.parse().ok(),
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

impl Sink for Console {
    fn description(&self) -> String {
        let width = self.width.map_or_else(|| "false".to_string(), |width| width.to_string());
        format!("Console[numRows: {}, truncate: {width}]", self.rows)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        let schema = Arc::clone(&context.schema);
        Ok(Box::new(ConsoleWriter {
            console: self.clone(),
            schema,
            epoch: 0,
            shown: Vec::new(),
            shown_rows: 0,
            rows: 0,
        }))
    }
}

struct ConsoleWriter {
    console: Console,
    schema: SchemaRef,
    epoch: u64,
    shown: Vec<RecordBatch>,
    shown_rows: usize,
    /// All rows of the epoch.
    rows: usize,
}

impl ConsoleWriter {
    fn clear(&mut self) {
        self.shown.clear();
        (self.shown_rows, self.rows) = (0, 0);
    }
}

impl SinkWriter for ConsoleWriter {
    fn begin(&mut self, epoch: u64) -> Result<()> {
        self.clear();
        self.epoch = epoch;
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        let rows = batch.num_rows().min(self.console.rows - self.shown_rows);
        if rows > 0 {
            // Copied, so that a few rows do not keep a large batch in memory.
            let first = UInt32Array::from_iter_values((0u32..).take(rows));
            self.shown.push(take_record_batch(batch, &first)?);
            self.shown_rows += rows;
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<Prepared> {
        let Console { rows: max_rows, width: truncate, zone, .. } = self.console;
        let options = TableOptions { max_rows, truncate, zone, total_rows: self.rows };
        let table = table_text(&self.schema, &self.shown, &options);
        let rule = "-".repeat(43);
        let text = format!("{rule}\nBatch: {}\n{rule}\n{}\n\n", self.epoch, table.trim_end_matches('\n'));
        self.clear();
        self.console.print(&text)?;
        Ok(Prepared::default())
    }

    fn abort(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::record_batch;
    use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it

    use super::*;
    use crate::clock::lock;
    use crate::protocol::OutputMode;

    fn words(count: usize) -> RecordBatch {
        let words: Vec<String> = (0..count).map(|n| format!("word {n}")).collect();
        let array = arrow::array::StringArray::from(words);
        RecordBatch::try_from_iter([("word", Arc::new(array) as _)]).unwrap()
    }

    fn open(console: &Console, schema: SchemaRef) -> Box<dyn SinkWriter> {
        let context = SinkContext::new("q", OutputMode::Append, schema);
        console.open(&context).unwrap()
    }

    fn printed(console: Console, epoch: u64, batches: &[RecordBatch]) -> String {
        let text = Arc::new(Mutex::new(Vec::new()));
        let console = console.writer(Arc::clone(&text) as _);
        let mut writer = open(&console, batches[0].schema());
        writer.begin(epoch).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.prepare().unwrap();
        String::from_utf8(lock(&text).clone()).unwrap()
    }

    #[test]
    fn an_epoch_is_printed_as_spark_prints_it() {
        let batch = record_batch!(("word", Utf8, ["be", "to"]), ("count", Int64, [2, 10])).unwrap();
        let expected = "\
-------------------------------------------
Batch: 7
-------------------------------------------
+----+-----+
|word|count|
+----+-----+
|  be|    2|
|  to|   10|
+----+-----+

";
        assert_eq!(printed(Console::new(), 7, &[batch]), expected);
    }

    #[test]
    fn only_the_first_rows_are_shown_and_kept() {
        let text = printed(Console::new().num_rows(3), 0, &[words(2), words(100)]);
        assert_eq!(text.matches("|word ").count(), 3, "{text}");
        assert!(text.ends_with("+------+\nonly showing top 3 rows\n\n"), "{text}");
    }

    #[test]
    fn an_epoch_without_rows_is_an_empty_table() {
        let text = printed(Console::new(), 0, &[words(0)]);
        assert!(text.ends_with("+----+\n|word|\n+----+\n+----+\n\n"), "{text}");
    }

    #[test]
    fn an_aborted_epoch_is_not_printed() {
        let text = Arc::new(Mutex::new(Vec::new()));
        let console = Console::new().writer(Arc::clone(&text) as _);
        let mut writer = open(&console, words(0).schema());
        writer.begin(0).unwrap();
        writer.write(&words(2)).unwrap();
        writer.abort();
        writer.begin(0).unwrap();
        writer.write(&words(1)).unwrap();
        writer.prepare().unwrap();
        let text = String::from_utf8(lock(&text).clone()).unwrap();
        assert_eq!(text.matches("|word ").count(), 1, "{text}");
    }

    #[test]
    fn a_closed_output_is_an_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let console = Console::new().writer(Arc::new(Mutex::new(Closed)));
        let mut writer = open(&console, words(0).schema());
        writer.begin(0).unwrap();
        let error = writer.prepare().unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Connector);
    }

    #[test]
    fn truncate_is_a_flag_or_a_number() {
        let described = |value: &str| {
            let mut options = Options::new();
            options.set("truncate", value);
            Console::from_options(&options, Zone::default()).map(|console| console.description())
        };
        assert_eq!(described("True").unwrap(), "Console[numRows: 20, truncate: 20]");
        assert_eq!(described("false").unwrap(), "Console[numRows: 20, truncate: false]");
        assert_eq!(described("0").unwrap(), "Console[numRows: 20, truncate: false]");
        assert_eq!(described("7").unwrap(), "Console[numRows: 20, truncate: 7]");
        assert!(described("much").is_err());
    }
}
