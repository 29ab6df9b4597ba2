//! The Arrow schemas of spans, logs and metrics: on the wire, in memory and in Parquet.
//!
//! Conventions, the same in every table:
//! - A column is never removed, renamed or given another type; new ones are nullable and
//!   come last. A reader fills what an older writer did not send with nulls.
//! - A time is `Timestamp(µs, UTC)` and, beside it, a column `…_ns` with the remaining
//!   0–999 ns. Delta has no unsigned types: a 64-bit count above `i64::MAX` is refused, a
//!   32-bit flag word is kept bit for bit in an `Int32`.
//! - Strings that repeat are dictionary-encoded.
//! - Attributes that are not promoted to a column are `Map<Utf8, Utf8>`, and the column
//!   `…_types` beside it has one letter per entry (see [`crate::attributes`]).
//! - Ids are `Binary`. An OTLP field that is absent (or has its default) is null.
//! - Tables are partitioned by `date` and `region`; `date` exists only there.

mod logs;
mod metrics;
pub mod names;
pub mod promoted;
mod spans;

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::signal::Signal;

/// The schema of a signal's rows.
pub fn of(signal: Signal) -> &'static SchemaRef {
    match signal {
        Signal::Spans => spans::schema(),
        Signal::Logs => logs::schema(),
        Signal::Metrics => metrics::schema(),
    }
}

/// The column that says when a row happened, by which tables are pruned and partitioned.
pub fn time_column(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "start_time",
        Signal::Logs | Signal::Metrics => "time",
    }
}

/// Where a row came from: the first columns of every table.
pub const ORIGIN_COLUMNS: [&str; 4] = ["region", "cluster", "node", "agent_id"];

/// The type of a string that repeats.
pub fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The type of every time.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// The fields of a map's entries, named as Delta and Parquet name them.
pub fn map_entry_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ])
}

/// The field of a map's entries.
pub fn map_entries_field() -> Field {
    Field::new("key_value", DataType::Struct(map_entry_fields()), false)
}

/// The type of attributes.
pub fn attribute_map() -> DataType {
    DataType::Map(Arc::new(map_entries_field()), false)
}

/// The field of a list's elements, named as Delta and Parquet name it.
pub fn list_element(data_type: DataType) -> Field {
    Field::new("element", data_type, true)
}

fn list_of(data_type: DataType) -> DataType {
    DataType::List(Arc::new(list_element(data_type)))
}

/// The fields of an event of a span.
pub fn event_fields() -> Fields {
    Fields::from(vec![
        Field::new("time", timestamp(), true),
        Field::new("time_ns", DataType::Int16, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("attributes", attribute_map(), true),
        Field::new("attribute_types", DataType::Utf8, true),
        Field::new("dropped_attributes_count", DataType::Int64, true),
    ])
}

/// The fields of a link of a span.
pub fn link_fields() -> Fields {
    Fields::from(vec![
        Field::new("trace_id", DataType::Binary, true),
        Field::new("span_id", DataType::Binary, true),
        Field::new("trace_state", DataType::Utf8, true),
        Field::new("attributes", attribute_map(), true),
        Field::new("attribute_types", DataType::Utf8, true),
        Field::new("dropped_attributes_count", DataType::Int64, true),
        Field::new("flags", DataType::Int32, true),
    ])
}

/// The fields of an exemplar of a data point. `value_int` holds the value of an exemplar
/// that OTLP sent as an integer; `value` then holds it as a double.
pub fn exemplar_fields() -> Fields {
    Fields::from(vec![
        Field::new("time", timestamp(), true),
        Field::new("time_ns", DataType::Int16, true),
        Field::new("value", DataType::Float64, true),
        Field::new("value_int", DataType::Int64, true),
        Field::new("trace_id", DataType::Binary, true),
        Field::new("span_id", DataType::Binary, true),
        Field::new("attributes", attribute_map(), true),
        Field::new("attribute_types", DataType::Utf8, true),
    ])
}

/// The fields of a summary's quantile.
pub fn quantile_fields() -> Fields {
    Fields::from(vec![
        Field::new("quantile", DataType::Float64, true),
        Field::new("value", DataType::Float64, true),
    ])
}

fn build(groups: &[Vec<Field>]) -> SchemaRef {
    Arc::new(Schema::new(groups.concat()))
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// A time and the column with its remaining nanoseconds.
fn time_pair(name: &str, nullable: bool) -> Vec<Field> {
    vec![
        Field::new(name, timestamp(), nullable),
        Field::new(format!("{name}_ns"), DataType::Int16, nullable),
    ]
}

fn origin() -> Vec<Field> {
    let mut fields: Vec<Field> = ORIGIN_COLUMNS
        .iter()
        .map(|name| required(name, dictionary()))
        .collect();
    // When the agent accepted the request: what is left of `now` is the ingest lag.
    fields.push(required("received_time", timestamp()));
    fields
}

/// The promoted keys of the resource, the scope's name and version, and both as a whole,
/// as the JSON of OTLP (`Resource` and `InstrumentationScope` with their `schemaUrl`).
fn resource_and_scope() -> Vec<Field> {
    let mut fields: Vec<Field> = promoted::RESOURCE
        .iter()
        .map(|attribute| optional(attribute.column, dictionary()))
        .collect();
    fields.extend([
        optional("resource", dictionary()),
        optional("scope_name", dictionary()),
        optional("scope_version", dictionary()),
        optional("scope", dictionary()),
    ]);
    fields
}

fn attributes() -> Vec<Field> {
    vec![
        required("attributes", attribute_map()),
        required("attribute_types", dictionary()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_says_where_and_when() {
        for signal in Signal::ALL {
            let schema = of(signal);
            for column in ORIGIN_COLUMNS {
                let field = schema.field_with_name(column).expect("an origin column");
                assert_eq!(field.data_type(), &dictionary());
            }
            let time = schema
                .field_with_name(time_column(signal))
                .expect("a time column");
            assert_eq!(time.data_type(), &timestamp());
            assert!(!time.is_nullable());
        }
    }

    #[test]
    fn no_column_appears_twice() {
        for signal in Signal::ALL {
            let mut names: Vec<&str> = of(signal)
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{signal}");
        }
    }
}
