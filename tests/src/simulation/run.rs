//! One seed, from its plan to what is to be said about it. Called in a process whose random numbers
//! come from the seed; see [`super::driver`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use meridian_runtime::tasks::{self, Task};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::checks::{Checks, spools_within_limit};
use super::clients::{self, Book, Client};
use super::plan::{Fault, Plan};
use super::world::World;
use crate::metrics::Metrics;

/// Applications of each agent.
const CLIENTS: u64 = 2;
/// How often processes are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How often the invariants are looked at, in ticks.
const SAMPLE_TICKS: u64 = 40;
/// Everything must be delivered so long after the last fault.
const DELIVERED_WITHIN: Duration = Duration::from_secs(300);

/// What is to be said about a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Of all events; equal for equal seeds.
    pub hash: u64,
    /// Invariants that did not hold.
    pub violations: Vec<String>,
    /// What happened.
    pub events: Vec<String>,
    /// How often each fault was met.
    pub strikes: BTreeMap<String, u64>,
    /// What clients were told, and how often.
    pub answers: BTreeMap<String, u64>,
}

/// Runs a seed to its end.
pub fn seed(seed: u64) -> Result<Outcome> {
    let libraries = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // By this name `entropy.c` knows them.
        .thread_name("library")
        .enable_time()
        .build()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    let simulation = tasks::simulate(libraries.handle().clone());
    let outcome = runtime.block_on(run(Plan::of(seed)));
    drop(runtime);
    drop(simulation);
    libraries.shutdown_background();
    outcome
}

async fn run(plan: Plan) -> Result<Outcome> {
    let mut world = World::new(plan);
    world.events.note(format!("{:?}", world.plan));
    let book: Book = Arc::default();
    let mut checks = Checks::default();
    let mut clients = start_clients(&world, &book);
    let mut faults = world.plan.faults.clone();
    let mut over: Vec<(Instant, Fault)> = Vec::new();
    let (began, mut healed) = (Instant::now(), None);
    for tick in 0.. {
        let now = began.elapsed();
        while faults.first().is_some_and(|(at, _)| *at <= now) {
            let (_, fault) = faults.remove(0);
            over.extend(world.begin(&fault).map(|lasts| (Instant::now() + lasts, fault)));
        }
        for (_, fault) in over.extract_if(.., |(at, _)| *at <= Instant::now()) {
            world.end(&fault);
        }
        world.supervise().await?;
        spools_within_limit(&world);
        if tick % SAMPLE_TICKS == SAMPLE_TICKS - 1 {
            world.bucket.land().await;
            checks.sample(&world, &book).await?;
            if healed.is_none() && faults.is_empty() && over.is_empty() && is_quiet(&mut clients) {
                world.events.note("all is healed, and nobody sends any more");
                healed = Some(Instant::now());
            }
            if let Some(healed) = healed {
                if is_delivered(&world).await {
                    break;
                }
                if healed.elapsed() > DELIVERED_WITHIN {
                    world.events.violated(
                        "everything_is_delivered",
                        format!("not within {DELIVERED_WITHIN:?}"),
                    );
                    break;
                }
            }
        }
        tokio::time::sleep(TICK).await;
    }
    checks.end(&world, &book).await.context("the last look")?;
    world.count_harm();
    Ok(Outcome {
        hash: world.events.hash(),
        violations: world.events.violations(),
        events: world.events.lines(),
        strikes: world.events.strikes(),
        answers: world.events.answers(),
    })
}

fn start_clients(world: &World, book: &Book) -> Vec<Task<()>> {
    let end = Instant::now() + world.plan.load;
    let agents = 0..world.plan.agents;
    let client = |(agent, number): (usize, u64)| {
        let client = Client {
            seed: world.plan.seed,
            number: agent as u64 * CLIENTS + number,
            agent,
            signals: world.plan.signals,
            padding: world.plan.padding,
            net: world.net.clone(),
            book: Arc::clone(book),
            clock: world.clock.clone(),
            events: world.events.clone(),
        };
        tasks::spawn("client", client.run(end))
    };
    agents
        .flat_map(|agent| (0..CLIENTS).map(move |number| (agent, number)))
        .map(client)
        .collect()
}

fn is_quiet(clients: &mut [Task<()>]) -> bool {
    clients.iter().all(Task::is_finished)
}

/// Whether no agent has anything left to deliver.
async fn is_delivered(world: &World) -> bool {
    for agent in 0..world.plan.agents {
        let Ok(text) = clients::get(&world.net, world.admin(agent), "/metrics").await else {
            return false;
        };
        let pending = Metrics::parse(&text).map(|metrics| metrics.sum("meridian_agent_pending_items", &[]));
        if pending.unwrap_or(1.0) > 0.0 {
            return false;
        }
    }
    true
}

/// The panics of this process, on whatever thread; each is a violation.
pub fn panics() -> Arc<Mutex<Vec<String>>> {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let hook = Arc::clone(&seen);
    std::panic::set_hook(Box::new(move |panic| {
        hook.lock().push(format!("no_panic: {panic}"))
    }));
    seen
}
