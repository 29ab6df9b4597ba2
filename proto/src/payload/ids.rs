//! Ids of one length, which are random and repeat: a trace's id in each of its spans, a parent's
//! id in each of its children.
//!
//! ```text
//! ids       integers: where each is · stream of the new ones
//!           0: a new one      2 d - 1: that of d ids before, in this column
//!           2 z + 2: the span id of another row, z the zigzag of its distance from this one
//! ```
//! It does not look into ids, and needs none of them to be unique.

use arrow_array::{Array, BinaryArray};
use arrow_buffer::NullBuffer;

use super::PayloadError;
use super::integers;
use super::interner::{Positions, hash};
use super::streams::{Reader, Writer, unzigzag, zigzag};

/// The one length of all ids of a column, if they have one.
pub(super) fn length(ids: &BinaryArray) -> Option<usize> {
    let mut valid = ids.iter().flatten();
    let length = valid.next()?.len();
    (length > 0 && valid.all(|id| id.len() == length)).then_some(length)
}

/// Writes the ids of a column; `span_ids` is the column of the batch that they may refer to.
pub(super) fn write(
    out: &mut Writer,
    ids: &BinaryArray,
    span_ids: Option<&BinaryArray>,
) -> Result<(), PayloadError> {
    let spans = span_ids.map(|span_ids| {
        let mut spans = Positions::new(span_ids.len());
        for (row, id) in (0_u32..).zip(span_ids.iter()) {
            let id = id.unwrap_or_default();
            spans.replace(hash(id), row, |other| span_ids.value(other as usize) == id);
        }
        (span_ids, spans)
    });
    let mut seen = Positions::new(ids.len() - ids.null_count());
    let mut rows_seen: Vec<usize> = Vec::with_capacity(ids.len());
    let mut codes = Vec::with_capacity(ids.len());
    let mut fresh: Vec<u8> = Vec::new();
    for (row, id) in ids.iter().enumerate() {
        let Some(id) = id else { continue };
        let hash = hash(id);
        let position = rows_seen.len();
        let before = u32::try_from(position).ok().and_then(|position| {
            seen.replace(hash, position, |other| {
                rows_seen
                    .get(other as usize)
                    .is_some_and(|row| ids.value(*row) == id)
            })
        });
        rows_seen.push(row);
        let elsewhere = || {
            let (span_ids, spans) = spans.as_ref()?;
            spans.find(hash, |other| span_ids.value(other as usize) == id).1
        };
        codes.push(match before {
            Some(before) => distance(position, before as usize) * 2 - 1,
            None => match elsewhere() {
                Some(other) => {
                    let far = zigzag(distance(other as usize, row)).cast_signed();
                    far * 2 + 2
                }
                None => {
                    fresh.extend_from_slice(id);
                    0
                }
            },
        });
    }
    integers::write(out, &codes)?;
    out.stream(&fresh)
}

/// Positions are within 2³².
fn distance(to: usize, from: usize) -> i64 {
    i64::try_from(to).unwrap_or(0) - i64::try_from(from).unwrap_or(0)
}

/// Reads the ids of the rows that are not null, one after another; charges for their bytes.
pub(super) fn read(
    from: &mut Reader<'_>,
    length: usize,
    rows: usize,
    nulls: Option<&NullBuffer>,
    span_ids: Option<&BinaryArray>,
) -> Result<Vec<u8>, PayloadError> {
    const NOWHERE: PayloadError = PayloadError::Damaged("an id that refers to none");
    let count = rows - nulls.map_or(0, NullBuffer::null_count);
    from.charge(length.saturating_mul(count))?;
    let codes = integers::read(from, count)?;
    let fresh = codes.iter().filter(|code| **code == 0).count();
    let fresh = from.stream(fresh * length)?;
    let mut fresh = fresh.chunks_exact(length);
    let mut ids: Vec<u8> = Vec::with_capacity(length * count);
    let mut codes = codes.into_iter();
    for row in (0..rows).filter(|row| nulls.is_none_or(|nulls| nulls.is_valid(*row))) {
        let code = codes.next().ok_or(NOWHERE)?;
        if code == 0 {
            ids.extend_from_slice(fresh.next().ok_or(NOWHERE)?);
        } else if code & 1 == 1 {
            let back = usize::try_from(code / 2 + 1).map_err(|_| NOWHERE)?;
            let start = back
                .checked_mul(length)
                .and_then(|bytes| ids.len().checked_sub(bytes))
                .ok_or(NOWHERE)?;
            ids.extend_from_within(start..start + length);
        } else {
            let far = unzigzag((code / 2 - 1).cast_unsigned());
            let other = i64::try_from(row).ok().and_then(|row| row.checked_add(far));
            let other = other.and_then(|other| usize::try_from(other).ok());
            let span_ids = span_ids.ok_or(NOWHERE)?;
            let id = other.filter(|other| *other < span_ids.len()).ok_or(NOWHERE)?;
            let id = span_ids.value(id);
            if id.len() != length {
                return Err(NOWHERE);
            }
            ids.extend_from_slice(id);
        }
    }
    Ok(ids)
}
