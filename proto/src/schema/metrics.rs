//! The schema of metrics: one row per data point, whatever its type.
//!
//! A classic histogram is one row with its bounds and counts, an exponential histogram one
//! row with scale, offsets and counts: bucket `i` of the positive range covers
//! `(base^i, base^(i+1)]` with `base = 2^(2^-scale)`, and starts at `positive_offset`.

use std::sync::LazyLock;

use arrow_schema::{DataType, Field, SchemaRef};

use super::{
    attributes, build, dictionary, exemplar_fields, list_of, optional, origin, quantile_fields, required,
    resource_and_scope, time_pair,
};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    build(&[
        origin(),
        identity(),
        timing(),
        value(),
        histogram(),
        exponential_histogram(),
        rest(),
        attributes(),
        resource_and_scope(),
    ])
});

pub(super) fn schema() -> &'static SchemaRef {
    &SCHEMA
}

fn identity() -> Vec<Field> {
    vec![
        required("metric_name", dictionary()),
        // xxh3-64 of name, resource, scope and attributes, the bits as a signed integer.
        required("series_id", DataType::Int64),
        // gauge, sum, histogram, exponential_histogram, summary.
        required("metric_type", dictionary()),
        // delta, cumulative; null where the type has none; else the number.
        optional("temporality", dictionary()),
        optional("is_monotonic", DataType::Boolean),
        optional("unit", dictionary()),
        optional("description", dictionary()),
        // `Metric.metadata` as the JSON of OTLP: an array of KeyValue.
        optional("metric_metadata", dictionary()),
    ]
}

fn timing() -> Vec<Field> {
    // `time` is when it was received where OTLP has 0; `time_origin` then says "received".
    let mut fields = time_pair("time", false);
    fields.push(optional("time_origin", dictionary()));
    fields.extend(time_pair("start_time", true));
    fields
}

fn value() -> Vec<Field> {
    vec![
        // Gauges and sums. An integer is in `value_int`, and in `value` as a double.
        optional("value", DataType::Float64),
        optional("value_int", DataType::Int64),
        // Histograms and summaries.
        optional("count", DataType::Int64),
        optional("sum", DataType::Float64),
        optional("min", DataType::Float64),
        optional("max", DataType::Float64),
    ]
}

fn histogram() -> Vec<Field> {
    vec![
        optional("explicit_bounds", list_of(DataType::Float64)),
        optional("bucket_counts", list_of(DataType::Int64)),
    ]
}

fn exponential_histogram() -> Vec<Field> {
    vec![
        optional("scale", DataType::Int32),
        optional("zero_count", DataType::Int64),
        optional("zero_threshold", DataType::Float64),
        optional("positive_offset", DataType::Int32),
        optional("positive_counts", list_of(DataType::Int64)),
        optional("negative_offset", DataType::Int32),
        optional("negative_counts", list_of(DataType::Int64)),
    ]
}

fn rest() -> Vec<Field> {
    vec![
        optional("quantiles", list_of(DataType::Struct(quantile_fields()))),
        optional("exemplars", list_of(DataType::Struct(exemplar_fields()))),
        optional("flags", DataType::Int32),
    ]
}
