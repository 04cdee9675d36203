//! A hash index: group numbers by hash, where the keys themselves are kept elsewhere.
//!
//! Owns: which group numbers a hash may stand for. Does not own: comparing keys, or the hash (`protocol::key_group`).
//!
//! Open addressing with linear probing over entries of eight bytes, so that eight of them share a cache line. An entry holds
//! the high half of the hash beside the number, so that nearly no key is compared in vain. Rows are looked up in two passes (Balkesen et
//! al., "Main-memory hash joins on multi-core CPUs", 2013, and others): the first reads the first entry of each row's hash, and these
//! reads do not depend on each other, so the processor waits for many of them at once; the second compares keys.

/// How many rows are looked ahead.
pub(super) const AHEAD: usize = 1024;

/// The first size of the table, a power of two.
const FIRST_SIZE: usize = 16;

/// An entry without a group.
const EMPTY: u64 = 0;

/// Group numbers by hash, and the hash of each group. The caller compares the keys.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The high half of a hash, and a group number plus one. As many as a power of two, or none.
    entries: Vec<u64>,
    hashes: Vec<u64>,
}

impl Index {
    /// The hash of each group.
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Puts what stands first where each hash would be into `ahead`, for [`find_or_add`](Self::find_or_add). At most [`AHEAD`] rows are
    /// worth it at a time.
    pub(super) fn look_ahead(&self, hashes: &[u64], ahead: &mut Vec<u64>) {
        ahead.clear();
        match self.entries.len().checked_sub(1) {
            None => ahead.resize(hashes.len(), EMPTY),
            Some(mask) => ahead.extend(hashes.iter().map(|hash| self.entries[low(*hash) & mask])),
        }
    }

    /// The group that `is_equal` accepts, and whether it is new: then the caller appends its key. `ahead` is what
    /// [`look_ahead`](Self::look_ahead) found for the hash: groups that came since then do not make it wrong.
    #[inline]
    pub(super) fn find_or_add(&mut self, ahead: u64, hash: u64, is_equal: impl Fn(usize) -> bool) -> (u32, bool) {
        if ahead != EMPTY && tag(ahead) == tag(hash) && is_equal(group_of(ahead) as usize) {
            return (group_of(ahead), false);
        }
        self.probe(hash, is_equal)
    }

    fn probe(&mut self, hash: u64, is_equal: impl Fn(usize) -> bool) -> (u32, bool) {
        if (self.hashes.len() + 1) * 3 > self.entries.len() * 2 {
            self.grow();
        }
        let mask = self.entries.len() - 1;
        let mut place = low(hash) & mask;
        loop {
            let entry = self.entries[place];
            if entry == EMPTY {
                let group = number(self.hashes.len());
                self.entries[place] = entry_of(hash, group);
                self.hashes.push(hash);
                return (group, true);
            }
            if tag(entry) == tag(hash) && is_equal(group_of(entry) as usize) {
                return (group_of(entry), false);
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = (self.entries.len() * 2).max(FIRST_SIZE);
        let old = std::mem::replace(&mut self.entries, vec![EMPTY; size]);
        for entry in old.into_iter().filter(|entry| *entry != EMPTY) {
            let hash = self.hashes[group_of(entry) as usize];
            self.put(hash, group_of(entry));
        }
    }

    /// Puts a group whose hash is noted into a table that has room.
    fn put(&mut self, hash: u64, group: u32) {
        let mask = self.entries.len() - 1;
        let mut place = low(hash) & mask;
        while self.entries[place] != EMPTY {
            place = (place + 1) & mask;
        }
        self.entries[place] = entry_of(hash, group);
    }

    /// A group that is found by other means than its hash: the one of nulls.
    pub(super) fn add_apart(&mut self, hash: u64) -> u32 {
        let group = number(self.hashes.len());
        self.hashes.push(hash);
        group
    }

    /// The one group of a table without keys.
    pub(super) fn single(&mut self, hash: u64) -> u32 {
        if self.hashes.is_empty() { self.add_apart(hash) } else { 0 }
    }

    /// Forgets all groups and keeps the memory.
    pub(super) fn clear(&mut self) {
        if !self.hashes.is_empty() {
            self.entries.fill(EMPTY);
            self.hashes.clear();
        }
    }

    /// Keeps these groups under new numbers; the old group `apart` is found by other means than its hash.
    pub(super) fn keep(&mut self, groups: &[u32], apart: Option<u32>) {
        let hashes = groups.iter().map(|&group| self.hashes[group as usize]).collect();
        let size = (groups.len() * 2).next_power_of_two().max(FIRST_SIZE);
        *self = Self { entries: vec![EMPTY; size], hashes };
        for (place, &group) in groups.iter().enumerate() {
            if Some(group) != apart {
                self.put(self.hashes[place], number(place));
            }
        }
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        (self.entries.capacity() + self.hashes.capacity()) * size_of::<u64>()
    }
}

/// The high half of an entry or a hash, by which entries are told apart.
fn tag(entry: u64) -> u64 {
    entry >> 32
}

#[expect(clippy::cast_possible_truncation, reason = "the number is in the low half, one too high")]
fn group_of(entry: u64) -> u32 {
    entry as u32 - 1
}

fn entry_of(hash: u64, group: u32) -> u64 {
    tag(hash) << 32 | (u64::from(group) + 1)
}

/// The low half of a hash, by which places are found: an instance has few values of the highest bits.
#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low(hash: u64) -> usize {
    hash as u32 as usize
}

/// The number of the next group. The caller keeps it below the largest, for which there is no entry.
pub(super) fn number(groups: usize) -> u32 {
    u32::try_from(groups).expect("the caller bounds the number of groups before rows are added")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Looks `rows` up in pieces, each ahead of adding, as `Index` is used; keys are numbers, hashed badly if `bits` are few.
    fn intern(index: &mut Index, keys: &mut Vec<u64>, rows: &[u64], bits: u32) -> Vec<u32> {
        let hash = |key: u64| (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - bits)) << (64 - bits) | key & 3;
        let (mut groups, mut ahead) = (Vec::new(), Vec::new());
        for piece in rows.chunks(7) {
            let hashes: Vec<u64> = piece.iter().map(|key| hash(*key)).collect();
            index.look_ahead(&hashes, &mut ahead);
            for ((&key, &hash), &ahead) in piece.iter().zip(&hashes).zip(&ahead) {
                let (group, is_new) = index.find_or_add(ahead, hash, |group| keys[group] == key);
                if is_new {
                    keys.push(key);
                }
                groups.push(group);
            }
        }
        groups
    }

    proptest! {
        #[test]
        fn equal_keys_have_one_group_however_badly_they_are_hashed(
            rows in prop::collection::vec(0..300_u64, 0..600),
            more in prop::collection::vec(0..300_u64, 0..100),
            bits in 1..40_u32,
        ) {
            let (mut index, mut keys) = (Index::default(), Vec::new());
            let groups = intern(&mut index, &mut keys, &rows, bits);
            for (key, group) in rows.iter().zip(&groups) {
                prop_assert_eq!(keys[*group as usize], *key);
            }
            let mut distinct = rows.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!((keys.len(), index.hashes().len()), (distinct.len(), distinct.len()));

            let kept: Vec<u32> = (0..number(keys.len())).rev().step_by(2).collect();
            index.keep(&kept, None);
            keys = kept.iter().map(|group| keys[*group as usize]).collect();
            let groups = intern(&mut index, &mut keys, &more, bits);
            for (key, group) in more.iter().zip(&groups) {
                prop_assert_eq!(keys[*group as usize], *key);
            }
            index.clear();
            prop_assert_eq!(intern(&mut index, &mut Vec::new(), &[5, 5, 6], bits), [0, 0, 1]);
        }
    }
}
