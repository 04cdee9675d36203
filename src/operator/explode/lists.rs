//! Walking over a list column.
//!
//! Owns: which element and which row each output row is made of. Elements that lie side by side, as those of ordinary
//! lists do, go out as a slice; only elements with gaps between them and the repeated columns are copied.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, UInt64Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{take, take_arrays};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::BATCH_ROWS;
use crate::error::{Error, Result};

/// One input batch and how far it is exploded.
#[derive(Debug, Clone)]
pub(super) struct Lists {
    schema: SchemaRef,
    index: usize,
    others: Vec<ArrayRef>,
    elements: ArrayRef,
    spans: Spans,
    nulls: Option<NullBuffer>,
    keep_empty: bool,
    rows: usize,
    /// The row to go on with, and how many of its elements are out.
    row: usize,
    done: usize,
}

/// Where the elements of each row lie.
#[derive(Debug, Clone)]
enum Spans {
    Small(OffsetBuffer<i32>),
    Large(OffsetBuffer<i64>),
    Fixed(usize),
}

/// What one output batch is made of.
#[derive(Debug, Default)]
struct Picked {
    /// The input row of each output row; not filled in when there are no other columns.
    rows: Vec<u32>,
    /// The elements: runs of places that follow each other; an empty run is one null.
    runs: Vec<Range<usize>>,
    count: usize,
}

impl Lists {
    /// Starts on the list column at `index`, which [`super::Kind::place`] has checked.
    pub(super) fn new(batch: &RecordBatch, index: usize, schema: SchemaRef, keep_empty: bool) -> Result<Self> {
        let mut others = batch.columns().to_vec();
        let column = others.remove(index);
        let (elements, spans) = if let Some(lists) = column.as_list_opt::<i32>() {
            (lists.values().clone(), Spans::Small(lists.offsets().clone()))
        } else if let Some(lists) = column.as_list_opt::<i64>() {
            (lists.values().clone(), Spans::Large(lists.offsets().clone()))
        } else if let Some(lists) = column.as_fixed_size_list_opt() {
            let size = usize::try_from(lists.value_length()).unwrap_or(0);
            (lists.values().clone(), Spans::Fixed(size))
        } else {
            return Err(Error::internal(format!("exploded column {index} is {}, not a list", column.data_type())));
        };
        let (nulls, rows) = (column.nulls().cloned(), batch.num_rows());
        Ok(Self { schema, index, others, elements, spans, nulls, keep_empty, rows, row: 0, done: 0 })
    }

    /// The next output batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let picked = self.pick()?;
        if picked.count == 0 {
            return Ok(None);
        }
        let mut columns = take_arrays(&self.others, &UInt32Array::from(picked.rows), None)?;
        columns.insert(self.index, elements_at(&self.elements, &picked.runs)?);
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }

    fn pick(&mut self) -> Result<Picked> {
        let mut picked = Picked::default();
        while self.row < self.rows && picked.count < BATCH_ROWS {
            let span = self.span(self.row);
            let is_kept_empty = span.is_empty() && self.keep_empty;
            let start = span.start + self.done;
            let end = span.end.min(start + BATCH_ROWS - picked.count);
            let count = if is_kept_empty { 1 } else { end - start };
            if count > 0 {
                picked.push(start..end);
                self.repeat_row(count, &mut picked)?;
            }
            if end == span.end {
                (self.row, self.done) = (self.row + 1, 0);
            } else {
                self.done += count;
            }
        }
        Ok(picked)
    }

    fn repeat_row(&self, count: usize, picked: &mut Picked) -> Result<()> {
        picked.count += count;
        if !self.others.is_empty() {
            let too_many = |_| Error::internal("a batch of more than 4 billion rows");
            let row = u32::try_from(self.row).map_err(too_many)?;
            picked.rows.extend(std::iter::repeat_n(row, count));
        }
        Ok(())
    }

    fn span(&self, row: usize) -> Range<usize> {
        let span = match &self.spans {
            Spans::Small(offsets) => place(offsets[row])..place(offsets[row + 1]),
            Spans::Large(offsets) => place(offsets[row])..place(offsets[row + 1]),
            Spans::Fixed(size) => row * size..(row + 1) * size,
        };
        match &self.nulls {
            // Arrow allows elements behind a null; they are not part of the data.
            Some(nulls) if nulls.is_null(row) => span.start..span.start,
            _ => span,
        }
    }
}

impl Picked {
    fn push(&mut self, run: Range<usize>) {
        match self.runs.last_mut() {
            Some(last) if last.end == run.start && last.start < last.end && run.start < run.end => last.end = run.end,
            _ => self.runs.push(run),
        }
    }
}

/// An offset as an index. Arrow's offsets are never negative.
fn place<T: TryInto<usize>>(offset: T) -> usize {
    offset.try_into().unwrap_or(0)
}

fn elements_at(elements: &ArrayRef, runs: &[Range<usize>]) -> Result<ArrayRef> {
    if let [run] = runs
        && run.start < run.end
    {
        return Ok(elements.slice(run.start, run.len()));
    }
    let mut indices: Vec<Option<u64>> = Vec::new();
    for run in runs {
        if run.is_empty() {
            indices.push(None);
        }
        indices.extend(run.clone().map(|place| Some(place as u64)));
    }
    Ok(take(elements, &UInt64Array::from(indices), None)?)
}
