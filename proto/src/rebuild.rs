//! Turns rows back into OTLP JSON: hex ids, 64-bit integers as strings, enums as numbers,
//! fields with their default left out. Rows with the same resource and scope share a group.
//!
//! Rows may come straight from an agent or back from Parquet through a query engine: every
//! column is first cast to its type in [`crate::schema`], and a nullable column that is
//! missing counts as null. Attributes that were promoted come last, in the order of their
//! columns. OTLP protobuf is not written here.

mod columns;
mod groups;
mod logs;
mod metrics;
mod spans;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use serde_json::Value;
use thiserror::Error;

use crate::json::Fault;

/// Rows that are not what the schema says.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// A column that every row needs is not there.
    #[error("the column {column} is missing")]
    Missing {
        /// The column's name.
        column: &'static str,
    },
    /// A column cannot be cast to its type.
    #[error("the column {column} cannot be read")]
    Column {
        /// The column's name.
        column: &'static str,
        /// Why.
        #[source]
        source: ArrowError,
    },
    /// A value is not written as this release writes it.
    #[error("the column {column} holds a value that cannot be read back")]
    Value {
        /// The column's name.
        column: &'static str,
        /// What is wrong with it.
        #[source]
        source: Fault,
    },
}

/// Spans as `{"resourceSpans": […]}`.
pub fn spans(batch: &RecordBatch) -> Result<Value, RebuildError> {
    spans::rebuild(batch)
}

/// Log records as `{"resourceLogs": […]}`.
pub fn logs(batch: &RecordBatch) -> Result<Value, RebuildError> {
    logs::rebuild(batch)
}

/// Data points as `{"resourceMetrics": […]}`; points of one metric share its entry.
pub fn metrics(batch: &RecordBatch) -> Result<Value, RebuildError> {
    metrics::rebuild(batch)
}
