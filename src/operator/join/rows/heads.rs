//! Where the chains of a join's stored rows begin.
//!
//! Owns: the newest row of each hash. Does not own: the rows, or which of them are gone.
//!
//! Open addressing with linear probing. Nothing is ever removed: an entry whose row is gone goes when the table is made anew. Entries of eight bytes, whose
//! hash is looked up at the row, are half as many bytes to miss the cache for, but each new row then waits for an older one as well, which was slower.
//! What a batch will need is read in a pass of loads that do not depend on each other, as in the index of groups, so that
//! the processor waits for many of them at once.

use super::super::pairs::NO_ROW;

/// The first size of the table, a power of two.
const FIRST_SIZE: usize = 16;

/// The newest row with a hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) hash: u64,
    /// [`NO_ROW`] in an entry that is not used.
    pub(super) row: u32,
}

const UNUSED: Head = Head { hash: 0, row: NO_ROW };

/// Row numbers by hash.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// As many as a power of two, or none.
    entries: Vec<Head>,
    used: usize,
}

impl Heads {
    /// What stands first where this hash would be.
    #[inline]
    pub(super) fn first_entry(&self, hash: u64) -> Head {
        match self.entries.len().checked_sub(1) {
            Some(mask) => self.entries[low(hash) & mask],
            None => UNUSED,
        }
    }

    /// The newest row with this hash, or [`NO_ROW`].
    pub(super) fn find(&self, hash: u64) -> u32 {
        if self.entries.is_empty() { NO_ROW } else { self.entries[self.place(hash)].row }
    }

    /// Makes `row` the newest with this hash; answers which was before, or [`NO_ROW`]. There has to be [room](Self::has_room).
    pub(super) fn replace(&mut self, hash: u64, row: u32) -> u32 {
        let place = self.place(hash);
        let older = std::mem::replace(&mut self.entries[place], Head { hash, row }).row;
        self.used += usize::from(older == NO_ROW);
        older
    }

    /// The place of this hash's entry, or where it would be.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        let mask = self.entries.len() - 1;
        let mut place = low(hash) & mask;
        loop {
            let head = &self.entries[place];
            if head.hash == hash || head.row == NO_ROW {
                return place;
            }
            place = (place + 1) & mask;
        }
    }

    /// Whether one more row can be put.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        (self.used + 1) * 3 <= self.entries.len() * 2
    }

    /// Makes the table anew, without entries whose rows are gone, and with room for about half as many more as there are.
    pub(super) fn rebuild(&mut self, is_gone: impl Fn(u32) -> bool) {
        let mut kept = std::mem::take(&mut self.entries);
        kept.retain(|head| head.row != NO_ROW && !is_gone(head.row));
        let size = (kept.len() * 9 / 4).next_power_of_two().max(FIRST_SIZE);
        *self = Self { entries: vec![UNUSED; size], used: kept.len() };
        for head in kept {
            let place = self.place(head.hash);
            self.entries[place] = head;
        }
    }

    /// How many entries are used.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// How many entries there are, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Head>()
    }
}

/// The bits a place is taken from: instances divide hashes by the high ones.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
fn low(hash: u64) -> usize {
    hash as usize
}
