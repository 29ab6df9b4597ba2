//! The agent: one per node, OTLP in, a durable spool, exporters out.
//!
//! `app` is the only module that knows all the parts; receivers and exporters meet in the
//! spool and nowhere else. Nothing here answers questions: that is the aggregator's work.

pub mod app;
pub mod config;
pub mod exporters;
pub mod intake;
pub mod ledger;
pub mod otlp;
pub mod paths;
pub mod receivers;
pub mod requests;
pub mod sampling;
pub mod spool;
pub mod stalls;
pub mod stop;
