//! A whole Meridian on this machine: an aggregator and an agent in each of three regions,
//! all with their defaults, for the parts that measure more than an agent.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meridian_proto::signal::Signal;
use serde::Deserialize;

use crate::agent::{Agent, AgentSpec};
use crate::aggregator::{Aggregator, AggregatorSpec};
use crate::bench::client::{Load, Sending, Told};
use crate::bench::progress;
use crate::lab::Lab;
use crate::peers;

/// Where the agents are.
pub const REGIONS: [&str; 3] = ["eu-central-1", "us-east-1", "ap-northeast-1"];

const POLL: Duration = Duration::from_millis(50);
/// A share of one core that is as good as nothing.
const QUIET_SHARE: f64 = 0.03;
const PYTHON_WITHIN: Duration = Duration::from_secs(120);

/// A running Meridian.
pub struct World {
    /// The aggregator.
    pub aggregator: Aggregator,
    /// One agent per region.
    pub agents: Vec<Agent>,
}

/// What a table's newest version holds.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TableFiles {
    /// How many files.
    pub files: u64,
    /// Their sizes together.
    pub bytes: u64,
    /// Their rows together.
    pub rows: u64,
    /// Where they are.
    pub paths: Vec<std::path::PathBuf>,
}

/// An aggregator as it is by default.
pub fn aggregator_spec() -> AggregatorSpec {
    let mut spec = AggregatorSpec::new("aggregator", &REGIONS);
    "5s".clone_into(&mut spec.commit_interval);
    spec
}

impl World {
    /// Starts the aggregator and the agents of so many regions.
    pub async fn start(lab: &Arc<Lab>, spec: AggregatorSpec, regions: usize) -> Result<Self> {
        let aggregator = Aggregator::start(lab, spec).await?;
        let mut agents = Vec::new();
        for region in &REGIONS[..regions] {
            let spec = AgentSpec::new(&format!("agent-{region}"), region, aggregator.ingest());
            agents.push(Agent::start(lab, spec).await?);
        }
        Ok(Self { aggregator, agents })
    }

    /// Sends a part of the load into each agent, until all is acknowledged.
    pub async fn send(&self, load: &Load) -> Result<Told> {
        let mut part = load.clone();
        part.requests = load.requests.div_ceil(self.agents.len() as u64);
        part.clients = (load.clients / self.agents.len()).max(4);
        let sends = self
            .agents
            .iter()
            .map(|agent| async { Sending::start(agent.grpc(), part.clone()).await?.finish().await });
        let mut all = Told::default();
        for told in futures::future::try_join_all(sends).await? {
            all.acknowledged += told.acknowledged;
            all.refusals += told.refusals;
            all.latencies.extend(told.latencies);
        }
        all.latencies.sort_unstable();
        Ok(all)
    }

    /// Waits until everything is committed, and says now and then how much is not.
    pub async fn committed(&self, within: Duration) -> Result<()> {
        let start = Instant::now();
        let mut said = Instant::now();
        loop {
            let mut pending = 0.0;
            for agent in &self.agents {
                pending += agent.metrics().await?.sum("meridian_agent_pending_items", &[]);
            }
            if pending == 0.0 {
                return Ok(());
            }
            ensure!(start.elapsed() < within, "{pending} items are not committed");
            if said.elapsed() > Duration::from_secs(10) {
                progress(&format!("{pending} items are not committed yet"));
                said = Instant::now();
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the aggregator does nothing for `quiet`, at most for `within`: it compacts
    /// what it has committed. Answers whether it has come to rest.
    pub async fn at_rest(&self, quiet: Duration, within: Duration) -> Result<bool> {
        let start = Instant::now();
        while start.elapsed() < within {
            let (before, since) = (self.aggregator.process.cpu()?.total(), Instant::now());
            tokio::time::sleep(quiet).await;
            let used = self.aggregator.process.cpu()?.total() - before;
            if used.as_secs_f64() < QUIET_SHARE * since.elapsed().as_secs_f64() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a table holds now.
    pub async fn files(&self, lab: &Lab, signal: Signal) -> Result<TableFiles> {
        files(lab, &self.aggregator.store(), signal).await
    }
}

/// What a table of the store in this folder holds, as a reader that is not ours sees it.
pub async fn files(lab: &Lab, store: &Path, signal: Signal) -> Result<TableFiles> {
    let store = store.display().to_string();
    let printed = peers::python(lab, "table_files.py", &[&store, signal.as_str()], PYTHON_WITHIN).await?;
    let last = printed.lines().last().context("nothing was printed")?;
    Ok(serde_json::from_str(last)?)
}
