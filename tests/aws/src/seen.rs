//! What the stand-in remembers for those who test: what was taken, and what was refused and why.

use std::collections::BTreeMap;

use crate::action::Action;
use crate::cloudwatch::Datum;
use crate::problem::{Cause, Problem};

/// Refusals that are remembered word for word; the others are counted.
const REFUSALS_KEPT: usize = 1000;

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests by what they asked for, whatever became of them.
    pub calls: BTreeMap<Action, usize>,
    /// Requests that were taken, by what they asked for, also if their answers were lost.
    pub taken: BTreeMap<Action, usize>,
    /// Refusals by what was to blame.
    pub refused: BTreeMap<Cause, usize>,
    /// The first of them, without those that were made on demand.
    pub refusals: Vec<Refusal>,
    /// Connections that were reset before a request was read.
    pub resets: usize,
    /// Requests that were taken and not answered.
    pub lost_answers: BTreeMap<Action, usize>,
    /// Segment documents by their ids.
    pub documents: BTreeMap<String, Document>,
    /// Documents that came back unprocessed for throttling, on demand.
    pub unprocessed: usize,
    /// Documents that were refused one by one: id, code and message.
    pub refused_documents: Vec<(String, String, String)>,
    /// Log events by group and stream.
    pub streams: BTreeMap<(String, String), Stream>,
    /// Log events that were not stored, by what they were: `too_old`, `too_new`, `expired`.
    pub rejected_events: BTreeMap<&'static str, usize>,
    /// Metric data in the order of their arrival.
    pub data: Vec<Datum>,
    /// How many there were.
    pub data_count: usize,
    /// Spans that came as OTLP, by trace and span id, with how often they came.
    pub spans: BTreeMap<(String, String), usize>,
    /// Data points that came as OTLP.
    pub points: usize,
}

/// A segment document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What came last.
    pub text: String,
    /// How often it came.
    pub times: usize,
}

/// The events of a log stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// How often each came: timestamp in milliseconds, and text.
    pub events: BTreeMap<(i64, String), usize>,
    /// How many came.
    pub count: usize,
}

/// A request that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it asked for, where that could be told.
    pub action: Option<Action>,
    /// What was to blame.
    pub cause: Cause,
    /// The code of the answer.
    pub code: &'static str,
    /// Its message.
    pub message: String,
}

impl Seen {
    /// Requests of an action.
    pub fn calls(&self, action: Action) -> usize {
        self.calls.get(&action).copied().unwrap_or_default()
    }

    /// Refusals that were for this.
    pub fn refused(&self, cause: Cause) -> usize {
        self.refused.get(&cause).copied().unwrap_or_default()
    }

    /// What no correct exporter ever causes: requests and documents that break a rule, by what
    /// was said of them.
    pub fn misshapen(&self) -> Vec<String> {
        let requests = self
            .refusals
            .iter()
            .filter(|refusal| refusal.cause == Cause::Shape);
        let requests =
            requests.map(|refusal| format!("{:?}: {} {}", refusal.action, refusal.code, refusal.message));
        let documents = self.refused_documents.iter();
        let documents = documents.map(|(id, code, message)| format!("segment {id}: {code} {message}"));
        requests.chain(documents).collect()
    }

    /// The texts of all events with how often each came.
    pub fn messages(&self) -> BTreeMap<&str, usize> {
        let mut messages = BTreeMap::new();
        for ((_, text), times) in self.streams.values().flat_map(|stream| &stream.events) {
            *messages.entry(text.as_str()).or_default() += times;
        }
        messages
    }

    pub(crate) fn called(&mut self, action: Action) {
        *self.calls.entry(action).or_default() += 1;
    }

    pub(crate) fn refuse(&mut self, action: Option<Action>, problem: &Problem) {
        *self.refused.entry(problem.cause).or_default() += 1;
        let is_on_demand = matches!(problem.cause, Cause::Throttled | Cause::Broken);
        if !is_on_demand && self.refusals.len() < REFUSALS_KEPT {
            self.refusals.push(Refusal {
                action,
                cause: problem.cause,
                code: problem.code,
                message: problem.message.clone(),
            });
        }
    }
}
