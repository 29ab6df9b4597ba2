//! The OTLP receiver: gRPC and HTTP, two listeners in front of one door.
//!
//! ```text
//! gRPC 4317 -> framing ─┐ memory admission,
//!                       ├─ decompression,   ─> intake (check, hash, spool)
//! HTTP 4318 -> headers ─┘ JSON to protobuf
//! ```
//!
//! Requests are never decoded into structs. TLS is deliberately absent: it ends in the mesh or
//! in front of the node.

mod body;
mod config;
mod door;
mod encoding;
mod fault;
mod grpc;
mod http;
mod rpc;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use meridian_runtime::http::{ConnectionMetrics, Options, PerConnection, serve};
use meridian_runtime::net::{Listener, Network};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

pub use config::OtlpConfig;
pub use encoding::{DecompressError, Encoding};

use crate::intake::admission::Admission;
use crate::intake::workers::Workers;
use crate::intake::{Intake, Store};
use crate::ledger::Ledger;
use door::Door;

/// The value of the label `receiver`.
const NAME: &str = "otlp";
/// A usual request fits into one frame.
const FRAME_BYTES_MAX: u32 = 64 * 1024;

/// Why the receiver could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for OTLP over {protocol}")]
pub struct BindError {
    protocol: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// A receiver whose ports are bound.
pub struct OtlpReceiver {
    grpc: Bound,
    http: Bound,
    door: Door,
    config: OtlpConfig,
    metrics: ConnectionMetrics,
}

struct Bound {
    listener: Listener,
    address: SocketAddr,
}

impl OtlpReceiver {
    /// Binds both ports; nothing is served yet.
    pub async fn bind(
        config: OtlpConfig,
        network: &Network,
        store: Arc<dyn Store>,
        ledger: Ledger,
        metrics: ConnectionMetrics,
    ) -> Result<Self, BindError> {
        let workers = Workers::per_core();
        let door = Door {
            intake: Intake::new(store, workers.clone(), ledger, NAME, config.max_request_items),
            admission: Admission::new(config.memory_max),
            workers,
            request_bytes_max: config.max_request_bytes,
        };
        Ok(Self {
            grpc: Bound::new("gRPC", network, config.grpc).await?,
            http: Bound::new("HTTP", network, config.http).await?,
            door,
            config,
            metrics,
        })
    }

    /// Where gRPC listens; the port is a real one also if 0 was configured.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.address
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http.address
    }

    /// The budget for requests in flight.
    pub fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.door.admission)
    }

    /// Serves until `shutdown` is cancelled and every request in flight is answered.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        tracing::info!(grpc = %self.grpc.address, http = %self.http.address, "receiving OTLP");
        let options = |listener| Options {
            limits: self.config.connections,
            metrics: self.metrics.listener(listener),
            max_frame_bytes: FRAME_BYTES_MAX,
            per_connection: Some(self.share_of_connection()),
            ..Options::default()
        };
        let (grpc_options, http_options) = (options("otlp_grpc"), options("otlp_http"));
        let mut reporter = HealthReporter::new();
        for service in grpc::SERVICES {
            reporter.set_service_status(service, ServingStatus::Serving).await;
        }
        let health = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
        let grpc = grpc::router(self.door.clone(), health);
        let http = http::router(self.door, &self.config.cors_allowed_origins);
        let serving_grpc = serve(self.grpc.listener, grpc, grpc_options, shutdown.clone());
        let serving_http = serve(self.http.listener, http, http_options, shutdown.clone());
        tokio::try_join!(serving_grpc, serving_http, end_health(&mut reporter, shutdown))?;
        Ok(())
    }

    /// Each connection has a part of the memory, which its requests draw from.
    fn share_of_connection(&self) -> PerConnection {
        let (all, bytes_max) = (self.admission(), self.config.max_connection_memory);
        PerConnection(Arc::new(move |extensions| {
            extensions.insert(Admission::within(&all, bytes_max));
        }))
    }
}

impl Bound {
    async fn new(protocol: &'static str, network: &Network, address: SocketAddr) -> Result<Self, BindError> {
        let error = |source| BindError {
            protocol,
            address,
            source,
        };
        let listener = network.bind(address).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        Ok(Self { listener, address })
    }
}

/// Watchers of health are streams without an end: they hear that this is over, and their
/// streams are ended, so that they do not hold up the shutdown.
async fn end_health(reporter: &mut HealthReporter, shutdown: CancellationToken) -> Result<(), Infallible> {
    shutdown.cancelled().await;
    for service in grpc::SERVICES.into_iter().chain([""]) {
        reporter
            .set_service_status(service, ServingStatus::NotServing)
            .await;
        reporter.clear_service_status(service).await;
    }
    Ok(())
}
