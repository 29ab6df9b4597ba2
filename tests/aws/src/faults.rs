//! How the stand-in fails on demand: shares of the requests, and a bucket of tokens. Chance comes
//! from a seed; which request meets which throw depends on the order in which they arrive. Yet a
//! share of one in twenty strikes once in every twenty: a fault that was asked for is never spared
//! by luck.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::action::Action;

/// How it fails. Shares are of all requests, between 0 and 1.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// This share is throttled.
    pub throttled: f64,
    /// Requests of all actions beyond this are throttled.
    pub bucket: Option<Bucket>,
    /// This share of the segments of a request comes back unprocessed; of the data points of an
    /// OTLP request, rejected.
    pub unprocessed: f64,
    /// The segment with this id always comes back, as if X-Ray were broken.
    pub fails_on: Option<String>,
    /// The connection is reset before the request was read.
    pub reset: f64,
    /// The request is taken, and the connection reset instead of an answer.
    pub lost_answers: f64,
    /// The service says that it is broken.
    pub broken: f64,
    /// This share waits for `slowness` before anything else.
    pub slow: f64,
    /// See `slow`.
    pub slowness: Duration,
    /// What is not permitted.
    pub denied: Vec<Denied>,
}

/// A bucket of tokens, full at first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// It is filled with so many tokens.
    pub per_second: f64,
    /// It holds so many.
    pub burst: f64,
}

/// What is not permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// Nothing is.
    Everything,
    /// This is not.
    Action(Action),
    /// Nothing of this log group is.
    LogGroup(String),
}

/// What strikes a share of what it can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    Throttled,
    Unprocessed,
    Reset,
    LostAnswer,
    Broken,
    Slow,
}

/// What chance and the buckets decide.
#[derive(Debug)]
pub struct Dice {
    random: StdRng,
    turns: BTreeMap<Mishap, Turns>,
    buckets: BTreeMap<Option<Action>, Level>,
}

/// How often a mishap could have come, and when it comes next.
#[derive(Debug, Clone, Copy, Default)]
struct Turns {
    passed: f64,
    rounds: f64,
    strikes_at: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    unix_nanos: u64,
}

impl Dice {
    pub fn of(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            turns: BTreeMap::new(),
            buckets: BTreeMap::new(),
        }
    }

    /// Whether it strikes now that strikes this share: once in each round of `1 / share` turns, at
    /// a place in it that is left to chance.
    pub fn falls(&mut self, mishap: Mishap, share: f64) -> bool {
        if share <= 0.0 {
            return false;
        }
        let turns = self.turns.entry(mishap).or_default();
        let (round, random) = (turns.rounds, &mut self.random);
        let strikes_at = *turns
            .strikes_at
            .get_or_insert_with(|| ((round + random.random::<f64>()) / share).floor());
        let falls = turns.passed >= strikes_at;
        if falls {
            turns.rounds += 1.0;
            turns.strikes_at = None;
        }
        turns.passed += 1.0;
        falls
    }

    /// Begins anew with other shares: empties no bucket of an action, but forgets how full the one
    /// of all was.
    pub fn restart(&mut self) {
        self.turns.clear();
        self.buckets.remove(&None);
    }

    /// Takes a token out of the bucket of an action, or of all; false if there is none.
    pub fn take(&mut self, whose: Option<Action>, bucket: Bucket, now_unix_nanos: u64) -> bool {
        let level = self.buckets.entry(whose).or_insert(Level {
            tokens: bucket.burst,
            unix_nanos: now_unix_nanos,
        });
        let passed = Duration::from_nanos(now_unix_nanos.saturating_sub(level.unix_nanos));
        level.tokens = (level.tokens + passed.as_secs_f64() * bucket.per_second).min(bucket.burst);
        level.unix_nanos = now_unix_nanos;
        if level.tokens < 1.0 {
            return false;
        }
        level.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut dice = Dice::of(1);
        let bucket = Bucket {
            per_second: 10.0,
            burst: 5.0,
        };
        let taken = |dice: &mut Dice, at: u64| (0..20).filter(|_| dice.take(None, bucket, at)).count();
        assert_eq!(taken(&mut dice, 0), 5);
        assert_eq!(taken(&mut dice, 300_000_000), 3);
        assert_eq!(taken(&mut dice, 100_000_000_000), 5, "no more than it holds");
        assert!(dice.take(Some(Action::PutLogEvents), bucket, 0), "another's");
    }

    #[test]
    fn one_seed_is_one_sequence_and_every_round_has_its_share() {
        let throws = |seed, share| {
            let mut dice = Dice::of(seed);
            (0..1000)
                .map(|_| dice.falls(Mishap::Reset, share))
                .collect::<Vec<_>>()
        };
        assert_eq!(throws(7, 0.3), throws(7, 0.3));
        assert_ne!(throws(7, 0.3), throws(8, 0.3));
        let fallen = |throws: &[bool]| throws.iter().filter(|fallen| **fallen).count();
        assert!(throws(7, 0.05).chunks(20).all(|round| fallen(round) == 1));
        let often = throws(7, 0.7);
        assert!((698..=700).contains(&fallen(&often)), "{}", fallen(&often));
        assert!(throws(7, 1.0).into_iter().all(|fallen| fallen));
    }

    #[test]
    fn one_mishap_takes_no_turn_of_another() {
        let mut dice = Dice::of(1);
        let both = (0..40).map(|_| {
            let is_slow = dice.falls(Mishap::Slow, 0.5);
            (is_slow, is_slow && dice.falls(Mishap::LostAnswer, 0.1))
        });
        let (slow, lost): (Vec<bool>, Vec<bool>) = both.unzip();
        let times = |throws: Vec<bool>| throws.into_iter().filter(|fallen| *fallen).count();
        assert_eq!((times(slow), times(lost)), (20, 2));
    }
}
