//! The streams that events go to, by number, and what is known of each: whether it exists, and
//! since when it may not be written to. Nothing is asked here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::template::Template;
use crate::otlp::view::Attributes;

/// More are not told apart: names come from attributes, and those from anybody.
const DESTINATIONS_MAX: usize = 10_000;
/// A group that may not be written to is waited for so long, while others may be written to.
const DENIED_WAIT: Duration = Duration::from_secs(60);
/// And then tried this often.
const DENIED_TRY: Duration = Duration::from_secs(60);

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

#[derive(Debug, Clone, Copy)]
struct Denied {
    since: Instant,
    tried: Instant,
}

impl Destinations {
    /// None yet.
    pub fn new(group: Template, stream: Template) -> Self {
        Self {
            group,
            stream,
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
        age >= DENIED_WAIT && others && now.saturating_duration_since(denied.tried) < DENIED_TRY
    }

    /// Whether others are taken while this group is denied.
    pub fn is_denied_alone(&self, group: &str) -> bool {
        let known = self.known.lock();
        let Some(denied) = known.denied.get(group) else {
            return false;
        };
        known.taken.is_some_and(|taken| taken > denied.since)
    }
}
