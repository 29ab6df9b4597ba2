//! The columns that only histograms, exponential histograms and summaries have.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, Int32Builder, Int64Builder};
use arrow_array::types::{Float64Type, Int64Type};
use meridian_proto::schema;

use super::columns::Named;
use super::nested::{Lists, NumberLists};
use crate::otlp::wire::{Field, Fields, Malformed, Singular, zigzag32};

/// Null in the rows of all other types.
#[derive(Default)]
pub struct HistogramColumns {
    count: Int64Builder,
    sum: Float64Builder,
    min: Float64Builder,
    max: Float64Builder,
    explicit_bounds: NumberLists<Float64Type>,
    bucket_counts: NumberLists<Int64Type>,
    scale: Int32Builder,
    zero_count: Int64Builder,
    zero_threshold: Float64Builder,
    positive: Buckets,
    negative: Buckets,
    quantiles: Quantiles,
}

/// The singular fields; absent ones are null.
#[derive(Default)]
struct Scalars {
    count: Option<i64>,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    scale: Option<i32>,
    zero_count: Option<i64>,
    zero_threshold: Option<f64>,
}

impl HistogramColumns {
    /// Appends what the point of this kind of data has.
    pub fn push(&mut self, data: u32, point: Fields<'_>) -> Result<(), Malformed> {
        let mut scalars = Scalars::default();
        let (mut positive, mut negative) = (Singular::Absent, Singular::Absent);
        match data {
            9 => self.classic(&mut scalars, point)?,
            10 => exponential(&mut scalars, &mut positive, &mut negative, point)?,
            11 => self.summary(&mut scalars, point)?,
            _ => {}
        }
        self.count.append_option(scalars.count);
        self.sum.append_option(scalars.sum);
        self.min.append_option(scalars.min);
        self.max.append_option(scalars.max);
        self.scale.append_option(scalars.scale);
        self.zero_count.append_option(scalars.zero_count);
        self.zero_threshold.append_option(scalars.zero_threshold);
        self.explicit_bounds.end(data == 9);
        self.bucket_counts.end(data == 9);
        self.positive.append(&positive)?;
        self.negative.append(&negative)?;
        self.quantiles.lists.end(self.quantiles.count, data == 11);
        Ok(())
    }

    fn classic(&mut self, scalars: &mut Scalars, point: Fields<'_>) -> Result<(), Malformed> {
        scalars.count = Some(0);
        let counts = &mut self.bucket_counts.values;
        let bounds = &mut self.explicit_bounds.values;
        for field in point {
            let field = field?;
            match field.number {
                4 => scalars.count = Some(field.fixed64()?.cast_signed()),
                5 => scalars.sum = Some(field.double()?),
                6 => field.each_fixed64(|count| counts.append_value(count.cast_signed()))?,
                7 => field.each_fixed64(|bits| bounds.append_value(f64::from_bits(bits)))?,
                11 => scalars.min = Some(field.double()?),
                12 => scalars.max = Some(field.double()?),
                _ => {}
            }
        }
        Ok(())
    }

    fn summary(&mut self, scalars: &mut Scalars, point: Fields<'_>) -> Result<(), Malformed> {
        (scalars.count, scalars.sum) = (Some(0), Some(0.0));
        for field in point {
            let field = field?;
            match field.number {
                4 => scalars.count = Some(field.fixed64()?.cast_signed()),
                5 => scalars.sum = Some(field.double()?),
                6 => self.quantiles.add(&field)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The columns.
    pub fn finish(&mut self, named: &mut Named) {
        let (positive_offset, positive_counts) = self.positive.finish();
        let (negative_offset, negative_counts) = self.negative.finish();
        let columns: [(&'static str, ArrayRef); 14] = [
            ("count", Arc::new(self.count.finish())),
            ("sum", Arc::new(self.sum.finish())),
            ("min", Arc::new(self.min.finish())),
            ("max", Arc::new(self.max.finish())),
            ("explicit_bounds", self.explicit_bounds.finish()),
            ("bucket_counts", self.bucket_counts.finish()),
            ("scale", Arc::new(self.scale.finish())),
            ("zero_count", Arc::new(self.zero_count.finish())),
            ("zero_threshold", Arc::new(self.zero_threshold.finish())),
            ("positive_offset", positive_offset),
            ("positive_counts", positive_counts),
            ("negative_offset", negative_offset),
            ("negative_counts", negative_counts),
            ("quantiles", self.quantiles.finish()),
        ];
        named.extend(columns);
    }
}

fn exponential<'a>(
    scalars: &mut Scalars,
    positive: &mut Singular<'a>,
    negative: &mut Singular<'a>,
    point: Fields<'a>,
) -> Result<(), Malformed> {
    scalars.count = Some(0);
    scalars.scale = Some(0);
    scalars.zero_count = Some(0);
    scalars.zero_threshold = Some(0.0);
    for field in point {
        let field = field?;
        match field.number {
            4 => scalars.count = Some(field.fixed64()?.cast_signed()),
            5 => scalars.sum = Some(field.double()?),
            6 => scalars.scale = Some(zigzag32(field.varint()?)),
            7 => scalars.zero_count = Some(field.fixed64()?.cast_signed()),
            8 => positive.add(&field)?,
            9 => negative.add(&field)?,
            12 => scalars.min = Some(field.double()?),
            13 => scalars.max = Some(field.double()?),
            14 => scalars.zero_threshold = Some(field.double()?),
            _ => {}
        }
    }
    Ok(())
}

#[derive(Default)]
struct Buckets {
    offset: Int32Builder,
    counts: NumberLists<Int64Type>,
}

impl Buckets {
    fn append(&mut self, buckets: &Singular<'_>) -> Result<(), Malformed> {
        let present = buckets.bytes().is_some();
        let mut offset = 0;
        for field in buckets.fields() {
            let field = field?;
            let counts = &mut self.counts.values;
            match field.number {
                1 => offset = zigzag32(field.varint()?),
                2 => field.each_varint(|count| counts.append_value(count.cast_signed()))?,
                _ => {}
            }
        }
        self.offset.append_option(present.then_some(offset));
        self.counts.end(present);
        Ok(())
    }

    fn finish(&mut self) -> (ArrayRef, ArrayRef) {
        (Arc::new(self.offset.finish()), self.counts.finish())
    }
}

#[derive(Default)]
struct Quantiles {
    quantile: Float64Builder,
    value: Float64Builder,
    count: usize,
    lists: Lists,
}

impl Quantiles {
    fn add(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        let (mut quantile, mut value) = (0.0, 0.0);
        for field in field.message()? {
            let field = field?;
            match field.number {
                1 => quantile = field.double()?,
                2 => value = field.double()?,
                _ => {}
            }
        }
        self.quantile.append_value(quantile);
        self.value.append_value(value);
        self.count += 1;
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        self.count = 0;
        let columns: Vec<ArrayRef> = vec![Arc::new(self.quantile.finish()), Arc::new(self.value.finish())];
        self.lists.finish_structs(schema::quantile_fields(), columns)
    }
}
