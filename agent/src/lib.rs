//! The agent: one per node, OTLP in, a durable spool, exporters out.

pub mod otlp;
pub mod spool;
