//! When others wrote what they know, by this side's clock. A process whose clock is fast writes
//! from the future, also about agents that have died since; an object that nobody replaces any
//! more must grow old all the same, from when it was first seen.
//!
//! A clock that is slow is believed: what it says is only older than it is.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// More than this is no object that was on its way while clocks differ a little.
const AHEAD_NANOS_MIN: i128 = 2_000_000_000;
/// From the future, and first seen: whether somebody still writes it shows the next time. Until
/// then nobody in it has been heard lately.
const DOUBT_NANOS: i128 = 30_000_000_000;

/// What is known of the objects of others.
#[derive(Debug, Default)]
pub(super) struct Hearsay(BTreeMap<String, Seen>);

/// A moment, by this side's clock and by one that nobody sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) unix_nanos: u64,
    pub(super) at: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    written: u64,
    /// How far its clock is ahead of ours, at least: it was written before it was seen.
    ahead: i128,
    /// Nobody has replaced it since it was first seen.
    is_doubted: bool,
    last: Look,
}

impl Hearsay {
    /// How far the clock that wrote `written` into this object is taken to be ahead of ours.
    pub(super) fn ahead(&mut self, name: &str, written: u64, now: Look) -> u64 {
        let at_least = i128::from(written) - i128::from(now.unix_nanos);
        let first = Seen {
            written,
            ahead: at_least,
            is_doubted: at_least > AHEAD_NANOS_MIN,
            last: now,
        };
        let seen = self.0.get(name).map_or(first, |seen| seen.again(written, now));
        self.0.insert(name.to_owned(), seen);
        let doubt = if seen.is_doubted { DOUBT_NANOS } else { 0 };
        u64::try_from(seen.ahead + doubt).unwrap_or(0)
    }

    /// The object is deleted.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

impl Seen {
    /// The object is looked at again. While the store could not be read it may have grown old
    /// unseen: the clock that wrote it is taken to be as far ahead as before, if that can be.
    fn again(self, written: u64, now: Look) -> Self {
        let passed = nanos(now.at.saturating_duration_since(self.last.at));
        let last_by_our_clock = i128::from(now.unix_nanos) - passed;
        let set_back = i128::from(self.last.unix_nanos) - last_by_our_clock;
        let before = self.ahead + set_back;
        let is_replaced = written != self.written;
        let at_most = i128::from(written) - last_by_our_clock;
        let at_least = i128::from(written) - i128::from(now.unix_nanos);
        Self {
            written,
            ahead: if is_replaced && before > at_most {
                at_least
            } else {
                before.max(at_least)
            },
            is_doubted: self.is_doubted && !is_replaced,
            last: now,
        }
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Looks at an object, at seconds by this side's clock and since the test began.
    struct Looks(Hearsay, Instant);

    impl Looks {
        fn new() -> Self {
            Self(Hearsay::default(), Instant::now())
        }

        fn ahead(&mut self, written: u64, unix: u64, passed: u64) -> u64 {
            let now = Look {
                unix_nanos: unix * SECOND,
                at: self.1 + Duration::from_secs(passed),
            };
            self.0.ahead("one", written * SECOND, now) / SECOND
        }
    }

    #[test]
    fn an_object_from_the_future_is_as_old_as_it_is_known() {
        let mut looks = Looks::new();
        let mut age = |written, now| now - (written - looks.ahead(written, now, now));
        assert_eq!(age(3_700, 100), 30);
        assert_eq!(age(3_700, 105), 35, "nobody has written it again");
        assert_eq!(age(3_710, 110), 0);
        assert_eq!(age(3_710, 120), 10);
    }

    #[test]
    fn what_was_read_before_this_clock_was_set_back_does_not_come_from_the_future() {
        let mut looks = Looks::new();
        assert_eq!(looks.ahead(3_700, 3_702, 0), 0);
        assert_eq!(looks.ahead(3_700, 105, 3), 3_598, "it is five seconds old");
        assert_eq!(looks.ahead(3_700, 110, 8), 3_598);
        assert_eq!(looks.ahead(3_710, 111, 9), 3_599, "written again");
    }

    #[test]
    fn what_was_written_before_an_outage_of_the_store_has_grown_old_unseen() {
        let mut looks = Looks::new();
        looks.ahead(1_030, 1_000, 0);
        assert_eq!(looks.ahead(1_035, 1_005, 5), 30);
        assert_eq!(looks.ahead(1_040, 1_025, 25), 30, "written at 1,010");
        assert_eq!(looks.ahead(1_058, 1_060, 60), 30, "written at 1,028");
    }

    #[test]
    fn a_clock_that_was_put_right_is_believed_again() {
        let mut looks = Looks::new();
        looks.ahead(4_600, 1_000, 0);
        assert_eq!(looks.ahead(4_605, 1_005, 5), 3_600);
        assert_eq!(looks.ahead(1_009, 1_010, 10), 0);
    }
}
