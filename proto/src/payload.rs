//! A batch's payload: one zstd frame around one Arrow IPC stream with one record batch.
//!
//! Arrow's own compression of buffers is not used: one frame around the whole is smaller
//! and cheaper. What comes in is adapted to this release's schema by the columns' names, so
//! that agents and aggregators of neighbouring releases understand each other.
//! Which signal a payload carries is said by the message around it, not here.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType};
use thiserror::Error;

use crate::schema;
use crate::signal::Signal;

/// What [`encode`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPayload {
    /// The zstd frame.
    pub bytes: Vec<u8>,
    /// The size of what is in it.
    pub uncompressed_bytes: u32,
}

/// A payload that cannot be written or read.
#[derive(Debug, Error)]
pub enum PayloadError {
    /// The batch needs more bytes than the message can announce or the reader allows.
    #[error("a payload of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLarge {
        /// What it needs.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// zstd refused.
    #[error("the zstd frame cannot be processed")]
    Compression(#[source] std::io::Error),
    /// The frame holds another number of bytes than was announced.
    #[error("the payload has {found} bytes, announced were {announced}")]
    Size {
        /// What the message said.
        announced: usize,
        /// What was in the frame.
        found: usize,
    },
    /// The bytes are not an Arrow IPC stream.
    #[error("the Arrow IPC stream cannot be processed")]
    Arrow(#[source] ArrowError),
    /// The stream does not hold exactly one batch.
    #[error("the payload holds {batches} record batches instead of one")]
    Batches {
        /// How many it holds (counting stops at two).
        batches: usize,
    },
    /// A column that this release requires is not there.
    #[error("{signal} payload without the column {column}")]
    MissingColumn {
        /// The payload's signal.
        signal: Signal,
        /// The column's name.
        column: String,
    },
    /// A column appears more than once.
    #[error("{signal} payload with the column {column} twice")]
    RepeatedColumn {
        /// The payload's signal.
        signal: Signal,
        /// The column's name.
        column: String,
    },
    /// A column has another type than this release gives it.
    #[error("{signal} payload whose column {column} is {found} instead of {expected}")]
    ColumnType {
        /// The payload's signal.
        signal: Signal,
        /// The column's name.
        column: String,
        /// The type that came.
        found: DataType,
        /// The type of this release.
        expected: DataType,
    },
}

/// Encodes a batch with zstd at `level`.
pub fn encode(batch: &RecordBatch, level: i32) -> Result<EncodedPayload, PayloadError> {
    let mut stream = StreamWriter::try_new(Vec::new(), batch.schema_ref()).map_err(PayloadError::Arrow)?;
    stream.write(batch).map_err(PayloadError::Arrow)?;
    let plain = stream.into_inner().map_err(PayloadError::Arrow)?;
    let uncompressed_bytes = u32::try_from(plain.len()).map_err(|_| PayloadError::TooLarge {
        bytes: plain.len(),
        bytes_max: usize::try_from(u32::MAX).unwrap_or(usize::MAX),
    })?;
    let bytes = zstd::bulk::compress(&plain, level).map_err(PayloadError::Compression)?;
    Ok(EncodedPayload {
        bytes,
        uncompressed_bytes,
    })
}

/// Decodes a payload that was announced with `uncompressed_bytes`, and spends no more than
/// `max_bytes` on it. The batch has the schema of `signal` in this release.
pub fn decode(
    signal: Signal,
    bytes: &[u8],
    uncompressed_bytes: u32,
    max_bytes: usize,
) -> Result<RecordBatch, PayloadError> {
    let announced = usize::try_from(uncompressed_bytes).unwrap_or(usize::MAX);
    if announced > max_bytes {
        return Err(PayloadError::TooLarge {
            bytes: announced,
            bytes_max: max_bytes,
        });
    }
    let plain = zstd::bulk::decompress(bytes, announced).map_err(PayloadError::Compression)?;
    if plain.len() != announced {
        return Err(PayloadError::Size {
            announced,
            found: plain.len(),
        });
    }
    adapt(signal, &single_batch(plain)?)
}

/// The stream decoder takes the buffers from `plain` without a copy: its lengths are checked
/// against what is there, so a hostile length allocates nothing.
fn single_batch(plain: Vec<u8>) -> Result<RecordBatch, PayloadError> {
    let mut decoder = StreamDecoder::new();
    let mut rest = Buffer::from_vec(plain);
    let mut batches = Vec::new();
    while !rest.is_empty() && batches.len() < 2 {
        if let Some(batch) = decoder.decode(&mut rest).map_err(PayloadError::Arrow)? {
            batches.push(batch);
        }
    }
    decoder.finish().map_err(PayloadError::Arrow)?;
    match (batches.pop(), batches.len()) {
        (Some(batch), 0) => Ok(batch),
        (last, before) => Err(PayloadError::Batches {
            batches: before + usize::from(last.is_some()),
        }),
    }
}

/// Gives the batch the schema of this release: columns are found by name, nullable ones
/// that are missing become null, unknown ones are left out.
fn adapt(signal: Signal, batch: &RecordBatch) -> Result<RecordBatch, PayloadError> {
    let mut names = HashSet::new();
    for field in batch.schema_ref().fields() {
        if !names.insert(field.name().as_str()) {
            return Err(PayloadError::RepeatedColumn {
                signal,
                column: field.name().clone(),
            });
        }
    }
    let target = schema::of(signal);
    let columns = target
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => Err(PayloadError::ColumnType {
                signal,
                column: field.name().clone(),
                found: column.data_type().clone(),
                expected: field.data_type().clone(),
            }),
            None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
            None => Err(PayloadError::MissingColumn {
                signal,
                column: field.name().clone(),
            }),
        })
        .collect::<Result<Vec<ArrayRef>, PayloadError>>()?;
    RecordBatch::try_new(Arc::clone(target), columns).map_err(PayloadError::Arrow)
}
