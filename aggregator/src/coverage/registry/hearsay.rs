//! When others wrote what they know, by this side's clock. A process whose clock is fast writes
//! from the future, also about agents that have died since; an object that nobody replaces any
//! more must grow old all the same, from when it was first seen.
//!
//! A clock that is slow is believed: what it says is only older than it is.

use std::collections::BTreeMap;

/// More than this is no object that was on its way while clocks differ a little.
const AHEAD_NANOS_MIN: u64 = 2_000_000_000;
/// From the future, and first seen: whether somebody still writes it shows the next time. Until
/// then nobody in it has been heard lately.
const DOUBT_NANOS: u64 = 30_000_000_000;

/// What is known of the objects of others.
#[derive(Debug, Default)]
pub(super) struct Hearsay(BTreeMap<String, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    written: u64,
    ahead: u64,
}

impl Hearsay {
    /// How far the clock that wrote `written` into this object is taken to be ahead of ours.
    pub(super) fn ahead(&mut self, name: &str, written: u64, now: u64) -> u64 {
        let ahead = written.saturating_sub(now);
        let ahead = match self.0.get(name) {
            Some(seen) if seen.written == written => seen.ahead.max(ahead),
            None if ahead > AHEAD_NANOS_MIN => ahead.saturating_add(DOUBT_NANOS),
            _ => ahead,
        };
        self.0.insert(name.to_owned(), Seen { written, ahead });
        ahead
    }

    /// The object is deleted.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_object_from_the_future_is_as_old_as_it_is_known() {
        let mut hearsay = Hearsay::default();
        let mut age = |written: u64, now: u64| {
            let ahead = hearsay.ahead("one", written * SECOND, now * SECOND);
            now - (written - ahead / SECOND)
        };
        assert_eq!(age(3_700, 100), 30);
        assert_eq!(age(3_700, 105), 35, "nobody has written it again");
        assert_eq!(age(3_710, 110), 0);
        assert_eq!(age(3_710, 120), 10);
    }

    #[test]
    fn what_was_read_before_this_clock_was_set_back_does_not_come_from_the_future() {
        let mut hearsay = Hearsay::default();
        assert_eq!(hearsay.ahead("one", 3_700 * SECOND, 3_702 * SECOND), 0);
        assert_eq!(hearsay.ahead("one", 3_700 * SECOND, 105 * SECOND), 3_595 * SECOND);
        assert_eq!(hearsay.ahead("one", 3_700 * SECOND, 110 * SECOND), 3_595 * SECOND);
    }
}
