//! The aggregator exporter over real sockets and a real spool, against an aggregator that
//! misbehaves on demand.
//!
//! What the real aggregator makes of the batches is not proved here; the system tests run it.

mod delivering;
mod fake;
mod misbehaving;
mod process;
mod rig;
