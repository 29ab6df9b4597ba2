//! What the spool holds, in memory: where each durable record is, how far each exporter is,
//! and what time is covered. 24 bytes per record; bodies stay on the disk.
//!
//! It does no IO. Everything that readers see is here, and only the writer adds to it, after
//! the sync.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use meridian_proto::signal::Signal;

use super::compress::{Candidate, Compressed};
use super::delivery::Cursor;
use super::disk::DiskFile;
use super::scan::Located;
use super::undelivered::Undelivered;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// What an exporter has not delivered yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pending {
    /// Items of all signals.
    pub items: u64,
    /// Items of each signal, by [`Signal::index`].
    pub items_by_signal: [u64; 3],
    /// Bytes of the records on the disk.
    pub bytes: u64,
    /// Those of all items that are in closed ranges: set aside to be caught up with.
    pub catch_up_items: u64,
    /// When the oldest of them was accepted, to the millisecond below; 0 if there is none.
    pub oldest_unix_nanos: u64,
}

/// Why records were dropped before an exporter delivered them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The spool was full and its policy is to drop the oldest.
    Full,
    /// The record's bytes are damaged.
    Corrupt,
    /// It was older than the spool keeps any.
    Expired,
}

/// Where a durable record is; sums are over its signal's records in its segment, up to and
/// with this one.
#[derive(Debug, Clone, Copy)]
struct Entry {
    items_sum: u64,
    bytes_sum: u32,
    seq_offset: u32,
    file_offset: u32,
    /// Rounded down, from the first record's: what is said of time errs on the safe side.
    received_offset_ms: u32,
}

/// A segment with durable records, or the newest, which may have none yet.
pub(super) struct Segment {
    pub file: Arc<dyn DiskFile>,
    pub path: PathBuf,
    pub salt: u32,
    pub first_seq: u64,
    /// Bytes of the file up to the end of its last durable record.
    pub bytes: u64,
    /// What it takes when it is compressed.
    pub cold_bytes: Option<u64>,
    /// Compressing it was tried, and was not worth it.
    keep_hot: bool,
    first_received: Option<u64>,
    last_seq: u64,
    signals: [Vec<Entry>; 3],
}

/// What a reader needs to read one record.
#[derive(Clone)]
pub(super) struct Place {
    pub file: Arc<dyn DiskFile>,
    pub path: PathBuf,
    pub salt: u32,
    pub offset: u64,
    pub bytes: usize,
    pub seq: u64,
}

/// What was made durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    /// Records.
    pub records: u64,
    /// Groups of them, each by one fsync.
    pub groups: u64,
}

/// Everything that handles, readers and the writer share under one lock.
pub(super) struct Index {
    pub segments: VecDeque<Segment>,
    pub cursors: Vec<Cursor>,
    /// The receive time of the group that is being written and not yet visible.
    pub in_flight: Option<u64>,
    /// The latest time that was given to a record, or said to be covered.
    pub last_time: u64,
    /// Sequences below this are used, here or as far as an aggregator knows.
    pub next_seq: u64,
    /// What was compressed since the start.
    pub compressed: Compressed,
    /// What was made durable since the start.
    pub committed: Committed,
}

impl Segment {
    pub fn new(file: Arc<dyn DiskFile>, path: PathBuf, salt: u32, first_seq: u64, bytes: u64) -> Self {
        let signals = [Vec::new(), Vec::new(), Vec::new()];
        Self {
            file,
            path,
            salt,
            first_seq,
            bytes,
            cold_bytes: None,
            keep_hot: false,
            first_received: None,
            last_seq: 0,
            signals,
        }
    }

    /// Adds the next record.
    pub fn push(&mut self, located: &Located) {
        let header = &located.header;
        let first_received = *self.first_received.get_or_insert(header.received_unix_nanos);
        let received = header.received_unix_nanos.saturating_sub(first_received) / NANOS_PER_MILLI;
        let entries = &mut self.signals[header.signal.index()];
        let (items, bytes) = entries
            .last()
            .map_or((0, 0), |last| (last.items_sum, last.bytes_sum));
        entries.push(Entry {
            items_sum: items + u64::from(header.items),
            bytes_sum: bytes.saturating_add(saturate(header.record_bytes())),
            seq_offset: saturate(header.seq - self.first_seq),
            file_offset: saturate(located.offset),
            received_offset_ms: saturate(received),
        });
        self.last_seq = header.seq;
        self.bytes = located.offset + header.record_bytes();
    }

    pub fn is_empty(&self) -> bool {
        self.last_seq == 0
    }

    /// The last record's sequence; 0 if there is none.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// When its last record was received.
    fn last_received(&self) -> u64 {
        let last = self.signals.iter().filter_map(|entries| entries.last());
        last.map(|entry| self.received(entry)).max().unwrap_or_default()
    }

    /// The sequence of its last record that was received before.
    fn last_seq_before(&self, received: u64) -> Option<u64> {
        let last_of = |entries: &Vec<Entry>| {
            let position = entries.partition_point(|entry| self.received(entry) < received);
            let last = entries.get(position.checked_sub(1)?)?;
            Some(self.first_seq + u64::from(last.seq_offset))
        };
        self.signals.iter().filter_map(last_of).max()
    }

    /// Place and bytes of each record, ascending.
    fn extents(&self) -> Vec<(u64, u64)> {
        let mut extents = Vec::with_capacity(self.records());
        for (signal, entries) in self.signals.iter().enumerate() {
            let of_signal = entries.iter().enumerate().map(|(position, entry)| {
                let bytes = u64::from(entry.bytes_sum) - self.sums_before(signal, position).1;
                (u64::from(entry.file_offset), bytes)
            });
            extents.extend(of_signal);
        }
        extents.sort_unstable();
        extents
    }

    pub fn records(&self) -> usize {
        self.signals.iter().map(Vec::len).sum()
    }

    /// Position of the signal's first record after `seq`.
    fn after(&self, signal: usize, seq: u64) -> usize {
        self.signals[signal].partition_point(|entry| self.first_seq + u64::from(entry.seq_offset) <= seq)
    }

    /// Items and bytes of the signal's records after `seq`.
    fn sums_after(&self, signal: usize, seq: u64) -> (u64, u64) {
        let entries = &self.signals[signal];
        let before = self.sums_before(signal, self.after(signal, seq));
        let all = self.sums_before(signal, entries.len());
        (all.0 - before.0, all.1 - before.1)
    }

    /// Items and bytes of the signal's records that are not delivered.
    fn sums_in(&self, signal: usize, undelivered: &Undelivered) -> (u64, u64) {
        let sums = undelivered.all().map(|range| {
            let (after, beyond) = (
                self.sums_after(signal, range.after),
                self.sums_after(signal, range.to),
            );
            (after.0 - beyond.0, after.1 - beyond.1)
        });
        sums.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    fn sums_before(&self, signal: usize, position: usize) -> (u64, u64) {
        let last = position
            .checked_sub(1)
            .and_then(|last| self.signals[signal].get(last));
        last.map_or((0, 0), |entry| (entry.items_sum, u64::from(entry.bytes_sum)))
    }

    fn received(&self, entry: &Entry) -> u64 {
        let offset = u64::from(entry.received_offset_ms) * NANOS_PER_MILLI;
        self.first_received.unwrap_or_default().saturating_add(offset)
    }

    fn place(&self, signal: usize, position: usize) -> Option<Place> {
        let entry = self.signals[signal].get(position)?;
        let bytes = u64::from(entry.bytes_sum) - self.sums_before(signal, position).1;
        Some(Place {
            file: Arc::clone(&self.file),
            path: self.path.clone(),
            salt: self.salt,
            offset: u64::from(entry.file_offset),
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            seq: self.first_seq + u64::from(entry.seq_offset),
        })
    }

    /// Takes a record out; returns its items.
    fn remove(&mut self, signal: usize, seq: u64) -> Option<u64> {
        let position = self.after(signal, seq.checked_sub(1)?);
        let found = self.place(signal, position).filter(|place| place.seq == seq)?;
        let entries = &mut self.signals[signal];
        let removed = entries.remove(position);
        let before = position.checked_sub(1).map_or(0, |last| entries[last].items_sum);
        let items = removed.items_sum - before;
        for entry in &mut entries[position..] {
            entry.items_sum -= items;
            entry.bytes_sum -= saturate(found.bytes as u64);
        }
        Some(items)
    }
}

/// Offsets within a segment fit `u32`, because a segment is at most [`super::SEGMENT_BYTES_MAX`].
fn saturate(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Index {
    /// Bytes of all segments with records; an empty one is about to be replaced.
    pub fn bytes(&self) -> u64 {
        self.segments
            .iter()
            .filter(|segment| !segment.is_empty())
            .map(|segment| segment.cold_bytes.unwrap_or(segment.bytes))
            .sum()
    }

    /// The oldest sequence that may be there, or the next one.
    pub fn oldest_seq(&self) -> u64 {
        let oldest = self.segments.iter().find(|segment| !segment.is_empty());
        oldest.map_or(self.next_seq, |segment| segment.first_seq)
    }

    /// The last durable sequence, or 0.
    pub fn durable_seq(&self) -> u64 {
        self.segments
            .iter()
            .rev()
            .find(|segment| !segment.is_empty())
            .map_or(0, Segment::last_seq)
    }

    /// Items and bytes of the signal with sequences after `seq`.
    pub(super) fn sums_after(&self, signal: usize, seq: u64) -> (u64, u64) {
        let later = self
            .segments
            .iter()
            .rev()
            .take_while(|segment| segment.last_seq > seq || segment.is_empty());
        later
            .map(|segment| segment.sums_after(signal, seq))
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// The receive time of the signal's first record after `seq`.
    pub(super) fn first_received_after(&self, signal: usize, seq: u64) -> Option<u64> {
        let from = self
            .segments
            .partition_point(|segment| segment.first_seq <= seq)
            .saturating_sub(1);
        self.segments.range(from..).find_map(|segment| {
            segment.signals[signal]
                .get(segment.after(signal, seq))
                .map(|entry| segment.received(entry))
        })
    }

    /// Whether there is a record of the signal after `seq`.
    pub fn has_after(&self, signal: Signal, seq: u64) -> bool {
        self.first_received_after(signal.index(), seq).is_some()
    }

    /// Records of the signal after `seq`: one at least if there is any, then while both limits hold.
    pub fn places(&self, signal: Signal, seq: u64, max_items: u64, max_bytes: u64) -> Vec<Place> {
        let signal = signal.index();
        let mut places = Vec::new();
        let (mut items, mut bytes) = (0, 0);
        let from = self
            .segments
            .partition_point(|segment| segment.first_seq <= seq)
            .saturating_sub(1);
        for segment in self.segments.range(from..) {
            for position in segment.after(signal, seq)..segment.signals[signal].len() {
                let before = segment.sums_before(signal, position);
                let with = segment.sums_before(signal, position + 1);
                items += with.0 - before.0;
                bytes += with.1 - before.1;
                if !places.is_empty() && (items > max_items || bytes > max_bytes) {
                    return places;
                }
                places.extend(segment.place(signal, position));
            }
        }
        places
    }

    /// The time before which everything accepted has sequences up to `sent`. `now` must have
    /// been read from the clock before the index was locked.
    pub fn watermark(&mut self, now: u64, sent: [u64; 3]) -> u64 {
        // No later record may be given a time before what is said here.
        self.last_time = self.last_time.max(now);
        let unsent = (0..3).filter_map(|signal| self.first_received_after(signal, sent[signal]));
        let unsent = unsent.min().unwrap_or(self.last_time);
        if unsent > self.last_time {
            // The clock was set far back before this process: where that is in its time, nobody knows.
            return 0;
        }
        unsent.min(self.in_flight.unwrap_or(u64::MAX))
    }

    /// Takes the receive time for a group; until [`Index::end_group`] no watermark passes it.
    pub fn begin_group(&mut self, now: u64) -> u64 {
        self.last_time = self.last_time.max(now);
        self.in_flight = Some(self.last_time);
        self.last_time
    }

    pub fn end_group(&mut self) {
        self.in_flight = None;
    }

    /// The receive time of the last record of any signal up to `seq`.
    pub(super) fn last_received_up_to(&self, seq: u64) -> Option<u64> {
        let end = self.segments.partition_point(|segment| segment.first_seq <= seq);
        self.segments.range(..end).rev().find_map(|segment| {
            (0..3)
                .filter_map(|signal| {
                    let last = segment.after(signal, seq).checked_sub(1)?;
                    Some(segment.received(&segment.signals[signal][last]))
                })
                .max()
        })
    }

    /// The last sequence that was given before this time; everything up to it can be read.
    pub(super) fn last_seq_before(&self, received: u64) -> u64 {
        let mut after = self.next_seq;
        for segment in self.segments.iter().rev().filter(|segment| segment.records() > 0) {
            if segment.last_received() < received {
                break;
            }
            match segment.last_seq_before(received) {
                Some(seq) => return seq,
                None => after = segment.first_seq,
            }
        }
        after - 1
    }

    /// Whether the oldest segment is needed by nobody. The newest always stays: its name says
    /// which sequences are used.
    pub fn oldest_is_delivered(&self) -> bool {
        self.segments.len() > 1
            && self
                .segments
                .front()
                .is_some_and(|segment| self.is_delivered(segment))
    }

    /// Whether every exporter has passed every record of the segment.
    pub fn is_delivered(&self, segment: &Segment) -> bool {
        let passed = |cursor: &Cursor| {
            (0..3).all(|signal| segment.sums_in(signal, &cursor.undelivered[signal]).1 == 0)
        };
        segment.records() == 0 || (!self.cursors.is_empty() && self.cursors.iter().all(passed))
    }

    /// Whether the oldest segment holds something undelivered, and all of it came before.
    pub fn oldest_is_before(&self, received: u64) -> bool {
        self.segments.front().is_some_and(|oldest| {
            !oldest.is_empty() && oldest.last_received() < received && !self.is_delivered(oldest)
        })
    }

    /// The oldest segment that is complete, needed, not compressed, and was received before.
    pub fn cold_candidate(&self, received: u64) -> Option<Candidate> {
        let complete = self.segments.len().saturating_sub(1);
        let segment = self.segments.range(..complete).find(|segment| {
            let is_hot = segment.cold_bytes.is_none() && !segment.keep_hot && segment.records() > 0;
            is_hot && segment.last_received() <= received && !self.is_delivered(segment)
        })?;
        Some(Candidate {
            file: Arc::clone(&segment.file),
            path: segment.path.clone(),
            salt: segment.salt,
            first_seq: segment.first_seq,
            bytes: segment.bytes,
            records: segment.extents(),
        })
    }

    fn segment(&mut self, first_seq: u64) -> Option<&mut Segment> {
        self.segments
            .iter_mut()
            .find(|segment| segment.first_seq == first_seq && !segment.is_empty())
    }

    pub fn has_segment(&mut self, first_seq: u64) -> bool {
        self.segment(first_seq).is_some()
    }

    /// From now on the segment is read from this file, which takes so many bytes.
    pub fn set_cold(&mut self, first_seq: u64, file: Arc<dyn DiskFile>, bytes: u64) {
        if let Some(segment) = self.segment(first_seq) {
            segment.file = file;
            segment.cold_bytes = Some(bytes);
        }
    }

    /// The segment stays as it is.
    pub fn keep_hot(&mut self, first_seq: u64) {
        if let Some(segment) = self.segment(first_seq) {
            segment.keep_hot = true;
        }
    }

    /// Gives up the oldest segment: counts what each exporter loses and moves the cursors past.
    /// Returns the sum over all exporters.
    pub fn drop_oldest(&mut self, reason: DropReason) -> u64 {
        let Some(segment) = self.segments.front() else {
            return 0;
        };
        let mut dropped = 0;
        for cursor in &mut self.cursors {
            for signal in 0..3 {
                let items = segment.sums_in(signal, &cursor.undelivered[signal]).0;
                cursor.dropped_mut(reason)[signal] += items;
                cursor.undelivered[signal].pass(segment.last_seq);
                dropped += items;
            }
            cursor.moved = true;
        }
        dropped
    }

    /// Takes a damaged record out; counts it for each exporter that had yet to deliver it.
    pub fn drop_corrupt(&mut self, signal: Signal, seq: u64) -> bool {
        let at = self.segments.partition_point(|segment| segment.first_seq <= seq);
        let segment = at.checked_sub(1).and_then(|at| self.segments.get_mut(at));
        let Some(items) = segment.and_then(|segment| segment.remove(signal.index(), seq)) else {
            return false;
        };
        for cursor in self
            .cursors
            .iter_mut()
            .filter(|cursor| cursor.undelivered[signal.index()].contains(seq))
        {
            cursor.dropped_corrupt[signal.index()] += items;
        }
        true
    }
}
