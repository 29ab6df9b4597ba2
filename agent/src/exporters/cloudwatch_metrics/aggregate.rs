//! What the points of one record come to together: one group for each series and period. Sums are
//! added, the values of gauges are listed, histograms with the same buckets are added before
//! values stand for them.
//!
//! Records are not put together: CloudWatch adds up what comes for one series and period, and so
//! each datum belongs to one record and its items.

use std::collections::HashMap;

use super::histogram::Histogram;
use super::units::Unit;
use super::values::representatives;

/// CloudWatch takes numbers from -2^360 to 2^360.
const VALUE_MAX: f64 = f64::from_bits((1023 + 360) << 52);

/// What a point contributes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A part of a sum.
    Sum(f64),
    /// One of several values.
    Sample(f64),
    /// A distribution.
    Histogram(Box<Histogram>),
}

/// The groups of a record.
#[derive(Debug, Default)]
pub struct Aggregate {
    groups: Vec<Group>,
    places: HashMap<Key, usize>,
}

/// Points of one series and period.
#[derive(Debug)]
pub struct Group {
    /// See [`super::series`].
    pub series: Box<str>,
    /// Of its values.
    pub unit: Unit,
    /// When the period begins, in seconds since the epoch.
    pub period: u64,
    /// The points, as items of the record.
    pub items: Vec<u32>,
    content: Content,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    series: u128,
    period: u64,
    unit: &'static str,
    kind: u8,
}

#[derive(Debug)]
enum Content {
    Sum(f64),
    Samples(Vec<f64>),
    /// Each with other buckets.
    Histograms(Vec<Histogram>),
}

/// What is sent of a group.
#[derive(Debug, Clone, PartialEq)]
pub enum Sendable {
    /// One value.
    Value(f64),
    /// Values, ascending, and how often each occurred.
    Values(Vec<(f64, u64)>),
}

/// Whether CloudWatch takes this number.
pub fn is_number(value: f64) -> bool {
    value.abs() <= VALUE_MAX
}

impl Aggregate {
    /// A point adds a value to its series, whose hash is given, and period.
    pub fn add(&mut self, series: (u128, &str), unit: Unit, period: u64, item: u32, value: &Value) {
        let key = Key {
            series: series.0,
            period,
            unit: unit.name,
            kind: match value {
                Value::Sum(_) => 0,
                Value::Sample(_) => 1,
                Value::Histogram(_) => 2,
            },
        };
        let known = self
            .places
            .get(&key)
            .and_then(|place| self.groups.get_mut(*place));
        if let Some(group) = known {
            group.items.push(item);
            group.content.add(value);
            return;
        }
        self.places.insert(key, self.groups.len());
        self.groups.push(Group {
            series: series.1.into(),
            unit,
            period,
            items: vec![item],
            content: Content::of(value),
        });
    }

    /// The groups, as they came.
    pub fn into_groups(self) -> Vec<Group> {
        self.groups
    }
}

impl Content {
    fn of(value: &Value) -> Self {
        match value {
            Value::Sum(value) => Self::Sum(*value),
            Value::Sample(value) => Self::Samples(vec![*value]),
            Value::Histogram(histogram) => Self::Histograms(vec![(**histogram).clone()]),
        }
    }

    fn add(&mut self, value: &Value) {
        match (self, value) {
            (Self::Sum(sum), Value::Sum(value)) => *sum += value,
            (Self::Samples(samples), Value::Sample(value)) => samples.push(*value),
            (Self::Histograms(histograms), Value::Histogram(value)) => {
                let is_added = histograms.iter_mut().any(|histogram| histogram.add(value));
                histograms.extend((!is_added).then(|| (**value).clone()));
            }
            // Its kind is a part of the group's key.
            _ => {}
        }
    }
}

impl Group {
    /// What is sent; no values at all if nothing was observed, `None` if CloudWatch has no number
    /// for it.
    pub fn sendable(&self) -> Option<Sendable> {
        let factor = self.unit.factor;
        let mut values: Vec<(f64, u64)> = match &self.content {
            Content::Sum(sum) => return is_number(*sum * factor).then_some(Sendable::Value(*sum * factor)),
            Content::Samples(samples) => samples.iter().map(|sample| (*sample, 1)).collect(),
            Content::Histograms(histograms) => {
                let lists: Option<Vec<_>> = histograms.iter().map(representatives).collect();
                lists?.concat()
            }
        };
        values.iter_mut().for_each(|(value, _)| *value *= factor);
        if !values.iter().all(|(value, _)| is_number(*value)) {
            return None;
        }
        values.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        values.dedup_by(|(value, count), (kept, kept_count)| {
            let is_same = value == kept;
            if is_same {
                *kept_count = kept_count.saturating_add(*count);
            }
            is_same
        });
        Some(Sendable::Values(values))
    }
}
