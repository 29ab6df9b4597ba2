//! The schema of spans: one row per span, from which the OTLP span can be rebuilt.

use std::sync::LazyLock;

use arrow_schema::{DataType, Field, SchemaRef};

use super::promoted::{self, PromotedType};
use super::{
    attributes, build, dictionary, event_fields, link_fields, list_of, optional, origin, required,
    resource_and_scope, time_pair,
};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    build(&[
        origin(),
        identity(),
        timing(),
        promoted(),
        attributes(),
        rest(),
        resource_and_scope(),
    ])
});

pub(super) fn schema() -> &'static SchemaRef {
    &SCHEMA
}

fn identity() -> Vec<Field> {
    vec![
        required("trace_id", DataType::Binary),
        required("span_id", DataType::Binary),
        optional("parent_span_id", DataType::Binary),
        optional("trace_state", dictionary()),
        optional("flags", DataType::Int32),
        required("name", dictionary()),
        // UNSPECIFIED, INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER; else the number.
        required("kind", dictionary()),
        // UNSET, OK, ERROR; else the number.
        required("status_code", dictionary()),
        optional("status_message", dictionary()),
    ]
}

fn timing() -> Vec<Field> {
    let mut fields = time_pair("start_time", false);
    // End minus start; negative where an application's clock went back.
    fields.push(required("duration_ns", DataType::Int64));
    fields
}

fn promoted() -> Vec<Field> {
    let column = |attribute: &promoted::Promoted| match attribute.kind {
        PromotedType::String => optional(attribute.column, dictionary()),
        PromotedType::Text => optional(attribute.column, DataType::Utf8),
        PromotedType::Int => optional(attribute.column, DataType::Int64),
    };
    promoted::SPAN.iter().map(column).collect()
}

fn rest() -> Vec<Field> {
    vec![
        optional("events", list_of(DataType::Struct(event_fields()))),
        optional("links", list_of(DataType::Struct(link_fields()))),
        optional("dropped_attributes_count", DataType::Int64),
        optional("dropped_events_count", DataType::Int64),
        optional("dropped_links_count", DataType::Int64),
    ]
}
