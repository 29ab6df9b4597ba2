//! What is wrong between this process and its store at present: the tables could not be
//! opened yet, or rows cannot be committed. It repairs nothing; others try again.

use std::fmt;

use meridian_proto::signal::Signal;
use parking_lot::RwLock;

/// A time in which the store cannot be used as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The store's URL.
    pub place: String,
    /// Nothing of the store is known yet: no question can be answered.
    pub is_closed: bool,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_closed {
            "could not be opened yet"
        } else {
            "cannot be used at present"
        };
        write!(f, "the store {} {what}: {}", self.place, self.reason)
    }
}

/// The reasons, each set and taken back by who sees it.
#[derive(Debug, Default)]
pub(super) struct Troubles(RwLock<Reasons>);

#[derive(Debug, Default)]
struct Reasons {
    not_opened: Option<String>,
    commits: [Option<String>; 3],
}

impl Troubles {
    pub(super) fn not_opened(&self, reason: Option<String>) {
        self.0.write().not_opened = reason;
    }

    pub(super) fn commits(&self, signal: Signal, reason: Option<String>) {
        self.0.write().commits[signal.index()] = reason;
    }

    pub(super) fn outage(&self, is_serving: bool, place: &str) -> Option<Outage> {
        let reasons = self.0.read();
        let reason = match &reasons.not_opened {
            Some(reason) => Some(reason.clone()),
            None if !is_serving => Some("it is being opened".to_owned()),
            None => reasons.commits.iter().flatten().next().cloned(),
        };
        Some(Outage {
            place: place.to_owned(),
            is_closed: !is_serving,
            reason: reason?,
        })
    }
}
