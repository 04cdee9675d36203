//! Sessions with their keys and running values.
//!
//! Owns: bringing keys, intervals and accumulators together, and giving memory back. Does not own: when sessions are
//! put out, final or saved (`partial`, `finalize`), or where they are that are not in memory (`cold`).
//!
//! What a session has gathered that was merged away is moved in bulk by [`settle`](SessionTable::settle): before
//! sessions are read, and after their last rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, TimestampMicrosecondArray, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use super::judge::SessionRows;
use super::timelines::{Intervals, NONE, Session, Timelines, number};
use super::{other_fields, session_fields, time_type};
use crate::error::{Error, Result};
use crate::operator::aggregate::groups::{BATCH_ROWS, records};
use crate::operator::aggregate::{Accumulator, AggregateSpec};
use crate::operator::{EpochTime, ExpressionRef};
use crate::protocol::key_group::hash_rows_into;
use crate::state::KeyTable;

/// So few slots or keys without a session are never worth copying the others. Tests reach it with few rows.
const FEW: usize = if cfg!(test) { 2 } else { 1024 };

/// The sessions of each key and, by slot, the accumulators of each call.
pub(super) struct SessionTable {
    spec: AggregateSpec,
    place: usize,
    keys: KeyTable,
    pub(super) timelines: Timelines,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// The key hash of each row of the batch at hand, its key's number, its slot.
    hashes: Vec<u64>,
    key_numbers: Vec<u32>,
    slots: Vec<u32>,
}

impl SessionTable {
    pub(super) fn new(spec: &AggregateSpec, place: usize) -> Result<Self> {
        Ok(Self {
            keys: KeyTable::new(&other_fields(spec, place))?,
            timelines: Timelines::new(),
            accumulators: accumulators(spec)?,
            spec: spec.clone(),
            place,
            hashes: Vec::new(),
            key_numbers: Vec::new(),
            slots: Vec::new(),
        })
    }

    /// An empty table for the same sessions.
    pub(super) fn like(&self) -> Result<Self> {
        Self::new(&self.spec, self.place)
    }

    /// The number of keys, with sessions or without.
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The columns of these keys, a row each.
    pub(super) fn key_columns(&self, keys: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys.keys(keys)
    }

    pub(super) fn hash(&self, key: u32) -> u64 {
        self.keys.hashes()[key as usize]
    }

    /// The key's number of each row of the last batch.
    pub(super) fn last_keys(&self) -> &[u32] {
        &self.key_numbers
    }

    /// The slot of each row of the last batch.
    pub(super) fn last_slots(&self) -> &[u32] {
        &self.slots
    }

    /// Takes input rows.
    pub(super) fn update(&mut self, rows: &SessionRows, time: EpochTime) -> Result<()> {
        let evaluate = |expression: &ExpressionRef| expression.evaluate(&rows.records, time);
        let others = self.spec.keys.iter().enumerate().filter(|(index, _)| *index != self.place);
        let keys = others.map(|(_, key)| evaluate(key)).collect::<Result<Vec<_>>>()?;
        let calls = self.spec.calls.iter();
        let arguments = calls.map(|call| call.arguments.iter().map(evaluate).collect::<Result<Vec<_>>>());
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        self.intern(&keys, rows.starts.len(), None)?;
        self.place_rows(rows.starts.values(), rows.ends.values());
        for (accumulator, arguments) in self.accumulators.iter_mut().zip(&arguments) {
            accumulator.update(arguments, &self.slots)?;
        }
        Ok(())
    }

    /// Takes sessions with their states, in the columns of the partial schema. `fetch` is called when the keys have numbers, with the
    /// first number that is new.
    pub(super) fn merge(
        &mut self,
        records: &RecordBatch,
        hashes: Option<&[u64]>,
        fetch: impl FnOnce(&mut Self, usize) -> Result<()>,
    ) -> Result<()> {
        let columns = self.split(records)?;
        let known = self.keys();
        self.intern(columns.keys, records.num_rows(), hashes)?;
        fetch(self, known)?;
        self.place_rows(columns.starts.values(), columns.ends.values());
        merge_states(&mut self.accumulators, &self.spec, columns.states, &self.slots)
    }

    /// Takes back rows that [`states`](Self::states) gave, in their order; `fetch` as in [`merge`](Self::merge). The answer is which
    /// of them are sessions.
    pub(super) fn restore(
        &mut self,
        records: &RecordBatch,
        hashes: &[u64],
        fetch: impl FnOnce(&mut Self, usize) -> Result<()>,
    ) -> Result<BooleanBuffer> {
        let columns = self.split(records)?;
        let known = self.keys();
        self.intern(columns.keys, hashes.len(), Some(hashes))?;
        fetch(self, known)?;
        self.slots.clear();
        let mut rows = Vec::new();
        for (row, &key) in self.key_numbers.iter().enumerate() {
            if columns.starts.is_null(row) {
                self.timelines.remove(key, i64::MAX);
            } else {
                rows.push(number(row));
                self.slots.push(self.timelines.place_one(key, columns.starts.value(row), columns.ends.value(row)));
            }
        }
        self.grow();
        let rows = UInt32Array::from(rows);
        let states = columns.states.iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        merge_states(&mut self.accumulators, &self.spec, &states, &self.slots)?;
        self.settle()?;
        Ok(BooleanBuffer::collect_bool(hashes.len(), |row| columns.starts.is_valid(row)))
    }

    /// Takes sessions as [`session_columns`](Self::session_columns) gave them, those of each key in their order. `keys` are the numbers
    /// of their keys, which have no sessions. The answer is their slots.
    pub(super) fn take_back(&mut self, keys: &[u32], columns: &[ArrayRef]) -> Result<Vec<u32>> {
        self.check_count(keys.len())?;
        let wrong = || Error::internal("sessions came back in other columns than they left in");
        let [starts, ends, states @ ..] = columns else { return Err(wrong()) };
        let starts = starts.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?.values();
        let ends = ends.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?.values();
        let times = keys.iter().zip(starts.iter().zip(ends));
        let slots: Vec<u32> = times.map(|(&key, (&start, &end))| self.timelines.place_one(key, start, end)).collect();
        self.grow();
        merge_states(&mut self.accumulators, &self.spec, states, &slots)?;
        Ok(slots)
    }

    /// Puts the rows whose keys were interned last where they belong.
    fn place_rows(&mut self, starts: &[i64], ends: &[i64]) {
        self.timelines.place(Intervals { keys: &self.key_numbers, starts, ends }, &mut self.slots);
        self.grow();
    }

    /// Finds or adds the key of each row.
    pub(super) fn intern(&mut self, keys: &[ArrayRef], rows: usize, hashes: Option<&[u64]>) -> Result<()> {
        self.check_count(rows)?;
        let hashes = if let Some(hashes) = hashes {
            hashes
        } else {
            hash_rows_into(keys, &mut self.hashes);
            self.hashes.resize(rows, 0);
            &self.hashes
        };
        self.keys.intern(keys, hashes, &mut self.key_numbers)?;
        self.timelines.grow(self.keys.len());
        Ok(())
    }

    fn check_count(&self, more: usize) -> Result<()> {
        if self.timelines.len() + more >= NONE as usize {
            return Err(Error::state("an operator instance holds over 4294967294 sessions; raise the parallelism"));
        }
        Ok(())
    }

    fn grow(&mut self) {
        let slots = self.timelines.len();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.grow(slots));
    }

    fn split<'a>(&self, records: &'a RecordBatch) -> Result<StateColumns<'a>> {
        let others = self.spec.keys.len().saturating_sub(1);
        let wrong = || Error::internal(format!("{:?} are not the columns of sessions", records.schema_ref().fields()));
        let (keys, rest) = records.columns().split_at_checked(others).ok_or_else(wrong)?;
        let [starts, ends, states @ ..] = rest else { return Err(wrong()) };
        let starts = starts.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
        let ends = ends.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
        Ok(StateColumns { keys, starts, ends, states })
    }

    /// Moves what sessions have gathered that were merged away; the answer is their slots.
    pub(super) fn settle(&mut self) -> Result<Vec<u32>> {
        let (gone, into) = self.timelines.take_merged();
        for (gone, into) in gone.chunks(BATCH_ROWS).zip(into.chunks(BATCH_ROWS)) {
            for accumulator in &mut self.accumulators {
                let states = accumulator.state(gone)?;
                accumulator.merge(&states, into)?;
            }
        }
        Ok(gone)
    }

    /// Keys, times and states of these sessions, and the key hashes. Where a slot is [`NONE`], all but the key is null.
    pub(super) fn states(
        &mut self,
        keys: &[u32],
        slots: &[u32],
        schema: &SchemaRef,
    ) -> Result<(RecordBatch, Vec<u64>)> {
        let mut columns = self.keys.keys(keys)?;
        columns.extend(self.session_columns(slots)?);
        let hashes = keys.iter().map(|&key| self.hash(key)).collect();
        Ok((records(schema, columns, slots.len())?, hashes))
    }

    /// Start, end and states of these sessions.
    pub(super) fn session_columns(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let utc = time_type();
        let mut columns =
            vec![self.times(slots, &utc, |session| session.start), self.times(slots, &utc, |session| session.end)];
        columns.extend(self.state_columns(slots)?);
        Ok(columns)
    }

    fn times(&self, slots: &[u32], data_type: &DataType, part: impl Fn(&Session) -> i64) -> ArrayRef {
        let times = slots.iter().map(|&slot| (slot != NONE).then(|| part(self.timelines.session(slot))));
        Arc::new(times.collect::<TimestampMicrosecondArray>().with_data_type(data_type.clone()))
    }

    fn state_columns(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let present: Vec<u32> = slots.iter().copied().filter(|slot| *slot != NONE).collect();
        let mut columns = Vec::new();
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(&present)?);
        }
        if present.len() == slots.len() {
            return Ok(columns);
        }
        if present.is_empty() {
            return Ok(columns.iter().map(|column| new_null_array(column.data_type(), slots.len())).collect());
        }
        let mut places = 0..number(present.len());
        let rows: UInt32Array = slots.iter().map(|&slot| if slot == NONE { None } else { places.next() }).collect();
        columns.iter().map(|column| Ok(take(column, &rows, None)?)).collect()
    }

    /// Keys and results of these sessions.
    pub(super) fn results(&mut self, slots: &[u32], schema: &SchemaRef) -> Result<RecordBatch> {
        let keys: Vec<u32> = slots.iter().map(|&slot| self.timelines.session(slot).key).collect();
        let mut columns = self.keys.keys(&keys)?;
        let fields = session_fields(&self.spec, self.place)?;
        let starts = self.times(slots, fields[0].data_type(), |session| session.start);
        let ends = self.times(slots, fields[1].data_type(), |session| session.end);
        let sessions = StructArray::try_new(fields.clone(), vec![starts, ends], None)?;
        columns.insert(self.place, Arc::new(sessions));
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.evaluate(slots)?);
        }
        records(schema, columns, slots.len())
    }

    /// Copies the running values together when most slots have no session any more. Slots are others after that.
    pub(super) fn drop_gone_slots(&mut self) -> Result<()> {
        let live = self.timelines.live();
        let gone = self.timelines.len() - live;
        if gone <= FEW || gone <= live { Ok(()) } else { self.close_gaps() }
    }

    /// Copies the running values of all sessions together.
    fn close_gaps(&mut self) -> Result<()> {
        let kept = self.timelines.renumber_slots();
        let mut fresh = accumulators(&self.spec)?;
        for (new, old) in fresh.iter_mut().zip(&mut self.accumulators) {
            new.grow(kept.len());
            for (chunk, slots) in kept.chunks(BATCH_ROWS).enumerate() {
                let first = chunk * BATCH_ROWS;
                let places: Vec<u32> = (first..first + slots.len()).map(number).collect();
                new.merge(&old.state(slots)?, &places)?;
            }
        }
        self.accumulators = fresh;
        Ok(())
    }

    /// Forgets keys when most have no session and are not `wanted`. The answer is the old number of each key, if they
    /// have others now.
    pub(super) fn drop_unused_keys(&mut self, is_wanted: impl Fn(u32) -> bool) -> Option<Vec<u32>> {
        let keys = self.keys.len();
        if keys <= FEW || self.timelines.used_keys() * 2 > keys {
            return None;
        }
        let is_kept = |key: &u32| self.timelines.has_sessions(*key) || is_wanted(*key);
        let kept: Vec<u32> = (0..number(keys)).filter(is_kept).collect();
        if kept.len() * 2 > keys {
            return None;
        }
        self.keep_keys(&kept);
        Some(kept)
    }

    fn keep_keys(&mut self, kept: &[u32]) {
        self.keys.keep(kept);
        self.timelines.renumber_keys(kept);
    }

    /// Forgets all keys but `kept`, which are in rising order, with their sessions, and gives the memory back. Keys and slots
    /// have other numbers after that: `kept[new]` is the old one of a key.
    pub(super) fn keep(&mut self, kept: &[u32]) -> Result<()> {
        let mut staying = kept.iter().peekable();
        for key in 0..number(self.keys.len()) {
            if staying.next_if_eq(&&key).is_none() {
                self.timelines.remove(key, i64::MAX);
            }
        }
        self.close_gaps()?;
        self.keep_keys(kept);
        self.keys.free_scratch();
        (self.hashes, self.key_numbers, self.slots) = (Vec::new(), Vec::new(), Vec::new());
        Ok(())
    }

    /// Forgets all, and keeps memory for the next rows.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.timelines.clear();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear());
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let scratch = self.hashes.capacity() * size_of::<u64>()
            + (self.key_numbers.capacity() + self.slots.capacity()) * size_of::<u32>();
        let states: usize = self.accumulators.iter().map(|accumulator| accumulator.bytes()).sum();
        self.keys.bytes() + self.timelines.bytes() + states + scratch
    }
}

impl fmt::Debug for SessionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTable").field("sessions", &self.timelines.live()).finish_non_exhaustive()
    }
}

/// The columns of the partial schema by what they are.
struct StateColumns<'a> {
    keys: &'a [ArrayRef],
    starts: &'a TimestampMicrosecondArray,
    ends: &'a TimestampMicrosecondArray,
    states: &'a [ArrayRef],
}

fn accumulators(spec: &AggregateSpec) -> Result<Vec<Box<dyn Accumulator>>> {
    spec.calls.iter().map(|call| call.factory.create()).collect()
}

fn merge_states(
    accumulators: &mut [Box<dyn Accumulator>],
    spec: &AggregateSpec,
    states: &[ArrayRef],
    slots: &[u32],
) -> Result<()> {
    let mut rest = states;
    for (accumulator, call) in accumulators.iter_mut().zip(&spec.calls) {
        let wrong = || Error::internal(format!("too few columns of state for `{}`", call.name));
        let (own, others) = rest.split_at_checked(call.factory.state_fields().len()).ok_or_else(wrong)?;
        accumulator.merge(own, slots)?;
        rest = others;
    }
    Ok(())
}
