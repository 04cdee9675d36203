//! Several rows out of one: the elements of a list, or the pieces of a text.
//!
//! Owns: columns in and out, and pausing between output batches. Does not own: walking over lists ([`lists`]) and
//! cutting text ([`words`]).

mod lists;
mod words;

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::project::one_input;
use super::{Batch, DroppedRows, Flow, Operator, OperatorContext, Output};
use crate::error::{Error, Result, suggestion};
use crate::types::type_name;
use lists::Lists;
use words::Separator;
pub(super) use words::{PieceKeys, Words};

/// The most rows of one output batch.
const BATCH_ROWS: usize = 8192;

/// Makes a row of each element of a list column, or of each piece of a text column.
///
/// | form                     | input             | output                                  | state | late rows     |
/// |--------------------------|-------------------|-----------------------------------------|-------|---------------|
/// | `column`                 | a list and others | one row an element, the others repeated | none  | not looked at |
/// | `words`, `split_literal` | a text and others | one row a piece, that column alone      | none  | not looked at |
///
/// A null or empty list gives no row, or one row with a null if `keep_empty`. A null text gives no row.
///
/// ```text
/// value              word
/// "the owl"    ─▶    the
/// "a cat"            owl
///                    a
///                    cat
/// ```
#[derive(Debug, Clone)]
pub struct Explode {
    kind: Kind,
    /// What rows without an element are counted as dropped for, if they are.
    reason: Option<&'static str>,
    /// The input's column and the output's columns, once open.
    place: Option<(usize, SchemaRef)>,
    pending: Option<Pending>,
}

#[derive(Debug, Clone)]
enum Kind {
    Lists { index: usize, output: FieldRef, keep_empty: bool },
    Words { column: ColumnRef, separator: Separator, output: FieldRef },
}

#[derive(Debug, Clone)]
enum ColumnRef {
    At(usize),
    Named(String),
}

/// An input batch that is not exploded to its end.
#[derive(Debug, Clone)]
enum Pending {
    Lists(Lists),
    Words(Words),
}

impl Explode {
    /// Replaces the list column at `index` by a column of its elements, `output`, and repeats the other columns.
    ///
    /// With `keep_empty`, a null or empty list gives one row with a null (`explode_outer`), otherwise none (`explode`).
    pub fn column(index: usize, output: FieldRef, keep_empty: bool) -> Self {
        Self::of(Kind::Lists { index, output, keep_empty })
    }

    /// Splits the text column `column` at every space; the pieces are the only column of the output, `output`.
    ///
    /// Neighbouring spaces have an empty text between them: this is `explode(split(column, ' '))`.
    pub fn words(column: impl Into<String>, output: impl Into<String>) -> Self {
        let output = Arc::new(Field::new(output, DataType::Utf8View, true));
        Self::of(Kind::Words { column: ColumnRef::Named(column.into()), separator: Separator::new(" "), output })
    }

    /// Splits the text column at index `column` wherever `separator` stands; the pieces are the only column of the
    /// output.
    ///
    /// This is `explode(split(column, separator))` in one step, for a separator without special characters: as there,
    /// empty pieces are kept at the end too, a text without separator is one piece, and an empty text one empty piece.
    pub fn split_literal(column: usize, separator: &str, output: FieldRef) -> Self {
        Self::of(Kind::Words { column: ColumnRef::At(column), separator: Separator::new(separator), output })
    }

    fn of(kind: Kind) -> Self {
        Self { kind, reason: None, place: None, pending: None }
    }

    /// Counts the rows of a list column that have no element as dropped for this reason: where the lists are not the user's.
    #[must_use]
    pub(crate) fn counting(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// Hands on the rows whose list is null or empty as dropped.
    fn count_without(index: usize, reason: &'static str, batch: &RecordBatch, output: &mut Output) -> Result<()> {
        let lists = batch.column(index).as_list_opt::<i32>();
        let lists = lists.ok_or_else(|| Error::internal("only rows of lists are counted"))?;
        let is_without = |row: usize| lists.is_null(row) || lists.value_length(row) == 0;
        if !(0..lists.len()).any(is_without) {
            return Ok(());
        }
        let without: BooleanArray = (0..lists.len()).map(|row| Some(is_without(row))).collect();
        let others: Vec<usize> = (0..batch.num_columns()).filter(|column| *column != index).collect();
        let records = filter_record_batch(&batch.project(&others)?, &without)?;
        output.drop_rows(DroppedRows { reason, records, times: None, watermark_ms: None });
        Ok(())
    }

    fn start(&self, batch: &RecordBatch) -> Result<Pending> {
        let unopened = || Error::internal("an explode was used before it was opened");
        let (index, schema) = self.place.clone().ok_or_else(unopened)?;
        match &self.kind {
            Kind::Lists { keep_empty, .. } => Lists::new(batch, index, schema, *keep_empty).map(Pending::Lists),
            Kind::Words { separator, .. } => {
                Words::new(batch.column(index), separator.clone(), schema).map(Pending::Words)
            }
        }
    }
}

/// Cuts one text column at a separator, for an operator that needs the pieces as keys only.
#[derive(Debug, Clone)]
pub(super) struct TextPieces {
    column: usize,
    separator: Separator,
    output: SchemaRef,
}

impl TextPieces {
    /// Pieces of the text column at index `column`, as [`Explode::split_literal`] cuts them.
    pub(super) fn new(column: usize, separator: &str, output: FieldRef) -> Self {
        let output = Arc::new(Schema::new(vec![output]));
        Self { column, separator: Separator::new(separator), output }
    }

    /// Starts on a batch.
    pub(super) fn start(&self, batch: &RecordBatch) -> Result<Words> {
        Words::new(batch.column(self.column), self.separator.clone(), self.output.clone())
    }

    /// The column and the separator.
    pub(super) fn describe(&self) -> String {
        format!("column {} at {:?}", self.column, self.separator.text())
    }
}

impl Pending {
    /// The next output batch; `None` at the end.
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Self::Lists(lists) => lists.next(),
            Self::Words(words) => words.next(),
        }
    }
}

impl Operator for Explode {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.kind.place(one_input(inputs)?).map(|(_, schema)| schema)
    }

    fn describe(&self) -> String {
        match &self.kind {
            Kind::Lists { index, output, keep_empty } => {
                let outer = if *keep_empty { ", keep empty" } else { "" };
                format!("column {index} to {}{outer}", output.name())
            }
            Kind::Words { column: ColumnRef::At(index), separator, output } => {
                format!("column {index} at {:?} to {}", separator.text(), output.name())
            }
            Kind::Words { column: ColumnRef::Named(name), separator, output } => {
                format!("{name} at {:?} to {}", separator.text(), output.name())
            }
        }
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        self.place = Some(self.kind.place(one_input(&context.inputs)?)?);
        Ok(())
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        if let (Some(reason), Kind::Lists { index, .. }) = (self.reason, &self.kind) {
            Self::count_without(*index, reason, &batch.records, output)?;
        }
        self.pending = Some(self.start(&batch.records)?);
        self.resume(output)
    }

    fn dropped_columns(&self, inputs: &[SchemaRef]) -> Option<SchemaRef> {
        let (Some(_), Kind::Lists { index, .. }, Some(input)) = (self.reason, &self.kind, inputs.first()) else {
            return None;
        };
        let others: Vec<usize> = (0..input.fields().len()).filter(|column| column != index).collect();
        input.project(&others).ok().map(Arc::new)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        while let Some(pending) = &mut self.pending {
            if output.is_full() {
                return Ok(Flow::More);
            }
            match pending.next()? {
                Some(batch) => output.batch(batch),
                None => self.pending = None,
            }
        }
        Ok(Flow::Done)
    }
}

impl Kind {
    /// The index of the exploded column and the columns of the output.
    fn place(&self, input: &SchemaRef) -> Result<(usize, SchemaRef)> {
        match self {
            Self::Lists { index, output, keep_empty } => {
                Ok((*index, Arc::new(exploded(input, *index, output, *keep_empty)?)))
            }
            Self::Words { column, separator, output } => {
                let index = column.find(input)?;
                check_text(input.field(index), separator, output)?;
                Ok((index, Arc::new(Schema::new(vec![output.clone()]))))
            }
        }
    }
}

impl ColumnRef {
    fn find(&self, input: &Schema) -> Result<usize> {
        match self {
            Self::At(index) if *index < input.fields().len() => Ok(*index),
            Self::At(index) => Err(no_column(*index, input)),
            Self::Named(name) => input.fields().find(name).map(|(index, _)| index).ok_or_else(|| {
                let names = || input.fields().iter().map(|field| field.name().as_str());
                let known = names().collect::<Vec<_>>().join(", ");
                Error::plan(format!("no column `{name}` among {known}{}", suggestion(name, names())))
            }),
        }
    }
}

fn no_column(index: usize, input: &Schema) -> Error {
    Error::internal(format!("column {index} is exploded, but there are {} columns", input.fields().len()))
}

/// `input` with the list column at `index` replaced.
fn exploded(input: &Schema, index: usize, output: &FieldRef, keep_empty: bool) -> Result<Schema> {
    let mut fields = input.fields().to_vec();
    let list = fields.get_mut(index).ok_or_else(|| no_column(index, input))?;
    let (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) = list.data_type() else {
        let (name, other) = (list.name(), type_name(list.data_type()));
        return Err(Error::plan(format!("explode needs an ARRAY, but column `{name}` is {other}")));
    };
    if item.data_type() != output.data_type() {
        let (own, declared) = (type_name(item.data_type()), type_name(output.data_type()));
        let message = format!("the elements of `{}` are {own}, not {declared} as declared", list.name());
        return Err(Error::internal(message));
    }
    let nullable = output.is_nullable() || item.is_nullable() || keep_empty;
    *list = Arc::new(output.as_ref().clone().with_nullable(nullable));
    Ok(Schema::new_with_metadata(fields, input.metadata().clone()))
}

fn check_text(input: &Field, separator: &Separator, output: &Field) -> Result<()> {
    let (name, own) = (input.name(), input.data_type());
    if !matches!(own, DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8) {
        return Err(Error::plan(format!("split needs a STRING, but column `{name}` is {}", type_name(own))));
    }
    if separator.text().is_empty() {
        return Err(Error::plan(format!(
            "column `{name}` is split at an empty separator; give at least one character"
        )));
    }
    if *output.data_type() != DataType::Utf8View {
        return Err(Error::internal(format!("pieces of `{name}` are Utf8View, not {}", output.data_type())));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
