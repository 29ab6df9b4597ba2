//! The values that stand for a histogram's buckets. CloudWatch takes values and how often each
//! occurred, and makes percentiles of them; of a histogram it knows nothing.
//!
//! Each bucket is one value, inside of it, so that a percentile is off by no more than a bucket is
//! wide. Where in it follows from the histogram's sum: every bucket's value lies at the same share
//! of its width, and the share is the one that makes the values' sum the histogram's. So the
//! statistics Sum and Average are right, and not only near.
//!
//! - A minimum or maximum narrows the buckets first.
//! - The bucket below the first bound begins at 0, if the bound is above it: durations and sizes
//!   are not negative. The bucket above the last bound has no width; if there is no maximum, and
//!   more in the sum than half of the others' widths explain, its value is moved up by the rest.
//! - Without a sum the values are in the middle.

use super::histogram::{Bucket, Histogram};

/// A bucket with an end where it had none.
struct Range {
    low: f64,
    high: f64,
    count: f64,
    has_no_low: bool,
    has_no_high: bool,
}

/// A value for each bucket that is not empty, ascending, and how often it occurred; `None` if
/// nothing is known of the values but their number.
pub fn representatives(histogram: &Histogram) -> Option<Vec<(f64, u64)>> {
    let buckets = histogram.buckets();
    let ranges: Vec<Range> = buckets.iter().map(|bucket| range(bucket, histogram)).collect();
    let mut values = match histogram.sum {
        None if ranges.iter().any(|range| range.has_no_low && range.has_no_high) => return None,
        None => at_share(&ranges, 0.5),
        Some(sum) => at_sum(&ranges, sum),
    };
    if values.iter().any(|value| !value.is_finite()) {
        values = at_share(&ranges, 0.5);
    }
    let counts = buckets.iter().map(|bucket| bucket.count);
    Some(values.into_iter().zip(counts).collect())
}

fn range(bucket: &Bucket, histogram: &Histogram) -> Range {
    let (mut low, mut high) = (bucket.low, bucket.high);
    let narrow_low = histogram.min.map_or(low, |min| low.max(min));
    let narrow_high = histogram.max.map_or(high, |max| high.min(max));
    // A minimum that contradicts the buckets is not true.
    if narrow_low <= narrow_high {
        (low, high) = (narrow_low, narrow_high);
    }
    let (has_no_low, has_no_high) = (low.is_infinite(), high.is_infinite());
    match (has_no_low, has_no_high) {
        (true, true) => (low, high) = (0.0, 0.0),
        (true, false) => low = high.min(0.0),
        (false, true) => high = low,
        (false, false) => {}
    }
    Range {
        low,
        high,
        count: bucket.count as f64,
        has_no_low,
        has_no_high,
    }
}

fn at_share(ranges: &[Range], share: f64) -> Vec<f64> {
    let value = |range: &Range| share.mul_add(range.high - range.low, range.low);
    ranges.iter().map(value).collect()
}

fn at_sum(ranges: &[Range], sum: f64) -> Vec<f64> {
    let sum_of = |values: &[f64]| -> f64 {
        let counted = values.iter().zip(ranges);
        counted.map(|(value, range)| value * range.count).sum()
    };
    let floor: f64 = ranges.iter().map(|range| range.low * range.count).sum();
    let width: f64 = ranges
        .iter()
        .map(|range| (range.high - range.low) * range.count)
        .sum();
    let mut share = 0.5;
    let is_open_above = ranges.last().is_some_and(|range| range.has_no_high);
    if !(is_open_above && sum >= floor + share * width) && width > 0.0 {
        share = ((sum - floor) / width).clamp(0.0, 1.0);
    }
    let mut values = at_share(ranges, share);
    let rest = sum - sum_of(&values);
    // Only a bucket without an end can hold what is beyond all ends.
    let open = if rest > 0.0 {
        values
            .last_mut()
            .zip(ranges.last().filter(|range| range.has_no_high))
    } else {
        values
            .first_mut()
            .zip(ranges.first().filter(|range| range.has_no_low))
    };
    if let Some((value, range)) = open {
        *value += rest / range.count;
    }
    values
}
