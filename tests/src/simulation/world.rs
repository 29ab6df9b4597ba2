//! The machines of a run: their processes are started, die, and are started again, as the plan and
//! its faults want it. Whether what they did was right is not decided here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use meridian_agent::spool::simulated::{Kept, Operation, SimulatedDisk};
use meridian_aggregator::coverage::Coverage;
use meridian_aggregator::store::Store;
use meridian_runtime::clock::Clock;
use meridian_runtime::config::Document;
use meridian_runtime::shutdown::Shutdown;
use meridian_runtime::tasks::{self, Task};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::bucket::{Bucket, Door};
use super::events::Events;
use super::network::{self, Net};
use super::plan::{Fault, Plan, draw};

/// 2026-11-23 12:00:00 UTC.
const EPOCH_UNIX_NANOS: u64 = 1_795_435_200_000_000_000;
const ENOSPC: i32 = 28;
const EIO: i32 = 5;
/// Segments of the spool, so that some are sealed, deleted and used again.
pub(super) const SEGMENT_BYTES: u64 = 4 << 10;
/// A process that ends with an error is started again after this.
const START_AGAIN: Duration = Duration::from_secs(2);

/// Everything that takes part in a run.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) net: Net,
    pub(super) bucket: Bucket,
    pub(super) events: Events,
    /// The true time.
    pub(super) clock: Clock,
    pub(super) machines: Vec<Machine>,
    /// An aggregator's clock was set back while it did not run: what was written before may seem
    /// to be of any time since, and nothing tells that it is not.
    pub(super) is_misled: bool,
}

/// A machine, with a process or without.
pub(super) struct Machine {
    pub(super) kind: Kind,
    skew_nanos: Arc<AtomicI64>,
    process: Option<Process>,
    /// How many processes there were.
    lives: u64,
    pub(super) down_since: Option<Instant>,
    start_at: Option<Instant>,
    down: Duration,
    power: bool,
}

pub(super) enum Kind {
    Agent(SimulatedDisk),
    Aggregator(Arc<Mutex<Inside>>),
}

/// What can be looked at in an aggregator's process.
#[derive(Default)]
pub(super) struct Inside {
    pub(super) coverage: Option<Coverage>,
    pub(super) store: Option<Store>,
    door: Option<Door>,
    pub(super) since: Option<Instant>,
}

struct Process {
    task: Task<Result<()>>,
    shutdown: Arc<Shutdown>,
}

fn true_clock() -> Clock {
    let (runtime, began) = (Handle::current(), Instant::now());
    Clock::told(move || {
        // Also from threads that are in another runtime, or in none.
        let _runtime = runtime.enter();
        let nanos = Instant::now().duration_since(began).as_nanos();
        EPOCH_UNIX_NANOS + u64::try_from(nanos).unwrap_or(0)
    })
}

fn skewed(clock: &Clock, skew: &Arc<AtomicI64>) -> Clock {
    let (clock, skew) = (clock.clone(), Arc::clone(skew));
    Clock::told(move || {
        let now = clock.now_unix_nanos();
        now.saturating_add_signed(skew.load(Ordering::Relaxed))
    })
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let (clock, events) = (true_clock(), Events::begin());
        let agents = (0..plan.agents).map(|_| Kind::Agent(SimulatedDisk::default()));
        let aggregators = (0..plan.aggregators).map(|_| Kind::Aggregator(Arc::default()));
        let machine = |kind| Machine {
            kind,
            skew_nanos: Arc::default(),
            process: None,
            lives: 0,
            down_since: Some(Instant::now()),
            start_at: Some(Instant::now()),
            down: START_AGAIN,
            power: false,
        };
        Self {
            net: Net::new(plan.seed, plan.latency, events.clone()),
            bucket: Bucket::new(plan.seed, clock.clone(), events.clone()),
            machines: agents.chain(aggregators).map(machine).collect(),
            events,
            clock,
            plan,
            is_misled: false,
        }
    }

    pub(super) fn machine_of(&self, aggregator: usize) -> usize {
        self.plan.agents + aggregator
    }

    /// How far a machine's clock is ahead of the true time.
    pub(super) fn skew_nanos(&self, machine: usize) -> i64 {
        self.machines[machine].skew_nanos.load(Ordering::Relaxed)
    }

    /// A machine's own time.
    pub(super) fn clock_of(&self, machine: usize) -> Clock {
        skewed(&self.clock, &self.machines[machine].skew_nanos)
    }

    /// Buries who has died, and starts who is to be started.
    pub(super) async fn supervise(&mut self) -> Result<()> {
        for machine in 0..self.machines.len() {
            if self.machines[machine].is_dead() {
                self.kill(machine);
            }
            let process = self.machines[machine].process.as_mut();
            if let Some(process) = process.filter(|process| process.task.is_finished()) {
                let outcome = (&mut process.task).await;
                self.ended(machine, &outcome);
            }
            let due = self.machines[machine].start_at;
            if due.is_some_and(|due| due <= Instant::now()) {
                self.start(machine)?;
            }
        }
        Ok(())
    }

    /// A process has ended by itself.
    fn ended(&mut self, machine: usize, outcome: &Result<Result<()>, tasks::TaskError>) {
        let end = match outcome {
            Ok(Ok(())) => "well".to_owned(),
            Ok(Err(error)) => format!("with {error:#}"),
            Err(error) => {
                self.events
                    .violated("no_panic", format!("machine {machine}: {error}"));
                error.to_string()
            }
        };
        self.events
            .note(format!("machine {machine}: its process ended {end}"));
        self.bury(machine, false);
    }

    fn kill(&mut self, machine: usize) {
        let silent = self.plan.half_open && self.machines[machine].power;
        self.events.note(format!("machine {machine}: its process died"));
        let who = if machine < self.plan.agents {
            "agent"
        } else {
            "aggregator"
        };
        self.events.struck(format!("an {who}'s process dies"));
        self.bury(machine, silent);
    }

    fn bury(&mut self, number: usize, is_silent: bool) {
        let machine = &mut self.machines[number];
        // Ends all its tasks.
        machine.process = None;
        machine.down_since.get_or_insert(Instant::now());
        machine.start_at = Some(Instant::now() + machine.down);
        let seed = draw(self.plan.seed, &[7, number as u64, machine.lives]);
        match &machine.kind {
            Kind::Agent(disk) if machine.power => {
                self.events.struck("an agent's machine loses power");
                let mut file = 0;
                disk.lose_power(seed.is_multiple_of(2), |bytes| {
                    file += 1;
                    let luck = draw(seed, &[file]);
                    if seed.is_multiple_of(3) {
                        return Kept::Sectors(luck);
                    }
                    let bytes = u64::try_from(bytes).unwrap_or(0);
                    Kept::First(usize::try_from(luck % (bytes + 1)).unwrap_or(0))
                });
            }
            Kind::Agent(disk) => disk.crash(None),
            Kind::Aggregator(inside) => {
                let inside = std::mem::take(&mut *inside.lock());
                inside.door.iter().for_each(Door::die);
            }
        }
        (machine.down, machine.power) = (START_AGAIN, false);
        self.net.crash(number, is_silent);
    }

    fn start(&mut self, number: usize) -> Result<()> {
        let shutdown = Arc::new(Shutdown::manual());
        let task = match &self.machines[number].kind {
            Kind::Agent(disk) => {
                let surroundings = meridian_agent::app::Surroundings {
                    clock: self.clock_of(number),
                    network: self.net.of(number),
                    disk: Arc::new(disk.clone()),
                };
                let (config, shutdown) = (self.agent_config(number)?, Arc::clone(&shutdown));
                tasks::spawn("agent", async move {
                    let agent = meridian_agent::app::Agent::start_in(config, surroundings).await?;
                    agent.run(&shutdown).await
                })
            }
            Kind::Aggregator(inside) => {
                let door = self
                    .bucket
                    .door(draw(number as u64, &[self.machines[number].lives]) % 1_000);
                let surroundings = meridian_aggregator::app::Surroundings {
                    clock: self.clock_of(number),
                    network: self.net.of(number),
                    objects: Some(Arc::new(door.clone())),
                };
                *inside.lock() = Inside {
                    door: Some(door),
                    ..Inside::default()
                };
                let (config, shutdown) = (self.aggregator_config()?, Arc::clone(&shutdown));
                let inside = Arc::clone(inside);
                tasks::spawn("aggregator", async move {
                    let aggregator =
                        meridian_aggregator::app::Aggregator::start_in(config, surroundings).await?;
                    {
                        let mut inside = inside.lock();
                        inside.coverage = Some(aggregator.coverage().clone());
                        inside.store = Some(aggregator.store().clone());
                        inside.since = Some(Instant::now());
                    }
                    aggregator.run(&shutdown).await
                })
            }
        };
        let machine = &mut self.machines[number];
        machine.lives += 1;
        (machine.start_at, machine.down_since) = (None, None);
        machine.process = Some(Process { task, shutdown });
        self.events
            .note(format!("machine {number}: start {}", machine.lives));
        Ok(())
    }

    fn agent_config(&self, number: usize) -> Result<meridian_agent::config::Config> {
        // Each agent prefers an aggregator of its own.
        let endpoints: Vec<String> = (0..self.plan.aggregators)
            .map(|offset| self.machine_of((number + offset) % self.plan.aggregators))
            .map(|machine| format!("http://{}:4319", network::ip(machine)))
            .collect();
        let text = format!(
            "{{region: r{number}, cluster: simulated, node: n{number}, admin: {{listen: 0.0.0.0:9464}}, \
             spool: {{path: /spool, max_bytes: {}KiB, segment_bytes: {}KiB, compress_after: 3s}}, exporters: {{aggregator: \
             {{endpoint: [{}], batch_rows: {}, batch_bytes: 8KiB, window_bytes: {}KiB, batch_linger: 500ms, ack_timeout: 20s, reconnect_max: 5s}}}}}}",
            self.plan.spool_bytes >> 10,
            SEGMENT_BYTES >> 10,
            endpoints.join(", "),
            self.plan.batch_rows,
            self.plan.window_bytes >> 10,
        );
        let document = Document::parse("agent.yaml", &text, &|_| None)?;
        meridian_agent::config::Config::read(document).context("the agent's configuration")
    }

    fn aggregator_config(&self) -> Result<meridian_aggregator::config::Config> {
        let regions: Vec<String> = (0..self.plan.agents).map(|agent| format!("r{agent}")).collect();
        let text = format!(
            "{{regions: [{}], store: {{url: \"s3://simulated/store\", commit_interval: 2s, \
             maintenance: {{interval: 3s, merge_files: 3, keep_removed: 20s, keep_log: 20s}}}}}}",
            regions.join(", ")
        );
        let document = Document::parse("aggregator.yaml", &text, &|_| None)?;
        let mut config = meridian_aggregator::config::Config::read(document)?;
        config.limits.query.threads = 1;
        config.limits.ingest.memory_bytes = self.plan.ingest_bytes;
        Ok(config)
    }

    /// Begins a fault; returns what ends it.
    pub(super) fn begin(&mut self, fault: &Fault) -> Option<Duration> {
        self.events.note(format!("fault: {fault:?}"));
        match fault {
            Fault::AgentDies {
                agent,
                changes,
                power,
                down,
            } => {
                let machine = &mut self.machines[*agent];
                (machine.down, machine.power) = (*down, *power);
                if let Kind::Agent(disk) = &machine.kind {
                    disk.die_after(*changes);
                }
            }
            Fault::AggregatorDies {
                aggregator,
                puts,
                moment,
                down,
            } => {
                let number = self.machine_of(*aggregator);
                let machine = &mut self.machines[number];
                machine.down = *down;
                if let Kind::Aggregator(inside) = &machine.kind
                    && let Some(door) = &inside.lock().door
                {
                    door.die_after(*puts, *moment);
                }
            }
            Fault::Restart { machine, down } => {
                let machine = &mut self.machines[*machine];
                machine.down = *down;
                self.events.struck("a process is asked to end");
                if let Some(process) = &machine.process {
                    process.shutdown.request();
                }
            }
            Fault::Cut { machine } => self.net.cut(*machine),
            Fault::SyncFails { agent, times } => {
                self.disk(*agent, |disk| disk.fail(Operation::Sync, 0, *times, EIO))
            }
            Fault::ClockJumps { machine, seconds } => {
                let way = if *seconds > 0 { "forward" } else { "back" };
                self.events.struck(format!("a clock is set {way}"));
                let nanos = seconds.saturating_mul(1_000_000_000);
                let is_down = self.machines[*machine].process.is_none();
                self.is_misled |= is_down && nanos < 0 && *machine >= self.plan.agents;
                self.machines[*machine]
                    .skew_nanos
                    .fetch_add(nanos, Ordering::Relaxed);
            }
            Fault::Partition { lasts, .. }
            | Fault::StoreAway { lasts }
            | Fault::StoreFlaky { lasts }
            | Fault::DiskSlow { lasts, .. }
            | Fault::DiskFull { lasts, .. } => {
                self.set(fault, true);
                return Some(*lasts);
            }
        }
        None
    }

    /// Ends a fault that lasts.
    pub(super) fn end(&mut self, fault: &Fault) {
        self.events.note(format!("over: {fault:?}"));
        self.set(fault, false);
    }

    fn set(&self, fault: &Fault, is_on: bool) {
        match fault {
            Fault::Partition {
                agent, aggregator, ..
            } => {
                self.net.block(*agent, self.machine_of(*aggregator), is_on);
            }
            Fault::StoreAway { .. } => self.bucket.set_away(is_on),
            Fault::StoreFlaky { .. } => self.bucket.set_flaky(is_on),
            Fault::DiskSlow { agent, pace, .. } => self.disk(*agent, |disk| {
                disk.set_pace(if is_on { *pace } else { Duration::ZERO });
            }),
            Fault::DiskFull { agent, .. } => self.disk(*agent, |disk| {
                if is_on {
                    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
                        disk.fail(operation, 0, u32::MAX, ENOSPC);
                    }
                } else {
                    disk.heal();
                }
            }),
            _ => {}
        }
    }

    fn disk(&self, agent: usize, change: impl FnOnce(&SimulatedDisk)) {
        if let Kind::Agent(disk) = &self.machines[agent].kind {
            change(disk);
        }
    }

    /// What the disks did, for the report.
    pub(super) fn count_harm(&self) {
        for machine in &self.machines {
            let Kind::Agent(disk) = &machine.kind else {
                continue;
            };
            let harm = disk.harm();
            for (errno, times) in harm.failed {
                let what = if errno == ENOSPC {
                    "is full (ENOSPC)"
                } else {
                    "fails to sync (EIO)"
                };
                self.events.struck_times(format!("a disk {what}"), times);
            }
            let struck = |what: &str, times| self.events.struck_times(what, times);
            struck("a write is torn", harm.torn_writes);
            struck(
                "a loss of power takes unsynced writes of a file",
                harm.lost_writes,
            );
            struck("a slow disk delays records", harm.slow_groups);
        }
    }

    /// Where an agent tells its metrics.
    pub(super) fn admin(&self, agent: usize) -> SocketAddr {
        SocketAddr::new(network::ip(agent), 9464)
    }
}

impl Machine {
    fn is_dead(&self) -> bool {
        let has_died = match &self.kind {
            Kind::Agent(disk) => disk.is_dead(),
            Kind::Aggregator(inside) => inside.lock().door.as_ref().is_some_and(Door::is_dead),
        };
        has_died && self.process.is_some()
    }
}
