//! Exponential backoff with full jitter: each wait is uniform between zero and a ceiling that
//! doubles, so that a thousand agents that lost one aggregator do not come back together.
//!
//! It does not decide whether to retry; that belongs to the caller's error.
//!
//! Source: "Exponential Backoff And Jitter", AWS Architecture Blog.

use std::time::Duration;

use rand::Rng;

/// The waits between attempts of one retrying caller.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    ceiling: Duration,
}

impl Backoff {
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial,
            max,
            ceiling: initial.min(max),
        }
    }

    /// The next wait; its ceiling doubles up to the maximum.
    pub fn next_delay(&mut self) -> Duration {
        self.next_delay_with(&mut rand::rng())
    }

    /// As [`Backoff::next_delay`], with a generator of the caller's choice.
    pub fn next_delay_with(&mut self, rng: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = ceiling.saturating_mul(2).min(self.max);
        ceiling.mul_f64(rng.random_range(0.0..=1.0))
    }

    /// Waits for the next delay.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }

    /// The attempt succeeded: the next failure waits briefly again.
    pub fn reset(&mut self) {
        self.ceiling = self.initial.min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn delays_stay_under_a_ceiling_that_doubles_up_to_the_maximum() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut largest = [Duration::ZERO; 5];
        for _ in 0..500 {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
            for seen in &mut largest {
                *seen = backoff.next_delay_with(&mut rng).max(*seen);
            }
        }
        for (seen, ceiling_ms) in largest.iter().zip([100, 200, 400, 500, 500]) {
            let ceiling = Duration::from_millis(ceiling_ms);
            assert!(
                *seen <= ceiling && *seen > ceiling.mul_f64(0.9),
                "{seen:?} of {ceiling:?}"
            );
        }
    }

    #[test]
    fn a_reset_starts_from_the_initial_ceiling() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(60));
        for _ in 0..20 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_takes_no_longer_than_the_ceiling() {
        let started = tokio::time::Instant::now();
        Backoff::new(Duration::from_secs(30), Duration::from_secs(60))
            .wait()
            .await;
        assert!(started.elapsed() <= Duration::from_millis(30_001));
    }
}
