//! Rows as values between separators, quoted where they must be.

use arrow::array::Array;
use arrow::datatypes::{DataType, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::rows::{Cells, RowFormat, TimeFormats, cannot_hold, is_string, line_separator};
use crate::connector::options::Options;
use crate::error::Result;
use crate::types::Zone;

/// What stands around and between values.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the format")]
pub(super) struct Csv {
    separator: char,
    /// `None` when nothing is ever quoted.
    quote: Option<char>,
    escape: char,
    quotes_all: bool,
    has_header: bool,
    null_value: String,
    empty_value: String,
    trims_start: bool,
    trims_end: bool,
    line_separator: String,
    times: TimeFormats,
}

impl Csv {
    /// Reads the options of the format, with Spark's defaults.
    pub(super) fn from_options(options: &Options, zone: Zone) -> Result<Self> {
        let delimiter = character(options, "delimiter", ',')?;
        let quote = options.parsed("quote", "one character, or none to quote nothing", |text| match text {
            "" => Some(None),
            text => single(text).map(Some),
        })?;
        Ok(Self {
            separator: character(options, "sep", delimiter)?,
            quote: quote.unwrap_or(Some('"')),
            escape: character(options, "escape", '\\')?,
            quotes_all: options.flag("quoteAll", false)?,
            has_header: options.flag("header", false)?,
            null_value: options.text("nullValue").unwrap_or_default().to_string(),
            empty_value: options.text("emptyValue").unwrap_or("\"\"").to_string(),
            trims_start: options.flag("ignoreLeadingWhiteSpace", true)?,
            trims_end: options.flag("ignoreTrailingWhiteSpace", true)?,
            line_separator: line_separator(options)?,
            times: TimeFormats::from_options(options, zone)?,
        })
    }

    fn write_value(&self, text: &str, out: &mut Vec<u8>) {
        // As Java's `trim`: blanks and control characters.
        let is_blank = |char: char| char <= ' ';
        let text = if self.trims_start { text.trim_start_matches(is_blank) } else { text };
        let text = if self.trims_end { text.trim_end_matches(is_blank) } else { text };
        match self.quote {
            _ if text.is_empty() => out.extend_from_slice(self.empty_value.as_bytes()),
            Some(quote) if self.quotes_all || self.must_quote(text, quote) => self.write_quoted(text, quote, out),
            _ => out.extend_from_slice(text.as_bytes()),
        }
    }

    fn must_quote(&self, text: &str, quote: char) -> bool {
        text.contains([self.separator, quote, '\n', '\r'])
            || (self.line_separator != "\n" && text.contains(self.line_separator.as_str()))
    }

    fn write_quoted(&self, text: &str, quote: char, out: &mut Vec<u8>) {
        push(quote, out);
        for char in text.chars() {
            if char == quote || char == self.escape {
                push(self.escape, out);
            }
            push(char, out);
        }
        push(quote, out);
    }
}

fn push(char: char, out: &mut Vec<u8>) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

fn character(options: &Options, name: &'static str, default: char) -> Result<char> {
    Ok(options.parsed(name, "one character", single)?.unwrap_or(default))
}

/// One character; a tab can be written as `\t`.
fn single(text: &str) -> Option<char> {
    let mut chars = text.chars();
    match (chars.next()?, chars.next(), chars.next()) {
        (char, None, _) => Some(char),
        ('\\', Some('t'), None) => Some('\t'),
        ('\\', Some('\\'), None) => Some('\\'),
        _ => None,
    }
}

impl RowFormat for Csv {
    fn check(&self, schema: &Schema) -> Result<()> {
        use DataType as T;
        let fits = |data_type: &T| match data_type {
            T::Boolean | T::Date32 | T::Timestamp(TimeUnit::Microsecond, _) | T::Null => true,
            other => other.is_numeric() || is_string(other),
        };
        match schema.fields().iter().find(|field| !fits(field.data_type())) {
            None => Ok(()),
            Some(field) => {
                Err(cannot_hold("csv", field.name(), field.data_type(), "cast it to STRING, or use the json format"))
            }
        }
    }

    fn begin(&self, schema: &Schema, out: &mut Vec<u8>) {
        if !self.has_header {
            return;
        }
        for (index, field) in schema.fields().iter().enumerate() {
            if index > 0 {
                push(self.separator, out);
            }
            self.write_value(field.name(), out);
        }
        out.extend_from_slice(self.line_separator.as_bytes());
    }

    fn write(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let cells: Vec<Cells> = batch.columns().iter().map(|column| Cells::new(column, &self.times)).collect();
        let nulls: Vec<_> = batch.columns().iter().map(Array::logical_nulls).collect();
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            for (index, (cells, nulls)) in cells.iter().zip(&nulls).enumerate() {
                if index > 0 {
                    push(self.separator, out);
                }
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    out.extend_from_slice(self.null_value.as_bytes());
                } else {
                    text.clear();
                    cells.write(row, &mut text);
                    self.write_value(&text, out);
                }
            }
            out.extend_from_slice(self.line_separator.as_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, TimestampMicrosecondArray, record_batch};
    use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it

    use super::*;
    use crate::connector::sink::files::rows::tests::{options, written};

    fn csv(pairs: &[(&str, &str)]) -> Csv {
        Csv::from_options(&options(pairs), Zone::default()).unwrap()
    }

    fn values(pairs: &[(&str, &str)], text: &[Option<&str>]) -> String {
        let column = Arc::new(arrow::array::StringArray::from(text.to_vec()));
        written(&csv(pairs), &RecordBatch::try_from_iter_with_nullable([("v", column as _, true)]).unwrap())
    }

    #[test]
    fn values_are_separated_and_typed_as_spark_writes_them() {
        let batch = record_batch!(
            ("word", Utf8, [Some("to"), None]),
            ("count", Int64, [Some(2), Some(-1)]),
            ("x", Float64, [Some(1e7), Some(0.5)]),
            ("ok", Boolean, [Some(true), None])
        )
        .unwrap();
        let rows = "to,2,1.0E7,true\n,-1,0.5,\n";
        assert_eq!(written(&csv(&[]), &batch), rows);
        assert_eq!(written(&csv(&[("header", "true")]), &batch), format!("word,count,x,ok\n{rows}"));
        let other = csv(&[("sep", "\\t"), ("nullValue", "-"), ("lineSep", "\r\n")]);
        assert_eq!(written(&other, &batch), "to\t2\t1.0E7\ttrue\r\n-\t-1\t0.5\t-\r\n");
    }

    #[test]
    fn values_are_quoted_and_escaped_where_they_must_be() {
        let texts = [Some("a,b"), Some("say \"hi\""), Some("two\nlines"), Some("back\\slash"), Some("\\,"), Some("")];
        let expected = "\"a,b\"\n\"say \\\"hi\\\"\"\n\"two\nlines\"\nback\\slash\n\"\\\\,\"\n\"\"\n";
        assert_eq!(values(&[], &texts), expected);
        assert_eq!(values(&[("escape", "\"")], &[Some("say \"hi\"")]), "\"say \"\"hi\"\"\"\n");
        assert_eq!(values(&[("quoteAll", "true")], &[Some("a"), None]), "\"a\"\n\n");
        assert_eq!(values(&[("quote", "")], &[Some("a,b")]), "a,b\n");
        assert_eq!(values(&[("emptyValue", "(none)")], &[Some("")]), "(none)\n");
    }

    #[test]
    fn blanks_around_values_are_left_out_unless_asked_for() {
        assert_eq!(values(&[], &[Some(" a b ")]), "a b\n");
        let keep = [("ignoreLeadingWhiteSpace", "false"), ("ignoreTrailingWhiteSpace", "false")];
        assert_eq!(values(&keep, &[Some(" a b ")]), " a b \n");
    }

    #[test]
    fn dates_and_times_are_written_by_their_patterns() {
        let time = TimestampMicrosecondArray::from(vec![1_633_080_600_000_000]);
        let batch = RecordBatch::try_from_iter([
            ("at", Arc::new(time.clone().with_timezone("UTC")) as _),
            ("local", Arc::new(time) as _),
            ("day", Arc::new(Date32Array::from(vec![18_901])) as _),
        ])
        .unwrap();
        assert_eq!(written(&csv(&[]), &batch), "2021-10-01T09:30:00.000Z,2021-10-01T09:30:00.000,2021-10-01\n");
        let german = csv(&[("timestampFormat", "d.M.yyyy HH:mm"), ("dateFormat", "d.M.yy")]);
        assert_eq!(written(&german, &batch), "1.10.2021 09:30,2021-10-01T09:30:00.000,1.10.21\n");
    }

    #[test]
    fn nested_columns_are_refused() {
        let schema = Schema::new(vec![arrow::datatypes::Field::new_list(
            "words",
            arrow::datatypes::Field::new_list_field(DataType::Utf8, true),
            true,
        )]);
        let error = csv(&[]).check(&schema).unwrap_err();
        assert!(error.message().contains("`words`") && error.message().contains("json format"), "{error}");
    }

    #[test]
    fn a_separator_is_one_character() {
        let error = Csv::from_options(&options(&[("sep", "||")]), Zone::default()).unwrap_err();
        assert!(error.message().contains("`sep` must be one character"), "{error}");
    }
}
