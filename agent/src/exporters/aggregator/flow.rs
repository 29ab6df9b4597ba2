//! What was sent to the aggregator and what it has confirmed: the window and the cursors.
//!
//! Pure bookkeeping over sequences, per signal and lane:
//!
//! ```text
//!   delivered │ in flight (shipments, in order) │ not sent
//!             cursor                            sent
//! ```
//!
//! A cursor only moves forward, except at a Welcome: there the aggregator may say that it has
//! lost what it had confirmed. It holds no payload, so that what is in flight costs the
//! aggregator's memory and not ours. It does not know why a stream ended or when to retry.
//!
//! The window belongs to the live lane. The catch-up lane has a share of it, half at most: the
//! share grows with every acknowledgement of that lane and is halved when fresh data had to wait.

use std::collections::VecDeque;
use std::time::Instant;

use meridian_proto::signal::Signal;

use super::lane::{Lane, TRACKS, Track};
use crate::spool::Range;

/// The largest and the smallest share of the window that the catch-up lane takes, as divisors.
const SHARE_MAX: u64 = 2;
const SHARE_MIN: u64 = 8;
/// What an acknowledgement adds to it.
const SHARE_STEP: u64 = 16;

/// A batch that left: a closed range of sequences of one signal and lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// Its signal and lane.
    pub track: Track,
    /// Its first record.
    pub first_seq: u64,
    /// Its last record.
    pub last_seq: u64,
    /// What it takes of the window; 0 for records that are skipped and were never sent.
    pub bytes: u64,
    /// The records that could not be turned into rows.
    pub corrupt: Vec<CorruptRecord>,
}

/// A record that could not be turned into rows, or not completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorruptRecord {
    /// The record.
    pub seq: u64,
    /// The items that are given up.
    pub items: u32,
}

/// What an aggregator says in its Welcome of one signal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The committed sequence of the live lane.
    pub live: u64,
    /// That of the catch-up lane.
    pub catch_up: u64,
    /// What the live lane has passed and the catch-up lane has still to deliver.
    pub ranges: Vec<Range>,
}

/// Cursors that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Everything of the lane up to `seq` is delivered, except `corrupt_items` that are given up.
    Forward {
        /// The signal and lane.
        track: Track,
        /// Its new cursor.
        seq: u64,
        /// Items among the passed ones that had no rows.
        corrupt_items: u64,
    },
    /// A new stream: everything up to `seq` is delivered, except what is in the ranges.
    Resume {
        /// The signal.
        signal: Signal,
        /// The cursor of its live lane.
        seq: u64,
        /// What its catch-up lane has to deliver.
        ranges: Vec<Range>,
        /// Items among the passed ones that had no rows.
        corrupt_items: u64,
        /// The aggregator confirms less than it did before.
        has_lost: bool,
    },
}

/// The aggregator confirmed what it was never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the aggregator acknowledged {signal} up to {acked}, but was sent only up to {sent}")]
pub struct NotSent {
    /// The signal.
    pub signal: Signal,
    /// What was acknowledged.
    pub acked: u64,
    /// What was sent.
    pub sent: u64,
}

/// The window and the cursors of one exporter; survives its streams.
#[derive(Debug)]
pub struct Flow {
    window_own_bytes: u64,
    window_bytes: u64,
    /// By [`Lane::index`].
    in_flight_bytes: [u64; 2],
    /// What the catch-up lane may have in flight.
    share_bytes: u64,
    waiting_since: Option<Instant>,
    /// By [`Track::index`].
    lanes: [LaneFlow; TRACKS],
}

#[derive(Debug, Default)]
struct LaneFlow {
    cursor: u64,
    /// The most that the aggregator has said; less than the cursor after skipped records.
    confirmed: u64,
    sent: u64,
    in_flight: VecDeque<Shipment>,
}

impl Flow {
    /// Nothing sent yet; `cursors` are those of the spool, by [`Signal::index`].
    pub fn new(cursors: [u64; 3], window_bytes: u64) -> Self {
        let mut lanes: [LaneFlow; TRACKS] = Default::default();
        for (lane, cursor) in lanes.iter_mut().zip(cursors) {
            lane.cursor = cursor;
            lane.confirmed = cursor;
            lane.sent = cursor;
        }
        Self {
            window_own_bytes: window_bytes,
            window_bytes,
            in_flight_bytes: [0; 2],
            share_bytes: window_bytes / SHARE_MIN,
            waiting_since: None,
            lanes,
        }
    }

    /// A new stream begins: what is committed decides where it goes on, and the smaller of both
    /// sides' windows holds. What was in flight on the stream before is committed or forgotten.
    pub fn welcome(&mut self, said: &[Said; 3], window_bytes: u64) -> Vec<Move> {
        self.window_bytes = window_bytes.min(self.window_own_bytes);
        self.share_bytes = self.window_bytes / SHARE_MIN;
        self.in_flight_bytes = [0; 2];
        self.waiting_since = None;
        let resume = |signal: Signal| self.resume(signal, &said[signal.index()]);
        Signal::ALL.map(resume).to_vec()
    }

    fn resume(&mut self, signal: Signal, said: &Said) -> Move {
        let (live, catch_up) = (Track::live(signal), Track::catch_up(signal));
        let has_lost = self.lanes[live.index()].has_lost(said.live)
            | self.lanes[catch_up.index()].has_lost(said.catch_up);
        let seq = self.lanes[live.index()].restart(said.live);
        // Records that had no rows were passed, and the aggregator does not know.
        let passed = self.lanes[catch_up.index()].restart(said.catch_up);
        let left = said.ranges.iter().map(|range| Range {
            after: range.after.max(passed),
            to: range.to,
        });
        let ranges: Vec<Range> = left.filter(|range| range.after < range.to).collect();
        let is_pending = |seq: u64| ranges.iter().any(|range| range.after < seq && seq <= range.to);
        let mut corrupt_items = 0;
        for (track, passed) in [(live, seq), (catch_up, passed)] {
            for shipment in self.lanes[track.index()].in_flight.drain(..) {
                let given_up = shipment
                    .corrupt
                    .iter()
                    .filter(|record| record.seq <= passed && !is_pending(record.seq));
                corrupt_items += given_up.map(|record| u64::from(record.items)).sum::<u64>();
            }
        }
        Move::Resume {
            signal,
            seq,
            ranges,
            corrupt_items,
            has_lost,
        }
    }

    /// Whether a batch of this size may leave. One that is larger than the whole window leaves
    /// when nothing else is in flight: it could never leave otherwise.
    pub fn admits(&self, lane: Lane, bytes: u64) -> bool {
        let all = self.in_flight_bytes();
        let own = self.in_flight_bytes[Lane::CatchUp.index()];
        let has_share = lane == Lane::Live || own == 0 || own.saturating_add(bytes) <= self.share_bytes;
        all == 0 || (has_share && all.saturating_add(bytes) <= self.window_bytes)
    }

    /// Fresh data has to wait for the window: the catch-up lane takes less of it.
    pub fn yield_share(&mut self) {
        self.share_bytes = (self.share_bytes / 2).max(self.window_bytes / SHARE_MIN);
    }

    /// A batch leaves, or records are skipped (a shipment of no bytes). Returns how the cursor
    /// moves if nothing before a skipped range is in flight.
    pub fn ship(&mut self, shipment: Shipment, now: Instant) -> Option<Move> {
        let track = shipment.track;
        let lane = &mut self.lanes[track.index()];
        debug_assert!(shipment.first_seq > lane.sent, "batches of a lane are in order");
        lane.sent = shipment.last_seq;
        if shipment.bytes > 0 {
            self.in_flight_bytes[track.lane.index()] += shipment.bytes;
            self.waiting_since.get_or_insert(now);
        }
        lane.in_flight.push_back(shipment);
        lane.pass_skipped(track)
    }

    /// Whether more than this was acknowledged already.
    pub fn is_below_confirmed(&self, track: Track, seq: u64) -> bool {
        seq < self.lanes[track.index()].confirmed
    }

    /// The aggregator has committed the lane up to `seq`. An old acknowledgement says nothing
    /// new; one of what was not sent is a fault of the peer.
    pub fn ack(&mut self, track: Track, seq: u64, now: Instant) -> Result<Option<Move>, NotSent> {
        let lane = &mut self.lanes[track.index()];
        if seq > lane.sent {
            return Err(NotSent {
                signal: track.signal,
                acked: seq,
                sent: lane.sent,
            });
        }
        if seq <= lane.cursor {
            return Ok(None);
        }
        lane.confirmed = lane.confirmed.max(seq);
        let before = lane.bytes();
        let acked = lane.forward(track, seq);
        self.in_flight_bytes[track.lane.index()] -= before - lane.bytes();
        let skipped = lane.pass_skipped(track);
        if track.lane == Lane::CatchUp {
            let grown = self.share_bytes + self.window_bytes / SHARE_STEP;
            self.share_bytes = grown.min(self.window_bytes / SHARE_MAX);
        }
        self.waiting_since = (self.in_flight_bytes() > 0).then_some(now);
        Ok(Some(join(acked, skipped)))
    }

    /// Everything of the live lanes up to here was sent or skipped, by [`Signal::index`].
    pub fn sent(&self) -> [u64; 3] {
        [self.lanes[0].sent, self.lanes[1].sent, self.lanes[2].sent]
    }

    /// What is sent and not acknowledged takes this much of the window.
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes.iter().sum()
    }

    /// Since when the aggregator owes an acknowledgement.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }
}

impl LaneFlow {
    fn has_lost(&self, said: u64) -> bool {
        said < self.confirmed && said < self.cursor
    }

    /// Goes on after what the aggregator has, or after records that were skipped since.
    fn restart(&mut self, said: u64) -> u64 {
        self.cursor = if self.has_lost(said) {
            said
        } else {
            self.cursor.max(said)
        };
        self.confirmed = said;
        self.sent = self.cursor;
        self.cursor
    }

    /// Moves the cursor to `seq` and forgets what is behind it.
    fn forward(&mut self, track: Track, seq: u64) -> Move {
        let mut corrupt_items = 0;
        for shipment in &mut self.in_flight {
            shipment.corrupt.retain(|record| {
                let is_passed = record.seq <= seq;
                corrupt_items += if is_passed { u64::from(record.items) } else { 0 };
                !is_passed
            });
        }
        while self.in_flight.front().is_some_and(|first| first.last_seq <= seq) {
            self.in_flight.pop_front();
        }
        self.cursor = seq;
        Move::Forward {
            track,
            seq,
            corrupt_items,
        }
    }

    /// Skipped records need no acknowledgement: they are passed when they are the oldest.
    fn pass_skipped(&mut self, track: Track) -> Option<Move> {
        let is_skipped = |shipment: &&Shipment| shipment.bytes == 0;
        let last = self.in_flight.iter().take_while(is_skipped).last()?.last_seq;
        Some(self.forward(track, last))
    }

    fn bytes(&self) -> u64 {
        self.in_flight.iter().map(|shipment| shipment.bytes).sum()
    }
}

/// Two moves of one cursor as one.
fn join(first: Move, second: Option<Move>) -> Move {
    match (first, second) {
        (
            Move::Forward {
                corrupt_items: earlier,
                ..
            },
            Some(Move::Forward {
                track,
                seq,
                corrupt_items,
            }),
        ) => Move::Forward {
            track,
            seq,
            corrupt_items: earlier + corrupt_items,
        },
        (first, _) => first,
    }
}

#[cfg(test)]
mod tests;
