//! The columns that only data points have: identity, times, values. What only histograms
//! and summaries have is in [`super::histograms`].

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{BooleanBuilder, Float64Builder, Int32Builder, Int64Builder};
use meridian_proto::schema::names;
use xxhash_rust::xxh3::Xxh3;

use super::attributes::Attributes;
use super::columns::{Column, Dictionary, Named, TimeColumns, set, set_flags};
use super::context::{ScopeContext, hash_part, hash_sorted};
use super::exemplars::Exemplars;
use super::histograms::HistogramColumns;
use crate::otlp::to_json;
use crate::otlp::values::{Number, metric_data};
use crate::otlp::wire::{Field, Fields, Malformed};

/// One row per data point.
pub struct MetricColumns {
    rows: usize,
    name: Dictionary,
    series_id: Int64Builder,
    metric_type: Dictionary,
    temporality: Dictionary,
    is_monotonic: BooleanBuilder,
    unit: Dictionary,
    description: Dictionary,
    metadata: Dictionary,
    time: TimeColumns,
    time_origin: Dictionary,
    start: TimeColumns,
    value: Float64Builder,
    value_int: Int64Builder,
    histogram: HistogramColumns,
    exemplars: Exemplars,
    flags: Int32Builder,
    attributes: Attributes,
}

impl Default for MetricColumns {
    fn default() -> Self {
        Self {
            rows: 0,
            name: Dictionary::default(),
            series_id: Int64Builder::new(),
            metric_type: Dictionary::default(),
            temporality: Dictionary::default(),
            is_monotonic: BooleanBuilder::new(),
            unit: Dictionary::default(),
            description: Dictionary::default(),
            metadata: Dictionary::default(),
            time: TimeColumns::default(),
            time_origin: Dictionary::default(),
            start: TimeColumns::default(),
            value: Float64Builder::new(),
            value_int: Int64Builder::new(),
            histogram: HistogramColumns::default(),
            exemplars: Exemplars::default(),
            flags: Int32Builder::new(),
            attributes: Attributes::new(&[]),
        }
    }
}

/// Where a data point's fields are: every type numbers them differently.
struct Layout {
    name: &'static str,
    attributes: u32,
    exemplars: u32,
    flags: u32,
}

const fn layout(name: &'static str, attributes: u32, exemplars: u32, flags: u32) -> Layout {
    Layout {
        name,
        attributes,
        exemplars,
        flags,
    }
}

/// By the number of the field of `Metric.data`.
fn layout_of(data: u32) -> Layout {
    match data {
        5 => layout(names::GAUGE, 7, 5, 8),
        7 => layout(names::SUM, 7, 5, 8),
        9 => layout(names::HISTOGRAM, 9, 8, 10),
        10 => layout(names::EXPONENTIAL_HISTOGRAM, 1, 11, 10),
        // A summary has no exemplars; no field has the number 0.
        _ => layout(names::SUMMARY, 7, 0, 8),
    }
}

impl MetricColumns {
    /// Appends a row for each data point of a metric, and says how many.
    pub fn push(
        &mut self,
        fields: &Fields<'_>,
        context: &ScopeContext,
        received: u64,
    ) -> Result<usize, Malformed> {
        let Some(data) = metric_data(fields.clone())? else {
            return Ok(0);
        };
        let number = data.number;
        let layout = layout_of(number);
        let metric = Metric::read(fields)?;
        let mut points = 0;
        let (mut temporality, mut monotonic) = (0, false);
        for field in data.message.fields() {
            let field = field?;
            match field.number {
                1 => {
                    self.point(number, &layout, &field, received)?;
                    let id = series_id(metric.name, context, field.message()?, layout.attributes)?;
                    self.series_id.append_value(id);
                    points += 1;
                }
                2 => temporality = field.int32()?,
                3 => monotonic = field.varint()? != 0,
                _ => {}
            }
        }
        if points > 0 {
            self.append_metric(&metric, layout.name, points);
            self.append_aggregation(number, temporality, monotonic, points);
        }
        Ok(points)
    }

    fn append_metric(&mut self, metric: &Metric<'_>, type_name: &str, points: usize) {
        let known = |text| Some(text).filter(|text: &&str| !text.is_empty());
        self.name.append_values(metric.name, points);
        self.metric_type.append_values(type_name, points);
        self.unit.append_options(known(metric.unit), points);
        self.description.append_options(known(metric.description), points);
        self.metadata.append_options(metric.metadata.as_deref(), points);
    }

    fn append_aggregation(&mut self, data: u32, temporality: i32, monotonic: bool, points: usize) {
        let is_sum = data == 7;
        for _ in 0..points {
            self.is_monotonic.append_option(is_sum.then_some(monotonic));
        }
        let number = temporality.to_string();
        let text = match usize::try_from(temporality)
            .ok()
            .map(|index| names::TEMPORALITY.get(index))
        {
            Some(Some(name)) => *name,
            _ => number.as_str(),
        };
        let has_one = matches!(data, 7 | 9 | 10) && temporality != 0;
        self.temporality.append_options(has_one.then_some(text), points);
    }

    fn point(
        &mut self,
        data: u32,
        layout: &Layout,
        field: &Field<'_>,
        received: u64,
    ) -> Result<(), Malformed> {
        let (mut start, mut time, mut word, mut number) = (0, 0, 0, Number::None);
        let is_number = matches!(data, 5 | 7);
        for field in field.message()? {
            let field = field?;
            match field.number {
                attributes if attributes == layout.attributes => self.attributes.add(&field)?,
                exemplars if exemplars == layout.exemplars => self.exemplars.add(field.message()?)?,
                flags if flags == layout.flags => word = field.uint32()?,
                2 => start = field.fixed64()?,
                3 => time = field.fixed64()?,
                4 if is_number => number = Number::Double(field.double()?),
                6 if is_number => number = Number::Int(field.fixed64()?.cast_signed()),
                _ => {}
            }
        }
        let row = self.rows;
        self.histogram.push(row, data, field.message()?)?;
        self.attributes.end();
        self.exemplars.end(row);
        set_flags(&mut self.flags, row, word);
        if let Some(value) = number.double() {
            set(&mut self.value, row, value);
        }
        if let Some(value) = number.int() {
            set(&mut self.value_int, row, value);
        }
        self.start.append_known(start);
        self.time.append(if time == 0 { received } else { time });
        if time == 0 {
            self.time_origin.pad(row);
            self.time_origin.append_value(names::RECEIVED);
        }
        self.rows += 1;
        Ok(())
    }

    /// The columns.
    pub fn finish(&mut self, named: &mut Named) {
        let rows = std::mem::take(&mut self.rows);
        self.time_origin.pad(rows);
        self.value.pad(rows);
        self.value_int.pad(rows);
        self.flags.pad(rows);
        let (time, time_ns) = self.time.finish();
        let (start, start_ns) = self.start.finish();
        let plain: [(&'static str, ArrayRef); 17] = [
            ("metric_name", Arc::new(self.name.finish())),
            ("series_id", Arc::new(self.series_id.finish())),
            ("metric_type", Arc::new(self.metric_type.finish())),
            ("temporality", Arc::new(self.temporality.finish())),
            ("is_monotonic", Arc::new(self.is_monotonic.finish())),
            ("unit", Arc::new(self.unit.finish())),
            ("description", Arc::new(self.description.finish())),
            ("metric_metadata", Arc::new(self.metadata.finish())),
            ("time", time),
            ("time_ns", time_ns),
            ("time_origin", Arc::new(self.time_origin.finish())),
            ("start_time", start),
            ("start_time_ns", start_ns),
            ("value", Arc::new(self.value.finish())),
            ("value_int", Arc::new(self.value_int.finish())),
            ("exemplars", self.exemplars.finish(rows)),
            ("flags", Arc::new(self.flags.finish())),
        ];
        named.extend(plain);
        self.histogram.finish(rows, named);
        self.attributes.finish(named);
    }
}

/// What a metric says beside its data.
struct Metric<'a> {
    name: &'a str,
    description: &'a str,
    unit: &'a str,
    metadata: Option<String>,
}

impl<'a> Metric<'a> {
    fn read(fields: &Fields<'a>) -> Result<Self, Malformed> {
        let mut metric = Metric {
            name: "",
            description: "",
            unit: "",
            metadata: to_json::key_values(fields.clone(), 12)?,
        };
        for field in fields.clone() {
            let field = field?;
            match field.number {
                1 => metric.name = field.string()?,
                2 => metric.description = field.string()?,
                3 => metric.unit = field.string()?,
                _ => {}
            }
        }
        Ok(metric)
    }
}

/// xxh3-64 over the metric's name, the resource's and the scope's identity and the
/// attributes by key: equal for equal series, whatever the order of their attributes.
fn series_id(
    name: &str,
    context: &ScopeContext,
    point: Fields<'_>,
    attributes: u32,
) -> Result<i64, Malformed> {
    let mut hash = Xxh3::new();
    hash_part(&mut hash, name.as_bytes());
    hash.update(&context.identity().to_le_bytes());
    hash_sorted(&mut hash, point, attributes)?;
    Ok(hash.digest().cast_signed())
}
