//! What carries records out of the spool, each exporter with a cursor and a pace of its own.
//!
//! Exporters never import each other: they meet in the spool and nowhere else.

pub mod aggregator;
pub mod aws_otlp;
pub mod cloudwatch_logs;
pub mod cloudwatch_metrics;
pub mod otlp;
pub mod xray;
