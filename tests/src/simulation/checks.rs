//! The invariants of the system, as they are checked while a run lasts and after it: what was
//! acknowledged is there, once; the books balance; and no answer claims what is not so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use meridian_aggregator::coverage::{Coverage, RegionReport, RegionState, Window};
use meridian_aggregator::store::Store;
use meridian_proto::signal::Signal;
use object_store::path::Path;

use super::clients::{self, Book, Sent};
use super::plan::{Fault, Plan};
use super::rows::{Files, Id, Log, ids_of};
use super::world::{Kind, SEGMENT_BYTES, World};
use crate::ledger::ledger_balances;
use crate::metrics::Metrics;

/// A region whose only agent has been dead for so long is silent by now: `silent_after`, and what
/// another aggregator's word takes to be written and read.
const SILENT_AFTER: Duration = Duration::from_secs(26);
/// Where an aggregator's clock was set, another's word may have been written when it was last
/// looked at, or any time since.
const LOOKS_APART: Duration = Duration::from_secs(5);
const SECOND: u64 = 1_000_000_000;

/// What the checks remember.
#[derive(Default)]
pub(super) struct Checks {
    files: Files,
}

impl Checks {
    /// While the run lasts.
    pub(super) async fn sample(&mut self, world: &World, book: &Book) -> Result<()> {
        for aggregator in 0..world.plan.aggregators {
            self.coverage(world, aggregator, book).await?;
        }
        Ok(())
    }

    /// `silence_is_visible`, and the times of an answer are times that were.
    async fn coverage(&mut self, world: &World, aggregator: usize, book: &Book) -> Result<()> {
        let number = world.machine_of(aggregator);
        let Kind::Aggregator(inside) = &world.machines[number].kind else {
            return Ok(());
        };
        let (coverage, store, since) = {
            let inside = inside.lock();
            (inside.coverage.clone(), inside.store.clone(), inside.since)
        };
        let (Some(coverage), Some(store), Some(since)) = (coverage, store, since) else {
            return Ok(());
        };
        if store.outage().is_some_and(|outage| outage.is_closed) {
            return Ok(());
        }
        rows_within_limit(world, number, &store);
        let now = world.clock_of(number).now_unix_nanos();
        let report = coverage.report(now, None, Window::default());
        let visible = self.visible(world, &store).await?;
        agents_are_past(world, number, &coverage, now);
        let silent_after = silent_after(&world.plan);
        for (agent, region) in report.regions.iter().enumerate() {
            times_are_past(world, number, region, now);
            if !world.is_misled {
                complete_is_complete(world, number, agent, region, &visible, &book.lock());
            }
            let dead = world.machines[agent]
                .down_since
                .is_some_and(|since| since.elapsed() > silent_after);
            if dead && since.elapsed() > silent_after && region.state == RegionState::Ok {
                world.events.violated(
                    "silence_is_visible",
                    format!("machine {number} says that {} is ok", region.region),
                );
            }
        }
        Ok(())
    }

    async fn visible(&mut self, world: &World, store: &Store) -> Result<BTreeSet<Id>> {
        let mut visible = BTreeSet::new();
        for signal in Signal::ALL {
            let view = store.view(signal);
            for file in view.files.iter() {
                // Of a view that is a moment old a file may be vacuumed.
                if let Ok(ids) = self.files.ids(&world.bucket, signal, &file.path).await {
                    visible.extend(ids);
                }
            }
            for hot in &view.hot {
                visible.extend(ids_of(signal, &hot.batch)?);
            }
        }
        Ok(visible)
    }

    /// After all is healed and delivered.
    pub(super) async fn end(&mut self, world: &World, book: &Book) -> Result<()> {
        for agent in 0..world.plan.agents {
            let text = clients::get(&world.net, world.admin(agent), "/metrics").await?;
            if let Err(how) = ledger_balances(&Metrics::parse(&text)?) {
                world.events.violated("ledger_balances", how);
            }
        }
        for signal in Signal::ALL {
            let log = match Log::replay(signal, &world.bucket.entries()) {
                Ok(log) => log,
                Err(error) => {
                    world.events.violated("log_is_sound", format!("{error:#}"));
                    continue;
                }
            };
            let mut counts: BTreeMap<Id, u32> = BTreeMap::new();
            for name in &log.files {
                let path = Path::parse(format!("store/{signal}/{name}"))?;
                match self.files.ids(&world.bucket, signal, &path).await {
                    Ok(ids) => ids.iter().for_each(|id| *counts.entry(*id).or_default() += 1),
                    Err(error) => world.events.violated("no_acked_item_lost", format!("{error:#}")),
                }
            }
            rows_are_right(world, signal, &book.lock(), &counts);
        }
        Ok(())
    }
}

fn silent_after(plan: &Plan) -> Duration {
    let is_set = plan
        .faults
        .iter()
        .any(|(_, fault)| matches!(fault, Fault::ClockJumps { machine, .. } if *machine >= plan.agents));
    if is_set {
        SILENT_AFTER + LOOKS_APART
    } else {
        SILENT_AFTER
    }
}

fn rows_are_right(world: &World, signal: Signal, book: &BTreeMap<Id, Sent>, counts: &BTreeMap<Id, u32>) {
    let of_signal = book.iter().filter(|(_, sent)| sent.signal == signal);
    let acked = of_signal.clone().filter(|(_, sent)| sent.acked.is_some());
    let lost: Vec<_> = acked
        .clone()
        .filter(|(id, _)| !counts.contains_key(*id))
        .collect();
    if let Some((id, sent)) = lost.first() {
        let how = format!(
            "{} of {} {signal}, the first is {id:02x?} of agent {}",
            lost.len(),
            acked.count(),
            sent.agent
        );
        world.events.violated("no_acked_item_lost", how);
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    if let Some((id, count)) = twice.first() {
        let how = format!("{} {signal}, the first is {id:02x?}, {count} times", twice.len());
        world.events.violated("no_duplicate_in_store", how);
    }
    let was_sent = |id: &Id| book.get(id).is_some_and(|sent| sent.signal == signal);
    if let Some(id) = counts.keys().find(|id| !was_sent(id)) {
        world.events.violated(
            "nothing_invented",
            format!("{id:02x?} of {signal} was never sent"),
        );
    }
    let (sent, stored) = (of_signal.count(), counts.len());
    world
        .events
        .note(format!("{sent} {signal} sent, {stored} stored"));
}

/// A region is complete up to `complete_to`, but for its gaps: everything that was accepted before
/// is there.
fn complete_is_complete(
    world: &World,
    machine: usize,
    agent: usize,
    region: &RegionReport,
    visible: &BTreeSet<Id>,
    book: &BTreeMap<Id, Sent>,
) {
    let skew = world.skew_nanos(machine);
    let true_time = |time: u64| time.saturating_add_signed(-skew);
    let Some(complete_to) = region.complete_to.map(true_time) else {
        return;
    };
    let in_gap = |sent: &Sent, acked: u64| {
        region.gaps.iter().any(|gap| {
            let ends_before = |to: u64| true_time(to) + SECOND < sent.sent;
            true_time(gap.from) <= acked + SECOND && !gap.to.is_some_and(ends_before)
        })
    };
    let hidden = book.iter().find(|(id, sent)| {
        let acked = sent
            .acked
            .filter(|acked| *acked < complete_to && !in_gap(sent, *acked));
        sent.agent == agent && acked.is_some() && !visible.contains(*id)
    });
    if let Some((id, sent)) = hidden {
        let how = format!(
            "machine {machine} says that r{agent} is complete to {complete_to} but for {:?}, and lacks {id:02x?}: {sent:?}",
            region.gaps
        );
        world.events.violated("complete_is_complete", how);
    }
}

fn times_are_past(world: &World, machine: usize, region: &RegionReport, now: u64) {
    for (what, time) in [
        ("complete_to", region.complete_to),
        ("last_seen", region.last_seen),
    ] {
        is_past(world, machine, what, &region.region, time, now);
    }
}

/// No age is negative.
fn agents_are_past(world: &World, machine: usize, coverage: &Coverage, now: u64) {
    for agent in coverage.agents(now) {
        for (what, time) in [
            ("last_seen", Some(agent.last_seen)),
            ("watermark", agent.watermark),
            ("oldest_pending", agent.oldest_pending),
        ] {
            is_past(world, machine, what, &agent.node, time, now);
        }
    }
}

fn is_past(world: &World, machine: usize, what: &str, of: &str, time: Option<u64>, now: u64) {
    if let Some(ahead) = time
        .and_then(|time| time.checked_sub(now))
        .filter(|ahead| *ahead > 0)
    {
        let ahead = Duration::from_nanos(ahead);
        let how = format!("machine {machine}: {what} of {of} is {ahead:?} ahead");
        world.events.violated("no_time_of_the_future", how);
    }
}

/// `memory_within_limit` of the aggregators: what is not committed, as its arrays take it.
fn rows_within_limit(world: &World, machine: usize, store: &Store) {
    let hot = Signal::ALL.map(|signal| store.view(signal).hot);
    let bytes: usize = hot
        .iter()
        .flatten()
        .map(|hot| hot.batch.get_array_memory_size())
        .sum();
    if bytes > world.plan.ingest_bytes {
        world.events.violated(
            "memory_within_limit",
            format!("machine {machine} holds {bytes} bytes of rows"),
        );
    }
}

/// `memory_within_limit` of the agents: what waits is on the disk, and no more than allowed.
pub(super) fn spools_within_limit(world: &World) {
    for (number, machine) in world.machines.iter().enumerate() {
        let Kind::Agent(disk) = &machine.kind else {
            continue;
        };
        let paths = disk.paths();
        let segments = paths
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "seg"));
        let bytes: usize = segments.map(|path| disk.length(path)).sum();
        if bytes as u64 > world.plan.spool_bytes + SEGMENT_BYTES {
            world.events.violated(
                "memory_within_limit",
                format!("the spool of agent {number} has {bytes} bytes"),
            );
        }
    }
}
