//! OTLP as bytes: what a client sent is checked, stored and turned into rows by walking the
//! protobuf encoding in place.
//!
//! - [`check`] says whether a request is OTLP and leaves out the items that cannot be kept.
//! - [`json_to_protobuf`] turns the JSON encoding into the protobuf one.
//! - [`view`] hands out spans and log records one by one.
//! - [`divide`] makes requests of some of a request's items.
//! - [`RowBuilder`] fills the Arrow columns of `meridian_proto::schema`.
//!
//! Requests are never materialised as owned structs. This module does no IO, knows no
//! transport and spawns nothing.

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod check;
mod descriptors;
pub mod divide;
mod json;
mod rejections;
mod rows;
mod to_json;
pub mod values;
pub mod view;
pub mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use check::{CheckLimits, Checked, check};
pub use json::{JsonFault, json_to_protobuf};
pub use rejections::{Reason, Rejections};
pub use rows::{Origin, RowBuilder};
pub use values::AnyValue;
pub use wire::{Fields, Malformed, Singular};
