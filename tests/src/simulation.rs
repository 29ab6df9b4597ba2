//! Whole agents and aggregators on one thread, over a simulated network, disk, object store and
//! clock, with faults that come from a seed. The same seed gives the same run, event by event.
//!
//! ```text
//! clients ─HTTP─► agent 0 ─┐                      ┌─► aggregator 0 ─┐
//! clients ─HTTP─► agent 1 ─┴─ simulated network ──┴─► aggregator 1 ─┴─► one bucket in memory
//! ```
//! Time is tokio's paused clock: it leaps to the next thing that happens. Nothing of the product
//! is replaced but what touches the machine: it does not simulate threads that run at the same
//! time, a disk that lies about a sync, or a store in a directory.

mod bucket;
mod checks;
mod clients;
pub mod driver;
mod events;
mod network;
mod plan;
mod rows;
pub mod run;
mod world;
