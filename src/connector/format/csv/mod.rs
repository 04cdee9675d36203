//! Values between separators, one record a line unless `multiLine` is set.
//!
//! Owns: Spark's CSV options and what makes a row malformed: too few or too many values, or one that is not of its
//! column's type. Does not own: splitting ([`records`]) or reading numbers and times (`values`).
//!
//! Nulls: an unquoted empty value is null; so is a value equal to `nullValue`. A quoted empty value is `emptyValue`,
//! which is null as long as both are empty.

mod dialect;
mod infer;
mod records;
#[cfg(test)]
mod tests;
mod usual;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

pub(crate) use self::dialect::Dialect;
use self::records::{Records, Token};
use self::usual::UsualRows;
use super::blocks::{BATCH_ROWS, Block, Blocks, Decode, Framing, Rows, line_number};
use super::malformed::{BadRows, Fault, Mode, excerpt};
use super::strings::TextColumn;
use super::values::{self, Leaf, TimeFormats};
use super::{Counters, Format, Part, Sample, cannot_hold, check_encoding, corrupt_column};
use crate::connector::SplitReader;
use crate::connector::options::Options;
use crate::error::{Error, Result};
use crate::types::{Zone, type_name};

/// How CSV files are read.
#[derive(Debug, Clone)]
pub(crate) struct Csv(Arc<Spec>);

#[derive(Debug, Clone)]
struct Spec {
    schema: SchemaRef,
    dialect: Dialect,
    has_header: bool,
    mode: Mode,
    null_value: String,
    empty_value: String,
    formats: TimeFormats,
    /// The index of the column that takes malformed records; it has no value of its own in the files.
    corrupt: Option<usize>,
}

impl Csv {
    /// Takes the options of the format; without a schema it reads the header, and all rows with `inferSchema`.
    ///
    /// # Errors
    /// When an option is bad, a column's type cannot be in a CSV file, or the sample cannot be read.
    pub(super) fn from_options(
        options: &Options,
        schema: Option<SchemaRef>,
        zone: Zone,
        sample: Option<&Sample<'_>>,
    ) -> Result<Self> {
        let mut spec = Spec::from_options(options, zone)?;
        let infers_types = options.flag("inferSchema", false)?;
        match (schema, sample) {
            (Some(schema), _) => spec.schema = schema,
            (None, Some(sample)) => spec.schema = infer::schema(&spec, &sample()?, infers_types)?,
            (None, None) => return Err(Error::config("a schema must be given for a streaming csv source")),
        }
        spec.corrupt = corrupt_column(options, &spec.schema)?;
        spec.check_types()?;
        Ok(Self(Arc::new(spec)))
    }
}

impl Spec {
    fn from_options(options: &Options, zone: Zone) -> Result<Self> {
        check_encoding(options)?;
        if !options.flag("enforceSchema", true)? {
            return Err(Error::config("option `enforceSchema` must be true: columns are matched by position"));
        }
        Ok(Self {
            schema: Arc::new(arrow::datatypes::Schema::empty()),
            dialect: Dialect::from_options(options)?,
            has_header: options.flag("header", false)?,
            mode: Mode::from_options(options)?,
            null_value: options.text("nullValue").unwrap_or_default().to_string(),
            empty_value: options.text("emptyValue").unwrap_or_default().to_string(),
            formats: TimeFormats::from_options(options, zone)?,
            corrupt: None,
        })
    }

    fn check_types(&self) -> Result<()> {
        let cannot = |data_type: &DataType| *data_type != DataType::Utf8View && !values::is_leaf(data_type);
        match self.schema.fields().iter().find(|field| cannot(field.data_type())) {
            Some(field) => Err(cannot_hold("csv", field.name(), field.data_type())),
            None => Ok(()),
        }
    }

    fn framing(&self) -> Framing {
        if self.dialect.is_multi_line {
            Framing::Quoted(self.dialect.clone())
        } else {
            Framing::Lines(self.dialect.line_separator())
        }
    }

    /// How many values a well-formed record has.
    fn width(&self) -> usize {
        self.schema.fields().len() - usize::from(self.corrupt.is_some())
    }

    /// Which value of a record belongs to the column of this index; `None` for the column of malformed records.
    fn value_of(&self, column: usize) -> Option<usize> {
        match self.corrupt {
            Some(corrupt) if corrupt == column => None,
            Some(corrupt) if corrupt < column => Some(column - 1),
            _ => Some(column),
        }
    }
}

impl Format for Csv {
    fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    fn can_split(&self) -> bool {
        self.0.framing().can_split()
    }

    fn open(
        &self,
        file: File,
        part: &Part,
        projection: &[usize],
        counters: &Arc<Counters>,
    ) -> Result<Box<dyn SplitReader>> {
        let spec = &self.0;
        let blocks = Blocks::open(file, part, spec.framing(), counters)?;
        let decoder = CsvRows {
            schema: Arc::new(spec.schema.project(projection)?),
            projection: projection.to_vec(),
            records: Records::new(spec.width()),
            usual: UsualRows::new(spec, projection),
            is_header_next: spec.has_header && part.begin == 0,
            counters: Arc::clone(counters),
            spec: Arc::clone(spec),
        };
        Ok(Box::new(Rows::new(blocks, decoder)))
    }
}

struct CsvRows {
    spec: Arc<Spec>,
    schema: SchemaRef,
    projection: Vec<usize>,
    records: Records,
    usual: Option<UsualRows>,
    is_header_next: bool,
    counters: Arc<Counters>,
}

impl Decode for CsvRows {
    fn decode(&mut self, path: &Path, block: &mut Block) -> Result<Option<RecordBatch>> {
        if self.is_header_next {
            block.at = self.records.split(&self.spec.dialect, &block.text, block.at, 1);
            self.is_header_next = self.records.len() == 0;
        }
        if let Some(batch) = self.usual_batch(block)? {
            return Ok(Some(batch));
        }
        block.at = self.records.split(&self.spec.dialect, &block.text, block.at, BATCH_ROWS);
        if self.records.len() == 0 {
            return Ok(None);
        }
        let (batch, bad) = self.batch(block)?;
        let describe = |row, fault| self.describe(path, block, row, fault);
        bad.settle(batch, self.spec.mode, &self.counters, describe).map(Some)
    }
}

impl CsvRows {
    /// The next rows, if they are in the form in which nearly all are.
    fn usual_batch(&mut self, block: &mut Block) -> Result<Option<RecordBatch>> {
        let Some(usual) = &mut self.usual else { return Ok(None) };
        let Some((columns, rows, next)) = usual.read(&block.text, block.at, BATCH_ROWS)? else { return Ok(None) };
        block.at = next;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
    }

    fn batch(&self, block: &Block) -> Result<(RecordBatch, BadRows)> {
        let rows = self.records.len();
        let mut bad = BadRows::new(rows);
        let width = self.spec.width();
        for row in 0..rows {
            if self.records.record(row).values != width {
                bad.mark(row, Fault::Row);
            }
        }
        let mut columns: Vec<Option<ArrayRef>> = Vec::with_capacity(self.projection.len());
        for column in &self.projection {
            let value = self.spec.value_of(*column);
            columns.push(value.map(|value| self.column(block, *column, value, &mut bad)).transpose()?);
        }
        // Last, because only now is it known which rows are malformed.
        let corrupt = columns.iter().any(Option::is_none).then(|| self.corrupt_records(block, &bad)).transpose()?;
        let columns = columns.into_iter().filter_map(|column| column.or_else(|| corrupt.clone())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok((RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?, bad))
    }

    fn column(&self, block: &Block, column: usize, value: usize, bad: &mut BadRows) -> Result<ArrayRef> {
        let data_type = self.spec.schema.field(column).data_type();
        let cells = (0..self.records.len()).map(|row| self.cell(block, row, value));
        if *data_type != DataType::Utf8View {
            let texts = cells.map(|cell| cell.map(|(text, _)| text));
            return values::column(data_type, texts, &self.spec.formats, |row| bad.mark(row, Fault::Column(column)));
        }
        let mut strings = TextColumn::with_capacity(cells.len());
        for cell in cells {
            match cell {
                None => strings.push_null(),
                Some((text, Some(place))) => strings.push(text, place),
                Some((text, None)) => strings.push_rewritten(text),
            }
        }
        strings.finish(&block.text)
    }

    /// A value that is not null, and where in the block it stands.
    fn cell<'a>(&'a self, block: &'a Block, row: usize, value: usize) -> Option<(&'a [u8], Option<usize>)> {
        let (text, place) = match self.records.token(&block.text, row, value) {
            Token::Missing | Token::Plain([], _) => return None,
            Token::Quoted([], _) => (self.spec.empty_value.as_bytes(), None),
            Token::Plain(text, place) | Token::Quoted(text, place) => (text, Some(place)),
            Token::Rewritten(text) => (text, None),
        };
        (text != self.spec.null_value.as_bytes()).then_some((text, place))
    }

    fn corrupt_records(&self, block: &Block, bad: &BadRows) -> Result<ArrayRef> {
        let mut column = TextColumn::with_capacity(self.records.len());
        for row in 0..self.records.len() {
            let range = self.records.record(row).range();
            if bad.contains(row) {
                column.push(&block.text[range.clone()], range.start);
            } else {
                column.push_null();
            }
        }
        column.finish(&block.text)
    }

    fn describe(&self, path: &Path, block: &Block, row: usize, fault: Fault) -> Error {
        let record = self.records.record(row);
        let what = match fault {
            Fault::Row => {
                let (values, width) = (record.values, self.spec.width());
                let text = excerpt(&block.text[record.range()]);
                format!("the row has {values} values, the schema {width} columns: `{text}`")
            }
            Fault::Column(column) => {
                let field = self.spec.schema.field(column);
                let cell = self.spec.value_of(column).and_then(|value| self.cell(block, row, value));
                let text = excerpt(cell.map(|(text, _)| text).unwrap_or_default());
                format!("column `{}`: `{text}` is not {}", field.name(), type_name(field.data_type()))
            }
        };
        malformed(path, block, record.range().start, &what)
    }
}

/// The error about a malformed row under FAILFAST.
pub(super) fn malformed(path: &Path, block: &Block, at: usize, what: &str) -> Error {
    let line = line_number(path, block, at).map_or_else(String::new, |line| format!(" line {line}"));
    let text = format!("{}{line}: {what}; correct it, or set mode=PERMISSIVE or DROPMALFORMED", path.display());
    Error::data(text)
}

impl<'a> Leaf<&'a [u8]> for TimeFormats {
    fn integer(&self, text: &'a [u8]) -> Option<i64> {
        values::integer(text)
    }

    fn float(&self, text: &'a [u8]) -> Option<f32> {
        values::float(text)
    }

    fn double(&self, text: &'a [u8]) -> Option<f64> {
        values::float(text)
    }

    fn boolean(&self, text: &'a [u8]) -> Option<bool> {
        values::boolean(text)
    }

    fn decimal(&self, text: &'a [u8], precision: u8, scale: i8) -> Option<i128> {
        values::decimal(text, precision, scale)
    }

    fn date(&self, text: &'a [u8]) -> Option<i32> {
        self.parse_date(text)
    }

    fn timestamp(&self, text: &'a [u8]) -> Option<i64> {
        self.parse_timestamp(text)
    }

    fn local_timestamp(&self, text: &'a [u8]) -> Option<i64> {
        self.parse_local_timestamp(text)
    }
}
