//! Collects the records of one signal until they are worth a batch.
//!
//! A batch is due when it has about `rows` rows or `bytes` bytes, or `linger` after its oldest
//! record was gathered: a record is gathered within milliseconds of being durable, or belongs
//! to a backlog, whose batches fill at once. It reads no file; it says what to read. Of a
//! catch-up lane it takes the closed ranges and nothing between them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::spool::{Range, Record};

/// When a batch is full or late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Rows, about: a record is never split.
    pub rows: u32,
    /// Bytes of the records' bodies; a larger record travels alone.
    pub bytes: usize,
    /// How long the oldest record waits for company.
    pub linger: Duration,
}

/// What to read from the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Records after this one.
    pub after_seq: u64,
    /// At most about so many items.
    pub max_items: u32,
    /// At most about so many bytes.
    pub max_bytes: usize,
}

/// The records of one signal that wait to become a batch.
#[derive(Debug)]
pub struct Gather {
    limits: BatchLimits,
    records: Vec<Record>,
    items: u64,
    bytes: usize,
    since: Option<Instant>,
    /// The last record that was gathered, ever.
    read_to: u64,
    /// Whether the spool may hold records that were not gathered.
    may_hold_more: bool,
    /// What is left to gather, ascending; nothing else is wanted.
    closed: Option<VecDeque<Range>>,
}

impl Gather {
    /// Nothing gathered; the first record wanted is the one after `after_seq`.
    pub fn new(limits: BatchLimits, after_seq: u64) -> Self {
        Self {
            limits,
            records: Vec::new(),
            items: 0,
            bytes: 0,
            since: None,
            read_to: after_seq,
            may_hold_more: true,
            closed: None,
        }
    }

    /// Nothing gathered; only records of these ranges are wanted.
    pub fn closed(limits: BatchLimits, ranges: impl IntoIterator<Item = Range>) -> Self {
        let ranges: VecDeque<Range> = ranges.into_iter().collect();
        Self {
            may_hold_more: !ranges.is_empty(),
            closed: Some(ranges),
            ..Self::new(limits, 0)
        }
    }

    /// Forgets what was gathered and starts again after `after_seq`.
    pub fn restart(&mut self, after_seq: u64) {
        *self = Self::new(self.limits, after_seq);
    }

    /// The same with other ranges.
    pub fn restart_closed(&mut self, ranges: &[Range]) {
        *self = Self::closed(self.limits, ranges.iter().copied());
    }

    /// The spool has new records, perhaps of this signal. They are in no closed range.
    pub fn news(&mut self) {
        self.may_hold_more |= self.closed.is_none();
    }

    /// What to read next, if anything. Until [`Gather::add`] brings it, nothing else is wanted.
    pub fn wanted(&mut self) -> Option<Wanted> {
        if self.is_full() || !std::mem::take(&mut self.may_hold_more) {
            return None;
        }
        if let Some(range) = self.closed.as_ref().and_then(VecDeque::front) {
            self.read_to = self.read_to.max(range.after);
        }
        let rows_left = u64::from(self.limits.rows).saturating_sub(self.items);
        Some(Wanted {
            after_seq: self.read_to,
            max_items: u32::try_from(rows_left).unwrap_or(u32::MAX).max(1),
            max_bytes: self.limits.bytes.saturating_sub(self.bytes).max(1),
        })
    }

    /// What was wanted; none means that the spool had no more when it was asked.
    pub fn add(&mut self, mut records: Vec<Record>, now: Instant) {
        if let Some(closed) = &mut self.closed {
            close(closed, &mut records);
            self.may_hold_more = !closed.is_empty();
        }
        let Some(last) = records.last() else { return };
        self.read_to = last.seq;
        self.may_hold_more |= self.closed.is_none();
        self.since.get_or_insert(now);
        for record in &records {
            self.items += u64::from(record.items);
            self.bytes += record.body.len() + record.overlay.len();
        }
        self.records.extend(records);
    }

    /// When the batch is due: `now` or earlier if it is full, never if there is nothing.
    pub fn due(&self, now: Instant, hurry: bool) -> Option<Instant> {
        let since = self.since?;
        let is_last = !self.may_hold_more && (hurry || self.is_over());
        let at_once = self.is_full() || is_last;
        Some(if at_once { now } else { since + self.limits.linger })
    }

    /// The records of the batch.
    pub fn take(&mut self) -> Vec<Record> {
        self.items = 0;
        self.bytes = 0;
        self.since = None;
        std::mem::take(&mut self.records)
    }

    /// Whether everything that the spool is known to hold was taken.
    pub fn is_exhausted(&self) -> bool {
        self.records.is_empty() && !self.may_hold_more
    }

    /// Whether no record can come any more.
    fn is_over(&self) -> bool {
        self.closed.as_ref().is_some_and(VecDeque::is_empty)
    }

    fn is_full(&self) -> bool {
        self.items >= u64::from(self.limits.rows) || self.bytes >= self.limits.bytes
    }
}

/// Leaves out records beyond the first range, which is over when there are any, or none at all.
fn close(closed: &mut VecDeque<Range>, records: &mut Vec<Record>) {
    let Some(range) = closed.front() else {
        records.clear();
        return;
    };
    let read = records.len();
    let inside = records.partition_point(|record| record.seq <= range.to);
    records.truncate(inside);
    let is_at_end = records.last().is_some_and(|last| last.seq == range.to);
    if read == 0 || inside < read || is_at_end {
        closed.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use meridian_proto::signal::Signal;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits {
        rows: 100,
        bytes: 1_000,
        linger: Duration::from_secs(1),
    };

    fn record(seq: u64, items: u32, bytes: usize) -> Record {
        Record {
            seq,
            signal: Signal::Spans,
            items,
            received_unix_nanos: seq,
            overlay: Bytes::new(),
            body: Bytes::from(vec![0; bytes]),
        }
    }

    #[test]
    fn a_batch_is_due_when_its_oldest_record_has_lingered() {
        let start = Instant::now();
        let mut gather = Gather::new(LIMITS, 0);
        assert_eq!(gather.due(start, false), None);
        gather.add(vec![record(1, 1, 10)], start);
        gather.add(vec![record(2, 1, 10)], start + Duration::from_millis(600));
        assert_eq!(gather.due(start, false), Some(start + LIMITS.linger));
        assert_eq!(gather.take().len(), 2);
        assert_eq!(gather.due(start, false), None);
    }

    #[test]
    fn a_batch_is_due_at_once_when_it_has_enough_rows_or_bytes() {
        let now = Instant::now();
        for full in [record(1, 100, 10), record(1, 1, 1_000)] {
            let mut gather = Gather::new(LIMITS, 0);
            gather.add(vec![full], now);
            assert_eq!(gather.due(now, false), Some(now));
            assert_eq!(gather.wanted(), None, "a full batch wants no more");
        }
    }

    #[test]
    fn what_is_left_of_the_limits_is_wanted() {
        let mut gather = Gather::new(LIMITS, 7);
        let wanted = gather.wanted().expect("the spool may hold records");
        assert_eq!(
            (wanted.after_seq, wanted.max_items, wanted.max_bytes),
            (7, 100, 1_000)
        );
        gather.add(vec![record(9, 30, 200)], Instant::now());
        let wanted = gather.wanted().expect("there may be more after a full answer");
        assert_eq!(
            (wanted.after_seq, wanted.max_items, wanted.max_bytes),
            (9, 70, 800)
        );
    }

    #[test]
    fn an_empty_spool_is_asked_again_only_after_news() {
        let now = Instant::now();
        let mut gather = Gather::new(LIMITS, 0);
        assert!(gather.wanted().is_some());
        assert!(gather.wanted().is_none(), "one read at a time");
        gather.add(vec![], now);
        assert!(gather.wanted().is_none());
        assert!(gather.is_exhausted());
        gather.news();
        assert!(!gather.is_exhausted());
        assert!(gather.wanted().is_some());
    }

    #[test]
    fn nobody_lingers_in_a_hurry_but_what_is_there_is_read_first() {
        let now = Instant::now();
        let mut gather = Gather::new(LIMITS, 0);
        gather.add(vec![record(1, 1, 10)], now);
        assert_eq!(gather.due(now, true), Some(now + LIMITS.linger));
        assert!(gather.wanted().is_some());
        gather.add(vec![], now);
        assert_eq!(gather.due(now, true), Some(now));
    }

    #[test]
    fn only_what_is_in_closed_ranges_is_gathered() {
        let now = Instant::now();
        let range = |after, to| Range { after, to };
        let mut gather = Gather::closed(LIMITS, [range(2, 5), range(8, 9)]);
        assert_eq!(gather.wanted().expect("a range").after_seq, 2);
        gather.add(vec![record(3, 1, 10), record(5, 1, 10)], now);
        assert_eq!(gather.wanted().expect("another range").after_seq, 8);
        gather.add(vec![record(10, 1, 10)], now);
        assert_eq!(gather.wanted(), None, "ten is beyond");
        assert_eq!(
            gather.due(now, false),
            Some(now),
            "nobody waits for what cannot come"
        );
        let seqs: Vec<u64> = gather.take().iter().map(|record| record.seq).collect();
        assert_eq!(seqs, [3, 5]);
        gather.news();
        assert!(gather.is_exhausted());
    }

    #[test]
    fn a_range_whose_records_are_gone_is_over() {
        let mut gather = Gather::closed(LIMITS, [Range { after: 2, to: 5 }]);
        assert!(!gather.is_exhausted() && gather.wanted().is_some());
        gather.add(vec![], Instant::now());
        assert!(gather.wanted().is_none() && gather.is_exhausted());
    }
}
