//! From a message to rows: everything that can be wrong with a batch is found here, before
//! anything of it is kept. Whether its rows are new is the store's business.

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{FieldRef, Int32Type};
use arrow::error::ArrowError;
use meridian_proto::ids::AgentId;
use meridian_proto::payload::{self, PayloadError};
use meridian_proto::schema::{self, ORIGIN_COLUMNS};
use meridian_proto::signal::Signal;
use meridian_proto::stream;

use crate::store::{Incoming, Lane, LaneKey, Record};

/// Who a stream belongs to, as its Hello said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its spool's identity.
    pub agent: AgentId,
    /// Its region.
    pub region: String,
    /// Its cluster.
    pub cluster: String,
    /// Its node.
    pub node: String,
}

/// A batch that cannot be kept; its stream ends with this as the reason.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("batch names no signal that is known here ({0})")]
    Signal(i32),
    #[error("batch names no lane that is known here ({0})")]
    Lane(i32),
    #[error("batch has an encoding that is not known here ({0})")]
    Encoding(i32),
    #[error("records of batch {first_seq}..={last_seq} do not ascend from the one to the other")]
    Sequences { first_seq: u64, last_seq: u64 },
    #[error("batch announces {announced} rows, its records {recorded}, its payload has {found}")]
    Rows {
        announced: u32,
        recorded: usize,
        found: usize,
    },
    #[error("batch of {signal} has a payload that cannot be read")]
    Payload { signal: Signal, source: PayloadError },
    #[error("origin of the rows cannot be set")]
    Origin(#[from] ArrowError),
}

/// The signal and lane of a batch.
pub fn address(message: &stream::Batch) -> Result<(Signal, Lane), BatchError> {
    let signal = u8::try_from(message.signal)
        .ok()
        .and_then(Signal::from_u8)
        .ok_or(BatchError::Signal(message.signal))?;
    let lane = match stream::Lane::try_from(message.lane) {
        Ok(stream::Lane::Live) => Lane::Live,
        Ok(stream::Lane::CatchUp) => Lane::CatchUp,
        Err(_) => return Err(BatchError::Lane(message.lane)),
    };
    Ok((signal, lane))
}

/// Decodes and checks a batch. Takes CPU: not for a thread that also serves sockets.
pub fn incoming(
    identity: &Identity,
    message: &stream::Batch,
    bytes_max: usize,
) -> Result<(Signal, Incoming), BatchError> {
    let (signal, lane) = address(message)?;
    if message.encoding != stream::Encoding::Columns as i32 {
        return Err(BatchError::Encoding(message.encoding));
    }
    let records = records(message)?;
    let batch = payload::decode(signal, &message.payload, message.uncompressed_bytes, bytes_max)
        .map_err(|source| BatchError::Payload { signal, source })?;
    let recorded = records.iter().map(|record| record.rows).sum();
    let announced = message.rows;
    if batch.num_rows() != recorded || usize::try_from(announced).ok() != Some(recorded) {
        return Err(BatchError::Rows {
            announced,
            recorded,
            found: batch.num_rows(),
        });
    }
    let incoming = Incoming {
        lane: LaneKey {
            agent: identity.agent,
            lane,
        },
        region: identity.region.clone(),
        records,
        batch: with_origin(&batch, identity)?,
        reservation: None,
    };
    Ok((signal, incoming))
}

fn records(message: &stream::Batch) -> Result<Vec<Record>, BatchError> {
    let (first_seq, last_seq) = (message.first_seq, message.last_seq);
    let wrong = || BatchError::Sequences { first_seq, last_seq };
    if message.record_seq_deltas.len() != message.record_rows.len() {
        return Err(wrong());
    }
    let mut seq = first_seq;
    let mut records = Vec::with_capacity(message.record_rows.len());
    for (delta, rows) in message.record_seq_deltas.iter().zip(&message.record_rows) {
        if (*delta == 0) != records.is_empty() {
            return Err(wrong());
        }
        seq = seq.checked_add(u64::from(*delta)).ok_or_else(wrong)?;
        records.push(Record {
            seq,
            rows: usize::try_from(*rows).map_err(|_| wrong())?,
        });
    }
    let is_whole = records.last().is_some_and(|record| record.seq == last_seq);
    // Zero is "nothing committed", and a Delta transaction's version is signed.
    if !is_whole || first_seq == 0 || i64::try_from(last_seq).is_err() {
        return Err(wrong());
    }
    Ok(records)
}

/// The rows' origin is the stream's, whatever the payload says.
/// The values of a dictionary that has one are so many bytes more than those of an empty one.
const DICTIONARY_BYTES: usize = 128;

/// What a batch takes beside what it is announced with: its arrays themselves, the least that is
/// allocated for each, and the columns of its origin. A batch of few rows is little else.
pub fn overhead_bytes(signal: Signal) -> u32 {
    static BYTES: LazyLock<[u32; 3]> = LazyLock::new(|| {
        Signal::ALL.map(|signal| {
            let of_column = |field: &FieldRef| {
                new_null_array(field.data_type(), 1).get_array_memory_size() + DICTIONARY_BYTES
            };
            let bytes: usize = schema::of(signal).fields().iter().map(of_column).sum();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        })
    });
    BYTES.get(signal.index()).copied().unwrap_or_default()
}

fn with_origin(batch: &RecordBatch, identity: &Identity) -> Result<RecordBatch, ArrowError> {
    let agent = identity.agent.to_string();
    let values = [&identity.region, &identity.cluster, &identity.node, &agent];
    let mut columns = batch.columns().to_vec();
    for (name, value) in ORIGIN_COLUMNS.into_iter().zip(values) {
        let index = batch.schema_ref().index_of(name)?;
        if let Some(column) = columns.get_mut(index) {
            *column = constant(value, batch.num_rows())?;
        }
    }
    RecordBatch::try_new(batch.schema(), columns)
}

fn constant(value: &str, rows: usize) -> Result<ArrayRef, ArrowError> {
    let keys = Int32Array::from(vec![0; rows]);
    let values = Arc::new(StringArray::from(vec![value]));
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(first: u64, last: u64, deltas: &[u32]) -> stream::Batch {
        stream::Batch {
            first_seq: first,
            last_seq: last,
            record_seq_deltas: deltas.to_vec(),
            record_rows: vec![1; deltas.len()],
            ..stream::Batch::default()
        }
    }

    #[test]
    fn records_are_found_by_their_distances() {
        let records = records(&message(5, 9, &[0, 1, 3])).expect("they ascend");
        let seqs: Vec<u64> = records.iter().map(|record| record.seq).collect();
        assert_eq!(seqs, [5, 6, 9]);
    }

    #[test]
    fn records_that_do_not_add_up_are_refused() {
        for (first, last, deltas) in [
            (5, 9, &[0, 1][..]),
            (5, 5, &[]),
            (5, 6, &[1]),
            (5, 5, &[0, 0]),
            (0, 0, &[0]),
            (u64::MAX, u64::MAX, &[0]),
            (u64::MAX, 3, &[0, 4]),
        ] {
            assert!(
                records(&message(first, last, deltas)).is_err(),
                "{first}..={last} {deltas:?}"
            );
        }
    }
}
