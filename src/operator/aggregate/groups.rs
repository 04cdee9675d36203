//! Groups: keys and their accumulators side by side, for all kinds of aggregation.
//!
//! Owns: putting rows and partial states into groups, and groups into columns. Does not own: which groups there are
//! together (`slots`), or what a function computes ([`Accumulator`]).

use std::fmt;
use std::sync::{Mutex, PoisonError};

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::slots::InputRows;
use super::{Accumulator, AggregateSpec};
use crate::error::{Error, Result};
use crate::operator::explode::PieceKeys;
use crate::operator::{Batch, identity};
use crate::protocol::key_group::{hash_rows, hash_rows_into};
use crate::state::KeyTable;
use crate::types::type_name;

/// The most rows of one output batch.
pub(super) const BATCH_ROWS: usize = 8192;

/// What an operator holds while it runs. A clone of the operator is a new instance, so it starts without.
///
/// The mutex is never locked: it only makes the operator `Sync`, as one that is its own factory has to be.
pub(super) struct Running<T>(Mutex<Option<T>>);

impl<T> Running<T> {
    pub(super) fn get_or_make(&mut self, make: impl FnOnce() -> Result<T>) -> Result<&mut T> {
        let slot = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(make()?);
        }
        slot.as_mut().ok_or_else(|| Error::internal("a value just made is gone"))
    }

    pub(super) fn get(&mut self) -> Option<&mut T> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }
}

impl<T> Default for Running<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Clone for Running<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

/// Keys and the accumulators of each call, side by side by group number.
pub(super) struct GroupTable {
    keys: KeyTable,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// How many state columns each call has.
    widths: Vec<usize>,
    hashes: Vec<u64>,
    groups: Vec<u32>,
}

impl GroupTable {
    /// A table without groups, for the keys as they are laid out between the halves.
    pub(super) fn new(spec: &AggregateSpec) -> Result<Self> {
        Ok(Self {
            keys: KeyTable::new(&spec.inner_key_fields())?,
            accumulators: spec.calls.iter().map(|call| call.factory.create()).collect::<Result<_>>()?,
            widths: spec.calls.iter().map(|call| call.factory.state_fields().len()).collect(),
            hashes: Vec::new(),
            groups: Vec::new(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The group of each row of the last [`update`](Self::update), [`merge`](Self::merge) or [`intern`](Self::intern).
    pub(super) fn last_groups(&self) -> &[u32] {
        &self.groups
    }

    /// Takes input rows: their keys as laid out between the halves, and the arguments of each call. `fetch` is called before, with the
    /// number of the first group that is new.
    pub(super) fn update(
        &mut self,
        rows: &InputRows,
        fetch: impl FnOnce(&mut Self, usize) -> Result<()>,
    ) -> Result<()> {
        let known = self.len();
        self.intern(&rows.keys, rows.count, None)?;
        fetch(self, known)?;
        for (accumulator, arguments) in self.accumulators.iter_mut().zip(&rows.arguments) {
            accumulator.update(arguments, &self.groups)?;
        }
        Ok(())
    }

    /// Counts pieces of text that are the only key: calls without arguments take them as rows.
    pub(super) fn count_pieces(&mut self, pieces: &PieceKeys, buffers: &[Buffer]) -> Result<()> {
        self.keys.intern_pieces(&pieces.views, buffers, &pieces.hashes, &mut self.groups)?;
        let groups = self.keys.len();
        for accumulator in &mut self.accumulators {
            accumulator.grow(groups);
            accumulator.update(&[], &self.groups)?;
        }
        Ok(())
    }

    /// Takes keys and partial states: the leading columns of the partial schema. `fetch` is called before the states are merged, with the
    /// number of the first group that is new.
    pub(super) fn merge(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        hashes: Option<&[u64]>,
        fetch: impl FnOnce(&mut Self, usize) -> Result<()>,
    ) -> Result<()> {
        let known = self.len();
        let (keys, states) = self.split(columns)?;
        self.intern(keys, rows, hashes)?;
        fetch(self, known)?;
        let groups = std::mem::take(&mut self.groups);
        let merged = self.merge_states(states, &groups);
        self.groups = groups;
        merged
    }

    /// The key columns and the state columns of the partial schema.
    pub(super) fn split<'a>(&self, columns: &'a [ArrayRef]) -> Result<(&'a [ArrayRef], &'a [ArrayRef])> {
        let (keys, states) = (self.keys.width(), self.widths.iter().sum::<usize>());
        let leading = columns.get(..keys + states);
        let leading =
            leading.ok_or_else(|| Error::internal(format!("{} columns for {states} of state", columns.len())))?;
        Ok(leading.split_at(keys))
    }

    /// Finds or adds the group of each row.
    pub(super) fn intern(&mut self, keys: &[ArrayRef], rows: usize, hashes: Option<&[u64]>) -> Result<()> {
        let hashes = if let Some(hashes) = hashes {
            hashes
        } else {
            hash_rows_into(keys, &mut self.hashes);
            self.hashes.resize(rows, 0);
            &self.hashes
        };
        self.keys.intern(keys, hashes, &mut self.groups)?;
        let groups = self.keys.len();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.grow(groups));
        Ok(())
    }

    /// Merges state columns into groups that are there.
    pub(super) fn merge_states(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let mut rest = states;
        for (accumulator, width) in self.accumulators.iter_mut().zip(&self.widths) {
            let (own, others) = rest.split_at(*width);
            accumulator.merge(own, groups)?;
            rest = others;
        }
        Ok(())
    }

    /// The key columns of these groups, then their state columns.
    pub(super) fn states(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = self.keys.keys(groups)?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(groups)?);
        }
        Ok(columns)
    }

    /// The hashes of the keys of these groups.
    pub(super) fn hashes(&self, groups: &[u32]) -> Vec<u64> {
        groups.iter().map(|&group| self.keys.hashes()[group as usize]).collect()
    }

    /// The key columns of these groups.
    pub(super) fn keys(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys.keys(groups)
    }

    /// The result columns of these groups.
    pub(super) fn results(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.accumulators.iter_mut().map(|accumulator| accumulator.evaluate(groups)).collect()
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear());
    }

    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.accumulators.iter().map(|accumulator| accumulator.bytes()).sum::<usize>()
    }
}

impl fmt::Debug for GroupTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupTable").field("groups", &self.len()).finish_non_exhaustive()
    }
}

/// So many empty tables are kept for what comes next.
const SPARE_TABLES: usize = 64;

/// Empty tables, whose memory is used again.
#[derive(Debug, Default)]
pub(super) struct SpareTables(Vec<GroupTable>);

impl SpareTables {
    /// A table without groups.
    pub(super) fn take(&mut self, spec: &AggregateSpec) -> Result<GroupTable> {
        self.0.pop().map_or_else(|| GroupTable::new(spec), Ok)
    }

    /// Takes a table that is not needed any more.
    pub(super) fn put(&mut self, mut table: GroupTable) {
        if self.0.len() < SPARE_TABLES {
            table.clear();
            self.0.push(table);
        }
    }
}

/// All groups are in memory, nothing has to be fetched.
#[expect(clippy::unnecessary_wraps, reason = "the signature of what fetches")]
pub(super) fn nothing_to_fetch(_: &mut GroupTable, _: usize) -> Result<()> {
    Ok(())
}

/// What an aggregation computes, as it is told in a checkpoint: the keys, then each call with its arguments and the type of
/// its result.
pub(super) fn identity(spec: &AggregateSpec) -> String {
    let keys = if spec.key_fields.is_empty() { "all rows".to_string() } else { identity::columns(&spec.key_fields) };
    let calls = spec.calls.iter().map(|call| {
        let arguments = call.arguments.iter().map(|argument| identity::expression(argument));
        let arguments = arguments.collect::<Vec<_>>().join(", ");
        let arguments = if call.arguments.is_empty() { "*" } else { &arguments };
        let function = identity::without_numbers(&call.factory.identity());
        format!("{function}({arguments}) {}", type_name(&call.factory.output_type()))
    });
    let calls = calls.collect::<Vec<_>>().join(", ");
    if calls.is_empty() { format!("by {keys}") } else { format!("by {keys}: {calls}") }
}

/// Groups in the columns they have between the halves, without their slot.
#[derive(Debug)]
pub(super) struct GroupColumns {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) hashes: Vec<u64>,
}

impl GroupColumns {
    /// The keys, states and hashes of these groups.
    pub(super) fn of(table: &mut GroupTable, groups: &[u32]) -> Result<Self> {
        Ok(Self { columns: table.states(groups)?, hashes: table.hashes(groups) })
    }

    /// How many groups there are.
    pub(super) fn rows(&self) -> usize {
        self.hashes.len()
    }

    /// The groups as those of `slot`.
    pub(super) fn in_slot(&self, spec: &AggregateSpec, schema: &SchemaRef, slot: i64) -> Result<Batch> {
        let slot_column = spec.slot_column(slot, self.rows());
        let hashes = match &slot_column {
            // The window is all there is to hash.
            Some(ends) if schema.fields().len() == self.columns.len() + 1 && spec.inner_key_fields().is_empty() => {
                hash_rows(std::slice::from_ref(ends)).into()
            }
            _ => self.hashes.as_slice().into(),
        };
        let columns = self.columns.iter().cloned().chain(slot_column).collect();
        Ok(Batch { records: records(schema, columns, self.rows())?, hashes: Some(hashes) })
    }
}

/// A batch of these columns, of which there may be none.
pub(super) fn records(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// The groups of one output batch, from `first` on.
pub(super) fn group_range(first: usize, end: usize) -> Vec<u32> {
    let last = end.min(first + BATCH_ROWS);
    (first..last).map(|group| u32::try_from(group).expect("the key table bounds the number of groups")).collect()
}

/// Puts small batches together, so that many small slots do not make many messages.
#[derive(Debug, Default)]
pub(super) struct Coalescer {
    pieces: Vec<RecordBatch>,
    hashes: Vec<u64>,
    rows: usize,
}

impl Coalescer {
    /// Takes a batch, with or without hashes; gives back what is full without it.
    pub(super) fn push(&mut self, records: RecordBatch, hashes: Option<Vec<u64>>) -> Result<Option<Batch>> {
        let full = if self.rows > 0 && self.rows + records.num_rows() > BATCH_ROWS { self.finish()? } else { None };
        self.rows += records.num_rows();
        self.hashes.extend(hashes.unwrap_or_default());
        self.pieces.push(records);
        Ok(full)
    }

    /// The rest, if there is any.
    pub(super) fn finish(&mut self) -> Result<Option<Batch>> {
        let pieces = std::mem::take(&mut self.pieces);
        let hashes = std::mem::take(&mut self.hashes);
        self.rows = 0;
        let Some(first) = pieces.first() else { return Ok(None) };
        let records = if pieces.len() == 1 { first.clone() } else { concat_batches(first.schema_ref(), &pieces)? };
        let hashes = (!hashes.is_empty()).then(|| hashes.into());
        Ok(Some(Batch { records, hashes }))
    }
}

/// A set of numbers counted from 0, groups or keys, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct GroupSet {
    bits: Vec<u64>,
    list: Vec<u32>,
}

impl GroupSet {
    /// Adds a group; false when it is there.
    pub(super) fn insert(&mut self, group: u32) -> bool {
        let (word, bit) = (group as usize / 64, 1 << (group % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        let is_new = self.bits[word] & bit == 0;
        if is_new {
            self.bits[word] |= bit;
            self.list.push(group);
        }
        is_new
    }

    pub(super) fn contains(&self, group: u32) -> bool {
        self.bits.get(group as usize / 64).is_some_and(|word| word & (1 << (group % 64)) != 0)
    }

    /// The numbers, in the order in which they came.
    pub(super) fn list(&self) -> &[u32] {
        &self.list
    }

    pub(super) fn clear(&mut self) {
        for group in self.list.drain(..) {
            self.bits[group as usize / 64] = 0;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bits.capacity() * size_of::<u64>() + self.list.capacity() * size_of::<u32>()
    }
}
