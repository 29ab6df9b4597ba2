//! Stops an exporter from asking an endpoint that does not answer: after some failures in a row
//! one request at a time tries, after ever longer waits. It tells times and sends nothing.

use std::time::{Duration, Instant};

use meridian_runtime::backoff::Backoff;

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 3;

/// The state of one endpoint.
#[derive(Debug)]
pub struct Breaker {
    backoff: Backoff,
    failures: u32,
    /// Nothing is asked before.
    closed_until: Option<Instant>,
    /// One request is trying.
    is_trying: bool,
}

impl Breaker {
    /// Waits between `first` and `longest`, each a random part of it.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            backoff: Backoff::new(first, longest),
            failures: 0,
            closed_until: None,
            is_trying: false,
        }
    }

    /// Whether a request may leave; if not, when to ask again, or `None` while one is trying.
    pub fn admit(&self, now: Instant) -> Result<(), Option<Instant>> {
        match self.closed_until {
            Some(until) if now < until => Err(Some(until)),
            Some(_) if self.is_trying => Err(None),
            _ => Ok(()),
        }
    }

    /// A request that was admitted leaves.
    pub fn on_sent(&mut self) {
        self.is_trying = self.failures >= FAILURES_MAX;
    }

    /// The endpoint has answered; true if it had been given up before.
    pub fn on_answer(&mut self) -> bool {
        let was_open = self.failures >= FAILURES_MAX;
        self.backoff.reset();
        self.failures = 0;
        self.closed_until = None;
        self.is_trying = false;
        was_open
    }

    /// The endpoint has failed, and asks for a pause if it said so; true if this gives it up.
    pub fn on_failure(&mut self, now: Instant, pause: Option<Duration>) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.is_trying = false;
        let wait = self.backoff.next_delay();
        let wait = pause.map_or(wait, |pause| pause.max(wait));
        let until = now + wait;
        self.closed_until = Some(self.closed_until.map_or(until, |before| before.max(until)));
        self.failures == FAILURES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_three_failures_one_request_at_a_time_tries() {
        let start = Instant::now();
        let mut breaker = Breaker::new(Duration::from_secs(1), Duration::from_secs(30));
        assert!(breaker.admit(start).is_ok());
        assert!(!breaker.on_failure(start, None));
        assert!(!breaker.on_failure(start, None));
        assert!(breaker.on_failure(start, None), "the third");
        let later = start + Duration::from_secs(60);
        assert_eq!(breaker.admit(later), Ok(()), "the one that tries");
        assert_eq!(breaker.admit(later), Ok(()), "it has not left yet");
        breaker.on_sent();
        assert_eq!(breaker.admit(later), Err(None), "no other meanwhile");
        assert!(!breaker.on_failure(later, None));
        let much_later = later + Duration::from_secs(60);
        assert_eq!(breaker.admit(much_later), Ok(()));
        assert!(breaker.on_answer());
        assert_eq!(breaker.admit(much_later), Ok(()));
        assert_eq!(breaker.admit(much_later), Ok(()));
    }

    #[test]
    fn a_pause_that_the_endpoint_asks_for_is_kept() {
        let start = Instant::now();
        let mut breaker = Breaker::new(Duration::from_millis(10), Duration::from_millis(20));
        breaker.on_failure(start, Some(Duration::from_secs(7)));
        assert_eq!(breaker.admit(start), Err(Some(start + Duration::from_secs(7))));
        assert_eq!(breaker.admit(start + Duration::from_secs(7)), Ok(()));
    }
}
