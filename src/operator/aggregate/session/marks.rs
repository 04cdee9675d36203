//! Marks on numbers that are counted from 0: keys or slots.
//!
//! Owns: nothing else.

/// The numbers marked, in the order in which they were.
#[derive(Debug, Default)]
pub(super) struct Marks {
    bits: Vec<u64>,
    list: Vec<u32>,
}

impl Marks {
    #[inline]
    pub(super) fn mark(&mut self, number: u32) {
        let (word, bit) = place(number);
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.list.push(number);
        }
    }

    pub(super) fn is_marked(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn list(&self) -> &[u32] {
        &self.list
    }

    pub(super) fn clear(&mut self) {
        for number in self.list.drain(..) {
            self.bits[place(number).0] = 0;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bits.capacity() * size_of::<u64>() + self.list.capacity() * size_of::<u32>()
    }
}

fn place(number: u32) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}
