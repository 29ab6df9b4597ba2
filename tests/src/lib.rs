//! What the tests of the whole system need: real processes with generated configuration,
//! load, a proxy that cuts connections, and readers of answers and ledgers.
//!
//! Nothing here knows how a process works inside: everything goes through files, signals
//! and the network, as a user's would.

pub mod agent;
pub mod aggregator;
pub mod answers;
pub mod bench;
pub mod damage;
pub mod fake_agent;
pub mod fake_aggregator;
pub mod hostile;
pub mod hostile_otlp;
pub mod lab;
pub mod ledger;
pub mod load;
pub mod metrics;
pub mod minio;
pub mod moto;
pub mod network;
pub mod otlp;
pub mod overload;
pub mod peers;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod s3_proxy;
pub mod simulation;
pub mod small_disk;
pub mod wait;
