//! What cumulative streams had counted when they were seen last, and so what has been added
//! since. Pure; which points are one stream's is told by a hash of everything that identifies it.
//!
//! A stream begins when its start time says so, or its value falls: then all that it holds was
//! added since it began. Two streams of one identity that overlap in time (two processes that
//! tell themselves not apart) are kept apart by their starts.
//!
//! **The first point of a stream** that is not known counts in full, if the stream has begun since
//! this memory has: nothing of it can have been counted before. An older one, and one whose start
//! is unknown, is where counting begins and nothing more: what it holds may be years of values,
//! which one minute of CloudWatch must not show. So is what comes back after it was forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::histogram::{Histogram, Step};

/// A stream as it was last seen.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stream {
    /// Since when it counts, in nanoseconds since the epoch; 0 if unknown.
    #[prost(fixed64, tag = "1")]
    pub start: u64,
    /// The time of its latest point.
    #[prost(fixed64, tag = "2")]
    pub time: u64,
    /// The record that it was in.
    #[prost(uint64, tag = "3")]
    pub seq: u64,
    /// What it had counted by then.
    #[prost(oneof = "Total", tags = "4, 5, 6")]
    pub total: Option<Total>,
}

/// What a stream counts.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Total {
    /// A sum of integers.
    #[prost(sint64, tag = "4")]
    Int(i64),
    /// A sum.
    #[prost(double, tag = "5")]
    Double(f64),
    /// A distribution.
    #[prost(message, boxed, tag = "6")]
    Histogram(Box<Histogram>),
}

/// What a point adds to what was known.
#[derive(Debug, Clone, PartialEq)]
pub enum Added {
    /// This.
    Some(Total),
    /// It is where counting begins.
    Baseline,
    /// Nothing: a later point of the stream was seen before.
    Superseded,
}

/// The streams that are known; beyond a number the least recently seen are forgotten.
#[derive(Debug, Clone)]
pub struct Streams {
    known: HashMap<u128, Arc<Stream>>,
    most: usize,
    /// Streams that began before may have been counted already.
    horizon: u64,
}

impl Total {
    fn since(&self, before: &Self) -> Step<Self> {
        let step = |added: Option<Self>| added.map_or(Step::Anew, Step::By);
        match (self, before) {
            (Self::Int(now), Self::Int(before)) => {
                let added = now.checked_sub(*before).filter(|added| *added >= 0);
                step(added.map(Self::Int))
            }
            (Self::Histogram(now), Self::Histogram(before)) => match now.since(before) {
                Step::By(added) => Step::By(Self::Histogram(Box::new(added))),
                Step::Anew => Step::Anew,
                Step::Unlike => Step::Unlike,
            },
            (now, before) => match (now.number(), before.number()) {
                (Some(now), Some(before)) => step((now >= before).then_some(Self::Double(now - before))),
                _ => Step::Unlike,
            },
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            Self::Histogram(_) => None,
        }
    }
}

impl Streams {
    /// None yet. What has begun before `horizon` may have been counted already.
    pub fn new(most: usize, horizon: u64) -> Self {
        Self {
            known: HashMap::new(),
            most: most.max(1),
            horizon,
        }
    }

    /// Streams that began before may have been counted already.
    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    /// All of them, by their keys.
    pub fn iter(&self) -> impl Iterator<Item = (u128, &Stream)> {
        self.known.iter().map(|(key, stream)| (*key, &**stream))
    }

    /// What a point adds; with the key under which it is to be [`put`](Self::put), if it is.
    pub fn added(&self, identity: u128, stream: &Stream) -> (Added, Option<u128>) {
        let overlaps = |known: &Arc<Stream>| known.start != stream.start && stream.start < known.time;
        let key = match self.known.get(&identity).is_some_and(overlaps) {
            true => xxh3_128_with_seed(&identity.to_le_bytes(), stream.start),
            false => identity,
        };
        let whole = || stream.total.clone().map_or(Added::Baseline, Added::Some);
        let added = match self.known.get(&key) {
            None if self.is_new(stream) => whole(),
            None => Added::Baseline,
            Some(known) if known.start != stream.start => whole(),
            Some(known) if stream.time <= known.time => return (Added::Superseded, None),
            Some(known) => match stream.total.as_ref().zip(known.total.as_ref()) {
                Some((now, before)) => match now.since(before) {
                    Step::By(added) => Added::Some(added),
                    Step::Anew => whole(),
                    Step::Unlike => Added::Baseline,
                },
                None => Added::Baseline,
            },
        };
        (added, Some(key))
    }

    /// Whether nothing of it can have been counted. One that begins with its first point has
    /// begun before: that is how unknown starts are written.
    fn is_new(&self, stream: &Stream) -> bool {
        stream.start != 0 && stream.start < stream.time && stream.start >= self.horizon
    }

    /// Knows a stream from now on; returns how many are forgotten for it.
    pub fn put(&mut self, key: u128, stream: Arc<Stream>) -> usize {
        self.known.insert(key, stream);
        match self.known.len() > self.most {
            true => self.forget(),
            false => 0,
        }
    }

    /// Forgets a tenth, by the same order wherever the same was put.
    fn forget(&mut self) -> usize {
        let mut ages: Vec<(u64, u128)> = self
            .known
            .iter()
            .map(|(key, stream)| (stream.seq, *key))
            .collect();
        let most = self.most - self.most / 10;
        let forgotten = ages.len().saturating_sub(most);
        if forgotten == 0 {
            return 0;
        }
        let (_, last, _) = ages.select_nth_unstable(forgotten - 1);
        let last = *last;
        let horizon = &mut self.horizon;
        self.known.retain(|key, stream| {
            let is_kept = (stream.seq, *key) > last;
            if !is_kept {
                *horizon = (*horizon).max(stream.time);
            }
            is_kept
        });
        forgotten
    }
}
