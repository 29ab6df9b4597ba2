//! The memory of cumulative streams over a restart. Records are translated long before they are
//! settled, so there are two states: the one that the next record is translated with, and the one
//! that is true for everything up to the cursor, which is what is kept.
//!
//! ```text
//! translate: records 1 … 9          now:     true after 9
//!                                   changes: what 6, 7, 8, 9 have changed
//! settled:   records 1 … 5          settled: true after 5, kept before the cursor moves to 5
//! ```
//! After a crash the cursor is at most where the kept state is. What lies between was delivered,
//! and is not translated again; what comes after is translated with the very state that it was
//! translated with before. So nothing is lost and nothing is counted twice, but what was taken by
//! CloudWatch and not yet kept when the process died.

use std::collections::VecDeque;
use std::sync::Arc;

use prost::Message;

use super::streams::{Added, Stream, Streams};

/// A stream and its key.
type Change = (u128, Arc<Stream>);

/// The state for the next record.
#[derive(Debug)]
pub struct Memory {
    now: Streams,
    changes: VecDeque<(u64, Vec<Change>)>,
    kept_seq: u64,
}

/// The state after the last settled record.
#[derive(Debug)]
pub struct Settled {
    streams: Streams,
    seq: u64,
    is_kept: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Kept {
    /// It is true after this record.
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(fixed64, tag = "2")]
    horizon: u64,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(fixed64, tag = "1")]
    key_high: u64,
    #[prost(fixed64, tag = "2")]
    key_low: u64,
    #[prost(message, required, tag = "3")]
    stream: Stream,
}

/// Goes on from what was kept; an empty memory begins now. At most so many streams are known.
pub fn open(kept: Option<&[u8]>, most: usize, now_unix_nanos: u64) -> (Memory, Settled) {
    let kept = kept.and_then(|bytes| Kept::decode(bytes).ok());
    let is_kept = kept.is_some();
    let kept = kept.unwrap_or(Kept {
        horizon: now_unix_nanos,
        ..Kept::default()
    });
    let mut streams = Streams::new(most, kept.horizon);
    for entry in kept.entries {
        let key = u128::from(entry.key_high) << 64 | u128::from(entry.key_low);
        streams.put(key, Arc::new(entry.stream));
    }
    let memory = Memory {
        now: streams.clone(),
        changes: VecDeque::new(),
        kept_seq: kept.seq,
    };
    let settled = Settled {
        streams,
        seq: kept.seq,
        is_kept,
    };
    (memory, settled)
}

impl Memory {
    /// Whether the record was settled in the life of an earlier process.
    pub fn is_settled(&self, seq: u64) -> bool {
        seq <= self.kept_seq
    }

    /// What a point of the record `stream.seq` adds, and how many streams are forgotten for it.
    /// Records come in their order.
    pub fn add(&mut self, identity: u128, stream: Stream) -> (Added, usize) {
        let (added, key) = self.now.added(identity, &stream);
        let Some(key) = key else {
            return (added, 0);
        };
        let (seq, stream) = (stream.seq, Arc::new(stream));
        let change = (key, Arc::clone(&stream));
        match self.changes.back_mut() {
            Some((last, changes)) if *last == seq => changes.push(change),
            _ => self.changes.push_back((seq, vec![change])),
        }
        (added, self.now.put(key, stream))
    }

    /// Takes what the records up to here have changed.
    pub fn take_changes(&mut self, seq: u64) -> Vec<Change> {
        let later = self.changes.partition_point(|(changed, _)| *changed <= seq);
        self.changes
            .drain(..later)
            .flat_map(|(_, changes)| changes)
            .collect()
    }
}

impl Settled {
    /// The records up to here are settled, and these are their changes. Returns what is to be
    /// kept, if anything has changed, and the first time: since when it counts is known then.
    pub fn advance(&mut self, seq: u64, changes: Vec<Change>) -> Option<Vec<u8>> {
        self.seq = seq;
        if changes.is_empty() && self.is_kept {
            return None;
        }
        self.is_kept = true;
        for (key, stream) in changes {
            self.streams.put(key, stream);
        }
        Some(self.encode())
    }

    #[expect(clippy::cast_possible_truncation, reason = "a key is kept in two halves")]
    fn encode(&self) -> Vec<u8> {
        let entry = |(key, stream): (u128, &Stream)| Entry {
            key_high: (key >> 64) as u64,
            key_low: key as u64,
            stream: stream.clone(),
        };
        Kept {
            seq: self.seq,
            horizon: self.streams.horizon(),
            entries: self.streams.iter().map(entry).collect(),
        }
        .encode_to_vec()
    }
}
