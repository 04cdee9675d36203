//! Keys outside memory that expire at times of their own.
//!
//! Owns: the rows that each key has there. Does not own: which keys go (`expiring`), the bytes of their keys ([`ColdRows`]).
//!
//! A key has two rows: one without a slot, with when it expires as its value, to be found by; and an empty one in the slot of that time,
//! because a row tells its key and not when that expires, and keys are freed by the time and not one by one.

use arrow::array::ArrayRef;

use crate::error::Result;
use crate::state::cold_rows::{ColdRows, Cursor};

/// The keys of one operator instance that are outside memory.
#[derive(Debug)]
pub(super) struct ColdExpiring {
    rows: ColdRows,
    /// How many keys there are.
    keys: u64,
}

impl ColdExpiring {
    pub(super) fn new(rows: ColdRows) -> Self {
        Self { rows, keys: 0 }
    }

    /// How many bytes may stay in memory.
    pub(super) fn budget(&self) -> usize {
        self.rows.budget()
    }

    /// How many keys are here.
    pub(super) fn len(&self) -> u64 {
        self.keys
    }

    /// Puts keys that are not here.
    pub(super) fn put(&mut self, keys: &[ArrayRef], hashes: &[u64], expiries: &[i64]) -> Result<()> {
        let by_key = self.rows.places(keys, hashes, |_| None)?;
        let values: Vec<[u8; 8]> = expiries.iter().map(|expiry| expiry.to_be_bytes()).collect();
        self.keys += self.rows.put(&by_key, |row| values[row].as_slice())?;
        self.rows.put(&by_key.moved(|row| Some(expiries[row])), |_| &[])?;
        Ok(())
    }

    /// Which of these `rows` of a batch have keys that are here, by their places in `rows`, and when those expire.
    pub(super) fn find(&mut self, keys: &[ArrayRef], hashes: &[u64], rows: &[u32]) -> Result<Vec<(usize, i64)>> {
        let mut found = Vec::new();
        let add = |number, value: &[u8]| found.extend(expiry_of(value).map(|expiry| (number, expiry)));
        self.rows.find(keys, hashes, rows, |_| None, add)?;
        Ok(found)
    }

    /// Forgets those of these keys that are here.
    pub(super) fn forget(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        let by_key = self.rows.places(keys, hashes, |_| None)?;
        let mut expiries = vec![None; hashes.len()];
        self.rows.get(&by_key, |row, value| expiries[row] = expiry_of(value))?;
        let found = expiries.iter().flatten().count() as u64;
        if found > 0 {
            // Keys that are not here have no row without a slot, so these places are of no other.
            self.rows.remove(&by_key.moved(|row| expiries[row]))?;
            self.rows.remove(&by_key)?;
        }
        self.keys -= found;
        Ok(())
    }

    /// Forgets keys that expire at `final_micros` or before.
    pub(super) fn free(&mut self, final_micros: i64) -> Result<()> {
        if self.keys == 0 {
            return Ok(());
        }
        let (before, mut range) = (self.keys, Cursor::until(final_micros));
        while let Some(page) = self.rows.page(&mut range)? {
            let expired = page.into_places().moved(|_| None);
            self.keys -= expired.len() as u64;
            self.rows.remove(&expired)?;
        }
        if self.keys < before { self.rows.remove_range(&Cursor::until(final_micros)) } else { Ok(()) }
    }
}

fn expiry_of(value: &[u8]) -> Option<i64> {
    value.first_chunk().map(|bytes| i64::from_be_bytes(*bytes))
}
