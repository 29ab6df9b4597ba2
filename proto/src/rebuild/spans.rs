//! Rebuilds spans. Other signals are not touched here.

use arrow_array::RecordBatch;
use serde_json::{Map, Value};

use super::RebuildError;
use super::columns::{Columns, Object, put};
use super::groups::{Groups, Names};
use crate::schema::{self, names, promoted};
use crate::signal::Signal;

const NAMES: Names = Names {
    request: "resourceSpans",
    scopes: "scopeSpans",
    items: "spans",
};

pub(super) fn rebuild(batch: &RecordBatch) -> Result<Value, RebuildError> {
    let columns = Columns::of(Signal::Spans, batch)?;
    let mut groups = Groups::default();
    for row in 0..batch.num_rows() {
        let span = span(&columns, row)?;
        let group = groups.of(&columns, row);
        if let Some(items) = groups.items(group) {
            items.push(span);
        }
    }
    groups.finish(&NAMES)
}

fn span(columns: &Columns, row: usize) -> Result<Value, RebuildError> {
    let mut span = Map::new();
    put(&mut span, "traceId", columns.id("trace_id", row));
    put(&mut span, "spanId", columns.id("span_id", row));
    put(&mut span, "parentSpanId", columns.id("parent_span_id", row));
    put(&mut span, "traceState", columns.text("trace_state", row));
    put(&mut span, "flags", columns.flags(row));
    put(
        &mut span,
        "name",
        columns.text("name", row).filter(|name| !name.is_empty()),
    );
    put(&mut span, "kind", number(columns, "kind", &names::KINDS, row));
    times(&mut span, columns, row);
    put(&mut span, "attributes", columns.attributes(row, promoted::SPAN)?);
    put(
        &mut span,
        "droppedAttributesCount",
        columns.int("dropped_attributes_count", row),
    );
    let events = columns.structs("events", &schema::event_fields(), row, event)?;
    put(&mut span, "events", events);
    put(
        &mut span,
        "droppedEventsCount",
        columns.int("dropped_events_count", row),
    );
    let links = columns.structs("links", &schema::link_fields(), row, link)?;
    put(&mut span, "links", links);
    put(
        &mut span,
        "droppedLinksCount",
        columns.int("dropped_links_count", row),
    );
    let mut status = Map::new();
    put(&mut status, "message", columns.text("status_message", row));
    put(
        &mut status,
        "code",
        number(columns, "status_code", &names::STATUS, row),
    );
    put(&mut span, "status", (!status.is_empty()).then_some(status));
    Ok(Value::Object(span))
}

fn times(span: &mut Object, columns: &Columns, row: usize) {
    columns.put_time(span, "startTimeUnixNano", "start_time", row);
    let start = columns.time("start_time", row).unwrap_or(0);
    let duration = columns.int("duration_ns", row).unwrap_or(0);
    let end = start.saturating_add_signed(duration);
    put(span, "endTimeUnixNano", (end != 0).then(|| end.to_string()));
}

/// The number of an enum, unless it is the default.
fn number(columns: &Columns, column: &str, names: &[&str], row: usize) -> Option<i32> {
    names::number_of(columns.text(column, row)?, names).filter(|number| *number != 0)
}

fn event(columns: &Columns, row: usize) -> Result<Value, RebuildError> {
    let mut event = Map::new();
    columns.put_time(&mut event, "timeUnixNano", "time", row);
    put(&mut event, "name", columns.text("name", row));
    put(&mut event, "attributes", columns.attributes(row, &[])?);
    put(
        &mut event,
        "droppedAttributesCount",
        columns.int("dropped_attributes_count", row),
    );
    Ok(Value::Object(event))
}

fn link(columns: &Columns, row: usize) -> Result<Value, RebuildError> {
    let mut link = Map::new();
    put(&mut link, "traceId", columns.id("trace_id", row));
    put(&mut link, "spanId", columns.id("span_id", row));
    put(&mut link, "traceState", columns.text("trace_state", row));
    put(&mut link, "attributes", columns.attributes(row, &[])?);
    put(
        &mut link,
        "droppedAttributesCount",
        columns.int("dropped_attributes_count", row),
    );
    put(&mut link, "flags", columns.flags(row));
    Ok(Value::Object(link))
}
