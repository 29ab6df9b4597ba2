//! How much of the truth is in an answer: which agents are expected, up to what time each
//! has delivered, and where nothing can be known. Time comes from outside, and so does IO:
//! `registry` is what keeps this knowledge beside the tables.
//!
//! Three times of an agent matter, all in this side's clock: when it was last heard; its
//! watermark (everything that it accepted before has arrived); and its committed watermark,
//! which is what survives this process.

mod agent;
mod gaps;
mod hand;
mod region;
pub mod registry;
pub mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_proto::ids::AgentId;
use meridian_proto::signal::Signal;
use meridian_proto::stream::{Heartbeat, Hello};
use parking_lot::Mutex;

use crate::config::CoverageConfig;
use crate::store::Lane;
use agent::Agent;
use hand::Hand;

pub use report::{AgentReport, AgentState, GapReport, RegionReport, RegionState, Report, Status, Window};

/// What is known about every agent; clones share it.
#[derive(Debug, Clone)]
pub struct Coverage(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: CoverageConfig,
    /// As configured, in that order.
    regions: Vec<String>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    agents: BTreeMap<AgentId, Agent>,
    hand: Hand,
}

impl Known {
    /// What is known, with every time in it as of a clock that shows `now`.
    fn at(&mut self, now: u64) -> &mut BTreeMap<AgentId, Agent> {
        if let Some(back) = self.hand.moved(now) {
            self.agents.values_mut().for_each(|agent| agent.set_back(back));
        }
        &mut self.agents
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self::new(CoverageConfig::default(), Vec::new())
    }
}

impl Coverage {
    /// Knows no agent yet; the configured regions are expected all the same.
    pub fn new(config: CoverageConfig, regions: Vec<String>) -> Self {
        Self(Arc::new(Shared {
            config,
            regions,
            known: Mutex::default(),
        }))
    }

    /// An agent opened a stream.
    pub fn hello(&self, id: AgentId, hello: &Hello, now: u64) {
        let mut known = self.0.known.lock();
        known
            .at(now)
            .entry(id)
            .or_insert_with(|| Agent::new(id))
            .hello(hello, now);
    }

    /// An agent says how it is.
    pub fn heartbeat(&self, id: AgentId, heartbeat: &Heartbeat, now: u64) {
        self.update(id, now, |agent| agent.heartbeat(heartbeat, now));
    }

    /// Rows of an agent are in memory, and visible.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one message, which this module does not parse"
    )]
    pub fn batch(
        &self,
        id: AgentId,
        signal: Signal,
        lane: Lane,
        last_seq: u64,
        watermark: u64,
        rows: usize,
        now: u64,
    ) {
        self.update(id, now, |agent| {
            agent.batch(signal, lane, last_seq, watermark, rows, now)
        });
    }

    /// An agent ended well. With items pending it stays expected.
    pub fn goodbye(&self, id: AgentId, pending_items: u64, now: u64) {
        self.update(id, now, |agent| agent.goodbye(pending_items, now));
    }

    /// An agent's stream is not read because memory is full here: its silence is ours.
    pub fn held(&self, id: AgentId, now: u64) {
        self.update(id, now, |agent| agent.heard(now));
    }

    /// An agent's stream ended.
    pub fn disconnected(&self, id: AgentId) {
        if let Some(agent) = self.0.known.lock().agents.get_mut(&id) {
            agent.connected = false;
        }
    }

    /// Live rows of an agent up to these sequences (per signal) are committed.
    pub fn committed(&self, committed: impl Fn(AgentId) -> [u64; 3]) {
        let mut known = self.0.known.lock();
        for agent in known.agents.values_mut().filter(|agent| agent.awaits_commit()) {
            agent.committed(committed(agent.record.id));
        }
    }

    /// Takes note of the passing of time: rates, and who is expected no more. Once a second.
    pub fn tick(&self, now: u64) {
        region::tick(self.0.known.lock().at(now), &self.0.config, now);
    }

    fn update(&self, id: AgentId, now: u64, change: impl FnOnce(&mut Agent)) {
        if let Some(agent) = self.0.known.lock().at(now).get_mut(&id) {
            change(agent);
        }
    }

    /// How complete an answer about `window` is, as known at `now_unix_nanos`, for the named
    /// regions or (`None`) all that are configured or were seen.
    pub fn report(&self, now_unix_nanos: u64, regions: Option<&[String]>, window: Window) -> Report {
        let mut known = self.0.known.lock();
        let agents = known.at(now_unix_nanos);
        let scope = match regions {
            Some(names) => names.to_vec(),
            None => self.all_regions(agents),
        };
        let mut warnings = Vec::new();
        let reports: Vec<RegionReport> = scope
            .iter()
            .map(|name| {
                let is_configured = self.0.regions.contains(name);
                let members: Vec<&Agent> = agents.values().filter(|one| one.record.region == *name).collect();
                region::warnings(
                    name,
                    is_configured,
                    &members,
                    &self.0.config,
                    now_unix_nanos,
                    &mut warnings,
                );
                region::report(name, &members, &self.0.config, window, now_unix_nanos)
            })
            .collect();
        let complete_to = reports
            .iter()
            .map(|region| region.complete_to)
            .try_fold(u64::MAX, |least, to| Some(least.min(to?)))
            .filter(|_| !reports.is_empty());
        let mut status = region::status(&reports);
        if window.from.is_some_and(|from| from >= now_unix_nanos) {
            status = Status::Unknown;
            warnings.push("The question is about the future, of which nothing is known.".to_owned());
        }
        Report {
            status,
            as_of: now_unix_nanos,
            complete_to,
            regions: reports,
            warnings,
        }
    }

    /// The configured regions in their order, then the unexpected ones.
    fn all_regions(&self, agents: &BTreeMap<AgentId, Agent>) -> Vec<String> {
        let mut seen: Vec<String> = agents
            .values()
            .map(|agent| agent.record.region.clone())
            .filter(|region| !self.0.regions.contains(region))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        self.0.regions.iter().cloned().chain(seen).collect()
    }

    /// Every agent that is known, ordered by region, cluster and node.
    pub fn agents(&self, now_unix_nanos: u64) -> Vec<AgentReport> {
        let mut known = self.0.known.lock();
        let agents = known.at(now_unix_nanos).values();
        let mut reports: Vec<AgentReport> = agents
            .map(|agent| agent.report(&self.0.config, now_unix_nanos))
            .collect();
        reports.sort_by(|left, right| {
            let place = |one: &AgentReport| {
                (
                    one.region.clone(),
                    one.cluster.clone(),
                    one.node.clone(),
                    one.agent_id,
                )
            };
            place(left).cmp(&place(right))
        });
        reports
    }
}

#[cfg(test)]
mod tests;
