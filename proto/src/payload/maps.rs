//! Attribute maps, turned on their side: all values of one key together, and for each row only
//! which keys it has, in their order. Most rows have the same few sequences of keys.
//!
//! ```text
//! maps      number of keys · each key
//!           number of shapes · each: number of entries · the key of each
//!           integers: the shape of each row
//!           per key: valid or not · texts of the valid values, in the order of the rows
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, MapArray, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};

use super::PayloadError;
use super::columns::{offsets_of, read_validity, write_validity};
use super::interner::{Positions, hash};
use super::streams::{Reader, Writer};
use super::{integers, texts};
use crate::schema;

const UNKNOWN_KEY: PayloadError = PayloadError::Damaged("a shape with an unknown key");
const TOO_MANY: PayloadError = PayloadError::Damaged("more entries than Arrow can count");

/// Writes the entries of every row.
pub(super) fn write(out: &mut Writer, maps: &MapArray) -> Result<(), PayloadError> {
    let keys = maps.keys().as_string::<i32>();
    let values = maps.values().as_string::<i32>();
    let mut sorted = Sorted::default();
    let ends = maps.value_offsets().iter().skip(1);
    for (start, end) in maps.value_offsets().iter().zip(ends) {
        sorted.row(keys, index(*start)..index(*end));
    }
    out.number(sorted.keys.len());
    for (key, _) in &sorted.keys {
        out.bytes(key);
    }
    out.number(sorted.shapes.len());
    for shape in &sorted.shapes {
        out.number(shape.len());
        shape.iter().for_each(|key| out.number(*key));
    }
    integers::write(out, &sorted.row_shapes)?;
    for (_, entries) in &sorted.keys {
        let value = |entry: &usize| values.is_valid(*entry).then(|| values.value(*entry).as_bytes());
        let valid: Vec<&[u8]> = entries.iter().filter_map(value).collect();
        let nulls = (valid.len() < entries.len()).then(|| {
            entries
                .iter()
                .map(|entry| values.is_valid(*entry))
                .collect::<NullBuffer>()
        });
        write_validity(out, nulls.as_ref())?;
        texts::write(out, &valid)?;
    }
    Ok(())
}

/// Arrow's offsets are never negative.
fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

/// The entries of all rows, by key.
#[derive(Default)]
struct Sorted<'a> {
    keys: Vec<(&'a [u8], Vec<usize>)>,
    by_key: Option<Positions>,
    shapes: Vec<Vec<usize>>,
    by_shape: HashMap<Vec<usize>, usize>,
    row_shapes: Vec<i64>,
    last_shape: usize,
    shape: Vec<usize>,
}

impl<'a> Sorted<'a> {
    fn row(&mut self, keys: &'a StringArray, entries: std::ops::Range<usize>) {
        self.shape.clear();
        for (place, entry) in entries.enumerate() {
            let key = keys.value(entry).as_bytes();
            // As a rule a row has the keys of the one before.
            let like_last = self
                .shapes
                .get(self.last_shape)
                .and_then(|shape| shape.get(place));
            let is_same = |index: &&usize| self.keys.get(**index).is_some_and(|known| known.0 == key);
            let found = like_last.filter(is_same).copied();
            let index = found.unwrap_or_else(|| self.key(key));
            if let Some((_, entries)) = self.keys.get_mut(index) {
                entries.push(entry);
            }
            self.shape.push(index);
        }
        if self.shapes.get(self.last_shape) != Some(&self.shape) {
            self.last_shape = match self.by_shape.get(&self.shape) {
                Some(known) => *known,
                None => {
                    self.by_shape.insert(self.shape.clone(), self.shapes.len());
                    self.shapes.push(self.shape.clone());
                    self.shapes.len() - 1
                }
            };
        }
        self.row_shapes.push(i64::try_from(self.last_shape).unwrap_or(0));
    }

    fn key(&mut self, key: &'a [u8]) -> usize {
        const KEYS_FOUND_MAX: usize = 4096;
        let known = &self.keys;
        let table = self.by_key.get_or_insert_with(|| Positions::new(KEYS_FOUND_MAX));
        let (slot, found) = table.find(hash(key), |index| {
            known.get(index as usize).is_some_and(|known| known.0 == key)
        });
        if let Some(found) = found {
            return found as usize;
        }
        table.fill(slot, u32::try_from(known.len()).unwrap_or(0));
        self.keys.push((key, Vec::new()));
        self.keys.len() - 1
    }
}

/// Reads the entries of `rows` rows; charges for all but their offsets.
pub(super) fn read(
    from: &mut Reader<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, PayloadError> {
    let keys = (0..from.number()?)
        .map(|_| from.bytes())
        .collect::<Result<Vec<&[u8]>, _>>()?;
    let shapes = read_shapes(from, keys.len())?;
    let row_shapes = integers::read(from, rows)?
        .into_iter()
        .map(|shape| usize::try_from(shape).ok().and_then(|shape| shapes.get(shape)))
        .collect::<Option<Vec<&Vec<usize>>>>()
        .ok_or(PayloadError::Damaged("a row of an unknown shape"))?;
    let entries = row_shapes
        .iter()
        .try_fold(0_usize, |sum, shape| sum.checked_add(shape.len()))
        .filter(|entries| i32::try_from(*entries).is_ok())
        .ok_or(TOO_MANY)?;
    // Two offsets and a bit for each.
    from.charge(entries * 8 + entries.div_ceil(8))?;
    let mut counts = vec![0_usize; keys.len()];
    for key in row_shapes.iter().flat_map(|shape| shape.iter()) {
        *counts.get_mut(*key).ok_or(UNKNOWN_KEY)? += 1;
    }
    let mut columns = Vec::with_capacity(keys.len());
    let mut key_bytes = 0_usize;
    for (key, count) in keys.iter().zip(counts) {
        key_bytes = key_bytes.saturating_add(key.len().saturating_mul(count));
        let nulls = read_validity(from, count)?;
        let valid = count - nulls.as_ref().map_or(0, NullBuffer::null_count);
        columns.push(Column {
            key,
            nulls,
            texts: texts::read(from, valid)?,
            next: 0,
            next_valid: 0,
        });
    }
    from.charge(key_bytes)?;
    let struct_array = interleave(&row_shapes, columns, entries)?;
    let ends = row_shapes.iter().scan(0, |end, shape| {
        *end += shape.len();
        Some(*end)
    });
    let field = Arc::new(schema::map_entries_field());
    let maps = MapArray::try_new(field, offsets_of(ends)?, struct_array, nulls, false);
    Ok(Arc::new(maps.map_err(PayloadError::Arrow)?))
}

fn read_shapes(from: &mut Reader<'_>, keys: usize) -> Result<Vec<Vec<usize>>, PayloadError> {
    // Each shape and each of its keys takes a byte of the head at least.
    let mut shapes = Vec::new();
    for _ in 0..from.number()? {
        let mut shape = Vec::new();
        for _ in 0..from.number()? {
            let key = from.number()?;
            if key >= keys {
                return Err(UNKNOWN_KEY);
            }
            shape.push(key);
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

/// The values of one key, of which some are handed out.
struct Column<'a> {
    key: &'a [u8],
    nulls: Option<NullBuffer>,
    texts: texts::Texts,
    next: usize,
    next_valid: usize,
}

impl Column<'_> {
    fn next(&mut self) -> Option<&[u8]> {
        let is_valid = self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(self.next));
        self.next += 1;
        if !is_valid {
            return None;
        }
        self.next_valid += 1;
        self.texts.get(self.next_valid - 1)
    }
}

/// Puts keys and values back into the order of the rows.
fn interleave(
    row_shapes: &[&Vec<usize>],
    mut columns: Vec<Column<'_>>,
    entries: usize,
) -> Result<StructArray, PayloadError> {
    let value_bytes = columns.iter().map(|column| column.texts.bytes()).sum();
    let (mut keys, mut values) = (Vec::new(), Vec::with_capacity(value_bytes));
    let (mut key_ends, mut value_ends) = (Vec::with_capacity(entries), Vec::with_capacity(entries));
    let has_nulls = columns.iter().any(|column| column.nulls.is_some());
    let mut valid = Vec::with_capacity(if has_nulls { entries } else { 0 });
    for index in row_shapes.iter().flat_map(|shape| shape.iter()) {
        let column = columns.get_mut(*index).ok_or(UNKNOWN_KEY)?;
        keys.extend_from_slice(column.key);
        key_ends.push(keys.len());
        let value = column.next();
        if has_nulls {
            valid.push(value.is_some());
        }
        values.extend_from_slice(value.unwrap_or_default());
        value_ends.push(values.len());
    }
    let nulls = has_nulls.then(|| NullBuffer::from(valid));
    let keys = string_array(keys, key_ends, None)?;
    let values = string_array(values, value_ends, nulls)?;
    StructArray::try_new(schema::map_entry_fields(), vec![keys, values], None).map_err(PayloadError::Arrow)
}

fn string_array(
    data: Vec<u8>,
    ends: Vec<usize>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, PayloadError> {
    let offsets: OffsetBuffer<i32> = offsets_of(ends.into_iter())?;
    let array = StringArray::try_new(offsets, data.into(), nulls).map_err(PayloadError::Arrow)?;
    Ok(Arc::new(array))
}
