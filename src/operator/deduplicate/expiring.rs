//! Keys that are forgotten at a time of their own.
//!
//! Owns: one table of keys, when each expires, which do next, and which leave memory. Does not own: where that time comes from, how
//! state is written (`parts`), how keys are kept elsewhere (`cold`).
//!
//! A key that is looked up outside memory and found there is in the table from then on, too, as a copy: it expires with the other one, but
//! is neither counted nor saved nor written again.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;

use super::cold::ColdExpiring;
use super::parts::PART_ROWS;
use super::{row_number, span_end, without};
use crate::error::Result;
use crate::state::cold_rows::ColdRows;
use crate::state::{KeyTable, StateBudget};

/// How many microseconds of expiries are looked through together.
const SPAN_MICROS: i64 = 1_000_000;

/// So many forgotten keys may stay in the table whatever the number of the others.
const FORGOTTEN_KEYS: usize = 1024;

/// Stands for the expiry of a key that is forgotten.
const FORGOTTEN: i64 = i64::MIN;

/// The keys seen. A forgotten key stays in the table as such until there are more of its kind than of others.
#[derive(Debug)]
pub(super) struct Expiring {
    keys: KeyTable,
    /// When each key expires, or [`FORGOTTEN`].
    expiries: Vec<i64>,
    /// Keys that are in memory only.
    own: Due,
    /// Keys that are outside, too.
    copies: Due,
    /// Keys added since the last snapshot; some may be forgotten since.
    unsaved: Vec<u32>,
    groups: Vec<u32>,
    /// Keys outside memory, if there is a budget.
    cold: Option<ColdExpiring>,
}

/// When keys are due.
#[derive(Debug, Default)]
struct Due {
    /// Which keys may expire in a span, by the last microsecond of that.
    spans: BTreeMap<i64, Vec<u32>>,
    /// How many keys are not forgotten.
    live: usize,
}

impl Expiring {
    /// No keys yet; `table` is an empty one for their columns.
    pub(super) fn new(table: KeyTable) -> Self {
        Self {
            keys: table,
            expiries: Vec::new(),
            own: Due::default(),
            copies: Due::default(),
            unsaved: Vec::new(),
            groups: Vec::new(),
            cold: None,
        }
    }

    /// Whether keys can leave memory.
    pub(super) fn can_leave_memory(&self) -> bool {
        ColdRows::can_hold(self.keys.types())
    }

    /// Holds no more than this behind snapshots, as far as keys can leave memory; before there are any.
    pub(super) fn limit_memory(&mut self, budget: StateBudget) {
        self.cold = ColdRows::new(self.keys.types(), budget).map(ColdExpiring::new);
    }

    /// Adds the key of each row and tells which were not there; of equal ones the first is, and its `expiry` counts.
    pub(super) fn insert(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        expiry: impl Fn(usize) -> i64,
    ) -> Result<BooleanBuffer> {
        self.intern(keys, hashes)?;
        let (groups, expiries, unsaved) = (&self.groups, &mut self.expiries, &mut self.unsaved);
        let before = unsaved.len();
        let mut new = BooleanBuffer::collect_bool(groups.len(), |row| {
            let known = &mut expiries[groups[row] as usize];
            let is_new = *known == FORGOTTEN;
            if is_new {
                *known = expiry(row).max(FORGOTTEN + 1);
                unsaved.push(groups[row]);
            }
            is_new
        });
        if self.unsaved.len() > before && self.outside().is_some_and(|keys| keys > 0) {
            new = self.without_outside(&new, keys, hashes)?;
        }
        self.own.live += self.unsaved.len() - before;
        self.own.schedule(&self.expiries, &self.unsaved[before..]);
        Ok(new)
    }

    /// Those of the `new` rows, whose keys are the last unsaved ones, that are not outside either. What is found there is a copy.
    fn without_outside(&mut self, new: &BooleanBuffer, keys: &[ArrayRef], hashes: &[u64]) -> Result<BooleanBuffer> {
        let Some(cold) = &mut self.cold else { return Ok(new.clone()) };
        let rows: Vec<u32> = new.set_indices().map(row_number).collect();
        let found = cold.find(keys, hashes, &rows)?;
        let added = self.unsaved.split_off(self.unsaved.len() - rows.len());
        let copies: Vec<u32> = found.iter().map(|(number, _)| added[*number]).collect();
        for (group, (_, expiry)) in copies.iter().zip(&found) {
            self.expiries[*group as usize] = *expiry;
        }
        self.copies.live += copies.len();
        self.copies.schedule(&self.expiries, &copies);
        let new = without(new, found.iter().map(|(number, _)| rows[*number] as usize));
        let own = rows.iter().zip(added).filter(|(row, _)| new.value(**row as usize));
        self.unsaved.extend(own.map(|(_, group)| group));
        Ok(new)
    }

    /// Takes back keys of a snapshot; what is known of them already is older. Once they are too many, these and all that follow go
    /// outside memory.
    pub(super) fn restore(&mut self, keys: &[ArrayRef], hashes: &[u64], expiries: &[i64]) -> Result<()> {
        self.intern(keys, hashes)?;
        for (&group, &expiry) in self.groups.iter().zip(expiries) {
            let known = &mut self.expiries[group as usize];
            self.own.live += usize::from(*known == FORGOTTEN);
            *known = expiry.max(FORGOTTEN + 1);
        }
        self.own.schedule(&self.expiries, &self.groups);
        let bytes = self.bytes();
        let Some(cold) = &mut self.cold else { return Ok(()) };
        if cold.len() > 0 {
            // All of the table are keys of this part, because those before it went outside.
            let all: Vec<u32> = (0..row_number(self.keys.len())).collect();
            cold.forget(&self.keys.keys(&all)?, self.keys.hashes())?;
        } else if bytes <= cold.budget() {
            return Ok(());
        }
        self.shrink(0)
    }

    /// Puts the number of each row's key into `groups`; one not seen before counts as forgotten.
    fn intern(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        self.keys.intern(keys, hashes, &mut self.groups)?;
        self.expiries.resize(self.keys.len(), FORGOTTEN);
        Ok(())
    }

    /// Forgets keys that expire at `final_micros` or before and tells how many.
    pub(super) fn free(&mut self, final_micros: i64) -> Result<u64> {
        let before = self.len();
        self.own.free(&mut self.expiries, final_micros);
        self.copies.free(&mut self.expiries, final_micros);
        if let Some(cold) = &mut self.cold {
            cold.free(final_micros)?;
        }
        let live = self.own.live + self.copies.live;
        if self.keys.len() - live > live.max(FORGOTTEN_KEYS) {
            self.compact();
        }
        Ok(before - self.len())
    }

    /// Lets keys go until half of the budget is free, if they are over it. All of them are in a snapshot.
    pub(super) fn leave_memory(&mut self) -> Result<()> {
        match self.cold.as_ref().map(ColdExpiring::budget) {
            Some(budget) if self.bytes() > budget => self.shrink(budget / 2),
            _ => Ok(()),
        }
    }

    /// Lets copies go, and as many of the other keys that at most about so many bytes stay, those that expire first before others.
    fn shrink(&mut self, most: usize) -> Result<()> {
        let bytes_each = self.bytes().div_ceil(self.keys.len().max(1)).max(1);
        let leaving = self.own.live.saturating_sub(most / bytes_each);
        let Some(cold) = &mut self.cold else { return Ok(()) };
        self.copies.take(&mut self.expiries, usize::MAX);
        let (groups, expiries) = self.own.take(&mut self.expiries, leaving);
        for (groups, expiries) in groups.chunks(PART_ROWS).zip(expiries.chunks(PART_ROWS)) {
            let hashes: Vec<u64> = groups.iter().map(|group| self.keys.hashes()[*group as usize]).collect();
            cold.put(&self.keys.keys(groups)?, &hashes, expiries)?;
        }
        // State that came back may have come in large parts.
        self.groups = Vec::new();
        self.compact();
        Ok(())
    }

    /// Rebuilds the table without the forgotten keys, which numbers the others anew.
    fn compact(&mut self) {
        let mut kept = Vec::with_capacity(self.own.live + self.copies.live);
        let mut numbers = vec![FORGOTTEN_NUMBER; self.expiries.len()];
        for (group, (number, expiry)) in (0_u32..).zip(numbers.iter_mut().zip(&self.expiries)) {
            if *expiry != FORGOTTEN {
                *number = row_number(kept.len());
                kept.push(group);
            }
        }
        self.keys.keep(&kept);
        self.expiries = kept.iter().map(|group| self.expiries[*group as usize]).collect();
        let due = self.own.spans.values_mut().chain(self.copies.spans.values_mut());
        for groups in due.chain([&mut self.unsaved]) {
            groups.retain_mut(|group| {
                *group = numbers[*group as usize];
                *group != FORGOTTEN_NUMBER
            });
        }
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> u64 {
        self.own.live as u64 + self.outside().unwrap_or(0)
    }

    /// How many keys are outside memory; `None` without a budget.
    pub(super) fn outside(&self) -> Option<u64> {
        self.cold.as_ref().map(ColdExpiring::len)
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let numbers = (self.unsaved.capacity() + self.groups.capacity()) * size_of::<u32>();
        let due = self.own.bytes() + self.copies.bytes();
        self.keys.bytes() + self.expiries.capacity() * size_of::<i64>() + numbers + due
    }

    /// Takes note that no key was handed out. Not possible, and nothing is done, if some are outside memory.
    pub(super) fn mark_unsaved(&mut self) -> bool {
        if self.outside().is_some_and(|keys| keys > 0) {
            return false;
        }
        let live = (0_u32..).zip(&self.expiries).filter(|(_, expiry)| **expiry != FORGOTTEN);
        self.unsaved = live.map(|(group, _)| group).collect();
        true
    }

    /// Hands the table, with the numbers of its keys that were not handed out before and when these expire, to `save`.
    pub(super) fn save(&mut self, save: impl FnOnce(&KeyTable, &[u32], &[i64]) -> Result<()>) -> Result<()> {
        let mut groups = std::mem::take(&mut self.unsaved);
        groups.retain(|group| self.expiries[*group as usize] != FORGOTTEN);
        let expiries: Vec<i64> = groups.iter().map(|group| self.expiries[*group as usize]).collect();
        save(&self.keys, &groups, &expiries)
    }
}

impl Due {
    /// Notes when these keys are due.
    fn schedule(&mut self, expiries: &[i64], groups: &[u32]) {
        let span = |group: &u32| span_end(expiries[*group as usize], SPAN_MICROS);
        for run in groups.chunk_by(|a, b| span(a) == span(b)) {
            self.spans.entry(span(&run[0])).or_default().extend_from_slice(run);
        }
    }

    /// Marks keys that expire at `final_micros` or before as forgotten.
    fn free(&mut self, expiries: &mut [i64], final_micros: i64) {
        while let Some(mut span) = self.spans.first_entry()
            && span.key().saturating_sub(SPAN_MICROS) < final_micros
        {
            span.get_mut().retain(|group| {
                let expiry = &mut expiries[*group as usize];
                if *expiry > final_micros {
                    return true;
                }
                // A key restored twice is named twice.
                self.live -= usize::from(*expiry != FORGOTTEN);
                *expiry = FORGOTTEN;
                false
            });
            if *span.key() > final_micros && !span.get().is_empty() {
                break;
            }
            span.remove();
        }
    }

    /// Takes out `count` of the keys, those of the first spans first, marks them as forgotten, and tells when they would have expired.
    fn take(&mut self, expiries: &mut [i64], count: usize) -> (Vec<u32>, Vec<i64>) {
        let (mut groups, mut times) = (Vec::new(), Vec::new());
        while groups.len() < count
            && let Some(mut span) = self.spans.first_entry()
        {
            while groups.len() < count
                && let Some(group) = span.get_mut().pop()
            {
                let expiry = std::mem::replace(&mut expiries[group as usize], FORGOTTEN);
                if expiry != FORGOTTEN {
                    groups.push(group);
                    times.push(expiry);
                }
            }
            if span.get().is_empty() {
                span.remove();
            }
        }
        self.live -= groups.len();
        (groups, times)
    }

    fn bytes(&self) -> usize {
        let numbers: usize = self.spans.values().map(Vec::capacity).sum();
        numbers * size_of::<u32>() + self.spans.len() * size_of::<(i64, Vec<u32>)>()
    }
}

/// The new number of a key that is not kept.
const FORGOTTEN_NUMBER: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field};
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::key_group::hash_rows;
    use crate::state::MapStore;

    fn empty(budget: Option<usize>) -> Expiring {
        let table = KeyTable::new(&[Arc::new(Field::new("key", DataType::Int64, true))]).unwrap();
        let mut expiring = Expiring::new(table);
        if let Some(bytes) = budget {
            expiring.limit_memory(StateBudget { bytes, store: Box::<MapStore>::default() });
        }
        expiring
    }

    fn column(keys: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(keys.to_vec()))
    }

    /// Takes over what is not saved, behind which keys may leave memory.
    fn save(from: &mut Expiring, into: &mut Expiring) {
        from.save(|table, groups, expiries| {
            let hashes: Vec<u64> = groups.iter().map(|group| table.hashes()[*group as usize]).collect();
            into.restore(&table.keys(groups)?, &hashes, expiries)
        })
        .unwrap();
        from.leave_memory().unwrap();
        assert!(from.cold.as_ref().is_none_or(|cold| from.bytes() <= cold.budget()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn keys_are_the_same_after_the_table_was_rebuilt(
            epochs in prop::collection::vec((any::<u32>(), 0..8_000_000_i64, any::<bool>()), 20..40),
            budget in prop_oneof![Just(None), Just(Some(60_000)), Just(Some(200_000))],
        ) {
            let (mut expiring, mut saved, mut oracle) = (empty(budget), empty(budget), HashMap::new());
            let (mut now, mut most) = (0, 0);
            for (seed, moved, is_durable) in epochs {
                let key = |n: i64| (i64::from(seed) + n * 7919) % 9000;
                let keys: Vec<i64> = (0..1500).map(key).collect();
                let expiry = |row: usize| now + 1 + keys[row] * 1500;
                let columns = [column(&keys)];
                let new = expiring.insert(&columns, &hash_rows(&columns), expiry).unwrap();
                for (row, key) in keys.iter().enumerate() {
                    prop_assert_eq!(new.value(row), !oracle.contains_key(key));
                    oracle.entry(*key).or_insert(expiry(row));
                }
                now += moved;
                let before = oracle.len();
                oracle.retain(|_, expiry| *expiry > now);
                let freed = expiring.free(now).unwrap();
                prop_assert_eq!((freed, expiring.len()), ((before - oracle.len()) as u64, oracle.len() as u64));
                if is_durable {
                    save(&mut expiring, &mut saved);
                }
                most = most.max(oracle.len());
                prop_assert!(expiring.expiries.len() <= 2 * most + FORGOTTEN_KEYS + 1500);
            }
            save(&mut expiring, &mut saved);
            saved.free(now).unwrap();
            prop_assert_eq!(saved.len(), oracle.len() as u64);
            // Most of the keys do not fit into these budgets.
            let is_outside = saved.outside().is_some_and(|keys| keys > 0);
            prop_assert!(is_outside || saved.bytes() <= budget.unwrap_or(usize::MAX));
            let keys: Vec<i64> = oracle.keys().copied().collect();
            let columns = [column(&keys)];
            prop_assert_eq!(saved.insert(&columns, &hash_rows(&columns), |_| 0).unwrap().count_set_bits(), 0);
        }
    }
}
