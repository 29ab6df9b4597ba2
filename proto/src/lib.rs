//! What the agent and the aggregator agree on: the stream's messages, the Arrow schema of
//! every signal, how attribute values are written, ids, and the mathematics of histograms.
//!
//! One schema serves the wire, the aggregator's memory and Parquet. This crate does no IO,
//! spawns nothing and knows neither process.

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing, clippy::string_slice)]

pub mod attributes;
pub mod histogram;
pub mod ids;
pub mod json;
pub mod payload;
pub mod rebuild;
pub mod schema;
pub mod signal;
pub mod time;

/// The generated messages of `meridian.v1` (proto/meridian/v1/stream.proto).
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
pub mod stream {
    tonic::include_proto!("meridian.v1");
}

/// The newest revision of the stream that this release speaks.
pub const PROTOCOL: u32 = 1;
