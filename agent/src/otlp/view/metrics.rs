//! Metrics and their data points, which are numbers, histograms or summaries. A point is read
//! whole, its buckets as they were sent. What a series is, and what a bucket holds, is not known
//! here; exemplars, and the quantiles of summaries, are not read.

use super::Attributes;
use crate::otlp::values::{Number, metric_data};
use crate::otlp::wire::{Field, Fields, Malformed, Singular, zigzag32};

/// What a metric's points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Values at their times.
    Gauge,
    /// Sums.
    Sum,
    /// Histograms with bounds.
    Histogram,
    /// Histograms whose bounds follow from a scale.
    ExponentialHistogram,
    /// Counts, sums and quantiles.
    Summary,
}

/// `AGGREGATION_TEMPORALITY_DELTA`.
pub const DELTA: i32 = 1;
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
pub const CUMULATIVE: i32 = 2;

/// A metric.
#[derive(Debug)]
pub struct Metric<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its unit, in UCUM as a rule; empty if it has none.
    pub unit: &'a str,
    /// `None` if it has no data of a kind that is known, and so no points.
    pub kind: Option<MetricKind>,
    /// `AggregationTemporality`, as the number that came.
    pub temporality: i32,
    /// Whether a sum never falls.
    pub is_monotonic: bool,
    data: Singular<'a>,
}

impl<'a> Metric<'a> {
    /// Reads a metric; its points stay unread.
    pub fn read(fields: Fields<'a>) -> Result<Self, Malformed> {
        let mut metric = Self {
            name: "",
            unit: "",
            kind: None,
            temporality: 0,
            is_monotonic: false,
            data: Singular::Absent,
        };
        for field in fields.clone() {
            let field = field?;
            match field.number {
                1 => metric.name = field.string()?,
                3 => metric.unit = field.string()?,
                _ => {}
            }
        }
        let Some(data) = metric_data(fields)? else {
            return Ok(metric);
        };
        for field in data.message.fields() {
            let field = field?;
            match field.number {
                2 => metric.temporality = field.int32()?,
                3 => metric.is_monotonic = field.varint()? != 0,
                _ => {}
            }
        }
        metric.kind = MetricKind::of(data.number);
        metric.data = data.message;
        Ok(metric)
    }

    /// Its points, for [`DataPoint::read`].
    pub fn points(&self) -> impl Iterator<Item = Result<Fields<'_>, Malformed>> {
        super::messages(self.data.fields(), 1)
    }
}

impl MetricKind {
    fn of(data: u32) -> Option<Self> {
        match data {
            5 => Some(Self::Gauge),
            7 => Some(Self::Sum),
            9 => Some(Self::Histogram),
            10 => Some(Self::ExponentialHistogram),
            11 => Some(Self::Summary),
            _ => None,
        }
    }

    /// The numbers of the fields `attributes` and `flags`: every kind has others.
    fn attributes_and_flags(self) -> (u32, u32) {
        match self {
            Self::Gauge | Self::Sum | Self::Summary => (7, 8),
            Self::Histogram => (9, 10),
            Self::ExponentialHistogram => (1, 10),
        }
    }
}

/// A data point of any kind; what its kind does not have is empty.
#[derive(Debug, Default)]
pub struct DataPoint<'a> {
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// Since when it counts, in nanoseconds since the epoch; 0 if unknown.
    pub start_time_unix_nano: u64,
    /// Its time; 0 if unknown.
    pub time_unix_nano: u64,
    /// `DataPointFlags`.
    pub flags: u32,
    /// Of a gauge or a sum.
    pub value: Number,
    /// How many values a histogram or summary is of.
    pub count: u64,
    /// Their sum.
    pub sum: Option<f64>,
    /// The least of them.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// The upper bounds of a histogram's buckets; the last one has none.
    pub bounds: Vec<f64>,
    /// What is in them.
    pub counts: Vec<u64>,
    /// Of an exponential histogram.
    pub scale: i32,
    /// How many of its values are no further from zero than the threshold.
    pub zero_count: u64,
    /// The threshold.
    pub zero_threshold: f64,
    /// The values above it.
    pub positive: Buckets,
    /// The values below its negative.
    pub negative: Buckets,
}

/// Buckets of an exponential histogram.
#[derive(Debug, Default)]
pub struct Buckets {
    /// The index of the first.
    pub offset: i32,
    /// What is in them.
    pub counts: Vec<u64>,
}

impl<'a> DataPoint<'a> {
    /// `FLAG_NO_RECORDED_VALUE`: the point says only that there is none any more.
    const NO_RECORDED_VALUE: u32 = 1;

    /// Reads a point of this kind in the place of the one before.
    pub fn read(&mut self, kind: MetricKind, fields: Fields<'a>) -> Result<(), Malformed> {
        self.reset();
        let (attributes, flags) = kind.attributes_and_flags();
        for field in fields {
            let field = field?;
            match field.number {
                number if number == attributes => self.attributes.add(&field)?,
                number if number == flags => self.flags = field.uint32()?,
                2 => self.start_time_unix_nano = field.fixed64()?,
                3 => self.time_unix_nano = field.fixed64()?,
                _ => match kind {
                    MetricKind::Gauge | MetricKind::Sum => self.read_number(&field)?,
                    MetricKind::Histogram => self.read_histogram(&field)?,
                    MetricKind::ExponentialHistogram => self.read_exponential(&field)?,
                    MetricKind::Summary => self.read_distribution(&field)?,
                },
            }
        }
        Ok(())
    }

    /// Whether it has a value at all.
    pub fn is_recorded(&self) -> bool {
        self.flags & Self::NO_RECORDED_VALUE == 0
    }

    fn reset(&mut self) {
        let mut lists = std::mem::take(self);
        lists.attributes.clear();
        self.attributes = lists.attributes;
        for (own, mut list) in [
            (&mut self.counts, lists.counts),
            (&mut self.positive.counts, lists.positive.counts),
            (&mut self.negative.counts, lists.negative.counts),
        ] {
            list.clear();
            *own = list;
        }
        lists.bounds.clear();
        self.bounds = lists.bounds;
    }

    fn read_number(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        match field.number {
            4 => self.value = Number::Double(field.double()?),
            6 => self.value = Number::Int(field.fixed64()?.cast_signed()),
            _ => {}
        }
        Ok(())
    }

    /// What all distributions have in the same fields.
    fn read_distribution(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        match field.number {
            4 => self.count = field.fixed64()?,
            5 => self.sum = Some(field.double()?),
            _ => {}
        }
        Ok(())
    }

    fn read_histogram(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        let (counts, bounds) = (&mut self.counts, &mut self.bounds);
        match field.number {
            6 => field.each_fixed64(|count| counts.push(count))?,
            7 => field.each_fixed64(|bits| bounds.push(f64::from_bits(bits)))?,
            11 => self.min = Some(field.double()?),
            12 => self.max = Some(field.double()?),
            _ => self.read_distribution(field)?,
        }
        Ok(())
    }

    fn read_exponential(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        match field.number {
            6 => self.scale = zigzag32(field.varint()?),
            7 => self.zero_count = field.fixed64()?,
            8 => self.positive.read(field.message()?)?,
            9 => self.negative.read(field.message()?)?,
            12 => self.min = Some(field.double()?),
            13 => self.max = Some(field.double()?),
            14 => self.zero_threshold = field.double()?,
            _ => self.read_distribution(field)?,
        }
        Ok(())
    }
}

impl Buckets {
    fn read(&mut self, fields: Fields<'_>) -> Result<(), Malformed> {
        for field in fields {
            let field = field?;
            match field.number {
                1 => self.offset = zigzag32(field.varint()?),
                2 => field.each_varint(|count| self.counts.push(count))?,
                _ => {}
            }
        }
        Ok(())
    }
}
