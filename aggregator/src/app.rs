//! The aggregator's life: builds every part from the top down, runs until a signal or a
//! failure, and ends in stages. The only module that knows all the parts.
//!
//! ```text
//! start:  ingest, http (bound) ─► store ─► registry ─► ready
//! end:    streams stop reading ─► every row is committed and acknowledged ─► registry ─► http
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::Router;
use meridian_proto::signal::Signal;
use meridian_runtime::admin::{self, Check, Health};
use meridian_runtime::backoff::Backoff;
use meridian_runtime::clock::Clock;
use meridian_runtime::http::{self, ConnectionMetrics};
use meridian_runtime::metrics::{self, IntGaugeVec, Registry as Metrics};
use meridian_runtime::net::{Listener, Network};
use meridian_runtime::shutdown::Shutdown;
use meridian_runtime::tasks::Tasks;
use object_store::ObjectStore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiState};
use crate::config::Config;
use crate::coverage::registry::Registry;
use crate::coverage::{AgentState, Coverage};
use crate::ingest::{Ingest, IngestMetrics};
use crate::query::Engine;
use crate::store::{Store, StoreMetrics};

/// How often silence is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Who is expected is exchanged with other aggregators this often.
const EXCHANGE: Duration = Duration::from_secs(5);
/// Between two attempts to open the store.
const OPEN_AGAIN: Duration = Duration::from_millis(250);
const OPEN_AGAIN_MAX: Duration = Duration::from_secs(5);

/// Runs the aggregator until SIGTERM or SIGINT has been obeyed, or a part has failed.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("cannot listen to signals")?;
    Aggregator::start(config, Clock::system())
        .await?
        .run(&shutdown)
        .await
}

/// What an aggregator finds around itself: the machine's own, or a simulation's.
#[derive(Debug)]
pub struct Surroundings {
    /// The time of day.
    pub clock: Clock,
    /// Where agents and people come from.
    pub network: Network,
    /// What the store is on, in place of what its URL says.
    pub objects: Option<Arc<dyn ObjectStore>>,
}

/// An aggregator whose parts are built and whose ports are bound; nothing runs yet.
#[derive(Debug)]
pub struct Aggregator {
    clock: Clock,
    store: Store,
    coverage: Coverage,
    registry: Registry,
    ingest: Ingest,
    stop_ingest: CancellationToken,
    ingest_listener: Listener,
    http_listener: Listener,
    connections: http::Limits,
    metrics: ConnectionMetrics,
    router: Router,
    store_check: Check,
    agents_by_state: IntGaugeVec,
    addresses: Addresses,
    shutdown_timeout: Duration,
}

/// Where an aggregator listens; real ports also where 0 was configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Agents.
    pub ingest: SocketAddr,
    /// Answers and administration.
    pub http: SocketAddr,
}

impl Aggregator {
    /// Builds the parts and binds the ports. The store is opened while it runs: one that is
    /// away is waited for, with the reason in `/readyz`.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        let surroundings = Surroundings {
            clock,
            network: Network::System,
            objects: None,
        };
        Self::start_in(config, surroundings).await
    }

    /// The same in other surroundings.
    pub async fn start_in(config: Config, surroundings: Surroundings) -> anyhow::Result<Self> {
        let Surroundings {
            clock,
            network,
            objects,
        } = surroundings;
        let metrics = Metrics::new();
        metrics::register_process(&metrics, &clock)?;
        let health = Health::new();
        let store_check = health.check("store");
        let store = Store::closed_on(
            objects,
            &config.store,
            clock.clone(),
            StoreMetrics::new(&metrics)?,
        )
        .with_context(|| format!("cannot use the store {}", config.store.url))?;
        let coverage = Coverage::new(config.coverage.clone(), config.regions.clone());
        let registry = Registry::new(store.clone(), coverage.clone(), clock.clone());
        let ingest_listener = bind(&network, config.listen_ingest).await?;
        let http_listener = bind(&network, config.listen_http).await?;
        let addresses = Addresses {
            ingest: ingest_listener.local_addr()?,
            http: http_listener.local_addr()?,
        };
        let stop_ingest = CancellationToken::new();
        let ingest = Ingest::new(
            store.clone(),
            coverage.clone(),
            clock.clone(),
            IngestMetrics::new(&metrics)?,
            config.limits.ingest,
            format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            stop_ingest.clone(),
        );
        let agents_by_state = metrics::gauge_vec(
            &metrics,
            "meridian_aggregator_agents",
            "Agents that are known, by what they are.",
            &["state"],
        )?;
        let engine = Engine::new(
            store.clone(),
            coverage.clone(),
            clock.clone(),
            config.limits.query,
        )?;
        let connection_metrics = ConnectionMetrics::new(&metrics, "meridian_aggregator")?;
        let router = api::router(ApiState { engine }).merge(admin::router(metrics, health));
        Ok(Self {
            clock,
            store,
            coverage,
            registry,
            ingest,
            stop_ingest,
            ingest_listener,
            http_listener,
            connections: config.limits.connections,
            metrics: connection_metrics,
            router,
            store_check,
            agents_by_state,
            addresses,
            shutdown_timeout: config.shutdown_timeout,
        })
    }

    /// Where this aggregator listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The tables, for those who look from inside.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who is expected, for those who look from inside.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Runs until the shutdown is requested or a part fails, and then ends in stages.
    pub async fn run(self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let (streams, commits, others) = (Tasks::new(), Tasks::new(), Tasks::new());
        let (stop_commits, stop_others) = (CancellationToken::new(), CancellationToken::new());
        for signal in Signal::ALL {
            commits.spawn(
                format!("commit {signal}"),
                self.store.clone().run(signal, stop_commits.clone()),
            );
        }
        commits.spawn(
            "maintenance",
            self.store.clone().maintain(self.stop_ingest.clone()),
        );
        let (ingest_metrics, metrics) = (self.metrics.listener("ingest"), self.metrics.listener("http"));
        let serving = self
            .ingest
            .serve(self.ingest_listener, self.connections, ingest_metrics);
        streams.spawn("ingest", serving);
        let options = http::Options {
            limits: self.connections,
            metrics,
            ..http::Options::default()
        };
        let serving = http::serve(self.http_listener, self.router, options, stop_others.clone());
        others.spawn("http", serving);
        let watch = watch(
            self.coverage,
            self.store.clone(),
            self.clock,
            self.store_check,
            self.agents_by_state,
        );
        others.spawn("watch", watch);
        let exchanging = CancellationToken::new();
        let (exchange, exchange_stop) = (Tasks::new(), exchanging.clone());
        let keeping = keep_registry(self.store.clone(), self.registry, exchange_stop);
        exchange.spawn("registry", keeping);
        tracing::info!(ingest = %self.addresses.ingest, http = %self.addresses.http, "listening");
        let failure = tokio::select! {
            () = shutdown.requested() => None,
            failure = streams.failed() => Some(failure),
            failure = commits.failed() => Some(failure),
            failure = others.failed() => Some(failure),
            failure = exchange.failed() => Some(failure),
        };
        let deadline = self.shutdown_timeout;
        self.stop_ingest.cancel();
        end(shutdown, "streams", deadline, &streams).await;
        stop_commits.cancel();
        end(shutdown, "commits", deadline, &commits).await;
        exchanging.cancel();
        end(shutdown, "registry", deadline, &exchange).await;
        stop_others.cancel();
        failure.map_or(Ok(()), |failure| {
            Err(anyhow!(failure).context("a part has failed"))
        })
    }
}

async fn bind(network: &Network, address: SocketAddr) -> anyhow::Result<Listener> {
    network
        .bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// What does not end in time is named in the log and left behind; nothing waits for it.
async fn end(shutdown: &Shutdown, name: &str, deadline: Duration, tasks: &Tasks) {
    let outcome = shutdown.stage(name, deadline, tasks.join(deadline)).await;
    if !matches!(outcome, Ok(Ok(()))) {
        tracing::warn!(stage = name, "ended before its work was done");
    }
}

/// Looks at who is silent, and whether rows can be committed.
async fn watch(
    coverage: Coverage,
    store: Store,
    clock: Clock,
    check: Check,
    agents_by_state: IntGaugeVec,
) -> anyhow::Result<()> {
    const STATES: [AgentState; 5] = [
        AgentState::Ok,
        AgentState::Late,
        AgentState::Silent,
        AgentState::Gone,
        AgentState::Stopped,
    ];
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = clock.now_unix_nanos();
        coverage.tick(now);
        match store.outage() {
            None => check.ready(),
            Some(outage) => check.not_ready(outage.to_string()),
        }
        let agents = coverage.agents(now);
        for state in STATES {
            let count = agents.iter().filter(|agent| agent.state == state).count();
            let gauge = agents_by_state.with_label_values(&[state.as_str()]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// Opens the store and learns who is expected, as often as it takes; false if it is to end.
async fn open(store: &Store, registry: &Registry, stop: &CancellationToken) -> bool {
    let mut backoff = Backoff::new(OPEN_AGAIN, OPEN_AGAIN_MAX);
    loop {
        let opened = async {
            store.open_tables().await?;
            registry.learn().await
        };
        let outcome = tokio::select! {
            () = stop.cancelled() => return false,
            outcome = opened => outcome,
        };
        let Err(error) = outcome else {
            store.serve();
            return true;
        };
        let reason = meridian_runtime::chain(&error);
        tracing::error!(reason, "the store cannot be opened; it is tried again");
        store.note_not_opened(reason);
        tokio::select! {
            () = stop.cancelled() => return false,
            () = backoff.wait() => {}
        }
    }
}

/// Exchanges who is expected once the store is open, and writes it a last time at the end.
async fn keep_registry(store: Store, registry: Registry, stop: CancellationToken) -> anyhow::Result<()> {
    if !open(&store, &registry, &stop).await {
        return Ok(());
    }
    tracing::info!("the store is open");
    let mut rounds = tokio::time::interval(EXCHANGE);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            _ = rounds.tick() => false,
        };
        let outcome = if stopping {
            registry.write().await
        } else {
            registry.exchange().await
        };
        if let Err(error) = outcome {
            // The next round tries again; meanwhile a restart would know an older state.
            tracing::warn!(
                reason = meridian_runtime::chain(&error),
                "who is expected could not be exchanged"
            );
        }
        if stopping {
            return Ok(());
        }
    }
}
