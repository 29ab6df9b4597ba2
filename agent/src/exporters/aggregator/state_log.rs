//! One line in the log when the state of an endpoint changes, however often it is tried.
//!
//! Attempts that fail as the one before are logged at level debug only.

use std::time::Duration;

use meridian_proto::stream::Welcome;
use meridian_runtime::chain;
use tokio::time::Instant;

use super::error::SessionError;

/// What was last said of each endpoint.
#[derive(Debug)]
pub struct StateLog {
    exporter: String,
    /// `None` until the first word about an endpoint.
    states: Vec<Option<State>>,
    down_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connected,
    Failed(&'static str),
}

impl StateLog {
    /// Nothing said yet.
    pub fn new(exporter: &str, endpoints: usize) -> Self {
        Self {
            exporter: exporter.to_owned(),
            states: vec![None; endpoints],
            down_since: None,
        }
    }

    /// A stream is open.
    pub fn connected(&mut self, endpoint: usize, url: &str, welcome: &Welcome) {
        let down = self
            .down_since
            .take()
            .map_or(Duration::ZERO, |since| since.elapsed());
        if self.changes(endpoint, State::Connected) {
            tracing::info!(
                exporter = self.exporter,
                endpoint = url,
                aggregator = welcome.aggregator,
                down_seconds = down.as_secs(),
                "connected to the aggregator"
            );
        }
    }

    /// A stream could not be opened, or ended.
    pub fn failed(&mut self, endpoint: usize, url: &str, error: &SessionError) {
        self.down_since.get_or_insert_with(Instant::now);
        if self.changes(endpoint, State::Failed(error.code())) {
            tracing::warn!(
                exporter = self.exporter,
                endpoint = url,
                error = chain(error),
                "no stream to the aggregator; the spool holds what it lacks, trying again"
            );
        } else {
            tracing::debug!(
                exporter = self.exporter,
                endpoint = url,
                error = chain(error),
                "still no stream"
            );
        }
    }

    fn changes(&mut self, endpoint: usize, state: State) -> bool {
        self.states[endpoint].replace(state) != Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_said_once_for_each_endpoint() {
        let mut log = StateLog::new("aggregator", 2);
        assert!(log.changes(0, State::Failed("connect")));
        assert!(log.changes(1, State::Failed("connect")));
        assert!(!log.changes(0, State::Failed("connect")));
        assert!(log.changes(0, State::Failed("refused")));
        assert!(log.changes(0, State::Connected));
        assert!(!log.changes(1, State::Failed("connect")));
    }
}
