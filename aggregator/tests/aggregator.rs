//! The aggregator from the inside: its parts together, over real directories and sockets.
//! Real processes and real peers are not here; they are in the package system-tests.

#![expect(clippy::panic, reason = "how a test fails, in its helpers too")]

#[path = "aggregator/closed.rs"]
mod closed;
#[path = "aggregator/crash.rs"]
mod crash;
#[path = "aggregator/data.rs"]
mod data;
#[path = "aggregator/faults.rs"]
mod faults;
#[path = "aggregator/gate.rs"]
mod gate;
#[path = "aggregator/ingest.rs"]
mod ingest;
#[path = "aggregator/limits.rs"]
mod limits;
#[path = "aggregator/maintenance.rs"]
mod maintenance;
#[path = "aggregator/rows.rs"]
mod rows;
#[path = "aggregator/s3.rs"]
mod s3;
#[path = "aggregator/sql.rs"]
mod sql;
#[path = "aggregator/store.rs"]
mod store;
