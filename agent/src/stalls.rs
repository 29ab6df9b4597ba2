//! Times in which this process did not run although it was alive: it was stopped, starved, or
//! its machine was suspended. Applications had nobody to send to, so an aggregator must not
//! count such a time as seen.
//!
//! A stall is a sign of life that comes late, by the system clock, because that one goes on
//! while a machine sleeps; a clock that is set forward looks the same, and is reported too
//! (rather a gap too many than one that is hidden). The time between two processes is not
//! found here: that is what the spool's last sign of life is for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// How often somebody is expected to call [`Stalls::observe`].
pub const TICK: Duration = Duration::from_secs(1);
/// How late a tick must be to be a stall.
const LATE: Duration = Duration::from_secs(5);
const SILENCE_NANOS: u64 = (TICK.as_secs() + LATE.as_secs()) * 1_000_000_000;
/// Exporters fetch a stall within a second; more than this many are merged.
const KEPT_MAX: usize = 64;

/// One stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// The last sign of life before it.
    pub from_unix_nanos: u64,
    /// The first one after it.
    pub to_unix_nanos: u64,
}

/// The stalls of this process; clones share them.
#[derive(Debug, Clone)]
pub struct Stalls(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    last_unix_nanos: u64,
    /// Number of the next stall; those before `next - recent.len()` are merged or gone.
    next: u64,
    recent: VecDeque<Stall>,
}

impl Stalls {
    /// No stall yet; the process lives since `now`.
    pub fn new(now_unix_nanos: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            last_unix_nanos: now_unix_nanos,
            next: 0,
            recent: VecDeque::new(),
        })))
    }

    /// A sign of life. Whoever is about to claim that everything up to now was accepted calls
    /// this first, so that a watermark never leaps over a stall that is not known yet.
    pub fn observe(&self, now_unix_nanos: u64) {
        let mut state = self.0.lock();
        let from = state.last_unix_nanos;
        state.last_unix_nanos = now_unix_nanos;
        if now_unix_nanos.saturating_sub(from) > SILENCE_NANOS {
            state.push(Stall {
                from_unix_nanos: from,
                to_unix_nanos: now_unix_nanos,
            });
        }
    }

    /// The stalls from number `next` on, and the number to ask with the next time.
    pub fn since(&self, next: u64) -> (Vec<Stall>, u64) {
        let state = self.0.lock();
        let new = usize::try_from(state.next.saturating_sub(next)).unwrap_or(usize::MAX);
        let known = state.recent.len().saturating_sub(new);
        (state.recent.iter().skip(known).copied().collect(), state.next)
    }
}

impl State {
    fn push(&mut self, stall: Stall) {
        self.next += 1;
        self.recent.push_back(stall);
        if self.recent.len() > KEPT_MAX
            && let (Some(first), Some(second)) = (self.recent.pop_front(), self.recent.front_mut())
        {
            second.from_unix_nanos = first.from_unix_nanos;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_tick_that_is_more_than_five_seconds_late_is_a_stall() {
        let stalls = Stalls::new(0);
        stalls.observe(6 * SECOND);
        assert_eq!(stalls.since(0), (vec![], 0));
        stalls.observe(12 * SECOND + 1);
        let stall = Stall {
            from_unix_nanos: 6 * SECOND,
            to_unix_nanos: 12 * SECOND + 1,
        };
        assert_eq!(stalls.since(0), (vec![stall], 1));
        assert_eq!(stalls.since(1), (vec![], 1));
    }

    #[test]
    fn a_clock_that_is_set_back_is_no_stall() {
        let stalls = Stalls::new(100 * SECOND);
        stalls.observe(10 * SECOND);
        stalls.observe(11 * SECOND);
        assert_eq!(stalls.since(0), (vec![], 0));
    }

    #[test]
    fn a_thousand_stalls_take_the_room_of_a_few_and_hide_none_of_their_time() {
        let stalls = Stalls::new(0);
        for number in 1..=1_000 {
            stalls.observe(number * 10 * SECOND);
        }
        let (kept, next) = stalls.since(0);
        assert_eq!((kept.len(), next), (KEPT_MAX, 1_000));
        assert_eq!(kept[0].from_unix_nanos, 0);
        assert_eq!(kept[KEPT_MAX - 1].to_unix_nanos, 10_000 * SECOND);
    }
}
