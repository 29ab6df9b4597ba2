//! Gives equal values one number. The values themselves are kept by who asks.
//!
//! Clients choose the values, so the hash has a seed that they do not know.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

const EMPTY: u32 = u32::MAX;
const SLOTS_MIN: usize = 16;

static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// An open table of the values' hashes.
#[derive(Default)]
pub struct Interner {
    hashes: Vec<u64>,
    slots: Vec<u32>,
}

impl Interner {
    /// The number of a value, and whether it is new; `is_same` says whether that of a number
    /// is equal to it.
    pub fn intern(&mut self, value: &[u8], is_same: impl Fn(usize) -> bool) -> (usize, bool) {
        if self.slots.len() < (self.hashes.len() + 1) * 2 {
            self.grow();
        }
        let hash = xxh3_64_with_seed(value, *SEED);
        let mut slot = self.place(hash);
        while let Some(index) = self.held(slot) {
            if self.hashes.get(index) == Some(&hash) && is_same(index) {
                return (index, false);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        let index = self.hashes.len();
        self.set(slot, index);
        self.hashes.push(hash);
        (index, true)
    }

    fn held(&self, slot: usize) -> Option<usize> {
        match self.slots.get(slot) {
            None | Some(&EMPTY) => None,
            Some(&index) => usize::try_from(index).ok(),
        }
    }

    fn set(&mut self, slot: usize, index: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            // Fewer values than rows, which are far below 2^32.
            *place = u32::try_from(index).unwrap_or(EMPTY);
        }
    }

    fn place(&self, hash: u64) -> usize {
        usize::try_from(hash & (self.slots.len() as u64 - 1)).unwrap_or(0)
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(SLOTS_MIN);
        self.slots = vec![EMPTY; slots];
        let hashes = std::mem::take(&mut self.hashes);
        for (index, hash) in hashes.iter().enumerate() {
            let mut slot = self.place(*hash);
            while self.held(slot).is_some() {
                slot = (slot + 1) & (slots - 1);
            }
            self.set(slot, index);
        }
        self.hashes = hashes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_one_number_and_others_the_next() {
        let mut interner = Interner::default();
        let mut values: Vec<Vec<u8>> = Vec::new();
        for number in (0..500_u32).chain(0..500) {
            let value = number.to_le_bytes();
            let (index, is_new) = interner.intern(&value, |index| values[index] == value);
            assert_eq!(is_new, index == values.len());
            assert_eq!(u32::try_from(index).expect("small"), number);
            if is_new {
                values.push(value.to_vec());
            }
        }
        assert_eq!(values.len(), 500);
    }
}
