//! State outside memory: rows by key bytes, for operators that hold more than they may.
//!
//! Owns: the form in which an operator hands rows over and gets them back. Does not own: where they are (`store::spill`), or
//! which rows go (operators). What is here is in the checkpoint, too: it is a cache that nobody restores from, and goes with the query.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::Result;

/// Rows outside memory, ordered by the bytes of their keys.
///
/// All calls may wait for a disk. They are made by the instance that owns the store, within its own work: a batch of rows costs one
/// call, not one for each row.
pub trait ColdStore: Send + fmt::Debug {
    /// Puts rows; one with a key that is there takes its place. Answers how many keys were not there.
    ///
    /// # Errors
    /// When they cannot be kept: the disk is full.
    fn put(&mut self, rows: &mut dyn Iterator<Item = (&[u8], &[u8])>) -> Result<u64>;

    /// Calls `found` with the number of each of `keys` that is there, counted from 0, and its value.
    ///
    /// # Errors
    /// When they cannot be read.
    fn get(&mut self, keys: &mut dyn Iterator<Item = &[u8]>, found: &mut dyn FnMut(usize, &[u8])) -> Result<()>;

    /// Calls `each` with the rows whose keys are at or behind `from` and before `to`, in order, at most `most` of them.
    ///
    /// # Errors
    /// When they cannot be read.
    fn scan(&mut self, from: &[u8], to: &[u8], most: usize, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<()>;

    /// Removes the rows whose keys are at or behind `from` and before `to`.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn remove(&mut self, from: &[u8], to: &[u8]) -> Result<()>;

    /// Removes the rows with these keys; that one is not there is no error.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn remove_keys(&mut self, keys: &mut dyn Iterator<Item = &[u8]>) -> Result<()>;
}

/// How much memory an operator instance may hold behind a durable end, and where the rest goes.
#[derive(Debug)]
pub struct StateBudget {
    /// In bytes.
    pub bytes: usize,
    /// Where rows go that are over it.
    pub store: Box<dyn ColdStore>,
}

/// Rows in a map, for tests and for trying operators without a disk.
#[derive(Debug, Default)]
pub struct MapStore {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl ColdStore for MapStore {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (&[u8], &[u8])>) -> Result<u64> {
        Ok(rows.filter(|(key, value)| self.rows.insert(key.to_vec(), value.to_vec()).is_none()).count() as u64)
    }

    fn get(&mut self, keys: &mut dyn Iterator<Item = &[u8]>, found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (number, key) in keys.enumerate() {
            if let Some(value) = self.rows.get(key) {
                found(number, value);
            }
        }
        Ok(())
    }

    fn scan(&mut self, from: &[u8], to: &[u8], most: usize, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let rows = self.rows.range(from.to_vec()..).take_while(|(key, _)| key.as_slice() < to);
        rows.take(most).for_each(|(key, value)| each(key, value));
        Ok(())
    }

    fn remove(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        self.rows.retain(|key, _| key.as_slice() < from || key.as_slice() >= to);
        Ok(())
    }

    fn remove_keys(&mut self, keys: &mut dyn Iterator<Item = &[u8]>) -> Result<()> {
        keys.for_each(|key| drop(self.rows.remove(key)));
        Ok(())
    }
}
