//! One measurement: load into a fresh target, and what the kernel's books say it cost.
//!
//! CPU counts from the first request until the far side has everything, so that work which is
//! put off is not forgotten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use meridian_proto::signal::Signal;
use serde::Serialize;

use crate::bench::client::{self, Pace};
use crate::bench::content::ITEMS;
use crate::bench::targets::{Kind, Target};
use crate::lab::Lab;

const WARM_UP_REQUESTS: u64 = 200;
/// The far side has everything, or has heard nothing for so long.
const QUIET: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// 20,000 items per second.
const FIXED_PAUSE: Duration = Duration::from_millis(5);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Requests at full speed; 0 leaves that part out.
    pub requests: u64,
    /// Requests at the fixed rate; 0 leaves that part out.
    pub paced_requests: u64,
}

/// What it cost. What was not measured is absent.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Figures {
    /// Items that arrived at the far side, per second.
    pub items_per_second: Option<f64>,
    /// CPU of the process per item, user and system, in microseconds.
    pub cpu_micros_per_item: Option<f64>,
    /// The part of it that was spent in the kernel.
    pub system_micros_per_item: Option<f64>,
    /// The most memory that the process held, under full load.
    pub resident_bytes_peak: Option<f64>,
    /// Memory that the process held before any load.
    pub resident_bytes_idle: Option<f64>,
    /// Bytes per item towards the far side.
    pub wire_bytes_per_item: Option<f64>,
    /// CPU per item at the fixed rate.
    pub paced_cpu_micros_per_item: Option<f64>,
    /// Acknowledgement at the fixed rate, median, in milliseconds.
    pub ack_millis_p50: Option<f64>,
    /// Acknowledgement at the fixed rate, 99th percentile.
    pub ack_millis_p99: Option<f64>,
    /// Requests that were refused and sent again.
    pub refusals: u64,
    /// Items that were acknowledged and did not arrive.
    pub missing_items: u64,
}

/// Measures one target with one signal; `None` if this machine cannot have the target.
pub async fn measure(lab: &Arc<Lab>, kind: Kind, signal: Signal, plan: Plan) -> Result<Option<Figures>> {
    let Some(mut target) = Target::start(lab, kind).await? else {
        return Ok(None);
    };
    let mut figures = Figures {
        resident_bytes_idle: Some(target.process().resident_bytes_peak()? as f64),
        ..Figures::default()
    };
    client::send(target.grpc, signal, WARM_UP_REQUESTS, Pace::Full).await?;
    settle(&target, WARM_UP_REQUESTS * u64::from(ITEMS)).await;
    if plan.requests > 0 {
        flood(&mut target, signal, plan.requests, &mut figures).await?;
    }
    if plan.paced_requests > 0 {
        at_fixed_rate(&mut target, signal, plan.paced_requests, &mut figures).await?;
    }
    target.process().check_running()?;
    Ok(Some(figures))
}

async fn flood(target: &mut Target, signal: Signal, requests: u64, figures: &mut Figures) -> Result<()> {
    let expected = requests * u64::from(ITEMS);
    let (items_before, bytes_before) = target.delivered.so_far();
    let (cpu_before, start) = (target.process().cpu()?, Instant::now());
    let told = client::send(target.grpc, signal, requests, Pace::Full).await?;
    let last = settle(target, items_before + expected).await;
    let cpu = target.process().cpu()?;
    let (items, bytes) = target.delivered.so_far();
    let arrived = (items - items_before) as f64;
    let micros = |after: Duration, before: Duration| (after - before).as_secs_f64() * 1e6 / expected as f64;
    figures.items_per_second = Some(arrived / (last - start).as_secs_f64());
    figures.cpu_micros_per_item = Some(micros(cpu.user + cpu.system, cpu_before.user + cpu_before.system));
    figures.system_micros_per_item = Some(micros(cpu.system, cpu_before.system));
    figures.resident_bytes_peak = Some(target.process().resident_bytes_peak()? as f64);
    figures.wire_bytes_per_item = Some((bytes - bytes_before) as f64 / arrived);
    figures.refusals += told.refusals;
    figures.missing_items += (items_before + expected).saturating_sub(items);
    Ok(())
}

async fn at_fixed_rate(
    target: &mut Target,
    signal: Signal,
    requests: u64,
    figures: &mut Figures,
) -> Result<()> {
    let (items_before, _) = target.delivered.so_far();
    let expected = requests * u64::from(ITEMS);
    let before = target.process().cpu()?;
    let told = client::send(target.grpc, signal, requests, Pace::Every(FIXED_PAUSE)).await?;
    settle(target, items_before + expected).await;
    let after = target.process().cpu()?;
    let cpu = after.user + after.system - before.user - before.system;
    figures.paced_cpu_micros_per_item = Some(cpu.as_secs_f64() * 1e6 / expected as f64);
    figures.ack_millis_p50 = Some(percentile(&told.latencies, 50));
    figures.ack_millis_p99 = Some(percentile(&told.latencies, 99));
    figures.refusals += told.refusals;
    figures.missing_items += (items_before + expected).saturating_sub(target.delivered.so_far().0);
    Ok(())
}

/// Of sorted latencies, in milliseconds.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
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
