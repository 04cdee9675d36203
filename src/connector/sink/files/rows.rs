//! How the rows of a text file are written: the format's options and the bytes of a batch.
//!
//! Owns: lines of text, and times as the options want them. `csv` and `json` are the other two formats.

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, Date32Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Date32Type, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use crate::connector::options::Options;
use crate::error::{Error, Result};
use crate::types::{CellWriter, Pattern, Zone, type_name};

/// A format whose files are rows one after the other.
pub(super) trait RowFormat: Send + Sync {
    /// Refuses columns the format cannot hold.
    ///
    /// # Errors
    /// Names the column and the remedy.
    fn check(&self, schema: &Schema) -> Result<()>;

    /// Appends what stands before the first row.
    fn begin(&self, schema: &Schema, out: &mut Vec<u8>) {
        let _ = (schema, out);
    }

    /// Appends the rows of a batch.
    ///
    /// # Errors
    /// When a value cannot be written.
    fn write(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()>;
}

/// The error for a column that a format cannot hold.
pub(super) fn cannot_hold(format: &str, column: &str, data_type: &DataType, remedy: &str) -> Error {
    let data_type = type_name(data_type);
    Error::plan(format!("column `{column}`: {format} files cannot hold {data_type}; {remedy}"))
}

/// The option `lineSep`, a line feed by default.
pub(super) fn line_separator(options: &Options) -> Result<String> {
    let separator =
        options.parsed("lineSep", "one or more characters", |text| (!text.is_empty()).then(|| text.to_string()));
    Ok(separator?.unwrap_or_else(|| "\n".to_string()))
}

/// One STRING a line; a null is an empty line.
#[derive(Debug)]
pub(super) struct Text {
    line_separator: String,
}

impl Text {
    /// Reads the option `lineSep`.
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        Ok(Self { line_separator: line_separator(options)? })
    }
}

impl RowFormat for Text {
    fn check(&self, schema: &Schema) -> Result<()> {
        match schema.fields().as_ref() {
            [field] if is_string(field.data_type()) => Ok(()),
            [field] => Err(cannot_hold(
                "text",
                field.name(),
                field.data_type(),
                "cast it to STRING, or use the csv or json format",
            )),
            fields => Err(Error::plan(format!(
                "text files hold one STRING column, got {} columns; select one (such as concat_ws(…)), or use \
                 the csv or json format",
                fields.len()
            ))),
        }
    }

    fn write(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let column = batch.column(0);
        let cells = CellWriter::new(column, Zone::default());
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            text.clear();
            if column.is_valid(row) {
                cells.write(row, &mut text);
            }
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(self.line_separator.as_bytes());
        }
        Ok(())
    }
}

pub(super) fn is_string(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// How dates and times are written.
#[derive(Debug, Clone)]
pub(super) struct TimeFormats {
    zone: Zone,
    date: Pattern,
    timestamp: Pattern,
    timestamp_ntz: Pattern,
}

impl TimeFormats {
    /// Reads the options `dateFormat`, `timestampFormat` and `timestampNTZFormat`; times are written as of `zone`.
    pub(super) fn from_options(options: &Options, zone: Zone) -> Result<Self> {
        let pattern = |option, default| Pattern::of_sink(option, options.text(option).unwrap_or(default));
        Ok(Self {
            zone,
            date: pattern("dateFormat", "yyyy-MM-dd")?,
            timestamp: pattern("timestampFormat", "yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]")?,
            timestamp_ntz: pattern("timestampNTZFormat", "yyyy-MM-dd'T'HH:mm:ss[.SSS]")?,
        })
    }

    /// A writer for a column of dates or times, `None` for any other.
    pub(super) fn cells(&self, array: &dyn Array) -> Option<TimeCells> {
        match array.data_type() {
            DataType::Date32 => Some(TimeCells::Date(array.as_primitive::<Date32Type>().clone(), self.date.clone())),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let array = array.as_primitive::<TimestampMicrosecondType>().clone();
                Some(match zone {
                    Some(_) => TimeCells::Timestamp(array, self.zone, self.timestamp.clone()),
                    None => TimeCells::Timestamp(array, Zone::UTC, self.timestamp_ntz.clone()),
                })
            }
            _ => None,
        }
    }
}

/// Writes the values of a column of dates or times.
pub(super) enum TimeCells {
    Date(Date32Array, Pattern),
    Timestamp(TimestampMicrosecondArray, Zone, Pattern),
}

impl TimeCells {
    /// Appends the text of the value in `row`, which is not null.
    pub(super) fn write(&self, row: usize, out: &mut String) {
        match self {
            Self::Date(days, pattern) => pattern.write(i64::from(days.value(row)) * 86_400_000_000, Zone::UTC, out),
            Self::Timestamp(micros, zone, pattern) => pattern.write(micros.value(row), *zone, out),
        }
    }
}

/// Writes the values of a column of any type that makes text.
pub(super) enum Cells {
    Time(TimeCells),
    Other(CellWriter),
}

impl Cells {
    pub(super) fn new(array: &ArrayRef, times: &TimeFormats) -> Self {
        match times.cells(array.as_ref()) {
            Some(cells) => Self::Time(cells),
            None => Self::Other(CellWriter::new(array, times.zone)),
        }
    }

    /// Appends the text of the value in `row`, which is not null.
    pub(super) fn write(&self, row: usize, out: &mut String) {
        match self {
            Self::Time(cells) => cells.write(row, out),
            Self::Other(cells) => cells.write(row, out),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use arrow::array::record_batch;
    use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it

    use super::*;

    pub(crate) fn options(pairs: &[(&str, &str)]) -> Options {
        let mut options = Options::new();
        for (name, value) in pairs {
            options.set(name, value);
        }
        options
    }

    pub(crate) fn written(format: &dyn RowFormat, batch: &RecordBatch) -> String {
        let mut out = Vec::new();
        format.check(&batch.schema()).unwrap();
        format.begin(&batch.schema(), &mut out);
        format.write(batch, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_string_is_a_line_and_a_null_an_empty_one() {
        let batch = record_batch!(("value", Utf8, [Some("to be"), None, Some("ü")])).unwrap();
        let text = Text::from_options(&options(&[])).unwrap();
        assert_eq!(written(&text, &batch), "to be\n\nü\n");
        let text = Text::from_options(&options(&[("lineSep", "|")])).unwrap();
        assert_eq!(written(&text, &batch), "to be||ü|");
    }

    #[test]
    fn text_files_hold_exactly_one_string() {
        let text = Text::from_options(&options(&[])).unwrap();
        let number = record_batch!(("n", Int64, [1])).unwrap();
        let error = text.check(&number.schema()).unwrap_err();
        assert!(error.message().contains("column `n`: text files cannot hold BIGINT"), "{error}");
        let two = record_batch!(("a", Utf8, ["x"]), ("b", Utf8, ["x"])).unwrap();
        assert!(text.check(&two.schema()).unwrap_err().message().contains("got 2 columns"));
    }
}
