//! Finds values that repeat, quickly and within limits: a table that is probed a few times, and
//! takes a value for a new one where that would not do. It never takes two values for one.

/// A value that repeats less than this makes a column of distinct values.
const DISTINCT_ALWAYS: usize = 256;
const DISTINCT_SHARE: usize = 4;
/// Who makes up values so that they collide only makes them repeat on the wire.
const PROBES_MAX: usize = 16;
const EMPTY: u32 = u32::MAX;

/// A table of positions by hash.
pub(super) struct Positions {
    slots: Vec<u32>,
    shift: u32,
}

impl Positions {
    /// A table for so many values.
    pub fn new(values: usize) -> Self {
        let slots = (values * 2).next_power_of_two().max(16);
        Self {
            slots: vec![EMPTY; slots],
            shift: u64::BITS - slots.trailing_zeros(),
        }
    }

    /// The position that was set for this hash and `is_same` accepts; `position` takes its place,
    /// or is added.
    pub fn replace(&mut self, hash: u64, position: u32, is_same: impl FnMut(u32) -> bool) -> Option<u32> {
        let (slot, found) = self.find(hash, is_same);
        if let Some(slot) = slot.and_then(|slot| self.slots.get_mut(slot)) {
            *slot = position;
        }
        found
    }

    /// The slot of a hash, and what is in it. No slot: there was no free one near.
    pub fn find(&self, hash: u64, mut is_same: impl FnMut(u32) -> bool) -> (Option<usize>, Option<u32>) {
        let start = usize::try_from(hash.wrapping_mul(SPREAD) >> self.shift).unwrap_or(0);
        for probe in 0..PROBES_MAX {
            let slot = (start + probe) & (self.slots.len() - 1);
            let held = match self.slots.get(slot) {
                Some(&EMPTY) => return (Some(slot), None),
                Some(&held) => held,
                None => break,
            };
            if is_same(held) {
                return (Some(slot), Some(held));
            }
        }
        (None, None)
    }

    /// Fills a slot that [`Positions::find`] has found to be free.
    pub fn fill(&mut self, slot: Option<usize>, position: u32) {
        if let Some(slot) = slot.and_then(|slot| self.slots.get_mut(slot)) {
            *slot = position;
        }
    }
}

/// 2^64 divided by the golden ratio, as Knuth has it for multiplicative hashing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash that is good enough for [`Positions`].
#[inline]
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD);
    }
    let mut last = 0;
    for byte in rest {
        last = last << 8 | u64::from(*byte);
    }
    hash = (hash.rotate_left(23) ^ last).wrapping_mul(SPREAD);
    hash ^ (hash >> 32)
}

/// The distinct values and which of them each value is, if they repeat enough.
pub(super) fn distinct<'v>(values: &[&'v [u8]]) -> Option<(Vec<&'v [u8]>, Vec<i64>)> {
    let mut positions = Positions::new(DISTINCT_ALWAYS + values.len() / DISTINCT_SHARE);
    let mut distinct: Vec<&[u8]> = Vec::new();
    let mut which: Vec<i64> = Vec::with_capacity(values.len());
    let mut last: Option<(&[u8], i64)> = None;
    for value in values {
        if let Some((text, index)) = last
            && text == *value
        {
            which.push(index);
            continue;
        }
        let is_same = |index: u32| distinct.get(index as usize).is_some_and(|known| known == value);
        let (slot, found) = positions.find(hash(value), is_same);
        let index = match found {
            Some(index) => index,
            None => {
                if distinct.len() >= DISTINCT_ALWAYS + which.len() / DISTINCT_SHARE {
                    return None;
                }
                let index = u32::try_from(distinct.len()).ok()?;
                positions.fill(slot, index);
                distinct.push(value);
                index
            }
        };
        last = Some((value, i64::from(index)));
        which.push(i64::from(index));
    }
    (distinct.len() <= values.len() / 2).then_some((distinct, which))
}
