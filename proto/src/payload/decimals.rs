//! Doubles. Most measured values are decimal numbers of a few digits, whose binary form looks
//! random: where every value is one, they are written as integers.
//!
//! ```text
//! decimals  number: 0: integers that have the doubles' bits
//!           else d + 1: integers, to be divided by ten to the d
//! ```
//! Every double comes back with all its bits.

use super::PayloadError;
use super::integers;
use super::streams::{Reader, Writer};

/// Powers of ten, all of which are exact as doubles.
const POWERS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Integers up to here are exact as doubles.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Writes doubles whose number the reader will know.
pub(super) fn write(out: &mut Writer, values: &[f64]) -> Result<(), PayloadError> {
    match scaled(values) {
        Some((digits, integers)) => {
            out.number(digits + 1);
            integers::write(out, &integers)
        }
        None => {
            out.number(0);
            let bits: Vec<i64> = values.iter().map(|value| value.to_bits().cast_signed()).collect();
            integers::write(out, &bits)
        }
    }
}

/// The values as integers of the fewest decimal places, if they all are that.
fn scaled(values: &[f64]) -> Option<(usize, Vec<i64>)> {
    let mut places = 0;
    for value in values {
        while scale(*value, *POWERS.get(places)?).is_none() {
            places += 1;
        }
    }
    let power = *POWERS.get(places)?;
    let integers = values.iter().map(|value| scale(*value, power));
    Some((places, integers.collect::<Option<_>>()?))
}

fn scale(value: f64, power: f64) -> Option<i64> {
    let scaled = (value * power).round();
    if scaled.is_nan() || scaled.abs() >= EXACT_MAX {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is an integer within 2^53")]
    let integer = scaled as i64;
    (unscale(integer, power).to_bits() == value.to_bits()).then_some(integer)
}

#[expect(clippy::cast_precision_loss, reason = "what was written is within 2^53")]
fn unscale(integer: i64, power: f64) -> f64 {
    integer as f64 / power
}

/// Reads `count` doubles, for which somebody was charged.
pub(super) fn read(from: &mut Reader<'_>, count: usize) -> Result<Vec<f64>, PayloadError> {
    let how = from.number()?;
    let integers = integers::read(from, count)?.into_iter();
    if how == 0 {
        return Ok(integers
            .map(|bits| f64::from_bits(bits.cast_unsigned()))
            .collect());
    }
    let power = *POWERS
        .get(how - 1)
        .ok_or(PayloadError::Damaged("doubles of an unknown scale"))?;
    Ok(integers.map(|integer| unscale(integer, power)).collect())
}
