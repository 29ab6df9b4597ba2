//! The part about outages: the aggregator is killed while ten thousand spans per second arrive,
//! stays away, and comes back: how quickly the backlog is delivered, and how fresh new data is
//! meanwhile. One outage per round, because when the agent notices the end is up to chance.
//!
//! Fresh is what ended when the aggregator was ready again. What ended before cannot be seen
//! before; it is told by how long after the return it is seen, and not held against a target.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use meridian_proto::signal::Signal;
use tokio::time::Instant;

use crate::bench::client::{Load, Sending};
use crate::bench::content::ITEMS;
use crate::bench::freshness::{self, Probes, Seen};
use crate::bench::options::Options;
use crate::bench::progress;
use crate::bench::report::{Bound, Column, Part};
use crate::bench::world::{World, aggregator_spec};
use crate::lab::{self, Lab};

const BEFORE: Duration = Duration::from_secs(8);
/// In the steady state at most as much is pending as arrives in a commit interval and a half.
const STEADY_SECONDS: f64 = 7.5;
/// Probes begin so long before the aggregator comes back.
const PROBES_BEFORE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(200);
const SAY_EVERY: Duration = Duration::from_secs(15);
/// Catching up may take so many times as long as the outage, or so long.
const PATIENCE: u32 = 3;
const PATIENCE_MIN: Duration = Duration::from_secs(180);

const AWAY: Column = Column::new("away s", 0);
const BACKLOG: Column = Column::new("backlog items", 0);
const SPOOL: Column = Column::new("spool bytes/span", 1);
const CAUGHT_UP: Column = Column::new("caught up after s", 1);
const SPEED: Column = Column::new("catch-up ÷ arrival", 2);
const PEAK: Column = Column::new("agent's peak RSS MiB", 0);
const LOST: Column = Column::new("never seen", 0);
const SUBJECT: &str = "10,000 spans/s, aggregator away";
const FRESH: &str = "probes during the catch-up";
const EARLIER: &str = "those of the 3 s before, after the return";
const MIB: f64 = 1024.0 * 1024.0;

/// What became of the probes of all rounds.
#[derive(Debug, Default)]
struct Probed {
    /// From the end of those that ended while the aggregator was back.
    fresh: Vec<Duration>,
    /// From the return, of those that ended before.
    earlier: Vec<Duration>,
    lost: usize,
}

impl Probed {
    fn add(&mut self, seen: Seen, back: Instant, until: Instant) {
        self.lost += seen.lost;
        for (ended, delay) in seen.delays {
            if ended < back {
                self.earlier.push((ended + delay).saturating_duration_since(back));
            } else if ended < until {
                self.fresh.push(delay);
            }
        }
    }
}

/// The aggregator gone for a while.
pub fn part(options: &Options) -> Part {
    let mut part = Part::new("outage");
    let (away, rate) = (options.away, options.rate / 2);
    let mut probed = Probed::default();
    for _ in 0..options.rounds {
        match lab::attempt(|lab| async move { measure(&lab, away, rate).await }) {
            Ok((figures, (seen, back, until))) => {
                for (column, value) in figures {
                    part.record(SUBJECT, column, value);
                }
                probed.add(seen, back, until);
            }
            Err(fault) => part.left_out.push(format!("left out: {fault:#}")),
        }
    }
    let fresh = freshness::record(&mut part, FRESH, probed.fresh);
    freshness::record(&mut part, EARLIER, probed.earlier);
    if probed.lost > 0 {
        part.record(FRESH, LOST, probed.lost as f64);
    }
    let speed = part.median(SUBJECT, SPEED);
    part.goal("catch-up ÷ arrival rate", Bound::AtLeast, 3.0, speed);
    part.goal("fresh data during the catch-up, p99 s", Bound::AtMost, 5.0, fresh);
    part.note("catch-up counts what is committed per second until no more is pending than usual");
    part.note(
        "probes of all rounds together, every 100 ms; fresh: ended when the aggregator was ready again",
    );
    part
}

async fn measure(
    lab: &Arc<Lab>,
    away: Duration,
    rate: u32,
) -> Result<(Vec<(Column, f64)>, (Seen, Instant, Instant))> {
    let mut world = World::start(lab, aggregator_spec(), 1).await?;
    let target = world.agents[0].grpc();
    let forever = Duration::from_secs(24 * 3600);
    let sending = Sending::start(target, Load::paced(Signal::Spans, rate, forever)).await?;
    tokio::time::sleep(BEFORE).await;
    world.aggregator.process.kill_9()?;
    wait(away.saturating_sub(PROBES_BEFORE)).await;
    let mut probes = Probes::send(target).await?;
    tokio::time::sleep(PROBES_BEFORE.min(away)).await;
    let spool = bytes_in(&world.agents[0].spool())?;
    let held = pending(&world).await?;
    progress(&format!("the aggregator comes back; {held} items wait for it"));
    world.aggregator.restart().await?;
    let (back, backlog, begun) = (Instant::now(), pending(&world).await?, sending.begun());
    probes.look(world.aggregator.answers());
    let left = catch_up(
        &world,
        STEADY_SECONDS * f64::from(rate),
        (away * PATIENCE).max(PATIENCE_MIN),
    )
    .await?;
    let (until, caught_up) = (Instant::now(), back.elapsed());
    let arrived = (sending.begun() - begun) * u64::from(ITEMS);
    let committed = backlog - left + arrived as f64;
    let seen = probes.finish().await?;
    sending.stop().await?;
    let figures = vec![
        (AWAY, away.as_secs_f64()),
        (BACKLOG, backlog),
        (SPOOL, spool as f64 / held),
        (CAUGHT_UP, caught_up.as_secs_f64()),
        (SPEED, committed / caught_up.as_secs_f64() / f64::from(rate)),
        (PEAK, world.agents[0].process.resident_bytes_peak()? as f64 / MIB),
    ];
    Ok((figures, (seen, back, until)))
}

/// Lets the time pass, and says so.
async fn wait(away: Duration) {
    let end = Instant::now() + away;
    while Instant::now() < end {
        progress(&format!(
            "the aggregator is away for another {:.0} s",
            (end - Instant::now()).as_secs_f64()
        ));
        tokio::time::sleep_until(end.min(Instant::now() + SAY_EVERY)).await;
    }
}

/// Waits until no more is pending than usual; answers how much that is.
async fn catch_up(world: &World, steady: f64, within: Duration) -> Result<f64> {
    let (start, mut said) = (Instant::now(), Instant::now());
    loop {
        let pending = pending(world).await?;
        if pending <= steady {
            return Ok(pending);
        }
        ensure!(
            start.elapsed() < within,
            "{pending} items are still pending after {within:?}"
        );
        if said.elapsed() > SAY_EVERY {
            progress(&format!("catching up, {pending} items to go"));
            said = Instant::now();
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn pending(world: &World) -> Result<f64> {
    Ok(world.agents[0]
        .metrics()
        .await?
        .sum("meridian_agent_pending_items", &[]))
}

/// The sizes of the files in a folder.
fn bytes_in(folder: &std::path::Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let metadata = entry?.metadata()?;
        if metadata.is_file() {
            bytes += metadata.len();
        }
    }
    Ok(bytes)
}
