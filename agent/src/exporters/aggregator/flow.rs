//! What was sent to the aggregator and what it has confirmed: the window and the cursors.
//!
//! Pure bookkeeping over sequences, per signal:
//!
//! ```text
//!   delivered │ in flight (shipments, in order) │ not sent
//!             cursor                            sent
//! ```
//!
//! A cursor only moves forward, except at a Welcome: there the aggregator may say that it has
//! lost what it had confirmed. It holds no payload, so that what is in flight costs the
//! aggregator's memory and not ours. It does not know why a stream ended or when to retry.

use std::collections::VecDeque;
use std::time::Instant;

use meridian_proto::signal::Signal;

/// A batch that left: a closed range of sequences of one signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// Its signal.
    pub signal: Signal,
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

/// A cursor that moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Everything up to `seq` is delivered, except `corrupt_items` that are given up.
    Forward {
        /// The signal.
        signal: Signal,
        /// Its new cursor.
        seq: u64,
        /// Items among the passed ones that had no rows.
        corrupt_items: u64,
    },
    /// The aggregator confirms less than it did before: records after `seq` are sent again.
    Back {
        /// The signal.
        signal: Signal,
        /// Its new cursor.
        seq: u64,
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
    in_flight_bytes: u64,
    waiting_since: Option<Instant>,
    lanes: [LaneFlow; 3],
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
        Self {
            window_own_bytes: window_bytes,
            window_bytes,
            in_flight_bytes: 0,
            waiting_since: None,
            lanes: cursors.map(|cursor| LaneFlow {
                cursor,
                confirmed: cursor,
                sent: cursor,
                in_flight: VecDeque::new(),
            }),
        }
    }

    /// A new stream begins: what is committed decides where it goes on, and the smaller of both
    /// sides' windows holds. What was in flight on the stream before is committed or forgotten.
    pub fn welcome(&mut self, committed: [u64; 3], window_bytes: u64) -> Vec<Move> {
        self.window_bytes = window_bytes.min(self.window_own_bytes);
        self.in_flight_bytes = 0;
        self.waiting_since = None;
        let mut moves = Vec::new();
        for signal in Signal::ALL {
            let lane = &mut self.lanes[signal.index()];
            let said = committed[signal.index()];
            if said > lane.cursor {
                moves.push(lane.forward(signal, said));
            } else if said < lane.confirmed && said < lane.cursor {
                lane.cursor = said;
                moves.push(Move::Back { signal, seq: said });
            }
            lane.confirmed = said;
            lane.in_flight.clear();
            lane.sent = lane.cursor;
        }
        moves
    }

    /// Whether a batch of this size may leave. One that is larger than the whole window leaves
    /// when nothing else is in flight: it could never leave otherwise.
    pub fn admits(&self, bytes: u64) -> bool {
        self.in_flight_bytes == 0 || self.in_flight_bytes.saturating_add(bytes) <= self.window_bytes
    }

    /// A batch leaves, or records are skipped (a shipment of no bytes). Returns how the cursor
    /// moves if nothing before a skipped range is in flight.
    pub fn ship(&mut self, shipment: Shipment, now: Instant) -> Option<Move> {
        let lane = &mut self.lanes[shipment.signal.index()];
        debug_assert!(shipment.first_seq > lane.sent, "batches of a signal are in order");
        lane.sent = shipment.last_seq;
        if shipment.bytes > 0 {
            self.in_flight_bytes += shipment.bytes;
            self.waiting_since.get_or_insert(now);
        }
        let signal = shipment.signal;
        lane.in_flight.push_back(shipment);
        lane.pass_skipped(signal)
    }

    /// The aggregator has committed the signal up to `seq`. An old acknowledgement says nothing
    /// new; one of what was not sent is a fault of the peer.
    pub fn ack(&mut self, signal: Signal, seq: u64, now: Instant) -> Result<Option<Move>, NotSent> {
        let lane = &mut self.lanes[signal.index()];
        if seq > lane.sent {
            return Err(NotSent {
                signal,
                acked: seq,
                sent: lane.sent,
            });
        }
        if seq <= lane.cursor {
            return Ok(None);
        }
        lane.confirmed = lane.confirmed.max(seq);
        let before = lane.bytes();
        let acked = lane.forward(signal, seq);
        self.in_flight_bytes -= before - lane.bytes();
        let skipped = lane.pass_skipped(signal);
        self.waiting_since = (self.in_flight_bytes > 0).then_some(now);
        Ok(Some(join(acked, skipped)))
    }

    /// Everything up to here was sent or skipped, by [`Signal::index`].
    pub fn sent(&self) -> [u64; 3] {
        [self.lanes[0].sent, self.lanes[1].sent, self.lanes[2].sent]
    }

    /// What is sent and not acknowledged takes this much of the window.
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Since when the aggregator owes an acknowledgement.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }
}

impl LaneFlow {
    /// Moves the cursor to `seq` and forgets what is behind it.
    fn forward(&mut self, signal: Signal, seq: u64) -> Move {
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
            signal,
            seq,
            corrupt_items,
        }
    }

    /// Skipped records need no acknowledgement: they are passed when they are the oldest.
    fn pass_skipped(&mut self, signal: Signal) -> Option<Move> {
        let is_skipped = |shipment: &&Shipment| shipment.bytes == 0;
        let last = self.in_flight.iter().take_while(is_skipped).last()?.last_seq;
        Some(self.forward(signal, last))
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
                signal,
                seq,
                corrupt_items,
            }),
        ) => Move::Forward {
            signal,
            seq,
            corrupt_items: earlier + corrupt_items,
        },
        _ => first,
    }
}

#[cfg(test)]
mod tests;
