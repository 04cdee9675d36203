//! Lines of text: one STRING column, `value` unless the schema names it otherwise.
//!
//! Owns: the options `lineSep` and `wholetext`. The lines are not copied: the column points into the bytes as they were
//! read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::blocks::{BATCH_ROWS, Block, Blocks, Decode, Framing, Rows};
use super::separator::Separator;
use super::strings::TextColumn;
use super::{Counters, Format, Part, line_separator};
use crate::connector::SplitReader;
use crate::connector::options::Options;
use crate::error::{Error, Result};
use crate::types::type_name;

/// How text files are read.
#[derive(Debug)]
pub(crate) struct Text {
    schema: SchemaRef,
    /// `None` makes the whole file one row.
    separator: Option<Separator>,
}

impl Text {
    /// Lines that end as they do everywhere.
    pub(crate) fn lines() -> Self {
        let schema = Schema::new(vec![Field::new("value", DataType::Utf8View, true)]);
        Self { schema: Arc::new(schema), separator: Some(Separator::Newline) }
    }

    /// Takes the options of the format.
    ///
    /// # Errors
    /// When an option is bad or the schema is not one STRING column.
    pub(super) fn from_options(options: &Options, schema: Option<SchemaRef>) -> Result<Self> {
        let mut text = Self::lines();
        if let Some(schema) = schema {
            check(&schema)?;
            text.schema = schema;
        }
        let separator = line_separator(options)?;
        text.separator = (!options.flag("wholetext", false)?).then_some(separator);
        Ok(text)
    }

    fn framing(&self) -> Framing {
        self.separator.clone().map_or(Framing::File, Framing::Lines)
    }
}

fn check(schema: &Schema) -> Result<()> {
    match schema.fields().as_ref() {
        [field] if *field.data_type() == DataType::Utf8View => Ok(()),
        [field] => Err(Error::plan(format!(
            "text files have one STRING column, but the schema's column `{}` is {}",
            field.name(),
            type_name(field.data_type())
        ))),
        fields => Err(Error::plan(format!(
            "text files have one STRING column, but the schema has {} columns; use .schema(\"value STRING\") or none",
            fields.len()
        ))),
    }
}

impl Format for Text {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn can_split(&self) -> bool {
        self.framing().can_split()
    }

    fn open(
        &self,
        file: File,
        part: &Part,
        projection: &[usize],
        counters: &Arc<Counters>,
    ) -> Result<Box<dyn SplitReader>> {
        let blocks = Blocks::open(file, part, self.framing(), counters)?;
        let decoder =
            TextRows { schema: Arc::new(self.schema.project(projection)?), separator: self.separator.clone() };
        Ok(Box::new(Rows::new(blocks, decoder)))
    }
}

struct TextRows {
    schema: SchemaRef,
    separator: Option<Separator>,
}

impl TextRows {
    /// The next lines, and where the line after them begins.
    fn lines(&self, block: &Block) -> (Vec<(usize, usize)>, usize) {
        match &self.separator {
            None => (vec![(block.at, block.text.len())], block.text.len()),
            Some(separator) => {
                let mut lines = separator.lines(&block.text, block.at);
                (lines.by_ref().take(BATCH_ROWS).collect(), lines.next_start())
            }
        }
    }
}

impl Decode for TextRows {
    fn decode(&mut self, _: &Path, block: &mut Block) -> Result<Option<RecordBatch>> {
        if block.at >= block.text.len() {
            return Ok(None);
        }
        let (lines, next) = self.lines(block);
        block.at = next;
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        let mut columns = Vec::new();
        for _ in self.schema.fields() {
            let mut column = TextColumn::with_capacity(lines.len());
            for (start, end) in &lines {
                column.push(&block.text[*start..*end], *start);
            }
            columns.push(column.finish(&block.text)?);
        }
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{options, read, read_columns};
    use super::*;

    fn lines(text: &[u8], set: &[(&str, &str)]) -> Vec<String> {
        let format = Text::from_options(&options(set), None).unwrap();
        read(&format, "lines.txt", text).unwrap().0
    }

    #[test]
    fn each_line_is_a_row_and_empty_lines_are_too() {
        assert_eq!(lines(b"a line of text\n\nb\r\nc", &[]), ["a line of text", "", "b", "c"]);
        assert_eq!(lines(b"", &[]), [""; 0]);
    }

    #[test]
    fn a_separator_of_ones_own_and_whole_files_are_possible() {
        assert_eq!(lines(b"a;b\nc;", &[("lineSep", ";")]), ["a", "b\nc"]);
        assert_eq!(lines(b"a\nb\n", &[("wholetext", "true")]), ["a\nb\n"]);
        assert!(Text::from_options(&options(&[("lineSep", "")]), None).is_err());
    }

    #[test]
    fn bad_bytes_become_replacement_characters_and_are_counted() {
        let (rows, counts) = read(&Text::lines(), "lines.txt", b"caf\xe9\nok\n").unwrap();
        assert_eq!(rows, ["caf\u{FFFD}", "ok"]);
        assert_eq!(counts["invalidUtf8Lines"], 1);
    }

    #[test]
    fn many_lines_come_in_batches_of_a_few_thousand_rows_that_share_their_bytes() {
        let text = "one line of some length\n".repeat(20_000);
        let batches = read_columns(&Text::lines(), "lines.txt", text.as_bytes(), &[0]).unwrap().0;
        let rows: Vec<_> = batches.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows, [8192, 8192, 3616]);
        let counted = read_columns(&Text::lines(), "lines.txt", text.as_bytes(), &[]).unwrap().0;
        assert_eq!(counted.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
    }

    #[test]
    fn a_schema_must_be_one_string_column() {
        let two =
            Schema::new(vec![Field::new("a", DataType::Utf8View, true), Field::new("b", DataType::Utf8View, true)]);
        let number = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        for schema in [two, number] {
            let error = Text::from_options(&Options::new(), Some(Arc::new(schema))).unwrap_err().to_string();
            assert!(error.contains("one STRING column"), "{error}");
        }
    }
}
