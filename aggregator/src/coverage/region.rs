//! What the agents of a region say together: whether it is heard, how complete it is, and
//! when an agent that is gone is missed no longer.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_proto::ids::AgentId;

use super::agent::Agent;
use super::gaps::{self, Missing};
use super::report::{AgentState, GapReport, RegionReport, RegionState, Status, Window};
use crate::config::CoverageConfig;

/// Over how many seconds a rate is averaged.
pub(super) const RATE_SECONDS: f64 = 60.0;
/// The share of a region's former traffic at which it counts as back.
const LEVEL_BACK: f64 = 0.9;
const CLOCK_OFFSET_WARN: u64 = 2_000_000_000;
const FORGET_STOPPED: Duration = Duration::from_secs(24 * 3600);
const FORGET_ANY: Duration = Duration::from_secs(30 * 24 * 3600);

/// Takes note of the passing of time.
pub(crate) fn tick(agents: &mut BTreeMap<AgentId, Agent>, config: &CoverageConfig, now: u64) {
    for agent in agents.values_mut() {
        if is_heard(agent.state(config, now)) {
            measure(agent, now);
        }
    }
    note_levels(agents, config, now);
    agents.retain(|_, agent| {
        let since = Duration::from_nanos(now.saturating_sub(agent.record.last_seen));
        let keep = if agent.record.stopped && agent.record.gaps.is_empty() {
            FORGET_STOPPED
        } else {
            FORGET_ANY
        };
        since <= keep || agent.is_expected()
    });
}

fn is_heard(state: AgentState) -> bool {
    matches!(state, AgentState::Ok | AgentState::Late)
}

#[expect(clippy::cast_precision_loss, reason = "a rate, not a count")]
fn measure(agent: &mut Agent, now: u64) {
    let seconds = Duration::from_nanos(now.saturating_sub(agent.ticked)).as_secs_f64();
    // More has not passed since the last tick: the clock was set.
    if agent.ticked != 0 && seconds > 0.0 && seconds < RATE_SECONDS {
        // A young rate is the mean of what was seen so far.
        agent.observed_seconds += seconds;
        let weight = seconds / agent.observed_seconds.min(RATE_SECONDS).max(seconds);
        let rate = agent.rows_since_tick as f64 / seconds;
        agent.record.rate += (rate - agent.record.rate) * weight;
    }
    agent.rows_since_tick = 0;
    agent.ticked = now;
}

/// Remembers how busy a region was when an agent fell silent, and stops expecting the agent
/// once it is gone and the region is as busy without it.
fn note_levels(agents: &mut BTreeMap<AgentId, Agent>, config: &CoverageConfig, now: u64) {
    let mut levels: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for agent in agents.values().filter(|agent| agent.is_expected()) {
        let (all, heard) = levels.entry(agent.record.region.clone()).or_default();
        *all += agent.record.rate;
        if is_heard(agent.state(config, now)) {
            *heard += agent.record.rate;
        }
    }
    let heard_in: Vec<String> = agents
        .values()
        .filter(|agent| is_heard(agent.state(config, now)))
        .map(|agent| agent.record.region.clone())
        .collect();
    for agent in agents.values_mut().filter(|agent| agent.is_expected()) {
        let (all, heard) = levels.get(&agent.record.region).copied().unwrap_or_default();
        match agent.state(config, now) {
            AgentState::Silent | AgentState::Gone if agent.record.level_before.is_none() => {
                agent.record.level_before = Some(all);
            }
            AgentState::Gone if heard_in.contains(&agent.record.region) => {
                let before = agent.record.level_before.unwrap_or(all);
                // Where nothing was delivered before, its return proves nothing.
                if before > 0.0 && heard >= before * LEVEL_BACK {
                    agent.record.released = Some(now);
                }
            }
            _ => {}
        }
    }
}

/// What is known of one region.
pub(crate) fn report(
    name: &str,
    members: &[&Agent],
    config: &CoverageConfig,
    window: Window,
    now: u64,
) -> RegionReport {
    let expected: Vec<&Agent> = members
        .iter()
        .copied()
        .filter(|agent| agent.is_expected())
        .collect();
    let count = |wanted: fn(AgentState) -> bool| {
        expected
            .iter()
            .filter(|agent| wanted(agent.state(config, now)))
            .count()
    };
    let heard = count(is_heard);
    let current = count(|state| state == AgentState::Ok);
    let state = match heard {
        0 => RegionState::Silent,
        _ if current == expected.len() => RegionState::Ok,
        _ => RegionState::Late,
    };
    let last_seen = members.iter().map(|agent| agent.record.last_seen).max();
    let to_u32 = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    RegionReport {
        region: name.to_owned(),
        complete_to: complete_to(members, &expected, config, now).min(last_seen),
        last_seen,
        agents_reporting: to_u32(heard),
        agents_expected: to_u32(expected.len()),
        completeness: completeness(state, current, expected.len()),
        state,
        gaps: gaps_of(members, expected.len(), config, window, now),
    }
}

/// Nothing is known of a silent region: that is null, not zero.
#[expect(clippy::cast_precision_loss, reason = "a share of agents")]
fn completeness(state: RegionState, current: usize, expected: usize) -> Option<f64> {
    (state != RegionState::Silent && expected > 0).then(|| current as f64 / expected as f64)
}

/// The least watermark of those who are expected; where nobody is, the last word of those
/// who were. One expected agent of whom nothing is known makes the whole unknown.
fn complete_to(members: &[&Agent], expected: &[&Agent], config: &CoverageConfig, now: u64) -> Option<u64> {
    let settling = settling(config);
    let watermark = if expected.is_empty() {
        members.iter().filter_map(|agent| agent.complete_to()).max()
    } else {
        expected.iter().map(|agent| agent.complete_to()).min().flatten()
    };
    watermark.map(|watermark| watermark.min(now).saturating_sub(settling))
}

fn settling(config: &CoverageConfig) -> u64 {
    u64::try_from(config.settling.as_nanos()).unwrap_or(u64::MAX)
}

fn gaps_of(
    members: &[&Agent],
    expected: usize,
    config: &CoverageConfig,
    window: Window,
    now: u64,
) -> Vec<GapReport> {
    if members.is_empty() {
        // Never heard of: all of what was asked for is missing, and nobody knows how much.
        return window
            .from
            .map(|from| GapReport {
                from,
                to: window.to,
                share: None,
            })
            .into_iter()
            .collect();
    }
    let total: f64 = members
        .iter()
        .filter(|agent| agent.is_expected())
        .map(|agent| agent.record.rate)
        .sum();
    let mut missing = Vec::new();
    for agent in members {
        // Who is expected no more is not counted among the others, but was one of them.
        let rate = agent.record.rate;
        let (own, one) = if agent.is_expected() { (0.0, 0) } else { (rate, 1) };
        let share = share(rate, total + own, expected + one);
        let closed = agent.record.gaps.iter().map(|gap| Missing {
            from: gap.from,
            to: Some(gap.to),
            share,
        });
        missing.extend(closed);
        // Spans are held back by SDKs before they are sent: what is late began earlier.
        let late = agent.record.late.iter().map(|gap| Missing {
            from: gap.from.saturating_sub(settling(config)),
            to: Some(gap.to),
            share,
        });
        missing.extend(late);
        let from = agent.complete_to().unwrap_or(agent.record.first_seen);
        match agent.state(config, now) {
            AgentState::Ok | AgentState::Stopped => {}
            AgentState::Late | AgentState::Silent | AgentState::Gone => {
                missing.push(Missing {
                    from,
                    to: agent.record.released,
                    share,
                });
            }
        }
    }
    gaps::sum(&missing, window)
}

/// An agent's share of its region's rows; one of equals where it had none.
#[expect(clippy::cast_precision_loss, reason = "a share of agents")]
fn share(rate: f64, total: f64, expected: usize) -> f64 {
    if rate > 0.0 && total > 0.0 {
        (rate / total).min(1.0)
    } else {
        1.0 / expected as f64
    }
}

/// One word for several regions.
pub(crate) fn status(regions: &[RegionReport]) -> Status {
    if regions.iter().all(|region| region.complete_to.is_none()) {
        Status::Unknown
    } else if regions
        .iter()
        .all(|region| region.state == RegionState::Ok && region.gaps.is_empty())
    {
        Status::Ok
    } else {
        Status::Partial
    }
}

/// What a reader should know beyond the numbers.
pub(crate) fn warnings(
    name: &str,
    is_configured: bool,
    members: &[&Agent],
    config: &CoverageConfig,
    now: u64,
    warnings: &mut Vec<String>,
) {
    if members.is_empty() {
        warnings.push(format!("No agent of region {name} has ever reported."));
    } else if !is_configured {
        warnings.push(format!(
            "Region {name} reports, but is not among the configured regions."
        ));
    }
    for agent in members {
        let record = &agent.record;
        let offset = record.clock_offset;
        if offset.unsigned_abs() > CLOCK_OFFSET_WARN && agent.is_expected() {
            let direction = if offset > 0 { "ahead" } else { "behind" };
            let seconds = Duration::from_nanos(offset.unsigned_abs()).as_secs_f64();
            warnings.push(format!(
                "The clock of node {} in region {name} is {seconds:.1} s {direction}; its watermark is corrected.",
                record.node
            ));
        }
        if agent.is_expected() && agent.state(config, now) == AgentState::Gone {
            warnings.push(format!(
                "The agent of node {} in region {name} is gone, and its data is missed.",
                record.node
            ));
        }
        if record.dropped_items > 0 {
            warnings.push(format!(
                "The agent of node {} in region {name} has dropped {} items before they were delivered.",
                record.node, record.dropped_items
            ));
        }
    }
}
