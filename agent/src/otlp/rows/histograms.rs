//! The columns that only histograms, exponential histograms and summaries have.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int32Builder, Int64Builder, PrimitiveBuilder};
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType};
use meridian_proto::schema;

use super::columns::{Column, Named, set};
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
    pub fn push(&mut self, row: usize, data: u32, point: Fields<'_>) -> Result<(), Malformed> {
        let mut scalars = Scalars::default();
        let (mut positive, mut negative) = (Singular::Absent, Singular::Absent);
        match data {
            9 => self.classic(&mut scalars, point)?,
            10 => exponential(&mut scalars, &mut positive, &mut negative, point)?,
            11 => self.summary(&mut scalars, point)?,
            // A number needs none of these columns.
            _ => return Ok(()),
        }
        set_some(&mut self.count, row, scalars.count);
        set_some(&mut self.sum, row, scalars.sum);
        set_some(&mut self.min, row, scalars.min);
        set_some(&mut self.max, row, scalars.max);
        set_some(&mut self.scale, row, scalars.scale);
        set_some(&mut self.zero_count, row, scalars.zero_count);
        set_some(&mut self.zero_threshold, row, scalars.zero_threshold);
        if data == 9 {
            self.explicit_bounds.end(row);
            self.bucket_counts.end(row);
        }
        self.positive.append(row, &positive)?;
        self.negative.append(row, &negative)?;
        if data == 11 {
            self.quantiles.lists.pad(row);
            self.quantiles.lists.end(self.quantiles.count);
        }
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

    /// The columns of so many rows.
    pub fn finish(&mut self, rows: usize, named: &mut Named) {
        self.count.pad(rows);
        self.zero_count.pad(rows);
        self.scale.pad(rows);
        for column in [
            &mut self.sum,
            &mut self.min,
            &mut self.max,
            &mut self.zero_threshold,
        ] {
            column.pad(rows);
        }
        let (positive_offset, positive_counts) = self.positive.finish(rows);
        let (negative_offset, negative_counts) = self.negative.finish(rows);
        let columns: [(&'static str, ArrayRef); 14] = [
            ("count", Arc::new(self.count.finish())),
            ("sum", Arc::new(self.sum.finish())),
            ("min", Arc::new(self.min.finish())),
            ("max", Arc::new(self.max.finish())),
            ("explicit_bounds", self.explicit_bounds.finish(rows)),
            ("bucket_counts", self.bucket_counts.finish(rows)),
            ("scale", Arc::new(self.scale.finish())),
            ("zero_count", Arc::new(self.zero_count.finish())),
            ("zero_threshold", Arc::new(self.zero_threshold.finish())),
            ("positive_offset", positive_offset),
            ("positive_counts", positive_counts),
            ("negative_offset", negative_offset),
            ("negative_counts", negative_counts),
            ("quantiles", self.quantiles.finish(rows)),
        ];
        named.extend(columns);
    }
}

fn set_some<T: ArrowPrimitiveType>(column: &mut PrimitiveBuilder<T>, row: usize, value: Option<T::Native>) {
    if let Some(value) = value {
        set(column, row, value);
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
    fn append(&mut self, row: usize, buckets: &Singular<'_>) -> Result<(), Malformed> {
        if buckets.bytes().is_none() {
            return Ok(());
        }
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
        set(&mut self.offset, row, offset);
        self.counts.end(row);
        Ok(())
    }

    fn finish(&mut self, rows: usize) -> (ArrayRef, ArrayRef) {
        self.offset.pad(rows);
        (Arc::new(self.offset.finish()), self.counts.finish(rows))
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

    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.count = 0;
        self.lists.pad(rows);
        let columns: Vec<ArrayRef> = vec![Arc::new(self.quantile.finish()), Arc::new(self.value.finish())];
        self.lists.finish_structs(schema::quantile_fields(), columns)
    }
}
