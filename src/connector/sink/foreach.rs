//! Hands rows one by one to a writer of the user's.
//!
//! Owns: the life of the writers and the view of a row. Does not own: what a writer does. Each sink instance makes a
//! writer for every epoch: `open`, `process` for each row unless `open` said no, `close`.
//!
//! An epoch is committed after the writers have closed, so after a crash it can run again: rows are written at least once.
//! With a checkpoint, sources that replay and any trigger but continuous processing, it then has the same number and the same
//! rows. A writer makes a repeat harmless in one of these ways:
//!
//! - Write each row by a key of its own, so that writing it again changes nothing.
//! - With one partition, write the rows and the number of the epoch in one transaction, and answer `false` in `open` for an
//!   epoch whose number is not above the one kept. With several, keep a number for each; that holds as long as the query
//!   runs with as many partitions as before and its rows come to them by key.
//!
//! `foreach_batch` sees the whole epoch at once, which makes the second way simpler.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::record_batch::RecordBatch;

use super::catch_panic;
use crate::connector::{Guarantee, Prepared, Sink, SinkContext, SinkWriter};
use crate::error::{Error, Result, suggestion};
use crate::types::{Zone, cell_text, type_name};

/// Writes the rows of one epoch, as far as they reach one sink instance.
pub trait ForeachWriter: Send {
    /// Rows of `epoch` follow; `partition` is the number of the sink instance, from 0. With `false` they are skipped,
    /// as for an epoch that was written before a crash.
    fn open(&mut self, partition: usize, epoch: u64) -> bool;

    /// Takes a row.
    ///
    /// # Errors
    /// Whatever went wrong; the query fails with it.
    fn process(&mut self, row: &Row<'_>) -> Result<(), Box<dyn StdError + Send + Sync>>;

    /// The epoch's rows were all taken, or `error` came before the end. Called after every [`open`](Self::open).
    fn close(&mut self, error: Option<&Error>);
}

/// One row of a batch.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    batch: &'a RecordBatch,
    index: usize,
    zone: Zone,
}

/// How a column of a [`Row`] is named: by its index or by its name without case.
pub trait ColumnName: fmt::Display + Copy {
    /// The column's index in `row`, if it is there.
    fn index_in(self, row: &Row<'_>) -> Option<usize>;
}

impl ColumnName for usize {
    fn index_in(self, row: &Row<'_>) -> Option<usize> {
        (self < row.len()).then_some(self)
    }
}

impl ColumnName for &str {
    fn index_in(self, row: &Row<'_>) -> Option<usize> {
        row.names().position(|name| name.eq_ignore_ascii_case(self))
    }
}

impl<'a> Row<'a> {
    /// The number of columns.
    pub fn len(&self) -> usize {
        self.batch.num_columns()
    }

    /// Whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.batch.schema_ref().fields().iter().map(|field| field.name().as_str())
    }

    /// Whether the value is null.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn is_null(&self, column: impl ColumnName) -> Result<bool> {
        Ok(self.column(column)?.is_null(self.index))
    }

    /// The text of a STRING column; `None` for null.
    ///
    /// # Errors
    /// When there is no such column, or it has another type.
    pub fn get_str(&self, column: impl ColumnName) -> Result<Option<&'a str>> {
        self.get(column, "STRING", |array, row| match array.data_type() {
            DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
            DataType::Utf8View => Some(array.as_string_view().value(row)),
            _ => None,
        })
    }

    /// The number in a column of a whole-number type; `None` for null.
    ///
    /// # Errors
    /// When there is no such column, or it has another type.
    pub fn get_i64(&self, column: impl ColumnName) -> Result<Option<i64>> {
        self.get(column, "a whole number", whole_number)
    }

    /// The number in a column of a whole-number or floating-point type; `None` for null.
    ///
    /// # Errors
    /// When there is no such column, or it has another type.
    #[expect(clippy::cast_precision_loss, reason = "a double is what was asked for")]
    pub fn get_f64(&self, column: impl ColumnName) -> Result<Option<f64>> {
        self.get(column, "a number", |array, row| match array.data_type() {
            DataType::Float32 => Some(f64::from(array.as_primitive::<Float32Type>().value(row))),
            DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)),
            _ => whole_number(array, row).map(|number| number as f64),
        })
    }

    /// The value of a BOOLEAN column; `None` for null.
    ///
    /// # Errors
    /// When there is no such column, or it has another type.
    pub fn get_bool(&self, column: impl ColumnName) -> Result<Option<bool>> {
        self.get(column, "BOOLEAN", |array, row| Some(array.as_boolean_opt()?.value(row)))
    }

    /// The microseconds since 1970-01-01T00:00:00 (UTC for TIMESTAMP, local for `TIMESTAMP_NTZ`); `None` for null.
    ///
    /// # Errors
    /// When there is no such column, or it has another type.
    pub fn get_timestamp_micros(&self, column: impl ColumnName) -> Result<Option<i64>> {
        self.get(column, "TIMESTAMP", |array, row| match array.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => {
                Some(array.as_primitive::<TimestampSecondType>().value(row).saturating_mul(1_000_000))
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Some(array.as_primitive::<TimestampMillisecondType>().value(row).saturating_mul(1000))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Some(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Some(array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1000))
            }
            _ => None,
        })
    }

    /// Any value as `show()` prints it, `NULL` for null; times are in the session's zone.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn text(&self, column: impl ColumnName) -> Result<String> {
        Ok(cell_text(self.column(column)?.as_ref(), self.index, self.zone))
    }

    fn column(&self, column: impl ColumnName) -> Result<&'a ArrayRef> {
        let index = column.index_in(self).ok_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            let near = suggestion(&column.to_string(), names.iter().copied());
            Error::plan(format!("the row has no column `{column}`{near}; it has {}", names.join(", ")))
        })?;
        Ok(self.batch.column(index))
    }

    fn get<T>(
        &self,
        column: impl ColumnName,
        expected: &str,
        value: impl Fn(&'a dyn Array, usize) -> Option<T>,
    ) -> Result<Option<T>> {
        let array = self.column(column)?.as_ref();
        if array.is_null(self.index) {
            return Ok(None);
        }
        value(array, self.index).map(Some).ok_or_else(|| {
            let found = type_name(array.data_type());
            Error::plan(format!("column `{column}` is {found}, not {expected}; cast it or use another getter"))
        })
    }
}

fn whole_number(array: &dyn Array, row: usize) -> Option<i64> {
    Some(match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row),
        _ => return None,
    })
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = (0..self.len()).map(|column| cell_text(self.batch.column(column).as_ref(), self.index, self.zone));
        f.debug_list().entries(cells).finish()
    }
}

/// Makes a writer of the user's for every instance and epoch; several instances work side by side.
pub struct ForeachSink<F> {
    make: Arc<F>,
    zone: Zone,
}

impl<F, W> ForeachSink<F>
where
    F: Fn() -> W + Send + Sync + 'static,
    W: ForeachWriter + 'static,
{
    /// Makes each writer with `make`, such as `move || writer.clone()`.
    pub fn new(make: F) -> Self {
        Self { make: Arc::new(make), zone: Zone::default() }
    }

    /// Shows times in this zone in [`Row::text`].
    #[must_use]
    pub fn zone(self, zone: Zone) -> Self {
        Self { zone, ..self }
    }
}

impl<F> fmt::Debug for ForeachSink<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeachSink")
    }
}

impl<F, W> Sink for ForeachSink<F>
where
    F: Fn() -> W + Send + Sync + 'static,
    W: ForeachWriter + 'static,
{
    fn description(&self) -> String {
        "ForeachSink".to_string()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        let make = Arc::clone(&self.make);
        Ok(Box::new(RowWriter { make, zone: self.zone, partition: context.instance, epoch: 0, open: None }))
    }
}

struct RowWriter<F, W> {
    make: Arc<F>,
    zone: Zone,
    partition: usize,
    epoch: u64,
    open: Option<OpenWriter<W>>,
}

/// A writer after `open` and before `close`.
struct OpenWriter<W> {
    writer: W,
    wants_rows: bool,
}

impl<F, W: ForeachWriter> RowWriter<F, W> {
    fn what(&self) -> String {
        format!("the foreach writer of partition {} in epoch {}", self.partition, self.epoch)
    }

    fn close(&mut self, error: Option<&Error>) -> Result<()> {
        match self.open.take() {
            None => Ok(()),
            Some(mut open) => catch_panic(&self.what(), || open.writer.close(error)),
        }
    }

    /// Closes after `error`, which stays the error even if closing fails too.
    fn fail(&mut self, error: Error) -> Error {
        if let Err(second) = self.close(Some(&error)) {
            log::warn!("{second}");
        }
        error
    }
}

impl<F, W> SinkWriter for RowWriter<F, W>
where
    F: Fn() -> W + Send + Sync + 'static,
    W: ForeachWriter + 'static,
{
    fn begin(&mut self, epoch: u64) -> Result<()> {
        self.epoch = epoch;
        let open = catch_panic(&self.what(), || {
            let mut writer = (self.make)();
            let wants_rows = writer.open(self.partition, epoch);
            OpenWriter { writer, wants_rows }
        })?;
        self.open = Some(open);
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let (what, zone) = (self.what(), self.zone);
        let Some(OpenWriter { writer, wants_rows: true }) = &mut self.open else { return Ok(()) };
        let processed = catch_panic(&what, || {
            (0..batch.num_rows()).try_for_each(|index| writer.process(&Row { batch, index, zone }))
        });
        let error = match processed {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Error::user(format!("{what} failed: {error}")).with_source(error),
            Err(panic) => panic,
        };
        Err(self.fail(error))
    }

    fn prepare(&mut self) -> Result<Prepared> {
        self.close(None)?;
        Ok(Prepared::default())
    }

    fn abort(&mut self) {
        let error = Error::stopped(format!("epoch {} was given up", self.epoch));
        self.fail(error);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use arrow::array::{StringArray, TimestampMillisecondArray, record_batch};
    use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it

    use super::*;
    use crate::clock::lock;
    use crate::error::ErrorKind;
    use crate::protocol::OutputMode;

    #[derive(Clone, Default)]
    struct Journal {
        lines: Arc<Mutex<Vec<String>>>,
        skipped_epoch: Option<u64>,
    }

    impl Journal {
        fn note(&self, line: String) {
            lock(&self.lines).push(line);
        }
    }

    impl ForeachWriter for Journal {
        fn open(&mut self, partition: usize, epoch: u64) -> bool {
            self.note(format!("open {partition} {epoch}"));
            self.skipped_epoch != Some(epoch)
        }

        fn process(&mut self, row: &Row<'_>) -> Result<(), Box<dyn StdError + Send + Sync>> {
            let word = row.get_str("word")?.unwrap_or("null");
            assert!(word != "panic", "told to");
            if word == "fail" {
                return Err("no disk".into());
            }
            self.note(word.to_string());
            Ok(())
        }

        fn close(&mut self, error: Option<&Error>) {
            self.note(format!("close {}", error.map_or("well", |error| error.message())));
        }
    }

    fn words(words: [Option<&str>; 2]) -> RecordBatch {
        let column = StringArray::from(words.to_vec());
        RecordBatch::try_from_iter_with_nullable([("word", Arc::new(column) as _, true)]).unwrap()
    }

    fn open(journal: &Journal) -> Box<dyn SinkWriter> {
        let journal = journal.clone();
        let schema = words([None, None]).schema();
        let context = SinkContext { instance: 2, ..SinkContext::new("q", OutputMode::Append, schema) };
        ForeachSink::new(move || journal.clone()).open(&context).unwrap()
    }

    #[test]
    fn each_epoch_has_a_writer_that_is_opened_fed_and_closed() {
        let journal = Journal { skipped_epoch: Some(1), ..Journal::default() };
        let mut writer = open(&journal);
        for epoch in 0..2 {
            writer.begin(epoch).unwrap();
            writer.write(&words([Some("a"), None])).unwrap();
            writer.prepare().unwrap();
        }
        let expected = ["open 2 0", "a", "null", "close well", "open 2 1", "close well"];
        assert_eq!(*lock(&journal.lines), expected);
    }

    #[test]
    fn an_error_closes_the_writer_once_and_fails_the_epoch() {
        let journal = Journal::default();
        let mut writer = open(&journal);
        writer.begin(0).unwrap();
        let error = writer.write(&words([Some("a"), Some("fail")])).unwrap_err();
        writer.abort();
        assert_eq!(error.kind(), ErrorKind::User);
        assert_eq!(error.message(), "the foreach writer of partition 2 in epoch 0 failed: no disk");
        assert_eq!(*lock(&journal.lines), ["open 2 0", "a", &format!("close {}", error.message())]);
    }

    #[test]
    fn a_panic_becomes_an_error_and_an_abort_closes_with_one() {
        let journal = Journal::default();
        let mut writer = open(&journal);
        writer.begin(0).unwrap();
        let error = writer.write(&words([Some("panic"), None])).unwrap_err();
        assert!(error.message().ends_with("panicked: told to"), "{error}");
        writer.begin(0).unwrap();
        writer.abort();
        assert_eq!(lock(&journal.lines).last().unwrap(), "close epoch 0 was given up");
    }

    #[test]
    fn a_row_gives_typed_values_by_name_or_index() {
        let batch = record_batch!(
            ("word", Utf8, [Some("a")]),
            ("n", Int32, [Some(7)]),
            ("x", Float64, [Some(1.5)]),
            ("ok", Boolean, [Some(true)]),
            ("nothing", Int64, [None::<i64>])
        )
        .unwrap();
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(TimestampMillisecondArray::from(vec![2]).with_timezone("UTC")));
        let names = ["word", "n", "x", "ok", "nothing", "at"];
        let batch = RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap();
        let row = Row { batch: &batch, index: 0, zone: Zone::default() };

        assert_eq!(row.get_str("WORD").unwrap(), Some("a"));
        assert_eq!(row.get_i64(1).unwrap(), Some(7));
        assert_eq!((row.get_f64("x").unwrap(), row.get_f64("n").unwrap()), (Some(1.5), Some(7.0)));
        assert_eq!(row.get_bool("ok").unwrap(), Some(true));
        assert_eq!(row.get_timestamp_micros("at").unwrap(), Some(2_000));
        assert_eq!((row.is_null("nothing").unwrap(), row.get_i64("nothing").unwrap()), (true, None));
        assert_eq!((row.text("n").unwrap(), row.text("nothing").unwrap()), ("7".to_string(), "NULL".to_string()));
        assert_eq!(row.names().count(), row.len());
    }

    #[test]
    fn a_wrong_column_or_type_is_named() {
        let batch = words([None, Some("a")]);
        let row = Row { batch: &batch, index: 1, zone: Zone::default() };
        let error = row.get_str("wrod").unwrap_err();
        assert!(error.message().contains("did you mean `word`?"), "{error}");
        let error = row.get_i64("word").unwrap_err();
        assert!(error.message().contains("column `word` is STRING, not a whole number"), "{error}");
    }
}
