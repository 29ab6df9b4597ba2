//! What a seed means: who takes part, and which faults come when. It causes none of them.

use std::time::Duration;

use meridian_proto::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SIGNALS: [&[Signal]; 4] = [
    &[Signal::Spans],
    &[Signal::Logs],
    &[Signal::Metrics],
    &Signal::ALL,
];

/// A number that depends on nothing but the seed and the keys, however often and in whatever
/// order it is asked for.
pub(super) fn draw(seed: u64, keys: &[u64]) -> u64 {
    keys.iter().fold(seed ^ 0x6d65_7269_6469_616e, |state, key| {
        let mut mixed = (state ^ key).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// Where in a put a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Nothing arrives.
    Before,
    /// The object is there, and nobody heard of it.
    After,
    /// The request is on its way, and arrives when the next process has begun its work.
    Late,
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// An agent's process dies in a change of its disk; or its machine does.
    AgentDies {
        agent: usize,
        changes: u64,
        power: bool,
        down: Duration,
    },
    /// An aggregator's process dies in a put.
    AggregatorDies {
        aggregator: usize,
        puts: u64,
        moment: Moment,
        down: Duration,
    },
    /// A process is asked to end, and started again.
    Restart { machine: usize, down: Duration },
    /// Nothing passes between an agent and an aggregator.
    Partition {
        agent: usize,
        aggregator: usize,
        lasts: Duration,
    },
    /// All connections of a machine are reset.
    Cut { machine: usize },
    /// The store answers nothing but errors.
    StoreAway { lasts: Duration },
    /// Puts fail, or seem to.
    StoreFlaky { lasts: Duration },
    /// An agent's disk is full.
    DiskFull { agent: usize, lasts: Duration },
    /// Some syncs of an agent's disk fail.
    SyncFails { agent: usize, times: u32 },
    /// Each group of records takes an agent's disk so long.
    DiskSlow {
        agent: usize,
        pace: Duration,
        lasts: Duration,
    },
    /// A machine's clock is set.
    ClockJumps { machine: usize, seconds: i64 },
}

/// All of one seed. Machines are numbered: the agents first.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) agents: usize,
    pub(super) aggregators: usize,
    pub(super) faults: Vec<(Duration, Fault)>,
    /// For how long clients send.
    pub(super) load: Duration,
    /// A connection delays by so much, at most.
    pub(super) latency: Duration,
    /// Whether crashed machines leave connections half open.
    pub(super) half_open: bool,
    pub(super) batch_rows: usize,
    /// Of an aggregator, for what is not committed.
    pub(super) ingest_bytes: usize,
    /// Of an agent's spool.
    pub(super) spool_bytes: u64,
    /// What an agent may have sent and not acknowledged; so little that it often waits, or plenty.
    pub(super) window_bytes: u64,
    /// Of text in each request, so that spool and memory fill.
    pub(super) padding: usize,
    /// What clients send. Of one signal a run costs half as much as of all.
    pub(super) signals: &'static [Signal],
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let (agents, aggregators) = (random.random_range(1..=2), random.random_range(1..=2));
        let load = Duration::from_secs(random.random_range(8..=25));
        let count = random.random_range(1..=6);
        let mut faults: Vec<_> = (0..count)
            .map(|_| {
                let at = Duration::from_millis(random.random_range(500..load.as_secs() * 1000));
                (at, Fault::of(&mut random, agents, aggregators))
            })
            .collect();
        faults.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            agents,
            aggregators,
            faults,
            load,
            latency: Duration::from_millis([2, 20, 200][random.random_range(0..3)]),
            half_open: random.random_bool(0.5),
            batch_rows: [1, 5, 10_000][random.random_range(0..3)],
            ingest_bytes: [64 << 20, 384 << 10][random.random_range(0..2)],
            spool_bytes: [256 << 10, 20 << 10][random.random_range(0..2)],
            signals: SIGNALS[random.random_range(0..SIGNALS.len())],
            window_bytes: [8 << 10, 1 << 20, 1 << 20][random.random_range(0..3)],
            padding: [0, 0, 4 << 10][random.random_range(0..3)],
        }
    }
}

impl Fault {
    fn of(random: &mut StdRng, agents: usize, aggregators: usize) -> Self {
        let agent = random.random_range(0..agents);
        let aggregator = random.random_range(0..aggregators);
        let machine = random.random_range(0..agents + aggregators);
        let longest = [3_000, 30_000][random.random_range(0..2)];
        let down = Duration::from_millis(random.random_range(500..longest));
        let lasts = Duration::from_millis(random.random_range(500..30_000));
        match random.random_range(0..16) {
            0..=2 => Self::AgentDies {
                agent,
                changes: random.random_range(0..12),
                power: random.random_bool(0.7),
                down,
            },
            3..=4 => Self::AggregatorDies {
                aggregator,
                puts: random.random_range(0..6),
                moment: [Moment::Before, Moment::After, Moment::Late][random.random_range(0..3)],
                down,
            },
            5 => Self::Restart { machine, down },
            6 => Self::Partition {
                agent,
                aggregator,
                lasts,
            },
            7 => Self::Cut { machine },
            8 => Self::StoreAway { lasts },
            9 => Self::StoreFlaky { lasts },
            10 => Self::DiskFull { agent, lasts },
            11 => Self::SyncFails {
                agent,
                times: random.random_range(1..4),
            },
            12..=13 => Self::DiskSlow {
                agent,
                pace: Duration::from_millis([100, 1_000, 6_000][random.random_range(0..3)]),
                lasts,
            },
            _ => Self::ClockJumps {
                machine,
                seconds: [3_600, -3_600, 30, -30][random.random_range(0..4)],
            },
        }
    }
}
