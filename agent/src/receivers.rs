//! What brings telemetry in. A receiver speaks one protocol and hands OTLP protobuf to the
//! intake; receivers never import each other.

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

pub mod otlp;
