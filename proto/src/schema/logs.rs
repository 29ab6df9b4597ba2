//! The schema of log records: one row per record.

use std::sync::LazyLock;

use arrow_schema::{DataType, Field, SchemaRef};

use super::{attributes, build, dictionary, optional, origin, resource_and_scope, time_pair};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    build(&[
        origin(),
        timing(),
        content(),
        attributes(),
        rest(),
        resource_and_scope(),
    ])
});

pub(super) fn schema() -> &'static SchemaRef {
    &SCHEMA
}

fn timing() -> Vec<Field> {
    // `time` is the record's own time, else its observed time, else when it was received;
    // `time_origin` is null, "observed" or "received" accordingly.
    let mut fields = time_pair("time", false);
    fields.push(optional("time_origin", dictionary()));
    fields.extend(time_pair("observed_time", true));
    fields
}

fn content() -> Vec<Field> {
    vec![
        optional("severity_number", DataType::Int32),
        optional("severity_text", dictionary()),
        // The text of a string body; any other value as `body_type` says.
        optional("body", DataType::Utf8),
        optional("body_type", dictionary()),
        optional("event_name", dictionary()),
        optional("trace_id", DataType::Binary),
        optional("span_id", DataType::Binary),
        optional("flags", DataType::Int32),
    ]
}

fn rest() -> Vec<Field> {
    vec![optional("dropped_attributes_count", DataType::Int64)]
}
