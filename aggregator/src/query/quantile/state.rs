//! A group's histogram as bytes, between the partial and the final aggregation of one query.
//! The bytes never leave the process, and no later release reads them.
//!
//! ```text
//!  zero count │ positive buckets │ negative buckets
//!  buckets = their number, then for each: index less the one before (zigzag), count
//! ```
//! All numbers are LEB128.

use meridian_proto::histogram::Buckets;

use super::groups::Group;

/// Appends the state of `group`.
pub(super) fn encode(group: &Group, bytes: &mut Vec<u8>) {
    match group.parts() {
        (few, None) => {
            number(0, bytes);
            pairs(few.len(), few.iter().map(|index| (*index, 1)), bytes);
            number(0, bytes);
        }
        (_, Some(many)) => {
            number(many.zero_count(), bytes);
            for buckets in [many.positive(), many.negative()] {
                pairs(buckets.iter().count(), buckets.iter(), bytes);
            }
        }
    }
}

fn pairs(count: usize, pairs: impl Iterator<Item = (i32, u64)>, bytes: &mut Vec<u8>) {
    number(count as u64, bytes);
    let mut before = 0;
    for (index, count) in pairs {
        let step = i64::from(index) - before;
        number(((step << 1) ^ (step >> 63)).cast_unsigned(), bytes);
        number(count, bytes);
        before = i64::from(index);
    }
}

fn number(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// Adds a state to `group`; `None` if the bytes are none.
pub(super) fn merge(bytes: &[u8], group: &mut Group) -> Option<()> {
    let mut rest = bytes;
    let zero_count = read(&mut rest)?;
    read_pairs(&mut rest, |index, count| group.add_positive(index, count))?;
    let mut negative = Buckets::default();
    read_pairs(&mut rest, |index, count| negative.add(index, count))?;
    if zero_count > 0 || negative.total() > 0 {
        group.add_below(zero_count, negative);
    }
    rest.is_empty().then_some(())
}

fn read_pairs(rest: &mut &[u8], mut add: impl FnMut(i32, u64)) -> Option<()> {
    let mut before: i64 = 0;
    for _ in 0..read(rest)? {
        let zigzag = read(rest)?;
        let step = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        before = before.checked_add(step)?;
        add(i32::try_from(before).ok()?, read(rest)?);
    }
    Some(())
}

fn read(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_cut_or_continued_is_refused() {
        let mut group = Group::default();
        for index in [5, -3, 700] {
            group.add_positive(index, 1);
        }
        group.add_below(2, Buckets::from_parts(-9, vec![1, 0, 300]));
        let mut bytes = Vec::new();
        encode(&group, &mut bytes);
        let mut copy = Group::default();
        assert!(merge(&bytes, &mut copy).is_some());
        assert_eq!(copy.parts().1, group.parts().1);
        for end in 0..bytes.len() {
            assert!(merge(&bytes[..end], &mut Group::default()).is_none(), "{end}");
        }
        bytes.push(0);
        assert!(merge(&bytes, &mut Group::default()).is_none());
    }
}
