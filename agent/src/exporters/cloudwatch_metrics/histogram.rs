//! Histograms of every kind that OTLP has: what was added between two of one stream, what two
//! hold together, and their buckets. Which values stand for a bucket is [`super::values`]'
//! business.
//!
//! What is here is also what is kept for the next start, so it has the form of protobuf messages.

use std::collections::BTreeMap;

use crate::otlp::view::metrics::{Buckets, DataPoint, MetricKind};

/// What the scale of an exponential histogram may be: beyond, its bounds are no doubles.
const SCALES: std::ops::RangeInclusive<i32> = -11..=20;

/// A histogram with bounds, an exponential one, or a count and a sum without buckets, as a summary.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    /// How many values it is of.
    #[prost(uint64, tag = "1")]
    pub count: u64,
    /// Their sum.
    #[prost(double, optional, tag = "2")]
    pub sum: Option<f64>,
    /// None of them is less.
    #[prost(double, optional, tag = "3")]
    pub min: Option<f64>,
    /// None of them is greater.
    #[prost(double, optional, tag = "4")]
    pub max: Option<f64>,
    /// Upper bounds, ascending; the last bucket has none.
    #[prost(double, repeated, tag = "5")]
    bounds: Vec<f64>,
    /// One more than the bounds, or none at all.
    #[prost(uint64, repeated, tag = "6")]
    counts: Vec<u64>,
    #[prost(message, optional, tag = "7")]
    exponential: Option<Exponential>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Exponential {
    #[prost(sint32, tag = "1")]
    scale: i32,
    #[prost(double, tag = "2")]
    zero_threshold: f64,
    #[prost(uint64, tag = "3")]
    zero_count: u64,
    #[prost(message, required, tag = "4")]
    positive: Run,
    #[prost(message, required, tag = "5")]
    negative: Run,
}

/// The buckets that are not empty: an offset costs nothing, however far it is.
#[derive(Clone, PartialEq, prost::Message)]
struct Run {
    /// Ascending.
    #[prost(sint32, repeated, tag = "1")]
    indexes: Vec<i32>,
    #[prost(uint64, repeated, tag = "2")]
    counts: Vec<u64>,
}

/// Values that are more than `low` and at most `high`, which may be infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The lower bound.
    pub low: f64,
    /// The upper one.
    pub high: f64,
    /// How many values, more than 0.
    pub count: u64,
}

/// From one state of a stream to a later one.
#[derive(Debug, Clone, PartialEq)]
pub enum Step<T> {
    /// This was added.
    By(T),
    /// Something has fallen: it counts anew.
    Anew,
    /// They are not of one kind, and say nothing of each other.
    Unlike,
}

impl Histogram {
    /// What a point says; of a summary its count and sum. `None` if its parts contradict each
    /// other.
    pub fn of(kind: MetricKind, point: &DataPoint<'_>) -> Option<Self> {
        let known = |number: Option<f64>| number.filter(|number| number.is_finite());
        let mut histogram = Self {
            count: point.count,
            sum: known(point.sum),
            min: known(point.min),
            max: known(point.max),
            ..Self::default()
        };
        if kind == MetricKind::ExponentialHistogram {
            let exponential = Exponential::of(point)?;
            histogram.count = exponential.count()?;
            histogram.exponential = Some(exponential);
        } else if !point.counts.is_empty() {
            let is_ascending = point.bounds.is_sorted_by(|one, next| one < next);
            let is_sound = is_ascending && point.bounds.iter().all(|bound| !bound.is_nan());
            if !is_sound || point.counts.len() != point.bounds.len() + 1 {
                return None;
            }
            histogram.count = total(&point.counts)?;
            histogram.bounds.clone_from(&point.bounds);
            histogram.counts.clone_from(&point.counts);
        }
        Some(histogram)
    }

    /// What was added since `before`.
    pub fn since(&self, before: &Self) -> Step<Self> {
        if !self.is_like(before) {
            return Step::Unlike;
        }
        match self.minus(before) {
            Some(added) => Step::By(added),
            None => Step::Anew,
        }
    }

    /// Takes in what another holds; false, and nothing is changed, if it has other buckets.
    pub fn add(&mut self, other: &Self) -> bool {
        if !self.is_like(other) {
            return false;
        }
        let both = |one: Option<f64>, two: Option<f64>, of: fn(f64, f64) -> f64| Some(of(one?, two?));
        self.sum = both(self.sum, other.sum, |one, two| one + two);
        self.min = both(self.min, other.min, f64::min);
        self.max = both(self.max, other.max, f64::max);
        self.count = self.count.saturating_add(other.count);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        if let (Some(own), Some(other)) = (&mut self.exponential, &other.exponential) {
            *own = own.plus(other);
        }
        true
    }

    /// The buckets that are not empty, from the least values to the greatest.
    pub fn buckets(&self) -> Vec<Bucket> {
        let (inf, mut buckets) = (f64::INFINITY, Vec::new());
        if let Some(exponential) = &self.exponential {
            buckets = exponential.buckets();
        } else if self.counts.is_empty() {
            buckets.push(Bucket {
                low: -inf,
                high: inf,
                count: self.count,
            });
        } else {
            let lows = std::iter::once(-inf).chain(self.bounds.iter().copied());
            let highs = self.bounds.iter().copied().chain(std::iter::once(inf));
            let ranges = lows.zip(highs).zip(&self.counts);
            buckets.extend(ranges.map(|((low, high), count)| Bucket {
                low,
                high,
                count: *count,
            }));
        }
        buckets.retain(|bucket| bucket.count > 0);
        buckets
    }

    fn is_like(&self, other: &Self) -> bool {
        let thresholds = |of: &Self| {
            of.exponential
                .as_ref()
                .map(|exponential| exponential.zero_threshold)
        };
        self.bounds == other.bounds
            && self.counts.len() == other.counts.len()
            && thresholds(self) == thresholds(other)
    }

    fn minus(&self, before: &Self) -> Option<Self> {
        let pairs = self.counts.iter().zip(&before.counts);
        let counts: Option<Vec<u64>> = pairs.map(|(now, before)| now.checked_sub(*before)).collect();
        let exponential = match (&self.exponential, &before.exponential) {
            (Some(now), Some(before)) => Some(now.minus(before)?),
            _ => None,
        };
        Some(Self {
            count: self.count.checked_sub(before.count)?,
            sum: self.sum.zip(before.sum).map(|(now, before)| now - before),
            // Of the whole life: they hold for its parts.
            min: self.min,
            max: self.max,
            bounds: self.bounds.clone(),
            counts: counts?,
            exponential,
        })
    }
}

impl Exponential {
    fn of(point: &DataPoint<'_>) -> Option<Self> {
        let is_sound = SCALES.contains(&point.scale) && point.zero_threshold >= 0.0;
        Some(Self {
            scale: is_sound.then_some(point.scale)?,
            zero_threshold: point.zero_threshold,
            zero_count: point.zero_count,
            positive: Run::of(&point.positive)?,
            negative: Run::of(&point.negative)?,
        })
    }

    fn count(&self) -> Option<u64> {
        let runs = total(&self.positive.counts)?.checked_add(total(&self.negative.counts)?)?;
        runs.checked_add(self.zero_count)
    }

    /// The same with fewer and wider buckets, if its scale is greater.
    fn at_scale(&self, scale: i32) -> Self {
        let steps = self.scale.saturating_sub(scale).max(0);
        Self {
            scale: self.scale - steps,
            positive: self.positive.coarser(steps),
            negative: self.negative.coarser(steps),
            ..self.clone()
        }
    }

    fn plus(&self, other: &Self) -> Self {
        let scale = self.scale.min(other.scale);
        let (one, two) = (self.at_scale(scale), other.at_scale(scale));
        Self {
            zero_count: one.zero_count.saturating_add(two.zero_count),
            positive: one.positive.plus(&two.positive),
            negative: one.negative.plus(&two.negative),
            ..one
        }
    }

    fn minus(&self, before: &Self) -> Option<Self> {
        let scale = self.scale.min(before.scale);
        let (now, before) = (self.at_scale(scale), before.at_scale(scale));
        Some(Self {
            zero_count: now.zero_count.checked_sub(before.zero_count)?,
            positive: now.positive.minus(&before.positive)?,
            negative: now.negative.minus(&before.negative)?,
            ..now
        })
    }

    fn buckets(&self) -> Vec<Bucket> {
        let step = f64::from(self.scale).exp2().recip();
        let bound = |index: i64| (index as f64 * step).exp2();
        let mut buckets: Vec<Bucket> = self
            .negative
            .pairs()
            .map(|(index, count)| Bucket {
                low: -bound(i64::from(index) + 1),
                high: -bound(i64::from(index)),
                count,
            })
            .collect();
        buckets.reverse();
        buckets.push(Bucket {
            low: match self.negative.counts.is_empty() {
                true => 0.0,
                false => -self.zero_threshold,
            },
            high: self.zero_threshold,
            count: self.zero_count,
        });
        buckets.extend(self.positive.pairs().map(|(index, count)| Bucket {
            low: bound(i64::from(index)),
            high: bound(i64::from(index) + 1),
            count,
        }));
        buckets
    }
}

impl Run {
    fn of(buckets: &Buckets) -> Option<Self> {
        let mut run = Self::default();
        for (place, count) in buckets.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            run.indexes
                .push(buckets.offset.checked_add(i32::try_from(place).ok()?)?);
            run.counts.push(*count);
        }
        Some(run)
    }

    fn pairs(&self) -> impl Iterator<Item = (i32, u64)> {
        self.indexes.iter().copied().zip(self.counts.iter().copied())
    }

    fn coarser(&self, steps: i32) -> Self {
        Self::default().and(self.pairs().map(|(index, count)| (index >> steps.min(31), count)))
    }

    fn plus(&self, other: &Self) -> Self {
        self.and(other.pairs())
    }

    fn and(&self, more: impl Iterator<Item = (i32, u64)>) -> Self {
        let mut sums: BTreeMap<i32, u64> = self.pairs().collect();
        for (index, count) in more {
            let sum = sums.entry(index).or_default();
            *sum = sum.saturating_add(count);
        }
        Self::of_sums(sums)
    }

    fn minus(&self, before: &Self) -> Option<Self> {
        let mut sums: BTreeMap<i32, u64> = self.pairs().collect();
        for (index, count) in before.pairs() {
            let sum = sums.get_mut(&index)?;
            *sum = sum.checked_sub(count)?;
        }
        Some(Self::of_sums(sums))
    }

    fn of_sums(sums: BTreeMap<i32, u64>) -> Self {
        let (indexes, counts) = sums.into_iter().filter(|(_, count)| *count > 0).unzip();
        Self { indexes, counts }
    }
}

fn total(counts: &[u64]) -> Option<u64> {
    counts
        .iter()
        .try_fold(0_u64, |sum, count| sum.checked_add(*count))
}
