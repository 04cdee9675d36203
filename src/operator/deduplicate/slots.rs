//! Keys that are forgotten with the event time they hold.
//!
//! Owns: tables of keys by time, which keys leave memory. Does not own: which rows are late, how state is written (`parts`), how keys are
//! kept elsewhere (`state::cold_rows`).
//!
//! Keys are kept in a table for each slot of time, so that forgetting is dropping whole tables:
//!
//! ```text
//!              freed │ in part   kept
//!   timeless  [  slot  ][  slot  ][  slot  ]──▶ event time
//!                    └ final up to here
//! ```
//!
//! Outside memory a key is in the slot of its very time, so that what is final there is one range, and what is final of a slot here can be
//! counted by reading it once. Nothing is kept with it. A key that is looked up and found there is in the table from then on, too, as
//! a copy: it is neither counted nor saved nor written again, and goes with the table.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::util::bit_util::set_bit;

use super::parts::PART_ROWS;
use super::{row_number, span_end, without};
use crate::error::Result;
use crate::state::cold_rows::{ColdRows, Cursor};
use crate::state::{KeyTable, StateBudget};

/// The width of a slot of times in microseconds: wide enough that a slot's own memory is little beside that of its
/// keys, narrow enough that counting the final ones of one slot costs little.
const SLOT_MICROS: i64 = 10_000_000;

/// A time that is not final before its slot is.
const NEVER: i64 = i64::MAX;

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
    /// Keys that are this old are forgotten.
    final_micros: i64,
    /// Keys outside memory, if there is a budget.
    cold: Option<ColdRows>,
    wanted: Wanted,
    groups: Vec<u32>,
}

/// Rows of a batch whose keys are new in tables of slots that have others outside.
#[derive(Debug, Default)]
struct Wanted {
    rows: Vec<u32>,
    keys: Vec<WantedKey>,
}

/// The key of such a row: where it is in memory.
#[derive(Debug, Clone, Copy)]
struct WantedKey {
    /// The last time of its slot, and its own.
    slot: Option<(i64, i64)>,
    group: u32,
}

/// Keys whose times are in one slot.
#[derive(Debug)]
struct Slot {
    keys: KeyTable,
    /// The time of each key where the slot holds many; else empty. Those of copies are [`NEVER`].
    times: Vec<i64>,
    /// How many keys are final, so no longer count.
    final_keys: usize,
    /// How many keys are outside memory.
    outside: u64,
    /// Which keys of the table were found outside, in order.
    copies: Vec<u32>,
    /// How many keys are in a snapshot. Keys are numbered as they come, so the others follow.
    saved: usize,
}

impl Slots {
    /// No keys yet; `table` is an empty one for their columns.
    pub(super) fn new(table: KeyTable, key_time: KeyTime) -> Self {
        Self {
            key_time,
            timeless: Slot::new(table),
            timed: BTreeMap::new(),
            final_micros: i64::MIN,
            cold: None,
            wanted: Wanted::default(),
            groups: Vec::new(),
        }
    }

    /// Whether keys can leave memory.
    pub(super) fn can_leave_memory(&self) -> bool {
        ColdRows::can_hold(self.timeless.keys.types())
    }

    /// Holds no more than this behind snapshots, as far as keys can leave memory; before there are any.
    pub(super) fn limit_memory(&mut self, budget: StateBudget) {
        self.cold = ColdRows::new(self.timeless.keys.types(), budget);
    }

    /// Adds the key of each row and tells which were not there; of equal ones the first is. `times` are the times of
    /// the keys, if they have any.
    pub(super) fn insert(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        times: Option<&TimestampMicrosecondArray>,
    ) -> Result<BooleanBuffer> {
        let new = self.insert_here(keys, hashes, times)?;
        if self.wanted.rows.is_empty() { Ok(new) } else { self.without_outside(&new, keys, hashes) }
    }

    /// The same for the keys in memory; notes which may be outside.
    fn insert_here(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        times: Option<&TimestampMicrosecondArray>,
    ) -> Result<BooleanBuffer> {
        let times = times.filter(|_| self.key_time != KeyTime::None);
        let Some(times) = times.filter(|times| times.null_count() < times.len()) else {
            return self.insert_at(None, keys, hashes, &[], row_number);
        };
        match self.only_slot(times) {
            Some(end) => self.insert_at(Some(end), keys, hashes, times.values(), row_number),
            None => self.insert_scattered(keys, hashes, times),
        }
    }

    /// Those of the `new` rows whose keys are not outside either, which takes one look-up for all of them.
    fn without_outside(&mut self, new: &BooleanBuffer, keys: &[ArrayRef], hashes: &[u64]) -> Result<BooleanBuffer> {
        let wanted = std::mem::take(&mut self.wanted);
        let mut found = Vec::new();
        if let Some(cold) = &mut self.cold {
            let time = |number: usize| wanted.keys[number].slot.map(|(_, time)| time);
            cold.find(keys, hashes, &wanted.rows, time, |number, _| found.push(number))?;
        }
        // In the order in which the keys were numbered.
        found.sort_unstable();
        for number in &found {
            let WantedKey { slot, group } = wanted.keys[*number];
            let slot = match slot {
                Some((end, _)) => self.timed.get_mut(&end),
                None => Some(&mut self.timeless),
            };
            if let Some(slot) = slot {
                slot.note_copy(group);
            }
        }
        Ok(without(new, found.iter().map(|number| wanted.rows[*number] as usize)))
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

    /// Adds keys of the slot that ends at `end`, or of the one without time. `row_of` tells which rows of the batch they are.
    fn insert_at(
        &mut self,
        end: Option<i64>,
        keys: &[ArrayRef],
        hashes: &[u64],
        times: &[i64],
        row_of: impl Fn(usize) -> u32,
    ) -> Result<BooleanBuffer> {
        let timeless = &mut self.timeless;
        let slot = match end {
            Some(end) => self.timed.entry(end).or_insert_with(|| Slot::new(timeless.keys.like())),
            None => timeless,
        };
        let first = row_number(slot.keys.len());
        let kept_times = (self.key_time == KeyTime::Instant && end.is_some()).then_some(times);
        let new = slot.insert(keys, hashes, kept_times, &mut self.groups)?;
        if slot.outside > 0 {
            for (row, group) in new.set_indices().zip(first..) {
                self.wanted.rows.push(row_of(row));
                self.wanted.keys.push(WantedKey { slot: end.map(|end| (end, times[row])), group });
            }
        }
        Ok(new)
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
            let fresh = self.insert_at(end, &keys, &rows.hashes[place.clone()], &rows.times[place], |row| run[row])?;
            fresh.set_indices().for_each(|row| set_bit(&mut new, run[row] as usize));
            start += run.len();
        }
        Ok(BooleanBuffer::new(new.into(), 0, hashes.len()))
    }

    /// Forgets keys whose time is `final_micros` or less and tells how many.
    pub(super) fn free(&mut self, final_micros: i64) -> Result<u64> {
        self.final_micros = final_micros;
        let (mut freed, mut last_outside) = (0, None);
        while let Some(entry) = self.timed.first_entry()
            && *entry.key() <= final_micros
        {
            let (end, slot) = entry.remove_entry();
            freed += slot.len();
            last_outside = if slot.outside > 0 { Some(end) } else { last_outside };
        }
        if let (Some(cold), Some(end)) = (&mut self.cold, last_outside) {
            cold.remove_range(&Cursor::until(end))?;
        }
        Ok(freed + self.finish_first()?)
    }

    /// Slots do not overlap: only the first can be final in part.
    fn finish_first(&mut self) -> Result<u64> {
        let final_micros = self.final_micros;
        let Some(mut entry) = self.timed.first_entry() else { return Ok(0) };
        if self.key_time != KeyTime::Instant || entry.key().saturating_sub(SLOT_MICROS) >= final_micros {
            return Ok(0);
        }
        let slot = entry.get_mut();
        let freed = slot.finish(final_micros);
        match &mut self.cold {
            Some(cold) if slot.outside > 0 => Ok(freed + slot.finish_outside(cold, final_micros)?),
            _ => Ok(freed),
        }
    }

    /// Frees memory that is needed only while rows come.
    pub(super) fn end_epoch(&mut self) {
        self.timed.values_mut().for_each(|slot| slot.keys.free_scratch());
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> u64 {
        self.all().map(Slot::len).sum()
    }

    /// How many keys are outside memory; `None` without a budget.
    pub(super) fn outside(&self) -> Option<u64> {
        self.cold.as_ref().map(|_| self.all().map(|slot| slot.outside).sum())
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
            slot.own_from(slot.saved, &mut self.groups);
            if !self.groups.is_empty() {
                save(&slot.keys, &self.groups)?;
            }
            slot.saved = slot.keys.len();
        }
        Ok(())
    }

    /// Takes note that no key is in a snapshot. Not possible, and nothing is done, if some are outside memory.
    pub(super) fn mark_unsaved(&mut self) -> bool {
        let is_possible = self.all().all(|slot| slot.outside == 0);
        if is_possible {
            let slots = std::iter::once(&mut self.timeless).chain(self.timed.values_mut());
            slots.for_each(|slot| slot.saved = 0);
        }
        is_possible
    }

    /// Takes back keys of a snapshot. Once they are too many, these and all that follow go outside memory.
    pub(super) fn restore(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        times: Option<&TimestampMicrosecondArray>,
    ) -> Result<()> {
        self.insert_here(keys, hashes, times)?;
        self.wanted = Wanted::default();
        let slots = std::iter::once(&mut self.timeless).chain(self.timed.values_mut());
        slots.for_each(|slot| slot.saved = slot.keys.len());
        let Some(cold) = &self.cold else { return Ok(()) };
        if self.bytes() > cold.budget() || self.all().any(|slot| slot.outside > 0) { self.shrink(0) } else { Ok(()) }
    }

    /// Lets keys go until half of the budget is free, if they are over it. All of them are in a snapshot.
    pub(super) fn leave_memory(&mut self) -> Result<()> {
        let Some(budget) = self.cold.as_ref().map(ColdRows::budget) else { return Ok(()) };
        // It may have named all keys.
        self.groups = Vec::new();
        if self.bytes() > budget { self.shrink(budget / 2) } else { Ok(()) }
    }

    /// Lets slots go until no more than so many bytes stay, the oldest first.
    fn shrink(&mut self, most: usize) -> Result<()> {
        let mut bytes = self.bytes();
        let Some(cold) = &mut self.cold else { return Ok(()) };
        let timed = self.timed.iter_mut().map(|(end, slot)| (Some(*end), slot));
        for (end, slot) in timed.chain([(None, &mut self.timeless)]) {
            if bytes <= most {
                break;
            }
            let before = slot.bytes();
            slot.leave_memory(cold, end, self.final_micros, &mut self.groups)?;
            bytes = (bytes + slot.bytes()).saturating_sub(before);
        }
        self.groups = Vec::new();
        Ok(())
    }
}

impl Slot {
    fn new(keys: KeyTable) -> Self {
        Self { keys, times: Vec::new(), final_keys: 0, outside: 0, copies: Vec::new(), saved: 0 }
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
    fn finish(&mut self, final_micros: i64) -> u64 {
        let before = self.final_keys;
        self.final_keys = self.times.iter().filter(|time| **time <= final_micros).count();
        (self.final_keys - before) as u64
    }

    /// Forgets the keys outside whose time is `final_micros` or less, of which no other slot has any, and tells how many.
    fn finish_outside(&mut self, cold: &mut ColdRows, final_micros: i64) -> Result<u64> {
        let range = Cursor::until(final_micros);
        let freed = cold.count(&range)?;
        if freed > 0 {
            cold.remove_range(&range)?;
        }
        self.outside -= freed;
        Ok(freed)
    }

    /// Takes note that a key of the table is outside, too.
    fn note_copy(&mut self, group: u32) {
        self.copies.push(group);
        if let Some(time) = self.times.get_mut(group as usize) {
            *time = NEVER;
        }
    }

    /// Puts the keys that are in memory only outside; those that are final already are met by no row.
    fn leave_memory(
        &mut self,
        cold: &mut ColdRows,
        end: Option<i64>,
        final_micros: i64,
        groups: &mut Vec<u32>,
    ) -> Result<()> {
        if self.keys.len() == 0 {
            return Ok(());
        }
        self.own_from(0, groups);
        groups.retain(|group| self.times.get(*group as usize).is_none_or(|time| *time > final_micros));
        for groups in groups.chunks(PART_ROWS) {
            let hashes: Vec<u64> = groups.iter().map(|group| self.keys.hashes()[*group as usize]).collect();
            let time = |row: usize| self.times.get(groups[row] as usize).copied().or(end);
            let places = cold.places(&self.keys.keys(groups)?, &hashes, time)?;
            self.outside += cold.put(&places, |_| &[])?;
        }
        *self = Self { outside: self.outside, ..Self::new(self.keys.like()) };
        Ok(())
    }

    fn len(&self) -> u64 {
        (self.keys.len() - self.copies.len() - self.final_keys) as u64 + self.outside
    }

    fn bytes(&self) -> usize {
        let copies = self.copies.capacity() * size_of::<u32>();
        size_of::<Self>() + self.keys.bytes() + self.times.capacity() * size_of::<i64>() + copies
    }

    /// Puts the numbers of the keys from `first` on that are no copies into `groups`.
    fn own_from(&self, first: usize, groups: &mut Vec<u32>) {
        let (first, end) = (row_number(first), row_number(self.keys.len()));
        let copies = &self.copies[self.copies.partition_point(|group| *group < first)..];
        let mut copies = copies.iter().copied().peekable();
        groups.clear();
        groups.extend((first..end).filter(|group| copies.next_if_eq(group).is_none()));
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
