//! When a courier's trouble is told: once while it lasts, and not again and again where it comes and
//! goes. What the words are is not decided here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::sink::TroubleKind;

/// A trouble that comes and goes is told this often at most.
const TOLD: Duration = Duration::from_secs(60);

/// What was told.
#[derive(Debug, Default)]
pub struct Complaints {
    /// What is the matter since the last request that was taken.
    now: Option<TroubleKind>,
    told: BTreeMap<TroubleKind, Instant>,
    /// People were told of something that lasts.
    is_open: bool,
}

impl Complaints {
    /// A request was not taken; true if people are to be told.
    pub fn is_to_be_told(&mut self, kind: TroubleKind, now: Instant) -> bool {
        if kind == TroubleKind::DeniedHere {
            // The sink has told it: it knows what "here" is.
            return false;
        }
        let is_same = self.now.replace(kind) == Some(kind);
        let told = self.told.get(&kind);
        let is_recent = told.is_some_and(|told| now.saturating_duration_since(*told) < TOLD);
        if is_same || is_recent {
            return false;
        }
        self.told.insert(kind, now);
        // That a request is throttled ends with the next one that is not: nothing to be told.
        self.is_open |= kind != TroubleKind::Throttled;
        true
    }

    /// A request was taken; true if people were told otherwise.
    pub fn end(&mut self) -> bool {
        self.now = None;
        std::mem::take(&mut self.is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_lasts_is_told_once_and_so_is_its_end() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        assert!(complaints.is_to_be_told(TroubleKind::Denied, start));
        for minute in 0..60 {
            let now = start + Duration::from_secs(minute * 60);
            assert!(
                !complaints.is_to_be_told(TroubleKind::Denied, now),
                "minute {minute}"
            );
        }
        assert!(complaints.end());
        assert!(!complaints.end());
    }

    #[test]
    fn trouble_that_comes_and_goes_is_told_once_a_minute() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        let times = (0..600).filter(|second| {
            let told = complaints.is_to_be_told(TroubleKind::Throttled, start + Duration::from_secs(*second));
            assert!(!complaints.end(), "throttling has no end worth telling");
            told
        });
        assert_eq!(times.count(), 10);
    }

    #[test]
    fn a_trouble_of_another_kind_is_told_beside_the_first() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        assert!(complaints.is_to_be_told(TroubleKind::Throttled, start));
        assert!(complaints.is_to_be_told(TroubleKind::Denied, start));
        assert!(
            !complaints.is_to_be_told(TroubleKind::DeniedHere, start),
            "the sink's to tell"
        );
    }
}
