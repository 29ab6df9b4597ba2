//! The streams that events go to, by number, and what is known of each: whether it exists, and
//! since when it may not be written to. Nothing is asked here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::template::Template;
use crate::otlp::view::Attributes;

/// More are not told apart: names come from attributes, and those from anybody.
const DESTINATIONS_MAX: usize = 10_000;

/// A stream of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The group's name.
    pub group: String,
    /// The stream's name.
    pub stream: String,
}

/// All of them, and how they are named.
#[derive(Debug)]
pub struct Destinations {
    group: Template,
    stream: Template,
    denied_wait: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<Destination, u64>,
    all: Vec<Destination>,
    /// By group.
    denied: HashMap<String, Denied>,
    /// When something was last taken.
    taken: Option<Instant>,
}

/// Whether a group is denied while others are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// Nothing is known of others.
    No,
    /// It is, and it is news.
    New,
    /// It is, and people know.
    Told,
}

#[derive(Debug, Clone, Copy)]
struct Denied {
    since: Instant,
    tried: Instant,
    /// That it is this group alone was told.
    is_told: bool,
}

impl Destinations {
    /// None yet. A group that may not be written to, while others may, is waited for so long, and
    /// tried as often from then on.
    pub fn new(group: Template, stream: Template, denied_wait: Duration) -> Self {
        Self {
            group,
            stream,
            denied_wait,
            known: Mutex::default(),
        }
    }

    /// The number of a resource's destination, the key of its pieces. Where there are too many,
    /// it is one of those that there are: the group's first, or the first of all.
    pub fn number(&self, resource: &Attributes<'_>) -> u64 {
        let destination = Destination {
            group: self.group.name(resource),
            stream: self.stream.name(resource),
        };
        let mut known = self.known.lock();
        if let Some(number) = known.numbers.get(&destination) {
            return *number;
        }
        if known.all.len() >= DESTINATIONS_MAX {
            let alike = known.all.iter().position(|one| one.group == destination.group);
            return alike.unwrap_or(0) as u64;
        }
        let number = known.all.len() as u64;
        known.all.push(destination.clone());
        known.numbers.insert(destination, number);
        number
    }

    /// The destination of a number.
    pub fn get(&self, number: u64) -> Option<Destination> {
        let known = self.known.lock();
        known.all.get(usize::try_from(number).ok()?).cloned()
    }

    /// Events were taken.
    pub fn taken(&self, group: &str, now: Instant) {
        let mut known = self.known.lock();
        known.denied.remove(group);
        known.taken = Some(now);
    }

    /// A group may not be written to, or created.
    pub fn denied(&self, group: &str, now: Instant) {
        let mut known = self.known.lock();
        let new = Denied {
            since: now,
            tried: now,
            is_told: false,
        };
        known.denied.entry(group.to_owned()).or_insert(new).tried = now;
    }

    /// Whether events of the group are dropped without asking: it is denied for long, was tried
    /// a short time ago, and others are taken, so that it is not we who are denied.
    pub fn is_hopeless(&self, group: &str, now: Instant) -> bool {
        let known = self.known.lock();
        let Some(denied) = known.denied.get(group) else {
            return false;
        };
        let age = now.saturating_duration_since(denied.since);
        let others = known.taken.is_some_and(|taken| taken > denied.since);
        age >= self.denied_wait && others && now.saturating_duration_since(denied.tried) < self.denied_wait
    }

    /// Whether others are taken while this group is denied, and nobody was told so before.
    pub fn is_denied_alone(&self, group: &str) -> Alone {
        let mut known = self.known.lock();
        let taken = known.taken;
        match known.denied.get_mut(group) {
            Some(denied) if taken.is_some_and(|taken| taken > denied.since) => {
                match std::mem::replace(&mut denied.is_told, true) {
                    true => Alone::Told,
                    false => Alone::New,
                }
            }
            _ => Alone::No,
        }
    }
}
