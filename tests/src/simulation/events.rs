//! What happened in a run, in order: kept for people, and hashed to compare two runs. It judges
//! nothing but that a violation of an invariant is one.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use meridian_proto::signal::Signal;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// The events of one run; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Events(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    began: Instant,
    runtime: Handle,
    lines: Vec<String>,
    violations: Vec<String>,
    struck: BTreeMap<String, u64>,
    answers: BTreeMap<String, u64>,
}

impl Events {
    pub(super) fn begin() -> Self {
        Self(Arc::new(Mutex::new(State {
            began: Instant::now(),
            runtime: Handle::current(),
            lines: Vec::new(),
            violations: Vec::new(),
            struck: BTreeMap::new(),
            answers: BTreeMap::new(),
        })))
    }

    pub(super) fn note(&self, event: impl Display) {
        let mut state = self.0.lock();
        // A library's thread has a clock of its own.
        let runtime = state.runtime.clone();
        let _entered = runtime.enter();
        let at = Instant::now().duration_since(state.began).as_secs_f64();
        state.lines.push(format!("{at:10.4} {event}"));
    }

    /// An invariant does not hold.
    pub(super) fn violated(&self, invariant: &str, how: impl Display) {
        let violation = format!("{invariant}: {how}");
        self.note(&violation);
        let mut state = self.0.lock();
        if !state.violations.contains(&violation) {
            state.violations.push(violation);
        }
    }

    /// A fault was met, not only planned.
    pub(super) fn struck(&self, what: impl Display) {
        self.struck_times(what, 1);
    }

    pub(super) fn struck_times(&self, what: impl Display, times: u64) {
        if times > 0 {
            *self.0.lock().struck.entry(what.to_string()).or_default() += times;
        }
    }

    /// What a client was told.
    pub(super) fn answered(&self, signal: Signal, answer: &str) {
        *self
            .0
            .lock()
            .answers
            .entry(format!("{signal}: {answer}"))
            .or_default() += 1;
    }

    pub(super) fn answers(&self) -> BTreeMap<String, u64> {
        self.0.lock().answers.clone()
    }

    /// How often each fault was met.
    pub(super) fn strikes(&self) -> BTreeMap<String, u64> {
        self.0.lock().struck.clone()
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.0.lock().violations.clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().lines.clone()
    }

    /// FNV-1a over all lines.
    pub(super) fn hash(&self) -> u64 {
        let state = self.0.lock();
        let bytes = state.lines.iter().flat_map(|line| line.bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}
