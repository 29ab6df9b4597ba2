//! The exporters over real sockets and a real spool, against an aggregator and a backend that
//! misbehave on demand.
//!
//! What the real aggregator makes of the batches is not proved here; the system tests run it.

mod aws_otlp;
mod backend;
mod child;
mod cloudwatch_logs;
mod cloudwatch_metrics;
mod delivering;
mod fake;
mod iam;
mod misbehaving;
mod otlp;
mod process;
mod rig;
mod spans;
mod standin;
mod together;
mod xray;
