//! The processes that are measured, each with a fresh folder and an empty far side.
//!
//! Peers run as their documentation has them, with gzip out, and block instead of dropping
//! where they can: a target that loses items would look cheap.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::agent::{Agent, AgentSpec};
use crate::bench::{otlp_sink, row_sink};
use crate::lab::Lab;
use crate::peers;
use crate::ports::free_address;
use crate::process::Process;
use crate::wait::eventually;

const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// What a far side has received.
#[derive(Debug, Default)]
pub struct Delivered {
    items: AtomicU64,
    bytes: AtomicU64,
}

impl Delivered {
    /// Counts one message.
    pub fn add(&self, items: u64, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.items.fetch_add(items, Ordering::Relaxed);
    }

    /// Items and bytes until now.
    pub fn so_far(&self) -> (u64, u64) {
        (
            self.items.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Our agent.
    Agent,
    /// Rotel.
    Rotel,
    /// The Collector with its queue in memory.
    Collector,
    /// The Collector with its queue on disk, and fsync.
    CollectorDurable,
    /// Our agent with smaller batches.
    AgentSmall,
    /// Our agent with more clients than it can serve.
    AgentBusy,
    /// Our agent without an aggregator, with a spool that is soon full.
    AgentFull,
}

impl Kind {
    /// Those that are compared, ours first.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Rotel, Self::Collector, Self::CollectorDurable];

    /// How the table names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "meridian-agent (fsynced spool)",
            Self::Rotel => "Rotel (gzip, memory only)",
            Self::Collector => "Collector (gzip, memory only)",
            Self::CollectorDurable => "Collector (gzip, persistent queue, fsync)",
            Self::AgentSmall => "meridian-agent, batches of 1,000",
            Self::AgentBusy => "meridian-agent, aggregator takes all",
            Self::AgentFull => "meridian-agent, aggregator away, spool of 256 MiB full",
        }
    }

    /// The same in a word, for names of files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent | Self::AgentSmall | Self::AgentBusy | Self::AgentFull => "agent",
            Self::Rotel => "rotel",
            Self::Collector | Self::CollectorDurable => "collector",
        }
    }

    /// It is given so many times fewer items, because it takes that much longer for them.
    pub fn share(self) -> u64 {
        match self {
            Self::Agent | Self::AgentBusy | Self::AgentFull => 1,
            Self::Rotel | Self::Collector | Self::AgentSmall => 2,
            Self::CollectorDurable => 8,
        }
    }

    fn spec(self, sink: SocketAddr) -> AgentSpec {
        let mut spec = AgentSpec::new("agent", "eu-central-1", sink);
        match self {
            Self::AgentSmall => "batch_rows: 1000".clone_into(&mut spec.exporter),
            Self::AgentFull => "max_bytes: 256MiB".clone_into(&mut spec.spool),
            _ => {}
        }
        spec
    }

    /// The binary, unless this machine cannot have it.
    pub fn binary(self) -> Result<Option<PathBuf>> {
        match self {
            Self::Rotel => peers::find("rotel"),
            Self::Collector | Self::CollectorDurable => peers::find("otelcol"),
            _ => Process::binary("meridian-agent").map(Some),
        }
    }

    fn is_ours(self) -> bool {
        !matches!(self, Self::Rotel | Self::Collector | Self::CollectorDurable)
    }
}

/// A running target and its far side.
pub struct Target {
    /// Where it takes OTLP over gRPC.
    pub grpc: SocketAddr,
    /// Where it takes OTLP over HTTP.
    pub http: SocketAddr,
    /// What its far side has received.
    pub delivered: Arc<Delivered>,
    running: Running,
    _serving: JoinSet<()>,
}

enum Running {
    Agent(Box<Agent>),
    Peer(Process),
}

impl Target {
    /// Starts it; `None` if this machine cannot have it.
    pub async fn start(lab: &Arc<Lab>, kind: Kind) -> Result<Option<Self>> {
        let mut serving = JoinSet::new();
        let delivered = Arc::new(Delivered::default());
        let (grpc, http, running) = if kind.is_ours() {
            let sink = match kind {
                Kind::AgentFull => free_address(),
                _ => row_sink::listen(&mut serving, Arc::clone(&delivered)),
            };
            let agent = Agent::start(lab, kind.spec(sink)).await?;
            (agent.grpc(), agent.http(), Running::Agent(Box::new(agent)))
        } else {
            let sink = otlp_sink::listen(&mut serving, Arc::clone(&delivered)).await?;
            let (grpc, http) = (free_address(), free_address());
            let Some(mut command) = command(lab, kind, [grpc, http], sink)? else {
                return Ok(None);
            };
            let process = Process::start(kind.name(), &mut command, &lab.path("peer.log"))?;
            eventually(LISTENS_WITHIN, kind.name(), || async {
                TcpStream::connect(grpc).await.context("it does not listen")
            })
            .await?;
            (grpc, http, Running::Peer(process))
        };
        Ok(Some(Self {
            grpc,
            http,
            delivered,
            running,
            _serving: serving,
        }))
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        match &mut self.running {
            Running::Agent(agent) => &mut agent.process,
            Running::Peer(process) => process,
        }
    }
}

fn command(
    lab: &Lab,
    kind: Kind,
    [grpc, http]: [SocketAddr; 2],
    sink: SocketAddr,
) -> Result<Option<Command>> {
    let Some(path) = kind.binary()? else {
        return Ok(None);
    };
    let mut command = Command::new(path);
    if kind == Kind::Rotel {
        command.arg("start");
        command.arg(format!("--otlp-grpc-endpoint={grpc}"));
        command.arg(format!("--otlp-http-endpoint={http}"));
        command.arg(format!("--otlp-exporter-endpoint=http://{sink}"));
        command.arg("--otlp-exporter-compression=gzip");
    } else {
        let is_durable = kind == Kind::CollectorDurable;
        let queue = lab.path("queue");
        std::fs::create_dir_all(&queue)?;
        let yaml = collector_yaml(
            [grpc, http],
            sink,
            is_durable.then(|| queue.display().to_string()),
        );
        command.arg("--config").arg(lab.write("collector.yaml", &yaml)?);
    }
    Ok(Some(command))
}

fn collector_yaml([grpc, http]: [SocketAddr; 2], sink: SocketAddr, queue: Option<String>) -> String {
    let (storage, extensions, service) = match queue {
        None => ("", String::new(), ""),
        Some(folder) => (
            ", storage: file_storage",
            format!("extensions: {{ file_storage: {{ directory: {folder}, fsync: true }} }}\n"),
            "  extensions: [file_storage]\n",
        ),
    };
    let pipeline = "{ receivers: [otlp], exporters: [otlp_grpc] }";
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: \"{grpc}\" }}, \
         http: {{ endpoint: \"{http}\" }} }} }} }}\n\
         exporters:\n  otlp_grpc:\n    endpoint: \"{sink}\"\n    tls: {{ insecure: true }}\n\
         \x20   compression: gzip\n    sending_queue: {{ block_on_overflow: true{storage} }}\n\
         {extensions}service:\n{service}\
         \x20 telemetry: {{ metrics: {{ level: none }} }}\n\
         \x20 pipelines: {{ traces: {pipeline}, logs: {pipeline}, metrics: {pipeline} }}\n"
    )
}
