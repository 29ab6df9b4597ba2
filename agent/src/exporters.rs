//! What carries records out of the spool, each exporter with a cursor and a pace of its own.
//!
//! Exporters never import each other; what they share is here: how they are told to stop, and
//! the stalls of this process, which every peer must hear about.

pub mod aggregator;
pub mod stalls;
pub mod stop;
