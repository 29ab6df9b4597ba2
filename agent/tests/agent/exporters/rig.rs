//! A spool in a temporary directory, exporters on it, and the books that must balance.

use std::time::Duration;

use bytes::Bytes;
use meridian_agent::exporters::aggregator::{Aggregator, BatchLimits, Context, Metrics, Settings};
use meridian_agent::ledger::{Ledger, spooled};
use meridian_agent::otlp::Origin;
use meridian_agent::spool::{NewRecord, Spool, SpoolConfig};
use meridian_agent::stalls::Stalls;
use meridian_agent::stop::{Stop, Stopper};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::config::{FromConfig, HttpUrl};
use meridian_runtime::metrics::{self, Registry};
use meridian_runtime::net::Network;
use meridian_runtime::tasks::{TaskError, Tasks};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use tempfile::TempDir;
use tokio::time::Instant;

use super::fake::Fake;

pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Rig {
    pub directory: TempDir,
    pub spool: Spool,
    pub clock: Clock,
    pub registry: Registry,
    pub ledger: Ledger,
    pub stalls: Stalls,
    names: Vec<String>,
    stopper: Stopper,
    tasks: Tasks,
}

impl Rig {
    pub fn new(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::reopen(directory, names)
    }

    pub fn reopen(directory: TempDir, names: &[&str]) -> Self {
        let clock = Clock::system();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut config = SpoolConfig::new(directory.path());
        config.fsync = false;
        config.segment_bytes = 64 * 1024;
        let spool = Spool::open(config, clock.clone(), &names).expect("the spool opens");
        let registry = Registry::new();
        let ledger = Ledger::new(&registry).expect("a new registry");
        spooled::register(&registry, &ledger, &spool, &names).expect("a new registry");
        Self {
            stalls: Stalls::new(clock.now_unix_nanos()),
            directory,
            spool,
            clock,
            registry,
            ledger,
            names,
            stopper: Stopper::default(),
            tasks: Tasks::new(),
        }
    }

    /// Starts one exporter for each name; all with the same endpoints.
    pub fn export_to(&self, endpoints: &[&Fake]) {
        let context = Context {
            network: Network::System,
            spool: self.spool.clone(),
            clock: self.clock.clone(),
            origin: Origin {
                region: "eu-central-1".to_owned(),
                cluster: "prod-eu".to_owned(),
                node: "node-1".to_owned(),
                agent_id: self.spool.identity().to_string(),
            },
            started_unix_nanos: self.clock.now_unix_nanos(),
            ledger: self.ledger.clone(),
            metrics: Metrics::new(&self.registry).expect("exporters are started once"),
            stalls: self.stalls.clone(),
        };
        for name in &self.names {
            let exporter = Aggregator::new(name.clone(), settings(endpoints), context.clone());
            self.tasks
                .spawn(name.clone(), exporter.run(self.stopper.subscribe()));
        }
    }

    /// Runs another exporter.
    pub fn run<F>(&self, name: &str, exporter: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = Result<(), TaskError>> + Send + 'static,
    {
        self.tasks
            .spawn(name.to_owned(), exporter(self.stopper.subscribe()));
    }

    /// Accepts a request of so many log records.
    pub async fn accept_logs(&self, items: u32) {
        self.accept(Signal::Logs, items, logs(items)).await;
    }

    pub async fn accept(&self, signal: Signal, items: u32, body: Vec<u8>) {
        let record = NewRecord {
            signal,
            items,
            hash: None,
            body: Bytes::from(body),
            overlay: Bytes::new(),
        };
        self.spool.append(record).await.expect("the spool has room");
        self.ledger.accepted("test", signal).inc_by(u64::from(items));
    }

    /// Tells the exporters to end and waits for them.
    pub async fn stop(&self, within: Duration) {
        self.stopper.stop(Instant::now() + within);
        self.tasks
            .join(within + DEADLINE)
            .await
            .expect("the exporters end");
    }

    /// The sum of a metric's samples with this exporter (or without one) and signal.
    pub fn sum(&self, name: &str, exporter: &str, signal: Signal) -> i64 {
        sum(&self.text(), name, exporter, signal)
    }

    fn text(&self) -> String {
        metrics::text(&self.registry).expect("text")
    }

    /// How often streams failed for this reason.
    pub fn failures(&self, reason: &str) -> usize {
        let text = metrics::text(&self.registry).expect("text");
        let belongs = |line: &&str| {
            line.starts_with("meridian_agent_exporter_stream_failures_total{")
                && line.contains(&format!("reason=\"{reason}\""))
        };
        let value = |line: &str| {
            line.rsplit(' ')
                .next()
                .and_then(|value| value.parse::<usize>().ok())
        };
        text.lines().filter(belongs).filter_map(value).sum()
    }

    /// accepted + recovered = delivered + pending + dropped, for every exporter and signal.
    pub fn assert_ledger_balances(&self) {
        let text = self.text();
        for exporter in &self.names {
            for signal in Signal::ALL {
                assert_balances(&text, exporter, signal);
            }
        }
    }

    pub fn delivered_logs(&self, exporter: &str) -> i64 {
        self.sum("meridian_agent_delivered_items_total", exporter, Signal::Logs)
    }
}

/// The sum of the samples of a metric with this exporter (or without one) and signal, in the text of
/// `/metrics`.
pub fn sum(text: &str, name: &str, exporter: &str, signal: Signal) -> i64 {
    let belongs = |line: &&str| {
        line.starts_with(&format!("{name}{{"))
            && line.contains(&format!("signal=\"{signal}\""))
            && (!line.contains("exporter=") || line.contains(&format!("exporter=\"{exporter}\"")))
    };
    let value = |line: &str| {
        line.rsplit(' ')
            .next()
            .and_then(|value| value.parse::<i64>().ok())
    };
    text.lines().filter(belongs).filter_map(value).sum()
}

/// The rule of the ledger, in the text of `/metrics`.
pub fn assert_balances(text: &str, exporter: &str, signal: Signal) {
    let of = |name: &str| sum(text, &format!("meridian_agent_{name}"), exporter, signal);
    let came = of("accepted_items_total") + of("recovered_items");
    let went = of("delivered_items_total") + of("pending_items") + of("dropped_items_total");
    assert_eq!(came, went, "{exporter} {signal}");
}

fn settings(endpoints: &[&Fake]) -> Settings {
    let url = |fake: &&Fake| HttpUrl::from_config(&format!("http://{}", fake.address)).expect("a URL");
    let mut settings = Settings::new(endpoints.iter().map(url).collect());
    settings.batch = BatchLimits {
        rows: 50,
        bytes: 16 * 1024,
        linger: Duration::from_millis(10),
    };
    settings.connect_timeout = Duration::from_millis(500);
    settings.ack_timeout = Duration::from_millis(500);
    settings.reconnect_max = Duration::from_millis(50);
    settings
}

/// An OTLP request of so many log records.
pub fn logs(items: u32) -> Vec<u8> {
    let log = LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        severity_text: "a severity that takes some room".to_owned(),
        ..LogRecord::default()
    };
    let scope_logs = ScopeLogs {
        log_records: vec![log; items as usize],
        ..ScopeLogs::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![scope_logs],
            ..ResourceLogs::default()
        }],
    };
    request.encode_to_vec()
}

/// Polls until it holds, or panics with what was awaited.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
