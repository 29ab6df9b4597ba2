//! Builds the agent's parts, one line for each, and says what was built.
//!
//! Everything that can be refused at a start is refused here: a spool in use, a port that is
//! taken. Nothing runs yet.

use std::sync::Arc;

use anyhow::Context as _;
use meridian_runtime::admin::{self, Health};
use meridian_runtime::clock::Clock;
use meridian_runtime::http::ConnectionMetrics;
use meridian_runtime::metrics::{self, Registry};
use meridian_runtime::tasks;
use meridian_runtime::units::ByteSize;

use super::{Addresses, Agent, Exporter, Surroundings};
use crate::config::{Config, ExporterKind};
use crate::exporters::aggregator::{self, Aggregator};
use crate::exporters::aws_otlp::AwsOtlp;
use crate::exporters::cloudwatch_logs::CloudwatchLogs;
use crate::exporters::cloudwatch_metrics::{self, CloudwatchMetrics};
use crate::exporters::otlp::Otlp;
use crate::exporters::xray::Xray;
use crate::ledger::{self, Ledger};
use crate::otlp::Origin;
use crate::receivers::otlp::OtlpReceiver;
use crate::requests;
use crate::requests::courier::{self, Courier};
use crate::requests::metrics::Metrics;
use crate::requests::sink::Sink;
use crate::spool::Spool;
use crate::spool::disk::Disk;
use crate::stalls::Stalls;

impl Agent {
    /// Builds the parts and binds the ports.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        Self::start_in(config, Surroundings::of_machine(clock)).await
    }

    /// The same in other surroundings.
    pub async fn start_in(config: Config, surroundings: Surroundings) -> anyhow::Result<Self> {
        let Surroundings { clock, network, disk } = surroundings;
        let started_unix_nanos = clock.now_unix_nanos();
        let registry = Registry::new();
        let health = Health::new();
        let (spool_check, receivers_check) = (health.check("spool"), health.check("receivers"));
        metrics::register_process(&registry, &clock)?;
        let ledger = Ledger::new(&registry)?;
        let connections = ConnectionMetrics::new(&registry, "meridian_agent")?;
        let spool = open_spool(&config, disk, clock).await?;
        let clock = spool.clock().clone();
        let last_alive = spool.recovery().last_alive_unix_nanos;
        let stalls = Stalls::new(if started_unix_nanos < last_alive {
            // The clock was set back while nothing ran: no time to count from.
            clock.now_unix_nanos()
        } else {
            started_unix_nanos
        });
        take_only_what_is_wanted(&config, &spool);
        ledger::spooled::register(&registry, &ledger, &spool, &config.exporter_names())?;
        spool_check.ready();
        let receiver = OtlpReceiver::bind(
            config.otlp.clone(),
            &network,
            Arc::new(spool.clone()),
            ledger.clone(),
            connections.clone(),
        )
        .await?;
        let requests = courier::Context {
            spool: spool.clone(),
            ledger: ledger.clone(),
            metrics: Metrics::new(&registry)?,
        };
        let context = aggregator::Context {
            spool: spool.clone(),
            clock: clock.clone(),
            network: network.clone(),
            origin: origin(&config, &spool),
            started_unix_nanos,
            ledger,
            metrics: aggregator::Metrics::new(&registry)?,
            stalls: stalls.clone(),
        };
        let cloudwatch = cloudwatch_metrics::Metrics::new(&registry)?;
        let exporters = build_exporters(&config, &context, &requests, &cloudwatch)?;
        let admin = network
            .bind(config.admin)
            .await
            .with_context(|| format!("cannot listen on {} for the admin endpoints", config.admin))?;
        let addresses = Addresses {
            grpc: receiver.grpc_address(),
            http: receiver.http_address(),
            admin: admin.local_addr()?,
        };
        tracing::info!(region = config.region, cluster = config.cluster, node = config.node,
            grpc = %addresses.grpc, http = %addresses.http, admin = %addresses.admin, "the agent is built");
        Ok(Self {
            shutdown_timeout: config.shutdown_timeout,
            clock,
            spool,
            stalls,
            receiver,
            exporters,
            admin,
            admin_router: admin::router(registry, health),
            admin_metrics: connections.listener("admin"),
            addresses,
            receivers_ready: receivers_check,
        })
    }
}

async fn open_spool(config: &Config, disk: Arc<dyn Disk>, clock: Clock) -> anyhow::Result<Spool> {
    let (settings, names) = (config.spool.clone(), config.exporter_names());
    let spool = tasks::blocking("spool open", move || {
        Spool::open_on(disk, settings, clock, &names)
    })
    .await??;
    let recovery = spool.recovery();
    tracing::info!(
        agent_id = %spool.identity(),
        path = %config.spool.path.display(),
        bytes = %ByteSize(spool.bytes()),
        bytes_max = %ByteSize(config.spool.max_bytes),
        records = recovery.records,
        closed_cleanly = recovery.clean,
        torn_bytes = recovery.torn_bytes,
        corrupt_records = recovery.corrupt_records,
        segments_set_aside = recovery.segments_set_aside,
        "the spool is open"
    );
    Ok(spool)
}

fn origin(config: &Config, spool: &Spool) -> Origin {
    Origin {
        region: config.region.clone(),
        cluster: config.cluster.clone(),
        node: config.node.clone(),
        agent_id: spool.identity().to_string(),
    }
}

/// Of the other signals nothing is kept for an exporter, nor counted as pending for it.
fn take_only_what_is_wanted(config: &Config, spool: &Spool) {
    for exporter in &config.exporters {
        spool.takes_only(&exporter.name, exporter.kind.signals());
    }
}

fn build_exporters(
    config: &Config,
    context: &aggregator::Context,
    requests: &courier::Context,
    cloudwatch: &cloudwatch_metrics::Metrics,
) -> anyhow::Result<Vec<(String, Exporter)>> {
    let build = |exporter: &crate::config::Exporter| {
        let name = exporter.name.clone();
        let built: Exporter = match &exporter.kind {
            ExporterKind::Aggregator(settings) => {
                let endpoints: Vec<&str> = settings.endpoints.iter().map(|url| url.as_str()).collect();
                say(&name, &endpoints.join(", "), &context.spool);
                let aggregator = Aggregator::new(name.clone(), settings.clone(), context.clone());
                Box::new(|stop| {
                    Box::pin(async {
                        let Ok(()) = aggregator.run(stop).await;
                        Ok(())
                    })
                })
            }
            ExporterKind::AwsOtlp(settings) => {
                let sink = AwsOtlp::new(settings, &context.origin, context.clock.clone())?;
                courier(&name, sink, settings.requests, requests)
            }
            ExporterKind::CloudwatchLogs(settings) => {
                let sink = CloudwatchLogs::new(settings, &context.origin, context.clock.clone())?;
                courier(&name, sink, settings.requests, requests)
            }
            ExporterKind::CloudwatchMetrics(settings) => {
                let sink = CloudwatchMetrics::new(&name, settings, context.spool.clone(), cloudwatch)?;
                courier(&name, sink, settings.requests, requests)
            }
            ExporterKind::Otlp(settings) => courier(&name, Otlp::new(settings)?, settings.requests, requests),
            ExporterKind::Xray(settings) => {
                let sink = Xray::new(settings, context.clock.clone())?;
                courier(&name, sink, settings.requests, requests)
            }
        };
        Ok((name, built))
    };
    config.exporters.iter().map(build).collect()
}

fn courier<S: Sink>(
    name: &str,
    sink: S,
    settings: requests::settings::Settings,
    context: &courier::Context,
) -> Exporter {
    say(name, sink.endpoint(), &context.spool);
    let courier = Courier::new(name.to_owned(), sink, settings, context.clone());
    Box::new(|stop| Box::pin(courier.run(stop)))
}

fn say(exporter: &str, endpoint: &str, spool: &Spool) {
    let pending = spool.pending(exporter);
    tracing::info!(exporter, endpoint, pending_items = pending.items,
        pending_bytes = %ByteSize(pending.bytes), "exporting");
}
