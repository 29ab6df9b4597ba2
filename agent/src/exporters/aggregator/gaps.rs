//! Sees to it that every stall of this process reaches the aggregator.
//!
//! Heartbeats are not acknowledged. A gap is therefore in every heartbeat of a stream until the
//! stream has lived for a minute after it first carried the gap: the aggregator takes the same
//! gap many times as one. A stream that ends earlier proves nothing, and the next one begins
//! again. What was carried is not kept for the next process: that one reports its own absence.

use std::time::{Duration, Instant};

use meridian_proto::stream::Gap;

use crate::stalls::Stalls;

/// How long a stream must live after it carried a gap.
const PROOF: Duration = Duration::from_secs(60);
/// More stalls in a minute than this can only be reported as one.
const UNPROVEN_MAX: usize = 64;

/// The gaps that one exporter has still to prove delivered.
#[derive(Debug)]
pub struct Gaps {
    stalls: Stalls,
    next: u64,
    unproven: Vec<Unproven>,
}

#[derive(Debug)]
struct Unproven {
    gap: Gap,
    carried: Option<Instant>,
}

impl Gaps {
    /// All stalls of this process are to be reported.
    pub fn new(stalls: Stalls) -> Self {
        Self {
            stalls,
            next: 0,
            unproven: Vec::new(),
        }
    }

    /// The process lives. Returns whether there is a gap that no heartbeat of this stream has
    /// carried yet: a watermark must not leave before it.
    pub fn observe(&mut self, now_unix_nanos: u64) -> bool {
        self.stalls.observe(now_unix_nanos);
        let (new, next) = self.stalls.since(self.next);
        self.next = next;
        for stall in new {
            self.add(stall.from_unix_nanos, stall.to_unix_nanos);
        }
        self.unproven.iter().any(|gap| gap.carried.is_none())
    }

    /// The gaps for a heartbeat that leaves now.
    pub fn carry(&mut self, now: Instant) -> Vec<Gap> {
        self.unproven
            .retain(|gap| gap.carried.is_none_or(|carried| now < carried + PROOF));
        for gap in &mut self.unproven {
            gap.carried.get_or_insert(now);
        }
        self.unproven.iter().map(|gap| gap.gap.clone()).collect()
    }

    /// The stream ended: what it carried may not have arrived.
    pub fn on_stream_end(&mut self) {
        for gap in &mut self.unproven {
            gap.carried = None;
        }
    }

    fn add(&mut self, from_unix_nanos: u64, to_unix_nanos: u64) {
        if self.unproven.len() >= UNPROVEN_MAX
            && let Some(last) = self.unproven.last_mut()
        {
            last.gap.to_unix_nanos = to_unix_nanos;
            last.carried = None;
            return;
        }
        let gap = Gap {
            from_unix_nanos,
            to_unix_nanos,
            reason: "stalled".to_owned(),
        };
        self.unproven.push(Unproven { gap, carried: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_gap_is_carried_until_its_stream_has_lived_for_a_minute() {
        let start = Instant::now();
        let mut gaps = Gaps::new(Stalls::new(0));
        assert!(!gaps.observe(SECOND));
        assert!(gaps.carry(start).is_empty());

        assert!(gaps.observe(30 * SECOND));
        let carried = gaps.carry(start);
        assert_eq!(carried.len(), 1);
        assert_eq!(
            (carried[0].from_unix_nanos, carried[0].to_unix_nanos),
            (SECOND, 30 * SECOND)
        );
        assert!(!gaps.observe(31 * SECOND), "this stream has carried it");
        assert_eq!(gaps.carry(start + Duration::from_secs(59)).len(), 1);

        gaps.on_stream_end();
        assert!(gaps.observe(32 * SECOND), "the next stream begins again");
        let next_stream = start + Duration::from_secs(90);
        assert_eq!(gaps.carry(next_stream).len(), 1);
        assert_eq!(gaps.carry(next_stream + Duration::from_secs(59)).len(), 1);
        assert!(gaps.carry(next_stream + Duration::from_secs(60)).is_empty());
    }

    #[test]
    fn two_exporters_report_the_same_stall() {
        let stalls = Stalls::new(0);
        let (mut one, mut other) = (Gaps::new(stalls.clone()), Gaps::new(stalls));
        assert!(one.observe(10 * SECOND));
        assert!(other.observe(10 * SECOND));
    }

    #[test]
    fn a_flood_of_stalls_is_bounded_and_hides_nothing() {
        let mut gaps = Gaps::new(Stalls::new(0));
        for number in 1..=200 {
            gaps.observe(number * 10 * SECOND);
        }
        let carried = gaps.carry(Instant::now());
        assert_eq!(carried.len(), UNPROVEN_MAX);
        assert_eq!(carried[UNPROVEN_MAX - 1].to_unix_nanos, 2_000 * SECOND);
    }
}
