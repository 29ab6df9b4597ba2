//! Turns records of one signal into a batch: rows, compressed, and where each record ends.
//!
//! CPU work without waiting; the caller runs it where it holds up nobody. A record whose rows
//! cannot be built costs only itself: it stays in the batch's range with the rows it gave (none,
//! as a rule), and what it lacks is counted when the batch is confirmed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use meridian_proto::payload::{self, PayloadError};
use meridian_proto::signal::Signal;
use meridian_proto::stream::{Batch, Encoding};

use super::flow::{CorruptRecord, Shipment};
use super::lane::{Lane, Track};
use crate::otlp::{Origin, RowBuilder};
use crate::spool::Record;

/// The fastest ordinary level: the columns are coded by their type before.
const ZSTD_LEVEL: i32 = 1;

/// A batch, ready to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its signal.
    pub signal: Signal,
    /// Its first record.
    pub first_seq: u64,
    /// Its last record.
    pub last_seq: u64,
    /// The rows of all records; 0 if the batch need not be sent.
    pub rows: u32,
    /// The compressed rows.
    pub payload: Bytes,
    /// Their size before compression.
    pub uncompressed_bytes: u32,
    /// Of each record, its distance from the one before.
    pub record_seq_deltas: Vec<u32>,
    /// Of each record, its rows.
    pub record_rows: Vec<u32>,
    /// The records that lack rows.
    pub corrupt: Vec<CorruptRecord>,
}

/// Builds a batch of records of one signal, of which there is at least one. Sequences of one
/// batch lie within 2³² of each other, which a spool of bounded size guarantees.
pub fn build(signal: Signal, records: &[Record], origin: &Origin) -> Result<Built, PayloadError> {
    let mut filled = fill(signal, records, origin);
    let batch = filled.builder.finish();
    let mut built = Built {
        signal,
        first_seq: records.first().map_or(0, |record| record.seq),
        last_seq: records.last().map_or(0, |record| record.seq),
        rows: filled.record_rows.iter().sum(),
        payload: Bytes::new(),
        uncompressed_bytes: 0,
        record_seq_deltas: deltas(records),
        record_rows: filled.record_rows,
        corrupt: filled.corrupt,
    };
    if built.rows > 0 {
        let encoded = payload::encode(&batch, ZSTD_LEVEL)?;
        built.payload = Bytes::from(encoded.bytes);
        built.uncompressed_bytes = encoded.uncompressed_bytes;
    }
    Ok(built)
}

impl Built {
    /// What the batch takes of the window; 0 if it need not be sent.
    pub fn window_bytes(&self) -> u64 {
        u64::from(self.uncompressed_bytes)
    }

    /// What the books keep of it.
    pub fn shipment(&self, lane: Lane) -> Shipment {
        Shipment {
            track: Track {
                lane,
                signal: self.signal,
            },
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            bytes: self.window_bytes(),
            corrupt: self.corrupt.clone(),
        }
    }

    /// The message for the aggregator.
    pub fn into_message(self, lane: Lane, watermark_unix_nanos: u64) -> Batch {
        Batch {
            signal: meridian_proto::stream::Signal::from(self.signal).into(),
            lane: lane.on_wire().into(),
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            rows: self.rows,
            watermark_unix_nanos,
            encoding: Encoding::Columns.into(),
            payload: self.payload,
            uncompressed_bytes: self.uncompressed_bytes,
            record_seq_deltas: self.record_seq_deltas,
            record_rows: self.record_rows,
        }
    }
}

struct Filled {
    builder: RowBuilder,
    record_rows: Vec<u32>,
    corrupt: Vec<CorruptRecord>,
}

/// Fills a builder with the rows of all records. A record that the builder cannot take leaves
/// it in an unknown state: all begins again without that record, of which there are few.
fn fill(signal: Signal, records: &[Record], origin: &Origin) -> Filled {
    let mut left_out: Vec<u64> = Vec::new();
    loop {
        let mut filled = Filled {
            builder: RowBuilder::new(signal, origin),
            record_rows: Vec::with_capacity(records.len()),
            corrupt: Vec::new(),
        };
        let unbuildable = records
            .iter()
            .find(|record| filled.push(record, left_out.contains(&record.seq)).is_err());
        match unbuildable {
            Some(record) => left_out.push(record.seq),
            None => return filled,
        }
    }
}

/// The builder cannot be used any more.
struct Spoilt;

impl Filled {
    fn push(&mut self, record: &Record, is_left_out: bool) -> Result<(), Spoilt> {
        let rows_before = self.builder.rows();
        if !is_left_out {
            let builder = &mut self.builder;
            let pushed = catch_unwind(AssertUnwindSafe(|| {
                builder.push_accepted(&record.body, record.received_unix_nanos)
            }));
            let outcome = pushed.map_err(|_| Spoilt)?;
            if let Err(malformed) = outcome {
                tracing::warn!(seq = record.seq, signal = %record.signal, %malformed,
                    "a record of the spool cannot be turned into rows");
                return Err(Spoilt);
            }
        }
        let rows = u32::try_from(self.builder.rows() - rows_before).unwrap_or(u32::MAX);
        self.record_rows.push(rows);
        if rows < record.items {
            self.corrupt.push(CorruptRecord {
                seq: record.seq,
                items: record.items - rows,
            });
        }
        Ok(())
    }
}

fn deltas(records: &[Record]) -> Vec<u32> {
    let mut before = records.first().map_or(0, |record| record.seq);
    let distance = |record: &Record| {
        let delta = record.seq - before;
        before = record.seq;
        u32::try_from(delta).unwrap_or(u32::MAX)
    };
    records.iter().map(distance).collect()
}

#[cfg(test)]
mod tests;
