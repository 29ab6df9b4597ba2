//! What brings telemetry in. A receiver speaks one protocol and hands OTLP protobuf to the
//! intake; receivers never import each other.

pub mod otlp;
