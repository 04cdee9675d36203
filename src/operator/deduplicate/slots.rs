//! Keys that are forgotten with the event time they hold.
//!
//! Owns: tables of keys by time. Does not own: which rows are late, or how state is written (`parts`).
//!
//! Keys are kept in a table for each slot of time, so that forgetting is dropping whole tables:
//!
//! ```text
//!              freed │ in part   kept
//!   timeless  [  slot  ][  slot  ][  slot  ]──▶ event time
//!                    └ final up to here
//! ```

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::util::bit_util::set_bit;

use super::span_end;
use crate::error::Result;
use crate::state::KeyTable;

/// The width of a slot of times in microseconds: wide enough that a slot's own memory is little beside that of its
/// keys, narrow enough that counting the final ones of one slot costs little.
const SLOT_MICROS: i64 = 10_000_000;

/// What time a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyTime {
    /// None: it is never forgotten.
    None,
    /// One column is a time; slots hold a span of times.
    Instant,
    /// One column is a window; a slot for each end, because few windows share many keys.
    WindowEnd,
}

/// The keys seen.
#[derive(Debug)]
pub(super) struct Slots {
    key_time: KeyTime,
    /// Keys that have no time or a null one.
    timeless: Slot,
    /// The others, by the last time that each slot holds.
    timed: BTreeMap<i64, Slot>,
    groups: Vec<u32>,
}

/// Keys whose times are in one slot.
#[derive(Debug)]
struct Slot {
    keys: KeyTable,
    /// The time of each key where the slot holds many; else empty.
    times: Vec<i64>,
    /// How many keys are final, so no longer count.
    final_keys: usize,
    /// How many keys are in a snapshot. Keys are numbered as they come, so the others follow.
    saved: usize,
}

impl Slots {
    /// No keys yet; `table` is an empty one for their columns.
    pub(super) fn new(table: KeyTable, key_time: KeyTime) -> Self {
        Self { key_time, timeless: Slot::new(table), timed: BTreeMap::new(), groups: Vec::new() }
    }

    /// Adds the key of each row and tells which were not there; of equal ones the first is. `times` are the times of
    /// the keys, if they have any.
    pub(super) fn insert(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        times: Option<&TimestampMicrosecondArray>,
    ) -> Result<BooleanBuffer> {
        let times = times.filter(|_| self.key_time != KeyTime::None);
        let Some(times) = times.filter(|times| times.null_count() < times.len()) else {
            return self.timeless.insert(keys, hashes, None, &mut self.groups);
        };
        match self.only_slot(times) {
            Some(end) => self.insert_at(Some(end), keys, hashes, times.values()),
            None => self.insert_scattered(keys, hashes, times),
        }
    }

    /// The last time of the slot that all these times are in.
    fn only_slot(&self, times: &TimestampMicrosecondArray) -> Option<i64> {
        let (first, last) = (times.values().iter().min()?, times.values().iter().max()?);
        let end = self.slot_end(*first);
        (times.null_count() == 0 && end == self.slot_end(*last)).then_some(end)
    }

    fn slot_end(&self, time: i64) -> i64 {
        if self.key_time == KeyTime::Instant { span_end(time, SLOT_MICROS) } else { time }
    }

    /// Adds keys of the slot that ends at `end`, or of the one without time.
    fn insert_at(
        &mut self,
        end: Option<i64>,
        keys: &[ArrayRef],
        hashes: &[u64],
        times: &[i64],
    ) -> Result<BooleanBuffer> {
        let times = (self.key_time == KeyTime::Instant && end.is_some()).then_some(times);
        let timeless = &mut self.timeless;
        let slot = match end {
            Some(end) => self.timed.entry(end).or_insert_with(|| Slot::new(timeless.keys.like())),
            None => timeless,
        };
        slot.insert(keys, hashes, times, &mut self.groups)
    }

    /// Adds rows of several slots, each slot's together and in the order in which they came.
    fn insert_scattered(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        times: &TimestampMicrosecondArray,
    ) -> Result<BooleanBuffer> {
        let rows = Scattered::new(keys, hashes, times, |time| self.slot_end(time))?;
        let mut new = vec![0; hashes.len().div_ceil(8)];
        let mut start = 0;
        for run in rows.order.chunk_by(|a, b| rows.ends[*a as usize] == rows.ends[*b as usize]) {
            let place = start..start + run.len();
            let keys: Vec<ArrayRef> = rows.keys.iter().map(|column| column.slice(start, run.len())).collect();
            let end = rows.ends[run[0] as usize];
            let fresh = self.insert_at(end, &keys, &rows.hashes[place.clone()], &rows.times[place])?;
            fresh.set_indices().for_each(|row| set_bit(&mut new, run[row] as usize));
            start += run.len();
        }
        Ok(BooleanBuffer::new(new.into(), 0, hashes.len()))
    }

    /// Forgets keys whose time is `final_micros` or less and tells how many.
    pub(super) fn free(&mut self, final_micros: i64) -> usize {
        let mut freed = 0;
        while let Some(slot) = self.timed.first_entry()
            && *slot.key() <= final_micros
        {
            freed += slot.remove().len();
        }
        // Slots do not overlap: only the first can be final in part.
        match self.timed.first_entry() {
            Some(mut slot) if slot.key().saturating_sub(SLOT_MICROS) < final_micros => {
                freed + slot.get_mut().finish(final_micros)
            }
            _ => freed,
        }
    }

    /// Frees memory that is needed only while rows come.
    pub(super) fn end_epoch(&mut self) {
        self.timed.values_mut().for_each(|slot| slot.keys.free_scratch());
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> usize {
        self.all().map(Slot::len).sum()
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.all().map(Slot::bytes).sum::<usize>() + self.groups.capacity() * size_of::<u32>()
    }

    fn all(&self) -> impl Iterator<Item = &Slot> {
        std::iter::once(&self.timeless).chain(self.timed.values())
    }

    /// Hands tables, each with the numbers of its keys that were not handed out before, to `save`. Some of these may be
    /// final already.
    pub(super) fn save(&mut self, mut save: impl FnMut(&KeyTable, &[u32]) -> Result<()>) -> Result<()> {
        for slot in std::iter::once(&mut self.timeless).chain(self.timed.values_mut()) {
            slot.unsaved(&mut self.groups);
            if !self.groups.is_empty() {
                save(&slot.keys, &self.groups)?;
            }
            slot.saved = slot.keys.len();
        }
        Ok(())
    }

    /// Takes note that no key is in a snapshot.
    pub(super) fn mark_unsaved(&mut self) {
        let slots = std::iter::once(&mut self.timeless).chain(self.timed.values_mut());
        slots.for_each(|slot| slot.saved = 0);
    }

    /// Takes note that all keys are in a snapshot already.
    pub(super) fn mark_saved(&mut self) {
        let slots = std::iter::once(&mut self.timeless).chain(self.timed.values_mut());
        slots.for_each(|slot| slot.saved = slot.keys.len());
    }
}

impl Slot {
    fn new(keys: KeyTable) -> Self {
        Self { keys, times: Vec::new(), final_keys: 0, saved: 0 }
    }

    fn insert(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        times: Option<&[i64]>,
        groups: &mut Vec<u32>,
    ) -> Result<BooleanBuffer> {
        let mut next = self.keys.len();
        self.keys.intern(keys, hashes, groups)?;
        let new = BooleanBuffer::collect_bool(groups.len(), |row| {
            let is_new = groups[row] as usize == next;
            next += usize::from(is_new);
            is_new
        });
        if let Some(times) = times {
            self.times.extend(new.set_indices().map(|row| times[row]));
        }
        Ok(new)
    }

    /// Stops counting keys whose time is `final_micros` or less and tells how many.
    ///
    /// Their memory goes with the slot: taking single keys out of a table would cost as much as putting them in.
    fn finish(&mut self, final_micros: i64) -> usize {
        let before = self.final_keys;
        self.final_keys = self.times.iter().filter(|time| **time <= final_micros).count();
        self.final_keys - before
    }

    fn len(&self) -> usize {
        self.keys.len() - self.final_keys
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.keys.bytes() + self.times.capacity() * size_of::<i64>()
    }

    fn unsaved(&self, groups: &mut Vec<u32>) {
        let all = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let saved = u32::try_from(self.saved).unwrap_or(u32::MAX);
        groups.clear();
        groups.extend(saved..all);
    }
}

/// The rows of a batch ordered by slot.
struct Scattered {
    /// For each row of the batch the last time of its slot; `None` if its time is null.
    ends: Vec<Option<i64>>,
    /// The rows of the batch in the order of their slots.
    order: Vec<u32>,
    /// The columns in that order.
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    times: Vec<i64>,
}

impl Scattered {
    fn new(
        keys: &[ArrayRef],
        hashes: &[u64],
        times: &TimestampMicrosecondArray,
        slot_end: impl Fn(i64) -> i64,
    ) -> Result<Self> {
        let ends: Vec<Option<i64>> = times.iter().map(|time| time.map(&slot_end)).collect();
        let mut order: Vec<u32> = (0_u32..).take(ends.len()).collect();
        if ends.is_sorted() {
            return Ok(Self {
                ends,
                order,
                keys: keys.to_vec(),
                hashes: hashes.to_vec(),
                times: times.values().to_vec(),
            });
        }
        order.sort_by_key(|row| ends[*row as usize]);
        let indices = UInt32Array::from(order.clone());
        let keys = keys.iter().map(|column| take(column, &indices, None)).collect::<Result<_, _>>()?;
        let hashes = order.iter().map(|row| hashes[*row as usize]).collect();
        let times = order.iter().map(|row| times.value(*row as usize)).collect();
        Ok(Self { ends, order, keys, hashes, times })
    }
}
