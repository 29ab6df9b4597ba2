//! Rebuilds metrics: data points that agree in all that their metric says share an entry.
//! Other signals are not touched here.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use serde_json::{Map, Value, json};

use super::RebuildError;
use super::columns::{Columns, Object, put};
use super::groups::{Groups, Names, parse};
use crate::schema::{self, names};
use crate::signal::Signal;

const NAMES: Names = Names {
    request: "resourceMetrics",
    scopes: "scopeMetrics",
    items: "metrics",
};

pub(super) fn rebuild(batch: &RecordBatch) -> Result<Value, RebuildError> {
    let columns = Columns::of(Signal::Metrics, batch)?;
    let mut groups = Groups::default();
    let mut known: HashMap<(usize, String), usize> = HashMap::new();
    for row in 0..batch.num_rows() {
        let (data, mut metric) = metric(&columns, row)?;
        let point = point(&columns, data, row)?;
        let group = groups.of(&columns, row);
        let Some(metrics) = groups.items(group) else {
            continue;
        };
        let key = (group, Value::Object(metric.clone()).to_string());
        let place = known.get(&key).and_then(|index| metrics.get_mut(*index));
        if let Some(points) = place.and_then(|metric| points_of(metric, data)) {
            points.push(point);
            continue;
        }
        if let Some(Value::Object(fields)) = metric.get_mut(data) {
            fields.insert("dataPoints".to_owned(), json!([point]));
        }
        known.insert(key, metrics.len());
        metrics.push(Value::Object(metric));
    }
    groups.finish(&NAMES)
}

fn points_of<'a>(metric: &'a mut Value, data: &str) -> Option<&'a mut Vec<Value>> {
    metric.get_mut(data)?.get_mut("dataPoints")?.as_array_mut()
}

/// The name of the metric's data in JSON, and the metric without points.
fn metric(columns: &Columns, row: usize) -> Result<(&'static str, Object), RebuildError> {
    let mut metric = Map::new();
    put(
        &mut metric,
        "name",
        columns.text("metric_name", row).filter(|name| !name.is_empty()),
    );
    put(&mut metric, "description", columns.text("description", row));
    put(&mut metric, "unit", columns.text("unit", row));
    if let Some(text) = columns.text("metric_metadata", row) {
        let metadata = parse(text).map_err(|source| RebuildError::Value {
            column: "metric_metadata",
            source,
        })?;
        metric.insert("metadata".to_owned(), metadata);
    }
    let data = match columns.text("metric_type", row) {
        Some(names::GAUGE) => "gauge",
        Some(names::SUM) => "sum",
        Some(names::HISTOGRAM) => "histogram",
        Some(names::EXPONENTIAL_HISTOGRAM) => "exponentialHistogram",
        _ => "summary",
    };
    let mut fields = Map::new();
    let temporality = columns.text("temporality", row);
    let temporality = temporality.and_then(|text| names::number_of(text, &names::TEMPORALITY));
    put(&mut fields, "aggregationTemporality", temporality);
    put(
        &mut fields,
        "isMonotonic",
        columns.bool("is_monotonic", row).filter(|monotonic| *monotonic),
    );
    metric.insert(data.to_owned(), Value::Object(fields));
    Ok((data, metric))
}

fn point(columns: &Columns, data: &str, row: usize) -> Result<Value, RebuildError> {
    let mut point = Map::new();
    put(&mut point, "attributes", columns.attributes(row, &[])?);
    columns.put_time(&mut point, "startTimeUnixNano", "start_time", row);
    if columns.text("time_origin", row).is_none() {
        columns.put_time(&mut point, "timeUnixNano", "time", row);
    }
    put_number(&mut point, columns, row);
    put(
        &mut point,
        "count",
        columns.count("count", row).filter(|count| count != "0"),
    );
    let sum = columns.double("sum", row);
    // A summary's sum is not optional: its default means absence.
    put(
        &mut point,
        "sum",
        sum.filter(|sum| data != "summary" || sum.as_f64() != Some(0.0) || sum.to_string().starts_with('-')),
    );
    put(&mut point, "min", columns.double("min", row));
    put(&mut point, "max", columns.double("max", row));
    let some = |list: &Vec<Value>| !list.is_empty();
    put(
        &mut point,
        "bucketCounts",
        columns.counts("bucket_counts", row).filter(some),
    );
    put(
        &mut point,
        "explicitBounds",
        columns.doubles("explicit_bounds", row).filter(some),
    );
    put(
        &mut point,
        "scale",
        columns.int32("scale", row).filter(|scale| *scale != 0),
    );
    put(
        &mut point,
        "zeroCount",
        columns.count("zero_count", row).filter(|count| count != "0"),
    );
    put(
        &mut point,
        "zeroThreshold",
        columns
            .double("zero_threshold", row)
            .filter(|zero| *zero != json!(0.0)),
    );
    put(
        &mut point,
        "positive",
        buckets(columns, "positive_offset", "positive_counts", row),
    );
    put(
        &mut point,
        "negative",
        buckets(columns, "negative_offset", "negative_counts", row),
    );
    let quantiles = columns.structs("quantiles", &schema::quantile_fields(), row, quantile)?;
    put(&mut point, "quantileValues", quantiles.filter(some));
    let exemplars = columns.structs("exemplars", &schema::exemplar_fields(), row, exemplar)?;
    put(&mut point, "exemplars", exemplars);
    put(&mut point, "flags", columns.flags(row));
    Ok(Value::Object(point))
}

fn put_number(object: &mut Object, columns: &Columns, row: usize) {
    match columns.count("value_int", row) {
        Some(int) => put(object, "asInt", Some(int)),
        None => put(object, "asDouble", columns.double("value", row)),
    }
}

fn buckets(columns: &Columns, offset: &str, counts: &str, row: usize) -> Option<Object> {
    let mut buckets = Map::new();
    let offset = columns.int32(offset, row)?;
    put(&mut buckets, "offset", (offset != 0).then_some(offset));
    let counts = columns.counts(counts, row).filter(|counts| !counts.is_empty());
    put(&mut buckets, "bucketCounts", counts);
    Some(buckets)
}

fn quantile(columns: &Columns, row: usize) -> Result<Value, RebuildError> {
    let mut quantile = Map::new();
    put(&mut quantile, "quantile", columns.double("quantile", row));
    put(&mut quantile, "value", columns.double("value", row));
    Ok(Value::Object(quantile))
}

fn exemplar(columns: &Columns, row: usize) -> Result<Value, RebuildError> {
    let mut exemplar = Map::new();
    columns.put_time(&mut exemplar, "timeUnixNano", "time", row);
    put_number(&mut exemplar, columns, row);
    put(&mut exemplar, "traceId", columns.id("trace_id", row));
    put(&mut exemplar, "spanId", columns.id("span_id", row));
    put(&mut exemplar, "filteredAttributes", columns.attributes(row, &[])?);
    Ok(Value::Object(exemplar))
}
