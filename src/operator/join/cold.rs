//! Stored rows of a join outside memory.
//!
//! Owns: the bytes under which rows are kept there, how they are found by hash and by time. Does not own: which rows go and come back
//! (`stream_join`), or where they are ([`ColdStore`]).
//!
//! | key                                       | value                                                      | for              |
//! |-------------------------------------------|------------------------------------------------------------|------------------|
//! | twice the side, the hash, the serial      | whether it had a partner, the columns in Arrow's row format | probes           |
//! | that and one, the time, hash and serial   | nothing                                                    | freeing by time  |
//!
//! A row is either in memory or here: one that is probed, or put out when it is freed, is taken back first, so all that a join does with rows
//! is done in memory. The format lives only as long as the query.

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

use super::JoinSide;
use super::rows::{Change, ChangedRow, NEVER};
use super::saved::RestoredRows;
use super::stream_join::{JoinBound, times_of};
use crate::error::Result;
use crate::state::cold_rows::{Pieces, columns};
use crate::state::{ColdStore, StateBudget};

const WORD: usize = size_of::<u64>();

/// Side and hash.
type Prefix = [u8; 1 + WORD];
/// Side, hash and serial.
type RowKey = [u8; 1 + 2 * WORD];
/// Side, time, hash and serial.
type TimeKey = [u8; 1 + 3 * WORD];

/// The most rows that are freed at a time.
const MOST_ROWS: usize = 8192;

/// The rows of one instance of a join that are not in memory.
#[derive(Debug)]
pub(super) struct ColdRows {
    store: Box<dyn ColdStore>,
    /// How many bytes may stay in memory.
    pub(super) budget: usize,
    left: ColdSide,
    right: ColdSide,
}

#[derive(Debug)]
struct ColdSide {
    schema: SchemaRef,
    converter: RowConverter,
    rows: u64,
}

impl ColdSide {
    fn new(schema: &SchemaRef) -> Result<Self> {
        Ok(Self { schema: schema.clone(), converter: RowConverter::new(sort_fields(schema))?, rows: 0 })
    }
}

fn sort_fields(schema: &Schema) -> Vec<SortField> {
    schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect()
}

/// Values one behind the other, each with its key.
#[derive(Default)]
struct Found {
    keys: Vec<RowKey>,
    values: Pieces,
}

impl Found {
    fn push(&mut self, key: RowKey, is_matched: bool, columns: &[u8]) {
        self.keys.push(key);
        self.values.push(&[&[u8::from(is_matched)], columns]);
    }

    fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys.iter().map(RowKey::as_slice).zip(self.values.iter())
    }
}

impl ColdRows {
    /// Whether rows of these columns can leave memory: not if a type has no bytes.
    pub(super) fn can_hold(schema: &Schema) -> bool {
        RowConverter::supports_fields(&sort_fields(schema))
    }

    /// For rows of these columns.
    ///
    /// # Errors
    /// When a type has no bytes.
    pub(super) fn new(left: &SchemaRef, right: &SchemaRef, budget: StateBudget) -> Result<Self> {
        let (left, right) = (ColdSide::new(left)?, ColdSide::new(right)?);
        Ok(Self { store: budget.store, budget: budget.bytes, left, right })
    }

    /// How many rows of a side are here.
    pub(super) fn rows(&self, side: JoinSide) -> u64 {
        side.of(&self.left, &self.right).rows
    }

    fn side(&mut self, side: JoinSide) -> &mut ColdSide {
        side.of(&mut self.left, &mut self.right)
    }

    /// Puts rows; `times` is as in [`NewRows`](super::rows::NewRows).
    ///
    /// # Errors
    /// When they cannot be kept.
    pub(super) fn put(&mut self, side: JoinSide, rows: &RestoredRows, times: &[i64]) -> Result<()> {
        let RestoredRows { records, hashes, serials, matched } = rows;
        let encoded = self.side(side).converter.convert_columns(records.columns())?;
        // In the order of the store, so that neighbours are written together.
        let mut order: Vec<usize> = (0..hashes.len()).collect();
        order.sort_unstable_by_key(|row| (hashes[*row], serials[*row]));
        let mut found = Found::default();
        for row in order {
            found.push(row_key(side, hashes[row], serials[row]), matched[row], encoded.row(row).data());
        }
        let times = time_keys(side, hashes, serials, times);
        self.store.put(&mut found.rows().chain(times.iter().map(|key| (key.as_slice(), [].as_slice()))))?;
        self.side(side).rows += hashes.len() as u64;
        Ok(())
    }

    /// Takes the rows with these hashes away; `None` if there are none.
    ///
    /// # Errors
    /// When they cannot be read or removed.
    pub(super) fn take(
        &mut self,
        side: JoinSide,
        hashes: impl Iterator<Item = u64>,
        bound: Option<JoinBound>,
    ) -> Result<Option<RestoredRows>> {
        let mut prefixes: Vec<Prefix> = hashes.map(|hash| bytes(tag(side), [hash])).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let mut found = Found::default();
        self.store.scan_prefixes(&mut prefixes.iter().map(Prefix::as_slice), &mut |key, value| {
            if let Ok(key) = key.try_into() {
                found.push(key, value[0] != 0, &value[1..]);
            }
        })?;
        self.take_found(side, &found, bound)
    }

    /// Takes some rows whose time is at or before `limit` away; `None` if there are none.
    ///
    /// # Errors
    /// When they cannot be read or removed.
    pub(super) fn take_until(
        &mut self,
        side: JoinSide,
        limit: i64,
        bound: Option<JoinBound>,
    ) -> Result<Option<RestoredRows>> {
        let keys = rows_of(side, &self.until(side, limit)?);
        let mut found = Found::default();
        let mut push = |number: usize, value: &[u8]| found.push(keys[number], value[0] != 0, &value[1..]);
        self.store.get(&mut keys.iter().map(RowKey::as_slice), &mut push)?;
        self.take_found(side, &found, bound)
    }

    fn take_found(&mut self, side: JoinSide, found: &Found, bound: Option<JoinBound>) -> Result<Option<RestoredRows>> {
        if found.keys.is_empty() {
            return Ok(None);
        }
        let ColdSide { schema, converter, .. } = self.side(side);
        let columns = columns(converter, found.values.iter().map(|value| &value[1..]))?;
        let records = RecordBatch::try_new(schema.clone(), columns)?;
        let matched = found.values.iter().map(|value| value[0] != 0).collect();
        let (hashes, serials): (Vec<u64>, Vec<u64>) = found.keys.iter().map(|key| (word(key, 0), word(key, 1))).unzip();
        let times = time_keys(side, &hashes, &serials, &times_of(&records, bound)?);
        self.remove(side, &found.keys, &times)?;
        Ok(Some(RestoredRows { records, hashes, serials, matched }))
    }

    /// Frees the rows whose time is at or before `limit`, and tells how many there were.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub(super) fn free_until(&mut self, side: JoinSide, limit: i64) -> Result<u64> {
        let before = self.rows(side);
        while self.rows(side) > 0 {
            let times = self.until(side, limit)?;
            if times.is_empty() {
                break;
            }
            self.remove(side, &rows_of(side, &times), &times)?;
        }
        Ok(before - self.rows(side))
    }

    /// Does to rows that are here what became of them, and gives back what is about others.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub(super) fn change(&mut self, side: JoinSide, changes: Vec<ChangedRow>) -> Result<Vec<ChangedRow>> {
        if self.rows(side) == 0 {
            return Ok(changes);
        }
        let keys: Vec<RowKey> = changes.iter().map(|row| row_key(side, row.hash, row.serial)).collect();
        let (mut others, mut matched) = (vec![true; changes.len()], Found::default());
        self.store.get(&mut keys.iter().map(RowKey::as_slice), &mut |number, value| {
            others[number] = false;
            if changes[number].what == Change::Matched {
                matched.push(keys[number], true, &value[1..]);
            }
        })?;
        self.store.put(&mut matched.rows())?;
        let is_removed = |place: &usize| !others[*place] && changes[*place].what == Change::Removed;
        let removed: Vec<usize> = (0..changes.len()).filter(is_removed).collect();
        let rows: Vec<RowKey> = removed.iter().map(|place| keys[*place]).collect();
        let (hashes, serials): (Vec<u64>, Vec<u64>) =
            removed.iter().map(|place| (changes[*place].hash, changes[*place].serial)).unzip();
        let times: Vec<i64> = removed.iter().map(|place| changes[*place].time).collect();
        self.remove(side, &rows, &time_keys(side, &hashes, &serials, &times))?;
        Ok(changes.into_iter().zip(others).filter(|(_, is_other)| *is_other).map(|(change, _)| change).collect())
    }

    /// The time keys of some rows whose time is at or before `limit`.
    fn until(&mut self, side: JoinSide, limit: i64) -> Result<Vec<TimeKey>> {
        let (from, to) = ([tag(side) + 1], bytes::<{ 1 + WORD }, 1>(tag(side) + 1, [ordered(limit.saturating_add(1))]));
        let mut keys = Vec::new();
        self.store.scan(&from, &to, MOST_ROWS, &mut |key, _| keys.extend(TimeKey::try_from(key)))?;
        Ok(keys)
    }

    fn remove(&mut self, side: JoinSide, rows: &[RowKey], times: &[TimeKey]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let keys = rows.iter().map(RowKey::as_slice);
        self.store.remove_each(&mut keys.chain(times.iter().map(TimeKey::as_slice)))?;
        let side = self.side(side);
        side.rows = side.rows.saturating_sub(rows.len() as u64);
        Ok(())
    }
}

/// The first byte of the keys of rows; that of times is one more.
fn tag(side: JoinSide) -> u8 {
    side.of(0, 2)
}

/// A time as a word in the same order.
fn ordered(time: i64) -> u64 {
    (time ^ i64::MIN).cast_unsigned()
}

fn bytes<const BYTES: usize, const WORDS: usize>(tag: u8, words: [u64; WORDS]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[0] = tag;
    for (place, word) in bytes[1..].chunks_exact_mut(WORD).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// The word with this number behind the tag of a key.
fn word(key: &[u8], number: usize) -> u64 {
    key[1 + number * WORD..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn row_key(side: JoinSide, hash: u64, serial: u64) -> RowKey {
    bytes(tag(side), [hash, serial])
}

/// The time keys of rows that have a time, in the order of the store.
fn time_keys(side: JoinSide, hashes: &[u64], serials: &[u64], times: &[i64]) -> Vec<TimeKey> {
    let rows = times.iter().zip(hashes.iter().zip(serials)).filter(|(time, _)| **time != NEVER);
    let key = |(time, (hash, serial)): (&i64, (&u64, &u64))| bytes(tag(side) + 1, [ordered(*time), *hash, *serial]);
    let mut keys: Vec<TimeKey> = rows.map(key).collect();
    keys.sort_unstable();
    keys
}

/// The row keys of these time keys, in the order of the store.
fn rows_of(side: JoinSide, times: &[TimeKey]) -> Vec<RowKey> {
    let mut keys: Vec<RowKey> = times.iter().map(|key| row_key(side, word(key, 1), word(key, 2))).collect();
    keys.sort_unstable();
    keys
}
