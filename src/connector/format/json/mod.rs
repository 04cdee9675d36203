//! JSON, one object a line unless `multiLine` is set.
//!
//! Owns: Spark's JSON options and what makes a row malformed: text that is not a JSON object, or a value that is not of
//! its column's type. Does not own: the grammar ([`tape`]) or which value fits which type ([`columns`]).
//!
//! A line, or a file with `multiLine`, may also hold an array of objects, each of which is a row. Keys are matched with
//! case. A key that the schema does not name is skipped; a name without a key is null.

mod columns;
mod infer;
mod tape;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use self::columns::{ABSENT, Cells, ColumnBuilder, can_hold, find_fields};
use self::tape::{Kind, Tape};
use super::blocks::{BATCH_ROWS, Block, Blocks, Decode, Framing, Rows};
use super::csv::malformed;
use super::malformed::{BadRows, Fault, Mode, excerpt};
use super::separator::{Lines, Separator};
use super::strings::TextColumn;
use super::values::TimeFormats;
use super::{CORRUPT_RECORD, Counters, Format, Part, Sample, cannot_hold, check_encoding, corrupt_column};
use crate::connector::SplitReader;
use crate::connector::options::Options;
use crate::error::{Error, Result};
use crate::types::{Zone, type_name};

/// How JSON files are read.
#[derive(Debug, Clone)]
pub(crate) struct Json(Arc<Spec>);

#[derive(Debug, Clone)]
struct Spec {
    schema: SchemaRef,
    /// `None` makes the whole file one JSON text.
    separator: Option<Separator>,
    mode: Mode,
    formats: TimeFormats,
    /// The index of the column that takes malformed records.
    corrupt: Option<usize>,
}

impl Json {
    /// Takes the options of the format; without a schema it reads the sample to find one.
    ///
    /// # Errors
    /// When an option is bad, a column's type cannot be in a JSON file, or the sample cannot be read.
    pub(super) fn from_options(
        options: &Options,
        schema: Option<SchemaRef>,
        zone: Zone,
        sample: Option<&Sample<'_>>,
    ) -> Result<Self> {
        check_encoding(options)?;
        let separator = super::line_separator(options)?;
        let mut spec = Spec {
            schema: Arc::new(Schema::empty()),
            separator: (!options.flag("multiLine", false)?).then_some(separator),
            mode: Mode::from_options(options)?,
            formats: TimeFormats::from_options(options, zone)?,
            corrupt: None,
        };
        let corrupt_name = options.text("columnNameOfCorruptRecord").unwrap_or(CORRUPT_RECORD);
        match (schema, sample) {
            (Some(schema), _) => spec.schema = schema,
            (None, Some(sample)) => spec.schema = infer::schema(&spec, &sample()?, corrupt_name)?,
            (None, None) => return Err(Error::config("a schema must be given for a streaming json source")),
        }
        spec.corrupt = corrupt_column(options, &spec.schema)?;
        if let Some(field) = spec.schema.fields().iter().find(|field| !can_hold(field.data_type())) {
            return Err(cannot_hold("json", field.name(), field.data_type()));
        }
        Ok(Self(Arc::new(spec)))
    }
}

impl Spec {
    fn framing(&self) -> Framing {
        self.separator.clone().map_or(Framing::File, Framing::Lines)
    }

    /// The JSON texts of `bytes` from `from` on; blank lines are none.
    fn records<'a>(&'a self, bytes: &'a [u8], from: usize) -> Records<'a> {
        match &self.separator {
            Some(separator) => Records { bytes, whole: None, lines: Some(separator.lines(bytes, from)), next: from },
            None => Records { bytes, whole: Some((from, bytes.len())), lines: None, next: from },
        }
    }
}

/// Iterates over JSON texts; see [`Spec::records`].
struct Records<'a> {
    bytes: &'a [u8],
    whole: Option<(usize, usize)>,
    lines: Option<Lines<'a>>,
    next: usize,
}

impl Iterator for Records<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        loop {
            let (start, end) = match &mut self.lines {
                None => self.whole.take()?,
                Some(lines) => {
                    let line = lines.next();
                    self.next = lines.next_start();
                    line?
                }
            };
            if !self.bytes[start..end].trim_ascii().is_empty() {
                return Some((start, end));
            }
        }
    }
}

impl Format for Json {
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
        let blocks = Blocks::open(file, part, self.0.framing(), counters)?;
        let decoder = JsonRows {
            spec: Arc::clone(&self.0),
            schema: Arc::new(self.0.schema.project(projection)?),
            projection: projection.to_vec(),
            tape: Tape::default(),
            rows: Vec::new(),
            counters: Arc::clone(counters),
        };
        Ok(Box::new(Rows::new(blocks, decoder)))
    }
}

/// One row of a batch.
struct Row {
    /// The tape's index of its object, or [`ABSENT`] when the text is malformed.
    root: u32,
    /// The JSON text it comes from.
    start: usize,
    end: usize,
}

struct JsonRows {
    spec: Arc<Spec>,
    schema: SchemaRef,
    projection: Vec<usize>,
    tape: Tape,
    rows: Vec<Row>,
    counters: Arc<Counters>,
}

impl Decode for JsonRows {
    fn decode(&mut self, path: &Path, block: &mut Block) -> Result<Option<RecordBatch>> {
        self.parse(block);
        if self.rows.is_empty() {
            return Ok(None);
        }
        let (batch, bad) = self.batch(&block.text)?;
        let describe = |row, fault| self.describe(path, block, row, fault);
        bad.settle(batch, self.spec.mode, &self.counters, describe).map(Some)
    }
}

impl JsonRows {
    /// Parses records until there are rows for a batch.
    fn parse(&mut self, block: &mut Block) {
        self.tape.clear();
        self.rows.clear();
        let mut records = self.spec.records(&block.text, block.at);
        while self.rows.len() < BATCH_ROWS {
            let Some((start, end)) = records.next() else { break };
            match self.tape.parse(&block.text, start, end) {
                None => self.rows.push(Row { root: ABSENT, start, end }),
                Some(root) => {
                    let is_object = |root: &u32| self.tape.node(*root).kind == Kind::Object;
                    let objects = roots(&self.tape, root).map(|root| if is_object(&root) { root } else { ABSENT });
                    self.rows.extend(objects.map(|root| Row { root, start, end }));
                }
            }
        }
        block.at = if self.spec.separator.is_some() { records.next } else { block.text.len() };
    }

    fn batch(&self, text: &Buffer) -> Result<(RecordBatch, BadRows)> {
        let mut bad = BadRows::new(self.rows.len());
        for (index, _) in self.rows.iter().enumerate().filter(|(_, row)| row.root == ABSENT) {
            bad.mark(index, Fault::Row);
        }
        let rows: Arc<[usize]> = (0..self.rows.len()).collect();
        let mut columns: Vec<Option<ArrayRef>> = Vec::with_capacity(self.projection.len());
        for (column, values) in self.projection.iter().zip(self.cells(text)) {
            if self.spec.corrupt == Some(*column) {
                columns.push(None);
                continue;
            }
            let (tape, formats) = (&self.tape, &self.spec.formats);
            let mut builder = ColumnBuilder { tape, text, formats, bad: &mut bad, column: *column };
            let cells = Cells { values, rows: Arc::clone(&rows) };
            columns.push(Some(builder.build(self.spec.schema.field(*column).data_type(), &cells)?));
        }
        // Last, because only now is it known which rows are malformed.
        let corrupt = columns.iter().any(Option::is_none).then(|| self.corrupt_records(text, &bad)).transpose()?;
        let columns = columns.into_iter().filter_map(|column| column.or_else(|| corrupt.clone())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        Ok((RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?, bad))
    }

    /// The cells of each projected column.
    fn cells(&self, text: &Buffer) -> Vec<Vec<u32>> {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut columns = vec![Vec::with_capacity(self.rows.len()); names.len()];
        let mut found = vec![ABSENT; names.len()];
        for row in &self.rows {
            found.fill(ABSENT);
            if row.root != ABSENT {
                find_fields(&self.tape, text, row.root, &names, &mut found);
            }
            for (column, value) in columns.iter_mut().zip(&found) {
                column.push(*value);
            }
        }
        columns
    }

    fn corrupt_records(&self, text: &Buffer, bad: &BadRows) -> Result<ArrayRef> {
        let mut column = TextColumn::with_capacity(self.rows.len());
        for (index, row) in self.rows.iter().enumerate() {
            if bad.contains(index) {
                column.push(&text[row.start..row.end], row.start);
            } else {
                column.push_null();
            }
        }
        column.finish(text)
    }

    fn describe(&self, path: &Path, block: &Block, row: usize, fault: Fault) -> Error {
        let row = &self.rows[row];
        let text = excerpt(&block.text[row.start..row.end]);
        let what = match fault {
            Fault::Row => format!("not a JSON object: `{text}`"),
            Fault::Column(column) => {
                let field = self.spec.schema.field(column);
                let value = self.value(&block.text, row.root, field.name());
                format!("column `{}`: `{value}` is not {}", field.name(), type_name(field.data_type()))
            }
        };
        malformed(path, block, row.start, &what)
    }

    /// The JSON text of a column's value.
    fn value(&self, text: &Buffer, root: u32, name: &str) -> String {
        let mut found = [ABSENT];
        find_fields(&self.tape, text, root, &[name], &mut found);
        let mut value = Vec::new();
        if found[0] != ABSENT {
            self.tape.write(text, found[0], &mut value);
        }
        excerpt(&value)
    }
}

/// The rows of a JSON text: itself, or the elements of an array.
fn roots(tape: &Tape, root: u32) -> impl Iterator<Item = u32> + '_ {
    let is_array = tape.node(root).kind == Kind::Array;
    let elements = is_array.then(|| tape.children(root)).into_iter().flatten();
    elements.chain((!is_array).then_some(root))
}
