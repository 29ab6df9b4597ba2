//! What an exporter has not delivered of one signal, as ranges of sequences. No records here,
//! only numbers.
//!
//! ```text
//!   delivered │ closed range │ delivered │ closed range │ delivered │ everything after the cursor
//! ```

/// The most closed ranges that are kept: an aggregator has fewer.
pub(super) const RANGES_MAX: usize = 64;

/// Sequences after the first, up to and with the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The last sequence before.
    pub after: u64,
    /// The last sequence in it.
    pub to: u64,
}

impl Range {
    fn is_empty(&self) -> bool {
        self.after >= self.to
    }

    fn common(&self, other: &Range) -> Option<Range> {
        let common = Range {
            after: self.after.max(other.after),
            to: self.to.min(other.to),
        };
        (!common.is_empty()).then_some(common)
    }
}

/// Everything after the cursor, and closed ranges before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Undelivered {
    /// What the live lane has delivered or given up, except the ranges.
    pub cursor: u64,
    /// Ascending, apart from each other, none empty, all up to the cursor.
    pub ranges: Vec<Range>,
}

impl Undelivered {
    /// Makes it hold whatever is said.
    pub fn new(cursor: u64, ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut ranges: Vec<Range> = ranges
            .into_iter()
            .map(|range| Range {
                to: range.to.min(cursor),
                ..range
            })
            .filter(|range| !range.is_empty())
            .collect();
        ranges.sort_unstable_by_key(|range| range.after);
        let mut apart: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match apart.last_mut() {
                Some(last) if range.after <= last.to => last.to = last.to.max(range.to),
                _ => apart.push(range),
            }
        }
        let first_kept = apart.len().saturating_sub(RANGES_MAX);
        if let Some(first) = apart.get(first_kept).copied() {
            // Too many to keep apart: what lies between the first ones is delivered twice rather
            // than not at all.
            let after = apart[0].after;
            apart.drain(..first_kept);
            apart[0] = Range { after, ..first };
        }
        Self {
            cursor,
            ranges: apart,
        }
    }

    /// All of it, ascending.
    pub fn all(&self) -> impl Iterator<Item = Range> + '_ {
        let open = Range {
            after: self.cursor,
            to: u64::MAX,
        };
        self.ranges.iter().copied().chain([open])
    }

    pub fn contains(&self, seq: u64) -> bool {
        self.all().any(|range| range.after < seq && seq <= range.to)
    }

    /// What is in both.
    pub fn common(&self, other: &Undelivered) -> Vec<Range> {
        let pairs = self
            .all()
            .flat_map(|one| other.all().filter_map(move |two| one.common(&two)));
        pairs.collect()
    }

    /// The closed ranges are delivered or given up as far as `seq`.
    pub fn catch_up(&mut self, seq: u64) {
        for range in &mut self.ranges {
            range.after = range.after.max(seq);
        }
        self.ranges.retain(|range| !range.is_empty());
    }

    /// Everything up to `seq` is given up.
    pub fn pass(&mut self, seq: u64) {
        self.cursor = self.cursor.max(seq);
        self.catch_up(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(after: u64, to: u64) -> Range {
        Range { after, to }
    }

    #[test]
    fn ranges_are_sorted_joined_and_end_at_the_cursor() {
        let undelivered = Undelivered::new(50, [range(40, 90), range(5, 5), range(10, 20), range(15, 30)]);
        assert_eq!(undelivered.ranges, [range(10, 30), range(40, 50)]);
    }

    #[test]
    fn a_sequence_is_undelivered_within_a_range_or_after_the_cursor() {
        let undelivered = Undelivered::new(50, [range(10, 20)]);
        let found: Vec<u64> = [10, 11, 20, 21, 50, 51]
            .into_iter()
            .filter(|seq| undelivered.contains(*seq))
            .collect();
        assert_eq!(found, [11, 20, 51]);
    }

    #[test]
    fn what_is_caught_up_or_passed_is_undelivered_no_more() {
        let mut undelivered = Undelivered::new(50, [range(10, 20), range(30, 40)]);
        undelivered.catch_up(35);
        assert_eq!(undelivered, Undelivered::new(50, [range(35, 40)]));
        undelivered.pass(60);
        assert_eq!(undelivered, Undelivered::new(60, []));
    }

    #[test]
    fn what_is_common_is_in_both() {
        let one = Undelivered::new(50, [range(10, 20)]);
        let other = Undelivered::new(15, [range(3, 5)]);
        assert_eq!(one.common(&other), [range(15, 20), range(50, u64::MAX)]);
    }

    #[test]
    fn too_many_ranges_hide_nothing() {
        let many = (0..200).map(|number| range(number * 10, number * 10 + 5));
        let undelivered = Undelivered::new(5_000, many);
        assert_eq!(undelivered.ranges.len(), RANGES_MAX);
        assert!((0..200).all(|number| undelivered.contains(number * 10 + 3)));
    }
}
