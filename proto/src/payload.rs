//! A batch's payload: its columns, each coded by its type and compressed by itself.
//!
//! ```text
//! payload   form · head · body                          see [`streams`]
//! head      number of rows · number of columns · columns
//! column    name · type · bytes in head · bytes in body · values
//! ```
//! It is an inverse pair over the Arrow columns of [`crate::schema`], which stay as they are in
//! memory and on disk: integers become planes of bytes, ids that repeat become distances, maps
//! become a column per key, and what is null costs nothing. What comes in is adapted to this
//! release's schema by the columns' names, so that agents and aggregators of neighbouring
//! releases understand each other. Which signal a payload carries is said by the message around
//! it, not here.

mod columns;
mod decimals;
mod ids;
mod integers;
mod interner;
mod maps;
mod streams;
mod texts;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, new_null_array};
use arrow_schema::{ArrowError, DataType};
use thiserror::Error;

use self::streams::{Reader, Writer};
use crate::schema;
use crate::signal::Signal;

/// The column that other columns' ids may refer to.
const SPAN_IDS: &str = "span_id";
/// A row of any signal takes more than this in memory.
const ROW_BYTES_MIN: usize = 64;

/// What [`encode`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPayload {
    /// The payload.
    pub bytes: Vec<u8>,
    /// What its rows take in memory when it is decoded.
    pub uncompressed_bytes: u32,
}

/// A payload that cannot be written or read.
#[derive(Debug, Error)]
pub enum PayloadError {
    /// The batch needs more bytes than the message can announce or announced, or the reader
    /// allows.
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
    /// The payload begins with another byte than this release's.
    #[error("the payload has a form that is not known here ({0})")]
    Form(u8),
    /// The payload contradicts itself.
    #[error("the payload has {0}")]
    Damaged(&'static str),
    /// The payload says more rows than the bytes that were announced can hold.
    #[error("the payload has {rows} rows, announced were {announced} bytes")]
    Rows {
        /// The number of rows in it.
        rows: usize,
        /// What the message said.
        announced: usize,
    },
    /// The columns' values do not make a batch.
    #[error("the columns cannot be processed")]
    Arrow(#[source] ArrowError),
    /// No schema has such a column.
    #[error("columns of type {0} have no form on the wire")]
    Unsupported(DataType),
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
        found: String,
        /// The type of this release.
        expected: String,
    },
}

/// Encodes a batch with zstd at `level`.
pub fn encode(batch: &RecordBatch, level: i32) -> Result<EncodedPayload, PayloadError> {
    let memory_bytes: usize = batch
        .columns()
        .iter()
        .map(|column| columns::memory_bytes(column))
        .sum();
    let memory_bytes = memory_bytes.max(batch.num_rows() * ROW_BYTES_MIN);
    let uncompressed_bytes = u32::try_from(memory_bytes).map_err(|_| PayloadError::TooLarge {
        bytes: memory_bytes,
        bytes_max: usize::try_from(u32::MAX).unwrap_or(usize::MAX),
    })?;
    let schema = batch.schema_ref();
    let span_ids = batch
        .column_by_name(SPAN_IDS)
        .and_then(|ids| ids.as_binary_opt::<i32>());
    let present = |column: &ArrayRef| column.is_empty() || column.null_count() < column.len();
    let mut out = Writer::new(level)?;
    out.number(batch.num_rows());
    out.number(batch.columns().iter().filter(|column| present(column)).count());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if present(column) {
            out.bytes(field.name().as_bytes());
            out.bytes(columns::signature(field.data_type()).as_bytes());
            let span_ids = span_ids.filter(|_| field.name() != SPAN_IDS);
            out.section(|out| columns::write(out, column, span_ids))?;
        }
    }
    Ok(EncodedPayload {
        bytes: out.finish()?,
        uncompressed_bytes,
    })
}

/// Decodes a payload that was announced with `uncompressed_bytes`, and spends no more than
/// `max_bytes` on its rows. The batch has the schema of `signal` in this release.
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
    let (head, body) = streams::split(bytes, announced.max(HEAD_BYTES_MIN))?;
    let mut from = Reader::new(&head, body, announced)?;
    let rows = from.number()?;
    if rows.saturating_mul(ROW_BYTES_MIN) > announced {
        return Err(PayloadError::Rows { rows, announced });
    }
    let found = read_columns(signal, &mut from, rows)?;
    let target = schema::of(signal);
    let columns = target
        .fields()
        .iter()
        .zip(found)
        .map(|(field, column)| match column {
            Some(column) => Ok(column),
            // Not charged for: a newer release has columns of which who announced knew nothing.
            None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows)),
            None if rows == 0 => Ok(new_null_array(field.data_type(), 0)),
            None => Err(PayloadError::MissingColumn {
                signal,
                column: field.name().clone(),
            }),
        });
    let columns = columns.collect::<Result<Vec<ArrayRef>, PayloadError>>()?;
    RecordBatch::try_new(Arc::clone(target), columns).map_err(PayloadError::Arrow)
}

/// The names and types of all columns, however little is in them.
const HEAD_BYTES_MIN: usize = 16 * 1024;

/// The columns of this release's schema that are there, in its order; others are passed over.
fn read_columns(
    signal: Signal,
    from: &mut Reader<'_>,
    rows: usize,
) -> Result<Vec<Option<ArrayRef>>, PayloadError> {
    let fields = schema::of(signal).fields();
    let mut found: Vec<Option<ArrayRef>> = vec![None; fields.len()];
    let mut span_ids: Option<BinaryArray> = None;
    for _ in 0..from.number()? {
        let (name, data_type) = (from.bytes()?, from.bytes()?);
        let index = fields.iter().position(|field| field.name().as_bytes() == name);
        let Some((field, slot)) = index.and_then(|index| fields.get(index).zip(found.get_mut(index))) else {
            from.skip()?;
            continue;
        };
        let column = || field.name().clone();
        if slot.is_some() {
            return Err(PayloadError::RepeatedColumn {
                signal,
                column: column(),
            });
        }
        let expected = columns::signature(field.data_type());
        if expected.as_bytes() != data_type {
            return Err(PayloadError::ColumnType {
                signal,
                column: column(),
                found: String::from_utf8_lossy(data_type).into_owned(),
                expected,
            });
        }
        let array = from.section(|from| columns::read(from, field.data_type(), rows, span_ids.as_ref()))?;
        if field.name() == SPAN_IDS {
            span_ids = array.as_binary_opt::<i32>().cloned();
        }
        *slot = Some(array);
    }
    if !from.is_used_up() {
        return Err(PayloadError::Damaged("bytes left over"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
