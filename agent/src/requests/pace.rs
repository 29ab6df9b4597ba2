//! How fast requests may leave: a rate that falls by half when the other side throttles and rises
//! step by step when it does not (AIMD), because the quota is an account's and shared by all
//! nodes. It tells times and sends nothing.

use std::time::{Duration, Instant};

/// Each request that is not throttled gives back so much of the highest rate.
const STEP: f64 = 0.01;
/// The rate never falls below this share of the highest one.
const FLOOR: f64 = 0.01;
/// What was not used for so long may be sent at once.
const BURST: Duration = Duration::from_secs(1);
/// Throttled requests that were sent together are one sign, not many.
const ONE_SIGN: Duration = Duration::from_millis(500);

/// The rate of one exporter.
#[derive(Debug, Clone)]
pub struct Pace {
    highest: f64,
    rate: f64,
    /// Requests that may leave at once; may be a part of one.
    credit: f64,
    counted: Instant,
    slowed: Option<Instant>,
}

impl Pace {
    /// `highest` in requests per second, more than 0: a quota divided by the nodes.
    pub fn new(highest: f64, now: Instant) -> Self {
        Self {
            highest,
            rate: highest,
            credit: 1.0,
            counted: now,
            slowed: None,
        }
    }

    /// Takes one request's credit, or says when there will be one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.refill(now);
        if self.credit >= 1.0 {
            self.credit -= 1.0;
            return Ok(());
        }
        Err(now + Duration::from_secs_f64((1.0 - self.credit) / self.rate))
    }

    /// A request was answered, and not by throttling.
    pub fn on_success(&mut self) {
        self.rate = (self.rate + self.highest * STEP).min(self.highest);
    }

    /// The other side throttles.
    pub fn on_throttle(&mut self, now: Instant) {
        let is_new = self
            .slowed
            .is_none_or(|slowed| now.saturating_duration_since(slowed) >= ONE_SIGN);
        if is_new {
            self.refill(now);
            self.rate = (self.rate / 2.0).max(self.highest * FLOOR);
            self.credit = self.credit.min(0.0);
            self.slowed = Some(now);
        }
    }

    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted);
        let most = (self.rate * BURST.as_secs_f64()).max(1.0);
        self.credit = (self.credit + self.rate * passed.as_secs_f64()).min(most);
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests that leave within so many seconds when each is sent as soon as it may be.
    fn sent(pace: &mut Pace, from: Instant, seconds: u64) -> usize {
        let (mut now, mut count) = (from, 0);
        while now < from + Duration::from_secs(seconds) {
            match pace.take(now) {
                Ok(()) => count += 1,
                Err(at) => now = at.max(now + Duration::from_micros(1)),
            }
        }
        count
    }

    #[test]
    fn the_rate_is_kept_and_a_rest_gives_one_second_of_it() {
        let start = Instant::now();
        let mut pace = Pace::new(10.0, start);
        assert!((99..=102).contains(&sent(&mut pace, start, 10)));
        let later = start + Duration::from_secs(1000);
        assert!((19..=21).contains(&sent(&mut pace, later, 1)));
    }

    #[test]
    fn throttling_halves_the_rate_once_and_success_brings_it_back() {
        let start = Instant::now();
        let mut pace = Pace::new(100.0, start);
        for _ in 0..20 {
            pace.on_throttle(start);
        }
        assert!((pace.rate() - 50.0).abs() < 1e-9);
        for second in 1..60 {
            pace.on_throttle(start + Duration::from_secs(second));
        }
        assert!((pace.rate() - 1.0).abs() < 1e-9, "not below a hundredth");
        for _ in 0..200 {
            pace.on_success();
        }
        assert!((pace.rate() - 100.0).abs() < 1e-9, "not above the highest");
    }
}
