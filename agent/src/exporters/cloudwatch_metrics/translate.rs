//! The way of a record's data points into datums: what a rule selects, what a cumulative point
//! adds, what CloudWatch cannot take. Each point is in the datums of its dimension sets, or it is
//! dropped with a reason.

use std::collections::HashSet;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use super::aggregate::{Aggregate, Group, Sendable, Value, is_number};
use super::budget::Budget;
use super::datum::{Datum, datums};
use super::histogram::Histogram;
use super::identity::Source;
use super::memory::Memory;
use super::select::{DimensionSet, Rule};
use super::series;
use super::settings::Settings;
use super::streams::{Added, Stream, Total};
use super::told::tell;
use super::units::Unit;
use crate::ledger::DropReason;
use crate::otlp::Malformed;
use crate::otlp::values::Number;
use crate::otlp::view;
use crate::otlp::view::metrics::{CUMULATIVE, DELTA, DataPoint, Metric, MetricKind};
use crate::requests::notices::Notices;
use crate::requests::sink::{Pieces, Place};
use crate::spool::Record;

/// CloudWatch takes nothing that is older, or so far ahead; less what a request may be on its way.
const OLDEST: Duration = Duration::from_secs((14 * 24 * 60 - 5) * 60);
const NEWEST: Duration = Duration::from_secs(115 * 60);
const NANOS: u64 = 1_000_000_000;

/// Makes datums of records.
#[derive(Debug)]
pub struct Translator {
    rules: Vec<Rule>,
    storage_resolution: u32,
    budget: Budget,
    memory: Memory,
    notices: Notices,
}

/// What translating a record has come to, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Points that found no place but in an overflow series.
    pub overflowed: u64,
    /// Streams that were forgotten for others.
    pub forgotten: u64,
    /// Series that are billed now.
    pub billed: usize,
}

/// Why a point has no datum.
enum Fault {
    Malformed(Malformed),
    Drop(DropReason),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Whether AWS would refuse a datum of this time.
pub fn is_too_old(time_unix_nanos: u64, now: u64) -> bool {
    now.saturating_sub(time_unix_nanos) > nanos(OLDEST)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Translator {
    /// Goes on with this memory.
    pub fn new(settings: &Settings, memory: Memory) -> Self {
        Self {
            rules: settings.metrics.clone(),
            storage_resolution: settings.storage_resolution,
            budget: Budget::new(settings.max_series),
            memory,
            notices: Notices::default(),
        }
    }

    /// The memory, for what is settled.
    pub fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Makes the datums of a record. Records come in their order.
    pub fn record(
        &mut self,
        record: &Record,
        now: u64,
        pieces: &mut Pieces<Datum>,
    ) -> Result<Account, Malformed> {
        let mut walk = Walk {
            record,
            now,
            index: 0,
            aggregate: Aggregate::default(),
            account: Account::default(),
            series: String::new(),
            scratch: (String::new(), String::new()),
            pieces,
            own: self,
        };
        // What was settled in an earlier life is delivered.
        if !walk.own.memory.is_settled(record.seq) {
            walk.body()?;
            walk.finish();
        }
        let billed = walk.own.budget.billed();
        Ok(Account {
            billed,
            ..walk.account
        })
    }
}

/// One record on its way.
struct Walk<'w> {
    own: &'w mut Translator,
    record: &'w Record,
    pieces: &'w mut Pieces<Datum>,
    now: u64,
    /// The next point's place among the record's items.
    index: u32,
    aggregate: Aggregate,
    account: Account,
    series: String,
    scratch: (String, String),
}

/// What holds for all points of a metric.
struct Plan<'r> {
    name: String,
    unit: Unit,
    sets: &'r [DimensionSet],
}

impl Walk<'_> {
    fn body(&mut self) -> Result<(), Malformed> {
        for group in view::resource_groups(&self.record.body) {
            let group = group?;
            let resource = group.resource()?;
            for scope_group in group.scopes() {
                let scope_group = scope_group?;
                let source = Source::new(&resource, scope_group.scope()?);
                for metric in scope_group.items() {
                    self.metric(&Metric::read(metric?)?, &source)?;
                }
            }
        }
        Ok(())
    }

    fn metric(&mut self, metric: &Metric<'_>, source: &Source<'_>) -> Result<(), Malformed> {
        let Some(kind) = metric.kind else {
            return Ok(());
        };
        let rules = std::mem::take(&mut self.own.rules);
        let selected = rules.iter().find(|rule| rule.fits(metric.name));
        let outcome = match (selected, series::metric_name(metric.name)) {
            (None, _) => self.drop_points(metric, DropReason::NotSelected),
            (Some(_), None) => self.drop_points(metric, DropReason::Invalid),
            (Some(rule), Some(name)) => {
                let plan = Plan {
                    name,
                    unit: Unit::of(metric.unit, kind == MetricKind::Sum),
                    sets: &rule.dimensions,
                };
                self.points(metric, kind, &plan, source)
            }
        };
        self.own.rules = rules;
        outcome
    }

    fn drop_points(&mut self, metric: &Metric<'_>, reason: DropReason) -> Result<(), Malformed> {
        let first = self.index;
        for point in metric.points() {
            point?;
            self.index += 1;
        }
        let points = self.index - first;
        self.pieces.drop_items(first, points, reason);
        if points > 0 {
            tell(&self.own.notices, reason, metric.name);
        }
        Ok(())
    }

    fn points(
        &mut self,
        metric: &Metric<'_>,
        kind: MetricKind,
        plan: &Plan<'_>,
        source: &Source<'_>,
    ) -> Result<(), Malformed> {
        let mut point = DataPoint::default();
        for fields in metric.points() {
            point.read(kind, fields?)?;
            match self.point(metric, kind, plan, source, &point) {
                Ok(()) => {}
                Err(Fault::Malformed(malformed)) => return Err(malformed),
                Err(Fault::Drop(reason)) => {
                    match reason {
                        // It may be in the datums of its other dimension sets.
                        DropReason::OverBudget => self.pieces.drop_items(self.index, 1, reason),
                        _ => self.pieces.drop_item(self.index, reason),
                    }
                    tell(&self.own.notices, reason, metric.name);
                }
            }
            self.index += 1;
        }
        Ok(())
    }

    fn point(
        &mut self,
        metric: &Metric<'_>,
        kind: MetricKind,
        plan: &Plan<'_>,
        source: &Source<'_>,
        point: &DataPoint<'_>,
    ) -> Result<(), Fault> {
        let attributes = [&point.attributes, &source.resource.attributes];
        let mut applying = Vec::with_capacity(plan.sets.len());
        for set in plan.sets {
            if series::write(&mut self.series, &plan.name, set, attributes, &mut self.scratch)? {
                applying.push((xxh3_128(self.series.as_bytes()), self.series.clone()));
            }
        }
        if applying.is_empty() {
            return Err(Fault::Drop(DropReason::NotSelected));
        }
        let time = match point.time_unix_nano {
            0 => self.record.received_unix_nanos,
            time => time,
        };
        let value = self.value(metric, kind, source, point, time)?;
        if is_too_old(time, self.now) {
            return Err(Fault::Drop(DropReason::TooOld));
        }
        if time.saturating_sub(self.now) > nanos(NEWEST) {
            return Err(Fault::Drop(DropReason::TooNew));
        }
        self.place(plan, &applying, time, &value)
    }

    /// Puts a value into each series, or once into the overflow of those that have no place.
    fn place(
        &mut self,
        plan: &Plan<'_>,
        applying: &[(u128, String)],
        time: u64,
        value: &Value,
    ) -> Result<(), Fault> {
        let resolution = u64::from(self.own.storage_resolution).max(1);
        let period = time / NANOS / resolution * resolution;
        let mut overflows = false;
        for (hash, series) in applying {
            match self.own.budget.admits(*hash, self.now) {
                true => self
                    .aggregate
                    .add((*hash, series), plan.unit, period, self.index, value),
                false => overflows = true,
            }
        }
        if !overflows {
            return Ok(());
        }
        self.account.overflowed += 1;
        series::write_overflow(&mut self.series, &plan.name);
        let hash = xxh3_128(self.series.as_bytes());
        if !self.own.budget.admits_overflow(hash, self.now) {
            return Err(Fault::Drop(DropReason::OverBudget));
        }
        self.aggregate
            .add((hash, &self.series), plan.unit, period, self.index, value);
        Ok(())
    }

    /// What the point contributes.
    fn value(
        &mut self,
        metric: &Metric<'_>,
        kind: MetricKind,
        source: &Source<'_>,
        point: &DataPoint<'_>,
        time: u64,
    ) -> Result<Value, Fault> {
        let total = total_of(kind, point)?;
        let is_delta = match (kind, metric.temporality) {
            (MetricKind::Gauge, _) => return sample(&total),
            // What may fall is a level and no count.
            (MetricKind::Sum, CUMULATIVE) if !metric.is_monotonic => return sample(&total),
            (MetricKind::Summary, _) | (_, CUMULATIVE) => false,
            (_, DELTA) => true,
            // A sum since nobody knows when.
            _ => return Err(Fault::Drop(DropReason::Invalid)),
        };
        if is_delta {
            return Ok(Value::of(total));
        }
        let stream = Stream {
            start: point.start_time_unix_nano,
            time,
            seq: self.record.seq,
            total: Some(total),
        };
        let identity = source.stream(metric, kind, &point.attributes)?;
        let (added, forgotten) = self.own.memory.add(identity, stream);
        self.account.forgotten += forgotten as u64;
        match added {
            Added::Some(total) => Ok(Value::of(total)),
            Added::Baseline => Err(Fault::Drop(DropReason::Baseline)),
            Added::Superseded => Err(Fault::Drop(DropReason::Superseded)),
        }
    }

    fn finish(&mut self) {
        let groups = std::mem::take(&mut self.aggregate).into_groups();
        let mut has_datum = HashSet::new();
        let mut empty = Vec::new();
        for group in groups {
            match group.sendable() {
                None => {
                    let items = group.items.iter();
                    items.for_each(|item| self.pieces.drop_items(*item, 1, DropReason::Invalid));
                    tell(&self.own.notices, DropReason::Invalid, &group.series);
                }
                Some(Sendable::Values(values)) if values.is_empty() => empty.extend(group.items),
                Some(sendable) => {
                    has_datum.extend(group.items.iter().copied());
                    self.push(group, &sendable);
                }
            }
        }
        for item in empty.into_iter().filter(|item| !has_datum.contains(item)) {
            self.pieces.drop_item(item, DropReason::Empty);
        }
    }

    fn push(&mut self, group: Group, sendable: &Sendable) {
        let datums = datums(&group, sendable, self.own.storage_resolution);
        let place = Place {
            key: 0,
            affinity: None,
            time: group.period.saturating_mul(NANOS),
        };
        let items = self.pieces.group(group.items.into_boxed_slice());
        for datum in datums {
            self.pieces.push_of(items, place, datum.json.len(), datum);
        }
    }
}

impl Value {
    fn of(total: Total) -> Self {
        match total {
            Total::Int(number) => Self::Sum(number as f64),
            Total::Double(number) => Self::Sum(number),
            Total::Histogram(histogram) => Self::Histogram(histogram),
        }
    }
}

fn sample(total: &Total) -> Result<Value, Fault> {
    let number = total.number().ok_or(Fault::Drop(DropReason::Invalid))?;
    Ok(Value::Sample(number))
}

/// What a point has counted or measured, if CloudWatch has a number for it.
fn total_of(kind: MetricKind, point: &DataPoint<'_>) -> Result<Total, Fault> {
    if !point.is_recorded() {
        return Err(Fault::Drop(DropReason::Empty));
    }
    let invalid = Fault::Drop(DropReason::Invalid);
    match (kind, point.value) {
        (MetricKind::Gauge | MetricKind::Sum, Number::None) => Err(Fault::Drop(DropReason::Empty)),
        (MetricKind::Gauge | MetricKind::Sum, Number::Int(value)) => Ok(Total::Int(value)),
        (MetricKind::Gauge | MetricKind::Sum, Number::Double(value)) => {
            is_number(value).then_some(Total::Double(value)).ok_or(invalid)
        }
        _ => match Histogram::of(kind, point) {
            Some(histogram) => Ok(Total::Histogram(Box::new(histogram))),
            None => Err(invalid),
        },
    }
}
