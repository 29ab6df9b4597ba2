//! The part about freshness: how long after its end a span is visible in SQL, through agent
//! and aggregator, among twenty thousand others per second.
//!
//! A probe is a span of a service of its own, sent the moment it ends; one statement asks again
//! and again which probes are there. What an SDK holds back before it sends is not in it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use meridian_proto::signal::Signal;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::answers::Answers;
use crate::bench::agents::percentile;
use crate::bench::client::{Load, Probe, Sending};
use crate::bench::options::Options;
use crate::bench::progress;
use crate::bench::report::{Bound, Column, Part};
use crate::bench::world::{World, aggregator_spec};
use crate::lab::{self, Lab};
use crate::otlp;

/// The service whose spans are awaited.
const SERVICE: &str = "probe";
const PROBE_EVERY: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(20);
/// After the load has ended, so long the last probes are awaited.
const LAST_WITHIN: Duration = Duration::from_secs(20);

const P50: Column = Column::new("visible p50 ms", 0);
const P99: Column = Column::new("visible p99 ms", 0);
const WORST: Column = Column::new("worst ms", 0);
const PROBES: Column = Column::new("probes", 0);
const LOST: Column = Column::new("never seen", 0);

/// Probes among a load at a fixed rate.
pub fn part(options: &Options) -> Part {
    let mut part = Part::new("freshness");
    let duration = options.paced * 3;
    progress(&format!("{} spans/s for {duration:?}, with probes", options.rate));
    let load = Load::paced(Signal::Spans, options.rate, duration);
    match lab::attempt(|lab| async move { measure(&lab, load).await }) {
        Ok(seen) => seen.record(&mut part, "20,000 spans/s, one agent"),
        Err(fault) => part.left_out.push(format!("left out: {fault:#}")),
    }
    let p99 = part
        .median("20,000 spans/s, one agent", P99)
        .map(|millis| millis / 1000.0);
    part.goal("span end to visible in SQL, p99 s", Bound::AtMost, 1.5, p99);
    part.note("polled every 20 ms, which is in it; the generator runs on the same cores");
    part
}

async fn measure(lab: &Arc<Lab>, load: Load) -> Result<Seen> {
    let world = World::start(lab, aggregator_spec(), 1).await?;
    let target = world.agents[0].grpc();
    let sending = Sending::start(target, load).await?;
    let probes = Probes::start(target, world.aggregator.answers()).await?;
    sending.finish().await?;
    probes.finish().await
}

/// Probes under way.
pub struct Probes {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<()>>,
}

struct Shared {
    begun: Instant,
    /// When each probe ended, by the hex digits of its trace id.
    ended: Mutex<HashMap<String, Instant>>,
    seen: Mutex<Vec<(Instant, Duration)>>,
    is_over: std::sync::atomic::AtomicBool,
}

/// What became of the probes.
#[derive(Debug, Default)]
pub struct Seen {
    /// When each ended, and how long after that it was visible.
    pub delays: Vec<(Instant, Duration)>,
    /// Those that were never seen.
    pub lost: usize,
}

impl Probes {
    /// Begins to send and to ask.
    pub async fn start(agent: SocketAddr, answers: Answers) -> Result<Self> {
        let mut probes = Self::send(agent).await?;
        probes.look(answers);
        Ok(probes)
    }

    /// Begins to send; nobody asks yet.
    pub async fn send(agent: SocketAddr) -> Result<Self> {
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            ended: Mutex::default(),
            seen: Mutex::default(),
            is_over: std::sync::atomic::AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        let probe = Probe::connect(agent, Signal::Spans).await?;
        tasks.spawn(send(probe, Arc::clone(&shared)));
        Ok(Self { shared, tasks })
    }

    /// Begins to ask which are visible.
    pub fn look(&mut self, answers: Answers) {
        self.tasks.spawn(look(answers, Arc::clone(&self.shared)));
    }

    /// Sends no more, and waits for those that are under way.
    pub async fn finish(mut self) -> Result<Seen> {
        self.shared
            .is_over
            .store(true, std::sync::atomic::Ordering::Relaxed);
        while let Some(task) = self.tasks.join_next().await {
            task??;
        }
        let delays = std::mem::take(&mut *self.shared.seen.lock());
        let lost = self.shared.ended.lock().len();
        Ok(Seen { delays, lost })
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(std::sync::atomic::Ordering::Relaxed)
    }
}

async fn send(mut probe: Probe, shared: Arc<Shared>) -> Result<()> {
    let mut due = Instant::now();
    while !shared.is_over() {
        let span = otlp::span("GET /probe");
        let id: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let body = Bytes::from(otlp::spans_request(SERVICE, vec![span]));
        shared.ended.lock().insert(id, Instant::now());
        probe.send(body).await?;
        due += PROBE_EVERY;
        tokio::time::sleep_until(due).await;
    }
    Ok(())
}

async fn look(answers: Answers, shared: Arc<Shared>) -> Result<()> {
    let mut known: HashSet<String> = HashSet::new();
    let mut over_since = None;
    loop {
        // Clocks of two processes, and of a database that rounds, may differ by some of these.
        let seconds = shared.begun.elapsed().as_secs() + 5;
        let sql = format!(
            "SELECT trace_id FROM spans WHERE service_name = '{SERVICE}' \
             AND start_time > now() - INTERVAL '{seconds} seconds'"
        );
        let rows = answers.rows(&sql).await?;
        let now = Instant::now();
        for row in rows {
            let id = row["trace_id"].as_str().context("a trace id")?.to_owned();
            if known.insert(id.clone())
                && let Some(ended) = shared.ended.lock().remove(&id)
            {
                shared.seen.lock().push((ended, now - ended));
            }
        }
        if shared.is_over() {
            let since: Instant = *over_since.get_or_insert(now);
            if shared.ended.lock().is_empty() || since.elapsed() > LAST_WITHIN {
                return Ok(());
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

impl Seen {
    /// Adds the figures of these probes as a row.
    pub fn record(&self, part: &mut Part, subject: &str) {
        record(
            part,
            subject,
            self.delays.iter().map(|(_, delay)| *delay).collect(),
        );
        if self.lost > 0 {
            part.record(subject, LOST, self.lost as f64);
        }
    }
}

/// Adds the figures of these delays as a row; answers their 99th percentile in seconds.
pub fn record(part: &mut Part, subject: &str, mut delays: Vec<Duration>) -> Option<f64> {
    delays.sort_unstable();
    let p99 = percentile(&delays, 99);
    part.record(subject, P50, percentile(&delays, 50));
    part.record(subject, P99, p99);
    part.record(subject, WORST, percentile(&delays, 100));
    part.record(subject, PROBES, delays.len() as f64);
    (!delays.is_empty()).then_some(p99 / 1000.0)
}
