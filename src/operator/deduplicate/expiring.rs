//! Keys that are forgotten at a time of their own.
//!
//! Owns: one table of keys, when each expires, and which do next. Does not own: where that time comes from, or how
//! state is written (`parts`).

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;

use super::span_end;
use crate::error::Result;
use crate::state::KeyTable;

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
    /// Which keys may expire in a span, by the last microsecond of that.
    due: BTreeMap<i64, Vec<u32>>,
    /// How many keys are not forgotten.
    live: usize,
    /// Keys added since the last snapshot; some may be forgotten since.
    unsaved: Vec<u32>,
    groups: Vec<u32>,
}

impl Expiring {
    /// No keys yet; `table` is an empty one for their columns.
    pub(super) fn new(table: KeyTable) -> Self {
        Self {
            keys: table,
            expiries: Vec::new(),
            due: BTreeMap::new(),
            live: 0,
            unsaved: Vec::new(),
            groups: Vec::new(),
        }
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
        let new = BooleanBuffer::collect_bool(groups.len(), |row| {
            let known = &mut expiries[groups[row] as usize];
            let is_new = *known == FORGOTTEN;
            if is_new {
                *known = expiry(row).max(FORGOTTEN + 1);
                unsaved.push(groups[row]);
            }
            is_new
        });
        self.live += self.unsaved.len() - before;
        schedule(&mut self.due, &self.expiries, &self.unsaved[before..]);
        Ok(new)
    }

    /// Takes back keys of a snapshot; what is known of them already is older.
    pub(super) fn restore(&mut self, keys: &[ArrayRef], hashes: &[u64], expiries: &[i64]) -> Result<()> {
        self.intern(keys, hashes)?;
        for (&group, &expiry) in self.groups.iter().zip(expiries) {
            let known = &mut self.expiries[group as usize];
            self.live += usize::from(*known == FORGOTTEN);
            *known = expiry.max(FORGOTTEN + 1);
        }
        schedule(&mut self.due, &self.expiries, &self.groups);
        Ok(())
    }

    /// Puts the number of each row's key into `groups`; one not seen before counts as forgotten.
    fn intern(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        self.keys.intern(keys, hashes, &mut self.groups)?;
        self.expiries.resize(self.keys.len(), FORGOTTEN);
        Ok(())
    }

    /// Forgets keys that expire at `final_micros` or before and tells how many.
    pub(super) fn free(&mut self, final_micros: i64) -> usize {
        let before = self.live;
        while let Some(mut span) = self.due.first_entry()
            && span.key().saturating_sub(SPAN_MICROS) < final_micros
        {
            span.get_mut().retain(|group| {
                let expiry = &mut self.expiries[*group as usize];
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
        if self.keys.len() - self.live > self.live.max(FORGOTTEN_KEYS) {
            self.compact();
        }
        before - self.live
    }

    /// Rebuilds the table without the forgotten keys, which numbers the others anew.
    fn compact(&mut self) {
        let mut kept = Vec::with_capacity(self.live);
        let mut numbers = vec![FORGOTTEN_NUMBER; self.expiries.len()];
        for (group, (number, expiry)) in (0_u32..).zip(numbers.iter_mut().zip(&self.expiries)) {
            if *expiry != FORGOTTEN {
                *number = u32::try_from(kept.len()).expect("there are not more keys than before");
                kept.push(group);
            }
        }
        self.keys.keep(&kept);
        self.expiries = kept.iter().map(|group| self.expiries[*group as usize]).collect();
        for groups in self.due.values_mut().chain([&mut self.unsaved]) {
            groups.retain_mut(|group| {
                *group = numbers[*group as usize];
                *group != FORGOTTEN_NUMBER
            });
        }
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let numbers: usize = self.due.values().map(Vec::capacity).sum();
        let numbers = numbers + self.unsaved.capacity() + self.groups.capacity();
        let spans = self.due.len() * size_of::<(i64, Vec<u32>)>();
        self.keys.bytes() + self.expiries.capacity() * size_of::<i64>() + numbers * size_of::<u32>() + spans
    }

    /// Takes note that no key was handed out.
    pub(super) fn mark_unsaved(&mut self) {
        let live = (0_u32..).zip(&self.expiries).filter(|(_, expiry)| **expiry != FORGOTTEN);
        self.unsaved = live.map(|(group, _)| group).collect();
    }

    /// Hands the table, with the numbers of its keys that were not handed out before and when these expire, to `save`.
    pub(super) fn save(&mut self, save: impl FnOnce(&KeyTable, &[u32], &[i64]) -> Result<()>) -> Result<()> {
        let mut groups = std::mem::take(&mut self.unsaved);
        groups.retain(|group| self.expiries[*group as usize] != FORGOTTEN);
        let expiries: Vec<i64> = groups.iter().map(|group| self.expiries[*group as usize]).collect();
        save(&self.keys, &groups, &expiries)
    }
}

/// The new number of a key that is not kept.
const FORGOTTEN_NUMBER: u32 = u32::MAX;

/// Notes when these keys are due.
fn schedule(due: &mut BTreeMap<i64, Vec<u32>>, expiries: &[i64], groups: &[u32]) {
    let span = |group: &u32| span_end(expiries[*group as usize], SPAN_MICROS);
    for run in groups.chunk_by(|a, b| span(a) == span(b)) {
        due.entry(span(&run[0])).or_default().extend_from_slice(run);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field};
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::key_group::hash_rows;

    fn empty() -> Expiring {
        Expiring::new(KeyTable::new(&[Arc::new(Field::new("key", DataType::Int64, true))]).unwrap())
    }

    fn column(keys: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(keys.to_vec()))
    }

    /// Takes over what is not saved.
    fn save(from: &mut Expiring, into: &mut Expiring) {
        from.save(|table, groups, expiries| {
            let hashes: Vec<u64> = groups.iter().map(|group| table.hashes()[*group as usize]).collect();
            into.restore(&table.keys(groups)?, &hashes, expiries)
        })
        .unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn keys_are_the_same_after_the_table_was_rebuilt(
            epochs in prop::collection::vec((any::<u32>(), 0..8_000_000_i64, any::<bool>()), 20..40),
        ) {
            let (mut expiring, mut saved, mut oracle) = (empty(), empty(), HashMap::new());
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
                prop_assert_eq!((expiring.free(now), expiring.len()), (before - oracle.len(), oracle.len()));
                if is_durable {
                    save(&mut expiring, &mut saved);
                }
                most = most.max(oracle.len());
                prop_assert!(expiring.expiries.len() <= 2 * most + FORGOTTEN_KEYS + 1500);
            }
            save(&mut expiring, &mut saved);
            saved.free(now);
            prop_assert_eq!(saved.len(), oracle.len());
            let keys: Vec<i64> = oracle.keys().copied().collect();
            let columns = [column(&keys)];
            prop_assert_eq!(saved.insert(&columns, &hash_rows(&columns), |_| 0).unwrap().count_set_bits(), 0);
        }
    }
}
