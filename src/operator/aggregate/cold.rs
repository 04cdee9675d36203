//! Groups outside memory.
//!
//! Owns: the bytes under which a group and its states are kept there, and handing groups over in pages. Does not own: which groups
//! go and come back (`results`), or where they are ([`ColdStore`]).
//!
//! A key is a zero, the slot, the hash and the key columns in Arrow's row format; so a slot is a range, and the rows of one key group
//! are neighbours in it. The format lives only as long as the query.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use super::AggregateSpec;
use super::groups::{BATCH_ROWS, GroupTable, group_range};
use crate::error::Result;
use crate::state::{ColdStore, StateBudget};

/// Zero, slot and hash.
const PREFIX: usize = 1 + 2 * size_of::<u64>();

/// The groups of one operator instance that are not in memory, or whose states there are newer.
#[derive(Debug)]
pub(super) struct ColdGroups {
    store: Box<dyn ColdStore>,
    /// How many bytes may stay in memory.
    pub(super) budget: usize,
    keys: RowConverter,
    states: RowConverter,
}

/// Some groups of a slot, in columns.
pub(super) struct Page {
    /// The key columns, then the state columns.
    pub(super) columns: Vec<ArrayRef>,
    pub(super) hashes: Vec<u64>,
}

/// How far the pages of a slot are read.
#[derive(Debug)]
pub(super) struct Cursor {
    next: Vec<u8>,
    end: Vec<u8>,
}

impl ColdGroups {
    /// Whether groups of `spec` can leave memory: not if there is one a slot, or a type has no bytes.
    pub(super) fn can_hold(spec: &AggregateSpec) -> bool {
        Self::converters(spec).is_some()
    }

    /// Groups of `spec`; `None` if they have to stay in memory.
    pub(super) fn new(spec: &AggregateSpec, budget: StateBudget) -> Option<Self> {
        let (keys, states) = Self::converters(spec)?;
        Some(Self { store: budget.store, budget: budget.bytes, keys, states })
    }

    fn converters(spec: &AggregateSpec) -> Option<(RowConverter, RowConverter)> {
        let converter = |types: Vec<DataType>| {
            let fields: Vec<_> = types.into_iter().map(SortField::new).collect();
            RowConverter::supports_fields(&fields).then(|| RowConverter::new(fields).ok()).flatten()
        };
        let keys: Vec<_> = spec.inner_key_fields().iter().map(|field| field.data_type().clone()).collect();
        let states = spec.calls.iter().flat_map(|call| call.factory.state_fields());
        let states: Vec<_> = states.map(|field| field.data_type().clone()).collect();
        if keys.is_empty() || states.is_empty() {
            return None;
        }
        Some((converter(keys)?, converter(states)?))
    }

    /// Puts groups of a slot, or newer states of groups that are here. Answers how many were not.
    pub(super) fn put(&mut self, slot: i64, keys: &[ArrayRef], states: &[ArrayRef], hashes: &[u64]) -> Result<u64> {
        let (keys, states) = (self.keys.convert_columns(keys)?, self.states.convert_columns(states)?);
        let mut rows: Vec<(Vec<u8>, usize)> =
            hashes.iter().enumerate().map(|(row, hash)| (key_bytes(slot, *hash, &keys, row), row)).collect();
        // In the order of the store, so that neighbours are written together.
        rows.sort_unstable();
        self.store.put(&mut rows.iter().map(|(key, row)| (key.as_slice(), states.row(*row).data())))
    }

    /// Puts all groups of `table`.
    pub(super) fn put_all(&mut self, slot: i64, table: &mut GroupTable) -> Result<u64> {
        let (mut added, mut next) = (0, 0);
        while next < table.len() {
            let groups = group_range(next, table.len());
            next += groups.len();
            let columns = table.states(&groups)?;
            let (keys, states) = table.split(&columns)?;
            added += self.put(slot, keys, states, &table.hashes(&groups))?;
        }
        Ok(added)
    }

    /// Merges into the groups of `table` from number `first` on what is here of them, which they must not hold yet. Answers of how many
    /// there was something.
    pub(super) fn fetch(&mut self, slot: i64, table: &mut GroupTable, first: usize) -> Result<u64> {
        let (mut fetched, mut next) = (0, first);
        while next < table.len() {
            let groups = group_range(next, table.len());
            next += groups.len();
            let (keys, hashes) = (self.keys.convert_columns(&table.keys(&groups)?)?, table.hashes(&groups));
            let mut wanted: Vec<(Vec<u8>, u32)> = Vec::with_capacity(groups.len());
            for (row, (hash, group)) in hashes.iter().zip(&groups).enumerate() {
                wanted.push((key_bytes(slot, *hash, &keys, row), *group));
            }
            wanted.sort_unstable();
            let (mut found, mut values) = (Vec::new(), Vec::new());
            let mut take = |number: usize, value: &[u8]| {
                found.push(wanted[number].1);
                values.push(value.to_vec());
            };
            self.store.get(&mut wanted.iter().map(|(key, _)| key.as_slice()), &mut take)?;
            if !found.is_empty() {
                let parser = self.states.parser();
                let states = self.states.convert_rows(values.iter().map(|value| parser.parse(value)))?;
                table.merge_states(&states, &found)?;
            }
            fetched += found.len() as u64;
        }
        Ok(fetched)
    }

    /// Before the first page of a slot.
    pub(super) fn pages(slot: i64) -> Cursor {
        let end = slot.checked_add(1).map_or_else(|| vec![1], slot_bytes);
        Cursor { next: slot_bytes(slot), end }
    }

    /// The next page; `None` behind the last.
    pub(super) fn page(&mut self, cursor: &mut Cursor) -> Result<Option<Page>> {
        let (mut keys, mut values, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        let mut last = Vec::new();
        self.store.scan(&cursor.next, &cursor.end, BATCH_ROWS, &mut |key, value| {
            let (prefix, row) = key.split_at(PREFIX.min(key.len()));
            hashes.push(prefix.last_chunk().map_or(0, |hash| u64::from_be_bytes(*hash)));
            keys.push(row.to_vec());
            values.push(value.to_vec());
            last.clear();
            last.extend_from_slice(key);
        })?;
        if hashes.is_empty() {
            return Ok(None);
        }
        // Right behind the last key.
        last.push(0);
        cursor.next = last;
        let (key_parser, state_parser) = (self.keys.parser(), self.states.parser());
        let mut columns = self.keys.convert_rows(keys.iter().map(|row| key_parser.parse(row)))?;
        columns.extend(self.states.convert_rows(values.iter().map(|row| state_parser.parse(row)))?);
        Ok(Some(Page { columns, hashes }))
    }

    /// Drops all groups of a slot.
    pub(super) fn forget(&mut self, slot: i64) -> Result<()> {
        let Cursor { next, end } = Self::pages(slot);
        self.store.remove(&next, &end)
    }
}

/// The first bytes of the keys of a slot, in the order of slots.
fn slot_bytes(slot: i64) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((slot ^ i64::MIN).to_be_bytes());
    bytes
}

fn key_bytes(slot: i64, hash: u64, keys: &Rows, row: usize) -> Vec<u8> {
    let mut bytes = slot_bytes(slot);
    bytes.extend(hash.to_be_bytes());
    bytes.extend(keys.row(row).data());
    bytes
}
