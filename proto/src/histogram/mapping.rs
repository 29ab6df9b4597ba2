//! From values to buckets and back. One function defines where every bucket ends, so that a
//! bucket of a coarse scale is exactly the union of those of a finer one. No counts are here.

/// The coarsest scale: one bucket per 2^1024.
pub const SCALE_MIN: i32 = -10;
/// The finest scale of OpenTelemetry.
pub const SCALE_MAX: i32 = 20;
/// Up to this scale a table finds the bucket; its size doubles with every scale.
const TABLE_SCALE_MAX: i32 = 8;

const MANTISSA_BITS: i32 = 52;
const MANTISSA_MASK: u64 = (1 << MANTISSA_BITS) - 1;
const EXPONENT_BIAS: i32 = 1023;

/// The largest relative error of a quantile at `scale`: (base−1)/(base+1).
pub fn relative_error(scale: i32) -> f64 {
    let base = (-f64::from(scale)).exp2().exp2();
    if base.is_infinite() {
        return 1.0;
    }
    (base - 1.0) / (base + 1.0)
}

/// Where bucket `index` begins, which is where the one before ends: base^index. What is
/// beyond the numbers is the greatest number.
pub fn lower_bound(index: i32, scale: i32) -> f64 {
    if scale <= 0 {
        let exponent = i64::from(index) << (-scale).min(31);
        return power_of_two(exponent);
    }
    let scale = scale.min(SCALE_MAX);
    let step = index & ((1 << scale) - 1);
    power_of_two(i64::from(index >> scale)) * within(step, scale)
}

fn power_of_two(exponent: i64) -> f64 {
    let exponent = i32::try_from(exponent.clamp(-1_100, 1_100)).unwrap_or(0);
    f64::from(exponent).exp2().min(f64::MAX)
}

/// The end of a bucket within [1, 2): 2^(step/2^scale).
fn within(step: i32, scale: i32) -> f64 {
    (f64::from(step) / f64::from(1 << scale)).exp2()
}

/// Finds the bucket of a value at one scale.
#[derive(Debug, Clone)]
pub struct Mapping {
    scale: i32,
    /// Per cell of the mantissa, how many bounds lie below the cell; empty if there is no table.
    cells: Vec<u16>,
    /// The bounds within [1, 2), as mantissas, and one that nothing exceeds.
    bounds: Vec<u64>,
}

impl Mapping {
    /// The mapping of `scale`, which is brought into the range that exists.
    pub fn new(scale: i32) -> Self {
        let scale = scale.clamp(SCALE_MIN, SCALE_MAX);
        if !(1..=TABLE_SCALE_MAX).contains(&scale) {
            return Self {
                scale,
                cells: Vec::new(),
                bounds: Vec::new(),
            };
        }
        let mut bounds: Vec<u64> = (0..1 << scale)
            .map(|step| within(step, scale).to_bits() & MANTISSA_MASK)
            .collect();
        bounds.push(u64::MAX);
        // Half as wide as a bucket is at its narrowest: at most one bound in a cell.
        let cell_bits = MANTISSA_BITS - (scale + 1);
        let cells = (0..1_u64 << (scale + 1))
            .map(|cell| bounds.partition_point(|bound| *bound < cell << cell_bits))
            .map(|below| u16::try_from(below).unwrap_or(u16::MAX))
            .collect();
        Self { scale, cells, bounds }
    }

    /// The scale.
    pub fn scale(&self) -> i32 {
        self.scale
    }

    /// The bucket of `value`, which is finite and greater than zero.
    #[inline]
    pub fn index_of(&self, value: f64) -> i32 {
        let bits = value.to_bits();
        let (exponent, mantissa) = match bits >> MANTISSA_BITS {
            0 => {
                // Subnormal: the same number with an exponent.
                let scaled = (value * power_of_two(i64::from(MANTISSA_BITS))).to_bits();
                (exponent_of(scaled) - MANTISSA_BITS, scaled & MANTISSA_MASK)
            }
            _ => (exponent_of(bits), bits & MANTISSA_MASK),
        };
        if self.scale <= 0 {
            return (exponent - i32::from(mantissa == 0)) >> -self.scale;
        }
        (exponent << self.scale) + self.bounds_below(mantissa) - 1
    }

    /// How many bounds within [1, 2) are less than the number with this mantissa.
    #[inline]
    fn bounds_below(&self, mantissa: u64) -> i32 {
        let cell = usize::try_from(mantissa >> (MANTISSA_BITS - (self.scale + 1))).unwrap_or(usize::MAX);
        let Some(&below) = self.cells.get(cell) else {
            return bounds_below_by_logarithm(mantissa, self.scale);
        };
        let next = self.bounds.get(usize::from(below)).copied().unwrap_or(u64::MAX);
        i32::from(below) + i32::from(next < mantissa)
    }
}

#[inline]
fn exponent_of(bits: u64) -> i32 {
    ((bits >> MANTISSA_BITS) & 0x7ff) as i32 - EXPONENT_BIAS
}

/// The same by a logarithm, corrected where it rounds past a bound.
fn bounds_below_by_logarithm(mantissa: u64, scale: i32) -> i32 {
    let value = f64::from_bits(mantissa | (0x3ff << MANTISSA_BITS));
    let steps = value.log2() * f64::from(1 << scale);
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 2^20")]
    let mut below = steps.ceil() as i32;
    while below > 0 && within(below - 1, scale) >= value {
        below -= 1;
    }
    while within(below, scale) < value {
        below += 1;
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_errors_of_the_scales_are_those_of_the_design() {
        for (scale, percent) in [(3, 4.33), (4, 2.17), (5, 1.08)] {
            let error = relative_error(scale) * 100.0;
            assert!((error - percent).abs() < 0.005, "scale {scale}: {error} %");
        }
        assert!((relative_error(SCALE_MIN) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_power_of_the_base_is_the_upper_end_of_its_bucket() {
        for scale in [-10, -3, 0, 1, 6, 8, 9, 20] {
            let mapping = Mapping::new(scale);
            for exponent in [-1022, -3, 0, 1, 10, 1023] {
                let power = f64::from(exponent).exp2();
                let index = mapping.index_of(power);
                assert!(lower_bound(index, scale) < power, "2^{exponent} at {scale}");
                let end = lower_bound(index + 1, scale);
                assert!(end >= power, "2^{exponent} at {scale}: {end}");
                if scale >= 0 {
                    assert!(
                        (end - power).abs() <= power * f64::EPSILON,
                        "2^{exponent} at {scale}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_smallest_and_the_greatest_numbers_have_buckets() {
        for scale in SCALE_MIN..=SCALE_MAX {
            let mapping = Mapping::new(scale);
            let least = mapping.index_of(f64::from_bits(1));
            let greatest = mapping.index_of(f64::MAX);
            assert!(least < greatest, "{scale}");
        }
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_no_other(value in 1e-300_f64..1e300, scale in -10..=20_i32) {
            let index = Mapping::new(scale).index_of(value);
            prop_assert!(lower_bound(index, scale) < value);
            prop_assert!(value <= lower_bound(index + 1, scale));
        }

        #[test]
        fn a_coarse_bucket_is_the_union_of_finer_ones(value in 1e-12_f64..1e18, fine in 1..=20_i32, by in 1..=10_i32) {
            let coarse = fine - by;
            let index = Mapping::new(fine).index_of(value);
            prop_assert_eq!(index >> by, Mapping::new(coarse).index_of(value));
        }

        #[test]
        fn the_table_says_what_the_logarithm_says(mantissa in 0..=MANTISSA_MASK, scale in 1..=TABLE_SCALE_MAX) {
            prop_assert_eq!(
                Mapping::new(scale).bounds_below(mantissa),
                bounds_below_by_logarithm(mantissa, scale)
            );
        }
    }
}
