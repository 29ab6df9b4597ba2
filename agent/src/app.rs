//! The agent's life: builds every part from the top down, runs until a signal or a failure, and
//! ends in stages. The only module that knows all the parts; it does none of their work.
//!
//! ```text
//! start:  spool ─► receivers (bound) ─► exporters ─► admin ─► ready
//! end:    receivers finish what is in flight ─► exporters deliver ─► Goodbye ─► spool closes
//! ```

pub mod explain;
mod wiring;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures::future::BoxFuture;
use meridian_runtime::admin::{self, Check};
use meridian_runtime::clock::Clock;
use meridian_runtime::http::ListenerMetrics;
use meridian_runtime::net::{Listener, Network};
use meridian_runtime::shutdown::Shutdown;
use meridian_runtime::tasks::{TaskError, Tasks};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::receivers::otlp::OtlpReceiver;
use crate::spool::Spool;
use crate::spool::disk::{Disk, RealDisk};
use crate::stalls::{self, Stalls};
use crate::stop::{Stop, Stopper};

/// What the spool needs to close, out of the time that the whole shutdown has.
const SPOOL_CLOSE: Duration = Duration::from_secs(2);
/// After the spool has failed there is nothing left to wait for long.
const SHUTDOWN_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Runs the agent until SIGTERM or SIGINT has been obeyed, or a part has failed for good.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("cannot listen to signals")?;
    Agent::start(config, Clock::system()).await?.run(&shutdown).await
}

/// An agent whose parts are built and whose ports are bound; nothing runs yet.
pub struct Agent {
    shutdown_timeout: Duration,
    clock: Clock,
    spool: Spool,
    stalls: Stalls,
    receiver: OtlpReceiver,
    exporters: Vec<(String, Exporter)>,
    admin: Listener,
    admin_router: axum::Router,
    admin_metrics: ListenerMetrics,
    addresses: Addresses,
    receivers_ready: Check,
}

/// An exporter that is built and does not run: it is run until it is told to stop.
type Exporter = Box<dyn FnOnce(Stop) -> BoxFuture<'static, Result<(), TaskError>> + Send>;

/// What an agent finds around itself: the machine's own, or a simulation's.
pub struct Surroundings {
    /// The time of day.
    pub clock: Clock,
    /// Where clients come from, and how aggregators are reached.
    pub network: Network,
    /// What the spool is on.
    pub disk: Arc<dyn Disk>,
}

impl Surroundings {
    /// The machine's network and disk, with this clock.
    pub fn of_machine(clock: Clock) -> Self {
        Self {
            clock,
            network: Network::System,
            disk: Arc::new(RealDisk),
        }
    }
}

/// Where an agent listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// OTLP over gRPC.
    pub grpc: SocketAddr,
    /// OTLP over HTTP.
    pub http: SocketAddr,
    /// `/livez`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
}

/// What runs, in the sets in which it ends.
struct Running {
    receivers: Tasks,
    exporters: Tasks,
    background: Tasks,
    stop_receivers: CancellationToken,
    stop_exporters: Stopper,
    stop_admin: CancellationToken,
}

impl Agent {
    /// Where this agent listens; the ports are real ones also if 0 was configured.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The spool, for those who check the books from inside.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Runs until the shutdown is requested or a part fails, and then ends in stages.
    pub async fn run(self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let (timeout, spool, ready) = (
            self.shutdown_timeout,
            self.spool.clone(),
            self.receivers_ready.clone(),
        );
        let running = self.spawn();
        ready.ready();
        let failure = tokio::select! {
            () = shutdown.requested() => None,
            failure = running.failed() => Some(failure),
            () = spool.failed() => Some(anyhow!("the spool's writer has ended; nothing can be accepted any more")),
        };
        ready.not_ready("shutting down");
        let timeout = match &failure {
            Some(failure) => {
                tracing::error!(error = format!("{failure:#}"), "a part has failed, shutting down");
                timeout.min(SHUTDOWN_AFTER_FAILURE)
            }
            None => timeout,
        };
        running.end(shutdown, timeout, &spool).await;
        failure.map_or(Ok(()), Err)
    }

    fn spawn(self) -> Running {
        let running = Running {
            receivers: Tasks::new(),
            exporters: Tasks::new(),
            background: Tasks::new(),
            stop_receivers: CancellationToken::new(),
            stop_exporters: Stopper::default(),
            stop_admin: CancellationToken::new(),
        };
        let stop_admin = running.stop_admin.clone();
        let admin = admin::serve(self.admin, self.admin_router, self.admin_metrics, stop_admin);
        running.background.spawn("admin", admin);
        let alive = show_life(self.spool, self.clock, self.stalls);
        running.background.spawn("alive", alive);
        for (name, exporter) in self.exporters {
            let stop = running.stop_exporters.subscribe();
            running.exporters.spawn(name, exporter(stop));
        }
        let receiving = self.receiver.run(running.stop_receivers.clone());
        running.receivers.spawn("otlp", receiving);
        running
    }
}

impl Running {
    async fn failed(&self) -> anyhow::Error {
        let failed = tokio::select! {
            failed = self.receivers.failed() => failed,
            failed = self.exporters.failed() => failed,
            failed = self.background.failed() => failed,
        };
        anyhow!(failed)
    }

    /// Ends all parts in the order in which they depend on each other. A stage that is not over
    /// in time is logged by name, and the next one begins.
    async fn end(self, shutdown: &Shutdown, timeout: Duration, spool: &Spool) {
        let deadline = Instant::now() + timeout.saturating_sub(SPOOL_CLOSE).max(timeout / 2);
        self.stop_receivers.cancel();
        let receivers_timeout = timeout / 3;
        let receivers = self.receivers.join(receivers_timeout);
        stage(shutdown, "receivers", receivers_timeout, receivers).await;

        self.stop_exporters.stop(deadline);
        // The exporters know the deadline themselves, and then need a moment for Goodbye.
        let exporters_timeout = (deadline + SPOOL_CLOSE / 2).saturating_duration_since(Instant::now());
        let exporters = self.exporters.join(exporters_timeout);
        stage(shutdown, "exporters", exporters_timeout, exporters).await;

        // Aborts the sign of life: the spool's last one is its closing.
        drop(self.receivers);
        drop(self.exporters);
        self.stop_admin.cancel();
        drop(self.background);
        stage(shutdown, "spool", SPOOL_CLOSE, spool.close()).await;
    }
}

async fn stage<T>(shutdown: &Shutdown, name: &str, deadline: Duration, part: impl Future<Output = T>) {
    // Both outcomes are in the log by now, and the next stage begins after either.
    let outcome = shutdown.stage(name, deadline, part).await;
    drop(outcome);
}

/// Once a second, for as long as the process lives: the spool's sign of life, and the search for
/// stalls.
async fn show_life(spool: Spool, clock: Clock, stalls: Stalls) -> Result<(), std::convert::Infallible> {
    let mut tick = tokio::time::interval(stalls::TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        stalls.observe(clock.now_unix_nanos());
        spool.touch_alive();
    }
}
