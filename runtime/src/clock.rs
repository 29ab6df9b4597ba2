//! Wall-clock time, so that a test can set it, and the time that passes, so that a test can hold it.
//!
//! It does not sleep: waiting is `tokio::time`, which tests pause by themselves.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// This moment by the runtime's own time, which nobody sets, and which stands still in a runtime
/// that a test has paused.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Tells the time of day. Clones of a manual clock share one hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Told(Teller),
    Forward(Arc<Forward>),
}

/// A clock that is not set back with the one below.
#[derive(Debug)]
struct Forward {
    below: Clock,
    state: Mutex<Ahead>,
}

#[derive(Debug)]
struct Ahead {
    /// What the clock below showed last.
    below_unix_nanos: u64,
    /// How far it has been set back altogether.
    lead_nanos: u64,
}

/// Whoever makes up the time of day.
#[derive(Clone)]
struct Teller(Arc<dyn Fn() -> u64 + Send + Sync>);

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}

/// Moves a clock made by [`Clock::manual`], also backwards.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `start_unix_nanos` until its hand is moved.
    pub fn manual(start_unix_nanos: u64) -> (Self, ManualClock) {
        let nanos = Arc::new(AtomicU64::new(start_unix_nanos));
        let hand = ManualClock(Arc::clone(&nanos));
        (Self::told(move || nanos.load(Ordering::SeqCst)), hand)
    }

    /// A clock that shows what it is told, for simulations of several machines.
    pub fn told(unix_nanos: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Source::Told(Teller(Arc::new(unix_nanos))))
    }

    /// This clock, but never before `unix_nanos`, and never back: when this one is set back, the
    /// other goes on from where it was. It leaps forward with it, as after a sleep of the machine.
    #[must_use]
    pub fn forward_from(self, unix_nanos: u64) -> Self {
        let below_unix_nanos = self.now_unix_nanos();
        let state = Mutex::new(Ahead {
            below_unix_nanos,
            lead_nanos: unix_nanos.saturating_sub(below_unix_nanos),
        });
        Self(Source::Forward(Arc::new(Forward { below: self, state })))
    }

    /// Nanoseconds since 1970-01-01 UTC; 0 on a machine whose clock stands before that.
    pub fn now_unix_nanos(&self) -> u64 {
        match &self.0 {
            Source::System => system_unix_nanos(),
            Source::Told(Teller(tell)) => tell(),
            Source::Forward(forward) => forward.now_unix_nanos(),
        }
    }
}

impl Forward {
    fn now_unix_nanos(&self) -> u64 {
        let mut state = self.state.lock();
        // Read under the lock: a thread that is overtaken here saw no clock that was set back.
        let below = self.below.now_unix_nanos();
        let back = state.below_unix_nanos.saturating_sub(below);
        state.lead_nanos = state.lead_nanos.saturating_add(back);
        state.below_unix_nanos = below;
        below.saturating_add(state.lead_nanos)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the machine's clock"
)]
fn system_unix_nanos() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

impl ManualClock {
    pub fn set(&self, unix_nanos: u64) {
        self.0.store(unix_nanos, Ordering::SeqCst);
    }

    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_for_all_its_clones() {
        let (clock, hand) = Clock::manual(1_000);
        let other = clock.clone();
        hand.advance(Duration::from_micros(2));
        assert_eq!(other.now_unix_nanos(), 3_000);
        hand.set(5);
        assert_eq!(clock.now_unix_nanos(), 5);
    }

    #[test]
    fn a_forward_clock_goes_on_when_the_one_below_is_set_back() {
        let (clock, hand) = Clock::manual(1_000);
        let forward = clock.forward_from(1_200);
        assert_eq!(forward.now_unix_nanos(), 1_200);
        hand.set(400);
        assert_eq!(forward.clone().now_unix_nanos(), 1_200);
        hand.set(500);
        assert_eq!(forward.now_unix_nanos(), 1_300);
        hand.set(5_000);
        assert_eq!(forward.now_unix_nanos(), 5_800);
    }

    #[test]
    fn the_system_clock_is_past_2025() {
        assert!(Clock::system().now_unix_nanos() > 1_735_689_600_000_000_000);
    }
}
