//! Where the chains of a join's stored rows begin.
//!
//! Owns: the newest row of each hash. Does not own: the rows, or which of them are gone.
//!
//! Open addressing with linear probing over entries of eight bytes: the high half of a hash and a row number. The hash itself stands at the row, where a
//! probe has to look anyway. Nothing is ever removed: an entry whose row's page is gone is passed over, and goes when the table is made anew.
//! What a batch will need is read in passes of loads that do not depend on each other, as in the index of groups, so that
//! the processor waits for many of them at once.

use super::super::pairs::NO_ROW;

/// An entry without a row.
const EMPTY: u64 = u64::MAX;

/// The first size of the table, a power of two.
const FIRST_SIZE: usize = 16;

/// What stands at a row that an entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtRow {
    /// The hash of the row.
    Hash(u64),
    /// The row's page is gone.
    Gone,
}

/// Row numbers by hash.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// As many as a power of two, or none.
    entries: Vec<u64>,
    used: usize,
}

impl Heads {
    /// What stands first where this hash would be, for [`row`].
    #[inline]
    pub(super) fn first_entry(&self, hash: u64) -> u64 {
        match self.entries.len().checked_sub(1) {
            Some(mask) => self.entries[low(hash) & mask],
            None => EMPTY,
        }
    }

    /// The newest row with this hash, or [`NO_ROW`].
    pub(super) fn find(&self, hash: u64, at: impl Fn(u32) -> AtRow) -> u32 {
        let Some(mask) = self.entries.len().checked_sub(1) else { return NO_ROW };
        match self.place(hash, mask, at) {
            Ok(place) => row(self.entries[place]),
            Err(_) => NO_ROW,
        }
    }

    /// Makes `row` the newest with this hash; answers which was before, or [`NO_ROW`]. There has to be [room](Self::has_room).
    pub(super) fn replace(&mut self, hash: u64, new: u32, at: impl Fn(u32) -> AtRow) -> u32 {
        match self.place(hash, self.entries.len() - 1, at) {
            Ok(place) => row(std::mem::replace(&mut self.entries[place], entry(hash, new))),
            Err(place) => {
                self.entries[place] = entry(hash, new);
                self.used += 1;
                NO_ROW
            }
        }
    }

    /// The place of this hash's entry, or where it would be.
    #[inline]
    fn place(&self, hash: u64, mask: usize, at: impl Fn(u32) -> AtRow) -> Result<usize, usize> {
        let mut place = low(hash) & mask;
        loop {
            let found = self.entries[place];
            if found == EMPTY {
                return Err(place);
            }
            if found >> 32 == hash >> 32 && at(row(found)) == AtRow::Hash(hash) {
                return Ok(place);
            }
            place = (place + 1) & mask;
        }
    }

    /// Whether one more row can be put.
    pub(super) fn has_room(&self) -> bool {
        (self.used + 1) * 3 <= self.entries.len() * 2
    }

    /// Makes the table anew, without entries whose rows are gone, and with room for half as many more as there are.
    pub(super) fn rebuild(&mut self, at: impl Fn(u32) -> AtRow) {
        let old = std::mem::take(&mut self.entries);
        let kept: Vec<(u64, u32)> = old
            .into_iter()
            .filter(|entry| *entry != EMPTY)
            .filter_map(|entry| match at(row(entry)) {
                AtRow::Hash(hash) => Some((hash, row(entry))),
                AtRow::Gone => None,
            })
            .collect();
        let size = (kept.len() * 9 / 4).next_power_of_two().max(FIRST_SIZE);
        (self.entries, self.used) = (vec![EMPTY; size], kept.len());
        for (hash, row) in kept {
            let mut place = low(hash) & (size - 1);
            while self.entries[place] != EMPTY {
                place = (place + 1) & (size - 1);
            }
            self.entries[place] = entry(hash, row);
        }
    }

    /// How many entries there are, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<u64>()
    }
}

/// The row of an entry; [`NO_ROW`] of one without.
#[inline]
pub(super) fn row(entry: u64) -> u32 {
    low_half(entry)
}

fn entry(hash: u64, row: u32) -> u64 {
    (hash >> 32 << 32) | u64::from(row)
}

fn low_half(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or(NO_ROW)
}

/// The bits a place is taken from: instances divide hashes by the high ones.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
fn low(hash: u64) -> usize {
    hash as usize
}
