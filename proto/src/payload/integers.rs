//! Integers as planes of bytes: the lowest bytes of all values, then the next, and so on, so that
//! bytes of one kind are next to each other and upper ones that are always zero are left out.
//!
//! ```text
//! integers  how u8 · base · width u8 · width × stream (a byte per value, lowest first)
//!           0: value - base, base being the least
//!           1: zigzag of the distance from the value before, base before the first
//! ```
//! What the integers stand for is not known here.

use super::PayloadError;
use super::streams::{Reader, Writer, unzigzag, zigzag};

const FROM_BASE: u8 = 0;
const FROM_BEFORE: u8 = 1;

/// Writes integers whose number the reader will know.
pub(super) fn write(out: &mut Writer, values: &[i64]) -> Result<(), PayloadError> {
    let (least, most) = values.iter().fold((i64::MAX, i64::MIN), |(least, most), value| {
        (least.min(*value), most.max(*value))
    });
    let Some(&first) = values.first() else {
        return planes(out, FROM_BASE, 0, &[]);
    };
    if least == most {
        return planes(out, FROM_BASE, least, &[]);
    }
    let mut before = first;
    let mut coded: Vec<u64> = Vec::with_capacity(values.len());
    let (mut bits_from_base, mut bits_from_before) = (0_u64, 0_u64);
    for value in values {
        let distance = zigzag(value.wrapping_sub(before));
        before = *value;
        coded.push(distance);
        bits_from_before += bits(distance);
        bits_from_base += bits(value.wrapping_sub(least).cast_unsigned());
    }
    if bits_from_before < bits_from_base {
        return planes(out, FROM_BEFORE, first, &coded);
    }
    for (coded, value) in coded.iter_mut().zip(values) {
        *coded = value.wrapping_sub(least).cast_unsigned();
    }
    planes(out, FROM_BASE, least, &coded)
}

fn bits(value: u64) -> u64 {
    u64::from(u64::BITS - value.leading_zeros())
}

fn planes(out: &mut Writer, how: u8, base: i64, coded: &[u64]) -> Result<(), PayloadError> {
    let used = coded.iter().fold(0, |used, value| used | value);
    let width = bits(used).div_ceil(8).to_le_bytes()[0];
    out.byte(how);
    out.signed(base);
    out.byte(width);
    let mut plane = Vec::with_capacity(coded.len());
    for index in 0..width {
        plane.clear();
        plane.extend(coded.iter().map(|value| byte(value >> (8 * index))));
        out.stream(&plane)?;
    }
    Ok(())
}

fn byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Reads `count` integers, for which somebody was charged.
pub(super) fn read(from: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, PayloadError> {
    let how = from.byte()?;
    let base = from.signed()?;
    let width = from.byte()?;
    if width > 8 {
        return Err(PayloadError::Damaged("an integer of more than eight bytes"));
    }
    let mut values = vec![0_i64; count];
    for index in 0..width {
        let plane = from.stream(count)?;
        for (value, byte) in values.iter_mut().zip(plane.iter()) {
            *value |= (u64::from(*byte) << (8 * index)).cast_signed();
        }
    }
    match how {
        FROM_BASE => {
            for value in &mut values {
                *value = value.wrapping_add(base);
            }
        }
        FROM_BEFORE => {
            let mut before = base;
            for value in &mut values {
                before = before.wrapping_add(unzigzag(value.cast_unsigned()));
                *value = before;
            }
        }
        _ => return Err(PayloadError::Damaged("integers that are coded in an unknown way")),
    }
    Ok(values)
}

/// Reads `count` lengths; their sum is bounded by `sum_max`.
pub(super) fn read_lengths(from: &mut Reader<'_>, count: usize) -> Result<(Vec<usize>, usize), PayloadError> {
    let mut sum = 0_usize;
    let mut lengths = Vec::with_capacity(count);
    for value in read(from, count)? {
        let length = usize::try_from(value).map_err(|_| PayloadError::Damaged("a negative length"))?;
        sum = sum
            .checked_add(length)
            .ok_or(PayloadError::Damaged("a length beyond all memory"))?;
        lengths.push(length);
    }
    // Arrow counts with 32 bits.
    if i32::try_from(sum).is_err() {
        return Err(PayloadError::Damaged("more than 2 GiB in one column"));
    }
    Ok((lengths, sum))
}
