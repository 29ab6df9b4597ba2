//! Notices that this side's clock was set, so that what was noted by a wrong clock is put right:
//! a time from the future would make a silent region look alive until that time has come.
//!
//! Forward it does nothing: whether the clock was set or the machine slept cannot be told, and
//! times that are too early only say that less is known.

/// Who waits for a lock may come with a time that is a little older than the last.
const BACK_NANOS_MIN: u64 = 1_000_000_000;
/// It is looked at every second. If it seems that nobody looked for so long, it leapt.
const LEAP_NANOS_MIN: u64 = 60_000_000_000;

/// The hand of this side's clock.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    latest: u64,
    /// What it showed before its last leap forward.
    before_leap: Option<u64>,
}

/// How a clock was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Back {
    by: u64,
    /// What it had shown while it was right: such times are.
    right_to: u64,
}

impl Hand {
    /// The clock shows `now`; says whether it was set back since it was last looked at.
    pub(crate) fn moved(&mut self, now: u64) -> Option<Back> {
        let latest = std::mem::replace(&mut self.latest, now);
        if latest != 0 && now.saturating_sub(latest) > LEAP_NANOS_MIN {
            self.before_leap = Some(latest);
        }
        let by = latest.saturating_sub(now);
        if by <= BACK_NANOS_MIN {
            self.latest = latest.max(now);
            return None;
        }
        let right_to = self.before_leap.take().unwrap_or(now).min(now);
        Some(Back { by, right_to })
    }
}

impl Back {
    /// A time as the clock shows it now.
    pub(crate) fn right(self, time: u64) -> u64 {
        if time <= self.right_to {
            time
        } else {
            time.saturating_sub(self.by)
        }
    }

    /// How far another clock is ahead of this one now.
    pub(crate) fn offset(self, offset: i64) -> i64 {
        offset.saturating_add_unsigned(self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn what_was_noted_since_a_leap_goes_back_with_the_clock() {
        let mut hand = Hand::default();
        assert_eq!(hand.moved(100 * SECOND), None);
        assert_eq!(hand.moved(3_700 * SECOND), None);
        assert_eq!(hand.moved(3_699 * SECOND), None, "a thread that waited");
        assert_eq!(hand.moved(3_800 * SECOND), None);
        let back = hand.moved(201 * SECOND).expect("it was set back");
        assert_eq!(back.right(3_750 * SECOND), 151 * SECOND);
        assert_eq!(back.right(100 * SECOND), 100 * SECOND);
        assert_eq!(hand.moved(202 * SECOND), None);
    }

    #[test]
    fn without_a_leap_only_the_future_was_wrong() {
        let mut hand = Hand::default();
        hand.moved(3_700 * SECOND);
        let back = hand.moved(200 * SECOND).expect("it was set back");
        assert_eq!(back.right(3_600 * SECOND), 100 * SECOND);
        assert_eq!(back.right(150 * SECOND), 150 * SECOND);
        assert_eq!(back.offset(-5), 3_500 * 1_000_000_000 - 5);
    }
}
