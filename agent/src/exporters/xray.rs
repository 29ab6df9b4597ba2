//! Spans as X-Ray's segment documents. Pure: it maps accepted bytes to JSON, and neither batches
//! nor sends.
//!
//! ```text
//! body ─► span ─► Facts ─┬─► names, http, sql, aws, cause, links   what X-Ray has a field for
//!         (view)  (known ├─► annotations                           what was asked to be indexed
//!                  keys) └─► metadata                              everything else
//! ```
//! A span is a segment or an independent subsegment, as its kind and parent say; a local root that
//! calls out is both, in two documents. What does not fit 64 kB goes on in further subsegments, and
//! what does not fit those is named in the document that lacks it. No attribute gets lost without a
//! word: a text that is cut to what X-Ray takes stays whole in the metadata.

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod annotations;
mod aws;
mod cause;
mod document;
mod draft;
mod facts;
mod http;
mod json;
mod keys;
mod links;
mod mapper;
mod metadata;
mod names;
mod resource;
mod settings;
mod sql;
mod stacks;

#[cfg(test)]
mod tests;

pub use draft::{DOCUMENT_BYTES_MAX, Document};
pub use mapper::{Mapped, Mapper, Unmappable};
pub use settings::Mapping;
