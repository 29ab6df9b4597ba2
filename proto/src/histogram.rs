//! Exponential histograms, by which percentiles are merged across regions: recording,
//! merging, and quantiles with their bounds. How they are stored or sent is not known here.
//!
//! The model is OpenTelemetry's: at scale s the base is 2^(2^-s), and bucket i covers
//! (base^i, base^(i+1)], the upper end included. A histogram at a fixed scale knows every
//! quantile up to a relative error of (base−1)/(base+1), whoever merged it and in whatever
//! order; there is no sampling and no state that depends on the order of the values.

mod buckets;
mod mapping;

pub use buckets::Buckets;
pub use mapping::{Mapping, SCALE_MAX, SCALE_MIN, lower_bound, relative_error};

/// A quantile as far as a histogram knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value in between whose relative error to both bounds is the same.
    pub value: f64,
    /// The quantile is greater than this, or equal to it below zero.
    pub low: f64,
    /// The quantile is not greater than this, or less than it below zero.
    pub high: f64,
}

impl Estimate {
    /// Of a positive value between `low` and `high`: 2·low·high/(low+high), without overflow.
    fn between(low: f64, high: f64) -> Self {
        let value = 2.0 * low * (high / (low + high));
        Self { value, low, high }
    }

    fn negated(self) -> Self {
        Self {
            value: -self.value,
            low: -self.high,
            high: -self.low,
        }
    }
}

/// How many values do not exceed a threshold, as far as a histogram knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtMost {
    /// So many certainly do not.
    pub certain: u64,
    /// So many possibly do not.
    pub possible: u64,
    /// A number in between: values are taken to be spread evenly over the logarithms of a bucket.
    pub likely: f64,
}

impl AtMost {
    const NONE: Self = Self {
        certain: 0,
        possible: 0,
        likely: 0.0,
    };

    /// With `count` more values, of which this share, between 0 and 1, is likely below.
    fn with(self, count: u64, share: f64) -> Self {
        let (is_all, is_none) = (share >= 1.0, share <= 0.0);
        Self {
            certain: self.certain.saturating_add(if is_all { count } else { 0 }),
            possible: self.possible.saturating_add(if is_none { 0 } else { count }),
            likely: self.likely + share.clamp(0.0, 1.0) * count as f64,
        }
    }
}

/// Counts of values by bucket: positive and negative ones, and those that count as zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Exponential {
    scale: i32,
    zero_count: u64,
    zero_threshold: f64,
    positive: Buckets,
    negative: Buckets,
}

impl Exponential {
    /// A histogram without values at `scale`, which is brought into the range that exists.
    pub fn new(scale: i32) -> Self {
        Self {
            scale: scale.clamp(SCALE_MIN, SCALE_MAX),
            zero_count: 0,
            zero_threshold: 0.0,
            positive: Buckets::default(),
            negative: Buckets::default(),
        }
    }

    /// A histogram of counts that somebody else made.
    pub fn from_parts(
        scale: i32,
        zero_count: u64,
        zero_threshold: f64,
        positive: Buckets,
        negative: Buckets,
    ) -> Self {
        Self {
            zero_count,
            zero_threshold: zero_threshold.abs(),
            positive,
            negative,
            ..Self::new(scale)
        }
    }

    /// The scale.
    pub fn scale(&self) -> i32 {
        self.scale
    }

    /// How many values are not further from zero than the threshold.
    pub fn zero_count(&self) -> u64 {
        self.zero_count
    }

    /// Up to which distance from zero values are not told apart.
    pub fn zero_threshold(&self) -> f64 {
        self.zero_threshold
    }

    /// The values above zero.
    pub fn positive(&self) -> &Buckets {
        &self.positive
    }

    /// The values below zero, by their distance from it.
    pub fn negative(&self) -> &Buckets {
        &self.negative
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.zero_count
            .saturating_add(self.positive.total())
            .saturating_add(self.negative.total())
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.positive.heap_bytes() + self.negative.heap_bytes()
    }

    /// Adds a value by a mapping of this histogram's scale. What is not finite has no bucket
    /// and is left out; returns whether the value was taken.
    pub fn record(&mut self, value: f64, mapping: &Mapping) -> bool {
        debug_assert_eq!(mapping.scale(), self.scale);
        if !value.is_finite() {
            return false;
        }
        if value.abs() <= self.zero_threshold {
            self.zero_count += 1;
        } else if value > 0.0 {
            self.positive.add(mapping.index_of(value), 1);
        } else {
            self.negative.add(mapping.index_of(-value), 1);
        }
        true
    }

    /// Adds values that are known by their bucket above zero.
    pub fn record_positive(&mut self, index: i32, count: u64) {
        self.positive.add(index, count);
    }

    /// Makes the buckets wider: every two become one, as often as `scale` is below the present.
    pub fn downscale(&mut self, scale: i32) {
        let by = self.scale.saturating_sub(scale.max(SCALE_MIN));
        if by > 0 {
            self.positive.downscale(by);
            self.negative.downscale(by);
            self.scale -= by;
        }
    }

    /// Adds another histogram: at the smaller scale and the larger zero threshold of both.
    pub fn merge(&mut self, other: &Self) {
        self.downscale(other.scale);
        let by = other.scale - self.scale;
        self.positive.merge(&other.positive, by);
        self.negative.merge(&other.negative, by);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        let threshold = self.zero_threshold.max(other.zero_threshold);
        if threshold > 0.0 {
            self.widen_zero(threshold);
        }
    }

    /// Counts everything up to `threshold` as zero. A bucket that the threshold cuts in two
    /// goes to zero as a whole, and raises the threshold to its end.
    fn widen_zero(&mut self, threshold: f64) {
        let bucket = Mapping::new(self.scale).index_of(threshold);
        let mut swallowed = 0;
        let mut raised = threshold;
        for buckets in [&mut self.positive, &mut self.negative] {
            if buckets.count_at(bucket) > 0 {
                raised = lower_bound(bucket.saturating_add(1), self.scale);
            }
            swallowed += buckets.take_up_to(bucket);
        }
        self.zero_count = self.zero_count.saturating_add(swallowed);
        self.zero_threshold = raised;
    }

    /// The least recorded value that at least a share `q` of all values do not exceed, as
    /// far as it is known; `None` without values, or if `q` is not between 0 and 1.
    pub fn quantile(&self, q: f64) -> Option<Estimate> {
        let count = self.count();
        if count == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let mut rank = rank_of(q, count);
        for (index, count) in self.negative.iter().rev() {
            match rank.checked_sub(count) {
                None | Some(0) => return Some(self.bucket(index).negated()),
                Some(left) => rank = left,
            }
        }
        if rank <= self.zero_count {
            let threshold = self.zero_threshold;
            return Some(Estimate {
                value: 0.0,
                low: -threshold,
                high: threshold,
            });
        }
        rank -= self.zero_count;
        for (index, count) in self.positive.iter() {
            match rank.checked_sub(count) {
                None | Some(0) => return Some(self.bucket(index)),
                Some(left) => rank = left,
            }
        }
        None
    }

    /// How many values do not exceed `threshold`; `None` if that is no number. It is exact where a
    /// bucket ends at the threshold.
    pub fn at_most(&self, threshold: f64) -> Option<AtMost> {
        if threshold.is_nan() {
            return None;
        }
        let mut sum = AtMost::NONE;
        for (index, count) in self.negative.iter() {
            // Of distances: those that reach the threshold's are not above it. The bucket's upper
            // end belongs to it, its lower one does not.
            let (near, far) = self.ends(index);
            let share = match -threshold {
                least if least <= near => 1.0,
                least if least > far => 0.0,
                least => (far / least).ln() / (far / near).ln(),
            };
            sum = sum.with(
                count,
                share.max(if -threshold > far { 0.0 } else { f64::MIN_POSITIVE }),
            );
        }
        let zero = self.zero_threshold;
        let share = match threshold {
            above if above >= zero => 1.0,
            below if below < -zero => 0.0,
            within => ((within + zero) / (2.0 * zero)).max(f64::MIN_POSITIVE),
        };
        sum = sum.with(self.zero_count, share);
        for (index, count) in self.positive.iter() {
            let (low, high) = self.ends(index);
            let share = match threshold {
                most if most >= high => 1.0,
                most if most <= low => 0.0,
                most => (most / low).ln() / (high / low).ln(),
            };
            sum = sum.with(count, share);
        }
        Some(sum)
    }

    /// Makes the buckets wider until there are at most `buckets_max` from the first to the last one
    /// with values, on each side of zero. What limits the size of a histogram that is sent.
    pub fn narrow_to(&mut self, buckets_max: u32) {
        let is_wide = |buckets: &Buckets, by: i32| buckets.width_after(by) > u64::from(buckets_max.max(1));
        let steps = 0..self.scale.saturating_sub(SCALE_MIN);
        let by = steps
            .clone()
            .find(|by| !is_wide(&self.positive, *by) && !is_wide(&self.negative, *by));
        self.downscale(self.scale - by.unwrap_or(steps.end));
    }

    fn ends(&self, index: i32) -> (f64, f64) {
        let next = index.saturating_add(1);
        (lower_bound(index, self.scale), lower_bound(next, self.scale))
    }

    fn bucket(&self, index: i32) -> Estimate {
        let (low, high) = self.ends(index);
        Estimate::between(low, high)
    }
}

/// The rank of the quantile among `count` values, counted from 1: ⌈q·count⌉.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "q is between 0 and 1; a count beyond 2^53 loses a rank that no bucket resolves"
)]
fn rank_of(q: f64, count: u64) -> u64 {
    // 0.99 × 100 is 99.00000000000001 where floats are multiplied: a hair is taken off.
    let rank = (q * count as f64 * (1.0 - f64::EPSILON)).ceil() as u64;
    rank.clamp(1, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: impl IntoIterator<Item = f64>, scale: i32) -> Exponential {
        let mapping = Mapping::new(scale);
        let mut histogram = Exponential::new(scale);
        for value in values {
            assert!(histogram.record(value, &mapping));
        }
        histogram
    }

    fn repeat(value: f64, times: usize) -> impl Iterator<Item = f64> {
        std::iter::repeat_n(value, times)
    }

    #[test]
    fn the_global_percentile_is_not_the_mean_of_the_regions() {
        let mut global = of(repeat(100.0, 950), 5);
        let slow = of(repeat(5_000.0, 50), 5);
        global.merge(&slow);
        let p99 = global.quantile(0.99).expect("values");
        assert!(p99.low < 5_000.0 && 5_000.0 <= p99.high, "{p99:?}");
        let means = 0.95 * 100.0 + 0.05 * 5_000.0;
        assert!((means - 345.0_f64).abs() < 1e-9);
        let p95 = global.quantile(0.95).expect("values");
        assert!(p95.low < 100.0 && 100.0 <= p95.high, "{p95:?}");
    }

    #[test]
    fn there_is_no_quantile_of_nothing_and_none_outside_of_zero_to_one() {
        assert_eq!(Exponential::new(5).quantile(0.5), None);
        let one = of([1.0], 5);
        for q in [-0.1, 1.1, f64::NAN] {
            assert_eq!(one.quantile(q), None, "{q}");
        }
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let mapping = Mapping::new(5);
        let mut histogram = Exponential::new(5);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!histogram.record(value, &mapping));
        }
        assert_eq!(histogram.count(), 0);
    }

    #[test]
    fn values_below_zero_and_zero_come_before_those_above() {
        let histogram = of([-8.0, -2.0, 0.0, 3.0], 5);
        let at = |q| histogram.quantile(q).expect("values");
        assert!(at(0.25).low <= -8.0 && -8.0 <= at(0.25).high, "{:?}", at(0.25));
        assert!(at(0.5).low <= -2.0 && -2.0 <= at(0.5).high, "{:?}", at(0.5));
        assert_eq!(at(0.75).value.to_bits(), 0.0_f64.to_bits());
        assert!(at(1.0).low < 3.0 && 3.0 <= at(1.0).high, "{:?}", at(1.0));
    }

    #[test]
    fn the_larger_zero_threshold_swallows_what_is_nearer_to_zero() {
        let mut histogram = of([0.5, 3.0, -0.25], 0);
        let wide = Exponential::from_parts(0, 7, 0.75, Buckets::default(), Buckets::default());
        histogram.merge(&wide);
        assert_eq!(histogram.zero_count(), 9);
        assert_eq!(histogram.count(), 10);
        // 0.5 was in (0.25, 0.5], -0.25 in the bucket before: neither reaches 0.75.
        assert!((histogram.zero_threshold() - 0.75).abs() < f64::EPSILON);
        let mut cut = of([0.9], 0);
        cut.merge(&wide);
        // 0.9 is in (0.5, 1], which 0.75 cuts.
        assert!((cut.zero_threshold() - 1.0).abs() < f64::EPSILON);
        assert_eq!((cut.zero_count(), cut.count()), (8, 8));
    }

    #[test]
    fn a_merge_takes_the_smaller_scale() {
        let mut fine = of([10.0, 20.0], 6);
        fine.merge(&of([40.0], 2));
        assert_eq!((fine.scale(), fine.count()), (2, 3));
        let mut coarse = of([40.0], 2);
        coarse.merge(&of([10.0, 20.0], 6));
        assert_eq!(coarse, fine);
        assert_eq!(fine, of([10.0, 20.0, 40.0], 2));
    }

    #[test]
    fn a_threshold_at_the_end_of_a_bucket_is_exact() {
        let histogram = of([1.0, 2.0, 2.5, 4.0, 5.0], 0);
        let exact = |certain: u64| AtMost {
            certain,
            possible: certain,
            likely: certain as f64,
        };
        assert_eq!(histogram.at_most(2.0), Some(exact(2)));
        assert_eq!(histogram.at_most(4.0), Some(exact(4)));
        assert_eq!(histogram.at_most(f64::INFINITY), Some(exact(5)));
        assert_eq!(histogram.at_most(f64::NEG_INFINITY), Some(exact(0)));
        assert_eq!(histogram.at_most(f64::NAN), None);
        let within = histogram.at_most(3.0).expect("a number");
        assert_eq!((within.certain, within.possible), (2, 4));
        assert!(within.likely > 3.0 && within.likely < 3.3, "{within:?}");
    }

    #[test]
    fn zeros_are_at_most_zero_and_uncertain_within_their_threshold() {
        let zeros = Exponential::from_parts(3, 4, 0.5, Buckets::default(), Buckets::default());
        let at = |threshold| zeros.at_most(threshold).expect("a number");
        assert_eq!((at(0.5).certain, at(-0.6).possible), (4, 0));
        assert_eq!((at(0.0).certain, at(0.0).possible), (0, 4));
        assert_eq!(of([0.0], 3).at_most(0.0).expect("a number").certain, 1);
    }

    #[test]
    fn a_histogram_is_narrowed_no_further_than_needed() {
        let values = (0..60).map(|power| 1.5_f64.powi(power));
        let mut histogram = of(values, 8);
        histogram.narrow_to(160);
        assert_eq!(histogram.scale(), 2);
        assert!(histogram.positive().width_after(0) <= 160);
        histogram.narrow_to(160);
        assert_eq!((histogram.scale(), histogram.count()), (2, 60));
        let mut widest = of([f64::MIN_POSITIVE, f64::MAX], 8);
        widest.narrow_to(1);
        assert!(widest.scale() >= SCALE_MIN, "it ends");
    }

    fn nearest_rank(sorted: &[f64], q: f64) -> f64 {
        let rank = usize::try_from(rank_of(q, sorted.len() as u64)).expect("small");
        sorted[rank - 1]
    }

    proptest! {
        #[test]
        fn a_quantile_lies_within_its_bounds_and_they_are_as_close_as_promised(
            values in prop::collection::vec(1e-3_f64..1e12, 1..300),
            q in 0.0_f64..=1.0,
            scale in 0..=8_i32,
        ) {
            let estimate = of(values.iter().copied(), scale).quantile(q).expect("values");
            let mut sorted = values;
            sorted.sort_unstable_by(f64::total_cmp);
            let truth = nearest_rank(&sorted, q);
            prop_assert!(estimate.low < truth && truth <= estimate.high, "{estimate:?} {truth}");
            let error = (estimate.value - truth).abs() / truth;
            prop_assert!(error <= relative_error(scale) * 1.000_001, "{error} at scale {scale}");
        }

        #[test]
        fn the_number_below_a_threshold_lies_within_its_bounds(
            values in prop::collection::vec(-1e6_f64..1e9, 1..300),
            threshold in prop_oneof![-2e6_f64..2e9, Just(0.0), Just(1024.0)],
            scale in 0..=8_i32,
        ) {
            let truth = values.iter().filter(|value| **value <= threshold).count() as u64;
            let at_most = of(values.iter().copied(), scale).at_most(threshold).expect("a number");
            prop_assert!(at_most.certain <= truth && truth <= at_most.possible, "{at_most:?} {truth}");
            let (least, most) = (at_most.certain as f64, at_most.possible as f64);
            prop_assert!((least - 1e-6..=most + 1e-6).contains(&at_most.likely), "{at_most:?}");
        }

        #[test]
        fn narrowing_before_a_merge_or_after_it_is_the_same(
            values in prop::collection::vec(1e-3_f64..1e9, 2..200),
            buckets_max in 4..40_u32,
        ) {
            let (left, right) = values.split_at(values.len() / 2);
            let mut early = of(left.iter().copied(), 8);
            early.narrow_to(buckets_max);
            early.merge(&of(right.iter().copied(), 8));
            early.narrow_to(buckets_max);
            let mut late = of(values.iter().copied(), 8);
            late.narrow_to(buckets_max);
            prop_assert_eq!(early, late);
        }

        #[test]
        fn merging_parts_in_any_order_is_recording_the_whole(
            values in prop::collection::vec(-1e9_f64..1e9, 1..200),
            cut in 0_usize..200,
            scales in (0..=7_i32, 0..=7_i32),
        ) {
            let cut = cut.min(values.len());
            let (left, right) = values.split_at(cut);
            let left = of(left.iter().copied(), scales.0);
            let right = of(right.iter().copied(), scales.1);
            let whole = of(values.iter().copied(), scales.0.min(scales.1));
            let mut one = left.clone();
            one.merge(&right);
            let mut other = right;
            other.merge(&left);
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(one, whole);
        }
    }
}
