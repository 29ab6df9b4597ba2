//! How far each exporter is: what it has delivered, what is pending, and what it will never get.
//!
//! It looks records up in the [`Index`] and moves cursors; segments are the index's and the
//! writer's.

use meridian_proto::signal::Signal;

use super::index::{DropReason, Index, Pending};
use super::record::SEQ_MAX;
use super::undelivered::{Range, Undelivered};

/// The cursor of a signal that the exporter does not take: no sequence is behind it.
pub(super) const NOT_TAKEN: u64 = SEQ_MAX;
/// More times in which something is late than this are told as fewer.
const LATE_MAX: usize = 32;

/// How far an exporter is.
pub(super) struct Cursor {
    pub exporter: String,
    /// By [`Signal::index`].
    pub undelivered: [Undelivered; 3],
    /// The exporter has asked its peer to close a range up to here at most, and has no answer yet.
    pub asked_seq: Option<u64>,
    pub dropped_full: [u64; 3],
    pub dropped_corrupt: [u64; 3],
    pub dropped_expired: [u64; 3],
    /// Moved since it was last written to its file.
    pub moved: bool,
}

/// What a peer's word about what it has did to the books.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Items that are delivered by it.
    pub passed_items: u64,
    /// Items that were delivered, and are pending again.
    pub pending_again_items: u64,
}

/// What has waited long for an exporter's live lane, seen as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Its bytes.
    pub bytes: u64,
    /// Its last sequence: every record up to here is durable and can be read.
    pub to_seq: u64,
    /// Everything in closed ranges up to here is delivered or given up, by [`Signal::index`].
    pub caught_up_seqs: [u64; 3],
    /// Whether there are records of the signal in it, by [`Signal::index`].
    pub has_records: [bool; 3],
}

impl Cursor {
    /// What was dropped for this reason, by [`Signal::index`].
    pub fn dropped_mut(&mut self, reason: DropReason) -> &mut [u64; 3] {
        match reason {
            DropReason::Full => &mut self.dropped_full,
            DropReason::Corrupt => &mut self.dropped_corrupt,
            DropReason::Expired => &mut self.dropped_expired,
        }
    }
}

impl Index {
    pub fn cursor(&self, exporter: &str) -> Option<&Cursor> {
        self.cursors.iter().find(|cursor| cursor.exporter == exporter)
    }

    /// Nothing of the other signals is kept for the exporter, nor counted as pending for it.
    pub fn takes_only(&mut self, exporter: &str, signals: &[Signal]) {
        let cursor = self.cursors.iter_mut().find(|cursor| cursor.exporter == exporter);
        let Some(cursor) = cursor else {
            return;
        };
        for signal in Signal::ALL.into_iter().filter(|signal| !signals.contains(signal)) {
            cursor.undelivered[signal.index()] = Undelivered::new(NOT_TAKEN, []);
            cursor.moved = true;
        }
    }

    fn undelivered(&self, exporter: &str, signal: Signal) -> Option<&Undelivered> {
        Some(&self.cursor(exporter)?.undelivered[signal.index()])
    }

    /// Items and bytes of the signal in a range.
    fn sums(&self, signal: usize, range: Range) -> (u64, u64) {
        let (after, beyond) = (
            self.sums_after(signal, range.after),
            self.sums_after(signal, range.to),
        );
        (after.0 - beyond.0, after.1 - beyond.1)
    }

    fn items(&self, signal: usize, ranges: impl IntoIterator<Item = Range>) -> u64 {
        ranges.into_iter().map(|range| self.sums(signal, range).0).sum()
    }

    /// Moves the live cursor forward; returns the items passed.
    pub fn advance(&mut self, exporter: &str, signal: Signal, seq: u64) -> u64 {
        if !self.note_seq(exporter, signal, seq) {
            return 0;
        }
        let change = |undelivered: &mut Undelivered| undelivered.cursor = undelivered.cursor.max(seq);
        self.change(exporter, signal, change).passed_items
    }

    /// The closed ranges are delivered up to `seq`; returns the items passed.
    pub fn catch_up(&mut self, exporter: &str, signal: Signal, seq: u64) -> u64 {
        self.change(exporter, signal, |undelivered| undelivered.catch_up(seq))
            .passed_items
    }

    /// The peer has everything up to `seq`, except these ranges, and nothing else.
    pub fn resume(&mut self, exporter: &str, signal: Signal, seq: u64, ranges: &[Range]) -> Resumed {
        if !self.note_seq(exporter, signal, seq) {
            return Resumed::default();
        }
        let oldest = self.oldest_seq().saturating_sub(1);
        let mut said = Undelivered::new(seq, ranges.iter().copied());
        said.pass(oldest);
        self.change(exporter, signal, |undelivered| *undelivered = said)
    }

    /// Whether a peer can have said so; the spool gives no such sequence again.
    fn note_seq(&mut self, exporter: &str, signal: Signal, seq: u64) -> bool {
        if seq > SEQ_MAX {
            tracing::error!(exporter, %signal, seq, "ignoring a confirmed sequence that no spool can have");
            return false;
        }
        self.next_seq = self.next_seq.max(seq + 1);
        true
    }

    fn change(&mut self, exporter: &str, signal: Signal, change: impl FnOnce(&mut Undelivered)) -> Resumed {
        let index = signal.index();
        let Some(before) = self.undelivered(exporter, signal).cloned() else {
            return Resumed::default();
        };
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Resumed::default();
        }
        let still = self.items(index, before.common(&after));
        let resumed = Resumed {
            passed_items: self.items(index, before.all()) - still,
            pending_again_items: self.items(index, after.all()) - still,
        };
        if let Some(cursor) = self.cursors.iter_mut().find(|cursor| cursor.exporter == exporter) {
            cursor.moved = true;
            cursor.undelivered[index] = after;
        }
        resumed
    }

    pub fn pending(&self, exporter: &str) -> Pending {
        let mut pending = Pending::default();
        let Some(cursor) = self.cursor(exporter) else {
            return pending;
        };
        let mut oldest: Option<u64> = None;
        for signal in 0..3 {
            let undelivered = &cursor.undelivered[signal];
            for range in undelivered.all() {
                let (items, bytes) = self.sums(signal, range);
                pending.items_by_signal[signal] += items;
                pending.items += items;
                pending.bytes += bytes;
                if range.to != u64::MAX {
                    pending.catch_up_items += items;
                }
                let received = self.first_received_in(signal, range);
                oldest = [oldest, received].into_iter().flatten().min();
            }
        }
        pending.oldest_unix_nanos = oldest.unwrap_or_default();
        pending
    }

    /// What of that which was received before waits for the exporter's live lane, and how far its
    /// catch-up lane is.
    pub fn backlog(&self, exporter: &str, received_before: u64) -> Backlog {
        let mut backlog = Backlog {
            to_seq: self.last_seq_before(received_before),
            ..Backlog::default()
        };
        let Some(cursor) = self.cursor(exporter) else {
            return backlog;
        };
        for signal in 0..3 {
            let undelivered = &cursor.undelivered[signal];
            let waiting = Range {
                after: undelivered.cursor.min(backlog.to_seq),
                to: backlog.to_seq,
            };
            let bytes = self.sums(signal, waiting).1;
            backlog.bytes += bytes;
            backlog.has_records[signal] = bytes > 0;
            let has_records = |range: &&Range| self.sums(signal, **range).1 > 0;
            let waiting = undelivered.ranges.iter().find(has_records);
            backlog.caught_up_seqs[signal] = waiting.map_or(undelivered.cursor, |range| range.after);
        }
        backlog
    }

    /// The times of what the closed ranges hold, of all signals together, ascending and apart.
    pub fn late(&self, exporter: &str) -> Vec<(u64, u64)> {
        let Some(cursor) = self.cursor(exporter) else {
            return Vec::new();
        };
        let mut times = Vec::new();
        for signal in 0..3 {
            for range in &cursor.undelivered[signal].ranges {
                let from = self.first_received_in(signal, *range);
                times.extend(from.zip(self.last_received_up_to(range.to)));
            }
        }
        times.sort_unstable();
        let mut apart: Vec<(u64, u64)> = Vec::new();
        for (from, to) in times {
            let is_full = apart.len() >= LATE_MAX;
            match apart.last_mut() {
                Some(last) if from <= last.1 || is_full => last.1 = last.1.max(to),
                _ => apart.push((from, to)),
            }
        }
        apart
    }

    /// The receive time of the signal's first record in a range.
    fn first_received_in(&self, signal: usize, range: Range) -> Option<u64> {
        (self.sums(signal, range).1 > 0).then(|| self.first_received_after(signal, range.after))?
    }

    pub fn dropped(&self, exporter: &str, signal: Signal, reason: DropReason) -> u64 {
        self.cursor(exporter).map_or(0, |cursor| match reason {
            DropReason::Full => cursor.dropped_full[signal.index()],
            DropReason::Corrupt => cursor.dropped_corrupt[signal.index()],
            DropReason::Expired => cursor.dropped_expired[signal.index()],
        })
    }
}
