//! The parts about agents: load into a fresh target, and what the kernel's books say it cost.
//!
//! CPU counts from the first request until the far side has everything, so that work which is
//! put off is not forgotten. Rounds go around all targets, so that a busy minute of the
//! machine hits every one of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use meridian_proto::signal::Signal;

use crate::bench::client::{self, Load, Sending, Told};
use crate::bench::content::ITEMS;
use crate::bench::options::Options;
use crate::bench::report::{Bound, Column, Part};
use crate::bench::targets::{Kind, Target};
use crate::bench::{progress, size};
use crate::lab::{self, Lab};

const MIB: f64 = 1024.0 * 1024.0;
const RATE: Column = Column::new("items/s", 0);
const CPU: Column = Column::new("CPU µs/item", 2);
const SYSTEM: Column = Column::new("of it system", 2);
const PEAK: Column = Column::new("peak RSS MiB", 0);
const IDLE: Column = Column::new("idle RSS MiB", 0);
const WIRE: Column = Column::new("wire bytes/item", 1);
const PACED_CPU: Column = Column::new("CPU µs/item at 20,000/s", 2);
const ACK_P50: Column = Column::new("ack p50 ms", 1);
const ACK_P99: Column = Column::new("ack p99 ms", 1);
const BINARY: Column = Column::new("stripped binary MB", 1);
const REFUSED: Column = Column::new("requests refused", 0);
const ACCEPTED: Column = Column::new("items accepted", 0);
const MISSING: Column = Column::new("items missing", 0);

const WARM_UP_REQUESTS: u64 = 200;
/// The far side has everything, or has heard nothing for so long.
const QUIET: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// After this an agent that was started has come to rest.
const REST: Duration = Duration::from_secs(1);
/// Requests in flight when more is offered than can be taken.
const OVERLOAD_CLIENTS: usize = 128;

/// Our agent beside its peers with one signal.
pub fn beside_peers(name: &'static str, signal: Signal, options: &Options) -> Part {
    let mut part = Part::new(name);
    rounds(&mut part, &Kind::ALL, signal, options, Phases::ALL);
    if signal == Signal::Spans {
        rounds(
            &mut part,
            &[Kind::AgentSmall],
            signal,
            &options.once(),
            Phases::FULL,
        );
        goals_of_spans(&mut part);
        binaries(&mut part);
    }
    part
}

/// Our agent alone, all signals.
pub fn alone(options: &Options) -> Part {
    let mut part = Part::new("agent");
    for signal in Signal::ALL {
        let mut of_signal = Part::new("agent");
        rounds(&mut of_signal, &[Kind::Agent], signal, options, Phases::ALL);
        for mut row in of_signal.rows {
            row.subject = format!("{}, {signal}", row.subject);
            part.rows.push(row);
        }
        part.left_out.extend(of_signal.left_out);
    }
    part
}

/// Acknowledgement at a fixed rate, all targets.
pub fn acknowledgement(options: &Options) -> Part {
    let mut part = Part::new("ack");
    rounds(&mut part, &Kind::ALL, Signal::Spans, options, Phases::PACED);
    part
}

/// Our agent when more is offered than it can take: many clients for a while, with an
/// aggregator that takes everything, and with none, so that the spool fills up.
pub fn overload(options: &Options) -> Part {
    let mut part = Part::new("overload");
    for kind in [Kind::AgentBusy, Kind::AgentFull] {
        progress(&format!("{OVERLOAD_CLIENTS} requests in flight: {}", kind.name()));
        let outcome = lab::attempt(|lab| async move { overloaded(&lab, kind, options.paced).await });
        match outcome {
            Ok(figures) => {
                for (column, value) in figures {
                    part.record(kind.name(), column, value);
                }
            }
            Err(fault) => part
                .left_out
                .push(format!("left out: {}: {fault:#}", kind.name())),
        }
    }
    let peaks = [Kind::AgentBusy, Kind::AgentFull].map(|kind| part.median(kind.name(), PEAK));
    let peak = peaks.into_iter().flatten().max_by(f64::total_cmp);
    part.goal("agent's peak RSS under overload, MiB", Bound::AtMost, 150.0, peak);
    part
}

async fn overloaded(lab: &Arc<Lab>, kind: Kind, duration: Duration) -> Result<Vec<(Column, f64)>> {
    let mut target = Target::start(lab, kind).await?.context("ours is always there")?;
    let mut load = Load::full(Signal::Spans, u64::MAX / u64::from(ITEMS));
    load.clients = OVERLOAD_CLIENTS;
    let sending = Sending::start(target.grpc, load).await?;
    tokio::time::sleep(duration).await;
    let told = sending.stop().await?;
    target.process().check_running()?;
    Ok(vec![
        (ACCEPTED, (told.acknowledged * u64::from(ITEMS)) as f64),
        (REFUSED, told.refusals as f64),
        (PEAK, target.process().resident_bytes_peak()? as f64 / MIB),
    ])
}

#[derive(Debug, Clone, Copy)]
struct Phases {
    full: bool,
    paced: bool,
}

impl Phases {
    const ALL: Self = Self {
        full: true,
        paced: true,
    };
    const FULL: Self = Self {
        paced: false,
        ..Self::ALL
    };
    const PACED: Self = Self {
        full: false,
        ..Self::ALL
    };
}

fn rounds(part: &mut Part, kinds: &[Kind], signal: Signal, options: &Options, phases: Phases) {
    for round in 1..=options.rounds {
        for kind in kinds {
            progress(&format!(
                "{signal}, round {round} of {}: {}",
                options.rounds,
                kind.name()
            ));
            let requests = options.items / kind.share() / u64::from(ITEMS);
            let outcome = lab::attempt(|lab| async move {
                let Some(target) = Target::start(&lab, *kind).await? else {
                    return Ok(None);
                };
                let mut run = Run::new(kind.name(), signal, target);
                run.all(
                    requests.max(1),
                    Load::paced(signal, options.rate, options.paced),
                    phases,
                )
                .await?;
                Ok::<_, anyhow::Error>(Some(run.figures))
            });
            let reason = match outcome {
                Ok(Some(figures)) => {
                    for (column, value) in figures {
                        part.record(kind.name(), column, value);
                    }
                    continue;
                }
                Ok(None) => "it is not installed".to_owned(),
                Err(fault) => format!("{fault:#}"),
            };
            progress(&format!("left out: {}: {reason}", kind.name()));
            part.left_out
                .push(format!("left out: {}, {signal}: {reason}", kind.name()));
        }
    }
}

struct Run {
    name: &'static str,
    signal: Signal,
    target: Target,
    figures: Vec<(Column, f64)>,
}

impl Run {
    fn new(name: &'static str, signal: Signal, target: Target) -> Self {
        Self {
            name,
            signal,
            target,
            figures: Vec::new(),
        }
    }

    async fn all(&mut self, requests: u64, paced: Load, phases: Phases) -> Result<()> {
        tokio::time::sleep(REST).await;
        let idle = self.target.process().resident_bytes()? as f64 / MIB;
        let warm_up = Load::full(self.signal, WARM_UP_REQUESTS.min(requests));
        let items = warm_up.items();
        client::send(self.target.grpc, warm_up).await?;
        settle(&self.target, items).await;
        if phases.full {
            self.full_speed(Load::full(self.signal, requests)).await?;
        }
        self.note(IDLE, idle);
        if phases.paced {
            self.at_fixed_rate(paced).await?;
        }
        let name = self.name;
        self.target.process().check_running().context(name)
    }

    fn note(&mut self, column: Column, value: f64) {
        self.figures.push((column, value));
    }

    async fn full_speed(&mut self, load: Load) -> Result<()> {
        let expected = load.items();
        let (items_before, bytes_before) = self.target.delivered.so_far();
        let (before, start) = (self.target.process().cpu()?, Instant::now());
        let told = client::send(self.target.grpc, load).await?;
        let last = settle(&self.target, items_before + expected).await;
        let after = self.target.process().cpu()?;
        let (items, bytes) = self.target.delivered.so_far();
        let arrived = (items - items_before) as f64;
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / expected as f64;
        let peak = self.target.process().resident_bytes_peak()? as f64 / MIB;
        self.note(RATE, arrived / (last - start).as_secs_f64());
        self.note(CPU, micros(after.total() - before.total()));
        self.note(SYSTEM, micros(after.system - before.system));
        self.note(WIRE, (bytes - bytes_before) as f64 / arrived);
        self.note(PEAK, peak);
        self.honesty(&told, (items_before + expected).saturating_sub(items));
        Ok(())
    }

    async fn at_fixed_rate(&mut self, load: Load) -> Result<()> {
        let (items_before, _) = self.target.delivered.so_far();
        let expected = load.items();
        let before = self.target.process().cpu()?;
        let told = client::send(self.target.grpc, load).await?;
        settle(&self.target, items_before + expected).await;
        let cpu = self.target.process().cpu()?.total() - before.total();
        self.note(PACED_CPU, cpu.as_secs_f64() * 1e6 / expected as f64);
        self.note(ACK_P50, percentile(&told.latencies, 50));
        self.note(ACK_P99, percentile(&told.latencies, 99));
        let missing = (items_before + expected).saturating_sub(self.target.delivered.so_far().0);
        self.honesty(&told, missing);
        Ok(())
    }

    /// Figures that are only there when something went wrong.
    fn honesty(&mut self, told: &Told, missing: u64) {
        if told.refusals > 0 {
            self.note(REFUSED, told.refusals as f64);
        }
        if missing > 0 {
            self.note(MISSING, missing as f64);
        }
    }
}

fn goals_of_spans(part: &mut Part) {
    let ours = part.median(Kind::Agent.name(), CPU);
    let beside = |part: &Part, kind: Kind| Some(ours? / part.median(kind.name(), CPU)?);
    let (rotel, durable) = (beside(part, Kind::Rotel), beside(part, Kind::CollectorDurable));
    let of_us = |part: &Part, column| part.median(Kind::Agent.name(), column);
    part.goal("agent's CPU per span ÷ Rotel's", Bound::AtMost, 0.25, rotel);
    part.goal(
        "agent's CPU per span ÷ durable Collector's",
        Bound::AtMost,
        0.1,
        durable,
    );
    part.goal("agent's idle RSS, MiB", Bound::AtMost, 40.0, of_us(part, IDLE));
    part.goal(
        "ack at 20,000 spans/s, p99 ms",
        Bound::AtMost,
        25.0,
        of_us(part, ACK_P99),
    );
    part.goal(
        "wire bytes per span, full batches",
        Bound::AtMost,
        50.0,
        of_us(part, WIRE),
    );
    let small = part.median(Kind::AgentSmall.name(), WIRE);
    part.goal(
        "wire bytes per span, batches of 1,000",
        Bound::AtMost,
        65.0,
        small,
    );
}

fn binaries(part: &mut Part) {
    for kind in Kind::ALL {
        match size::stripped_bytes(kind) {
            Ok(Some(bytes)) => part.record(kind.name(), BINARY, bytes as f64 / 1e6),
            Ok(None) => {}
            Err(fault) => part
                .left_out
                .push(format!("left out: binary of {}: {fault:#}", kind.name())),
        }
    }
    let ours = part.median(Kind::Agent.name(), BINARY);
    part.goal("agent's stripped binary, MB", Bound::AtMost, 30.0, ours);
}

/// Of sorted latencies, in milliseconds.
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted
        .get(index)
        .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

/// Waits until so many items have arrived or nothing arrives any more; answers when the last did.
async fn settle(target: &Target, expected: u64) -> Instant {
    let (mut seen, mut last) = (target.delivered.so_far().0, Instant::now());
    while seen < expected && last.elapsed() < QUIET {
        tokio::time::sleep(POLL).await;
        let now = target.delivered.so_far().0;
        if now > seen {
            (seen, last) = (now, Instant::now());
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_latencies() {
        let latencies: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert!((percentile(&latencies, 50) - 101.0).abs() < 1e-9);
        assert!((percentile(&latencies, 99) - 199.0).abs() < 1e-9);
        assert!((percentile(&latencies[..1], 99) - 1.0).abs() < 1e-9);
    }
}
