//! Rebuilds log records. Other signals are not touched here.

use arrow_array::RecordBatch;
use serde_json::{Map, Value};

use super::RebuildError;
use super::columns::{Columns, put};
use super::groups::{Groups, Names};
use crate::attributes::to_otlp;
use crate::signal::Signal;

const NAMES: Names = Names {
    request: "resourceLogs",
    scopes: "scopeLogs",
    items: "logRecords",
};

pub(super) fn rebuild(batch: &RecordBatch) -> Result<Value, RebuildError> {
    let columns = Columns::of(Signal::Logs, batch)?;
    let mut groups = Groups::default();
    for row in 0..batch.num_rows() {
        let record = record(&columns, row)?;
        let group = groups.of(&columns, row);
        if let Some(items) = groups.items(group) {
            items.push(record);
        }
    }
    groups.finish(&NAMES)
}

fn record(columns: &Columns, row: usize) -> Result<Value, RebuildError> {
    let mut record = Map::new();
    // Where the record had no time of its own, `time` is another one.
    if columns.text("time_origin", row).is_none() {
        columns.put_time(&mut record, "timeUnixNano", "time", row);
    }
    columns.put_time(&mut record, "observedTimeUnixNano", "observed_time", row);
    put(
        &mut record,
        "severityNumber",
        columns.int32("severity_number", row),
    );
    put(&mut record, "severityText", columns.text("severity_text", row));
    put(&mut record, "body", body(columns, row)?);
    put(&mut record, "attributes", columns.attributes(row, &[])?);
    put(
        &mut record,
        "droppedAttributesCount",
        columns.int("dropped_attributes_count", row),
    );
    put(&mut record, "flags", columns.flags(row));
    put(&mut record, "traceId", columns.id("trace_id", row));
    put(&mut record, "spanId", columns.id("span_id", row));
    put(&mut record, "eventName", columns.text("event_name", row));
    Ok(Value::Object(record))
}

fn body(columns: &Columns, row: usize) -> Result<Option<Value>, RebuildError> {
    let Some(letter) = columns
        .text("body_type", row)
        .and_then(|text| text.chars().next())
    else {
        return Ok(None);
    };
    let value = to_otlp(letter, columns.text("body", row));
    value.map(Some).map_err(|source| RebuildError::Value {
        column: "body",
        source,
    })
}
