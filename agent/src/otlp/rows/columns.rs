//! The kinds of columns that all signals use. No OTLP is read here.
//!
//! A column that most rows leave empty is not touched for them: it is padded with nulls when
//! there is a value, and at the end. Texts are checked for UTF-8 all at once.

use std::sync::Arc;

use arrow_array::builder::{Int16Builder, Int32Builder, PrimitiveBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, ArrowPrimitiveType, BinaryArray, DictionaryArray, Int32Array, StringArray};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer};
use meridian_proto::schema;
use meridian_proto::time::{SplitTime, UNIX_NANOS_MAX};

use super::interner::Interner;

/// Finished columns with their names.
pub type Named = Vec<(&'static str, ArrayRef)>;

/// A column that can be padded with nulls.
pub trait Column {
    /// Its rows so far.
    fn rows(&self) -> usize;
    /// Appends so many nulls.
    fn append_nulls(&mut self, rows: usize);

    /// Appends nulls until there are `rows` rows.
    #[inline]
    fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.rows());
        if missing > 0 {
            self.append_nulls(missing);
        }
    }
}

impl<T: ArrowPrimitiveType> Column for PrimitiveBuilder<T> {
    fn rows(&self) -> usize {
        self.values_slice().len()
    }

    fn append_nulls(&mut self, rows: usize) {
        PrimitiveBuilder::append_nulls(self, rows);
    }
}

/// Texts or ids, one after another.
pub struct Bytes {
    data: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Default for Bytes {
    fn default() -> Self {
        Self {
            data: Vec::new(),
            offsets: vec![0],
            nulls: NullBufferBuilder::new(0),
        }
    }
}

impl Column for Bytes {
    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    fn append_nulls(&mut self, rows: usize) {
        let end = self.end();
        self.offsets.resize(self.offsets.len() + rows, end);
        self.nulls.append_n_nulls(rows);
    }
}

impl Bytes {
    /// Appends a value.
    #[inline]
    pub fn append_value(&mut self, value: impl AsRef<[u8]>) {
        self.data.extend_from_slice(value.as_ref());
        self.offsets.push(self.end());
        self.nulls.append_non_null();
    }

    /// Appends a null.
    pub fn append_null(&mut self) {
        self.append_nulls(1);
    }

    /// Appends a value or a null.
    pub fn append_option(&mut self, value: Option<impl AsRef<[u8]>>) {
        match value {
            Some(value) => self.append_value(value),
            None => self.append_null(),
        }
    }

    /// A batch is far smaller than 2^31 bytes: those of its records are bounded by their reader.
    #[inline]
    fn end(&self) -> i32 {
        i32::try_from(self.data.len()).unwrap_or(i32::MAX)
    }

    fn get(&self, row: usize) -> Option<&[u8]> {
        let (start, end) = (*self.offsets.get(row)?, *self.offsets.get(row + 1)?);
        self.data
            .get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    /// The column as text. What is not UTF-8, which the check lets nobody send, is replaced.
    pub fn finish_text(&mut self) -> StringArray {
        let mut this = std::mem::take(self);
        let nulls = this.nulls.finish();
        let offsets = OffsetBuffer::new(std::mem::take(&mut this.offsets).into());
        let data = Buffer::from_vec(std::mem::take(&mut this.data));
        StringArray::try_new(offsets.clone(), data.clone(), nulls.clone()).unwrap_or_else(|_| {
            let value = |(row, range): (usize, &[i32])| {
                let is_valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                let start = usize::try_from(*range.first()?).ok()?;
                let end = usize::try_from(*range.last()?).ok()?;
                let bytes = data.as_slice().get(start..end).unwrap_or_default();
                is_valid.then(|| String::from_utf8_lossy(bytes).into_owned())
            };
            offsets.windows(2).enumerate().map(value).collect()
        })
    }

    /// The column as bytes.
    pub fn finish_binary(&mut self) -> BinaryArray {
        let mut this = std::mem::take(self);
        let nulls = this.nulls.finish();
        let offsets = OffsetBuffer::new(std::mem::take(&mut this.offsets).into());
        BinaryArray::new(offsets, Buffer::from_vec(std::mem::take(&mut this.data)), nulls)
    }
}

/// A dictionary-encoded column: interned per batch.
#[derive(Default)]
pub struct Dictionary {
    keys: Vec<i32>,
    nulls: Option<NullBufferBuilder>,
    values: Bytes,
    interner: Interner,
    last: usize,
}

impl Column for Dictionary {
    fn rows(&self) -> usize {
        self.keys.len()
    }

    fn append_nulls(&mut self, rows: usize) {
        self.nulls().append_n_nulls(rows);
        self.keys.resize(self.keys.len() + rows, 0);
    }
}

impl Dictionary {
    /// Appends a value.
    #[inline]
    pub fn append_value(&mut self, value: impl AsRef<[u8]>) {
        self.append_values(value, 1);
    }

    /// Appends a value so many times.
    #[inline]
    pub fn append_values(&mut self, value: impl AsRef<[u8]>, rows: usize) {
        if rows == 0 {
            // An append of no rows would still intern the value.
            return;
        }
        let value = value.as_ref();
        let last = self.values.get(self.last);
        if !last.is_some_and(|last| is_same(last, value)) {
            self.last = self.intern(value);
        }
        // As many values as rows at most, which are far below 2^31.
        let key = i32::try_from(self.last).unwrap_or(i32::MAX);
        if rows == 1 {
            self.keys.push(key);
        } else {
            self.keys.resize(self.keys.len() + rows, key);
        }
        if let Some(nulls) = &mut self.nulls {
            nulls.append_n_non_nulls(rows);
        }
    }

    /// Appends a value or a null.
    #[inline]
    pub fn append_option(&mut self, value: Option<impl AsRef<[u8]>>) {
        self.append_options(value, 1);
    }

    /// Appends a value or a null so many times.
    #[inline]
    pub fn append_options(&mut self, value: Option<impl AsRef<[u8]>>, rows: usize) {
        match value {
            Some(value) => self.append_values(value, rows),
            None => self.append_nulls(rows),
        }
    }

    fn intern(&mut self, value: &[u8]) -> usize {
        let values = &self.values;
        let (index, is_new) = self
            .interner
            .intern(value, |index| values.get(index) == Some(value));
        if is_new {
            self.values.append_value(value);
        }
        index
    }

    fn nulls(&mut self) -> &mut NullBufferBuilder {
        let rows = self.keys.len();
        self.nulls.get_or_insert_with(|| {
            let mut nulls = NullBufferBuilder::new(rows);
            nulls.append_n_non_nulls(rows);
            nulls
        })
    }

    /// The column.
    pub fn finish(&mut self) -> DictionaryArray<arrow_array::types::Int32Type> {
        let this = std::mem::take(self);
        let nulls = this.nulls.and_then(|mut nulls| nulls.finish());
        let mut values = this.values;
        let keys = Int32Array::new(this.keys.into(), nulls);
        DictionaryArray::new(keys, Arc::new(values.finish_text()))
    }
}

/// Whether short texts are equal, for where that is asked a dozen times per row: the C library's
/// comparison costs its call.
#[inline]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (one_words, one_rest) = one.as_chunks::<8>();
    let (other_words, other_rest) = other.as_chunks::<8>();
    match (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(one_last), Some(other_last)) => one_last == other_last && one_words.iter().eq(other_words),
        _ => one_rest.iter().eq(other_rest),
    }
}

/// An empty column of times.
pub fn timestamps() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_data_type(schema::timestamp())
}

fn split(unix_nanos: u64) -> SplitTime {
    // The check has refused what is beyond the maximum.
    SplitTime::from_unix_nanos(unix_nanos.min(UNIX_NANOS_MAX)).unwrap_or(SplitTime { micros: 0, nanos: 0 })
}

/// The whole microseconds of a time.
pub fn micros(unix_nanos: u64) -> i64 {
    split(unix_nanos).micros
}

/// A time and the nanoseconds beyond its microseconds.
pub struct TimeColumns {
    micros: TimestampMicrosecondBuilder,
    nanos: Int16Builder,
}

impl Default for TimeColumns {
    fn default() -> Self {
        Self {
            micros: timestamps(),
            nanos: Int16Builder::new(),
        }
    }
}

impl TimeColumns {
    /// Appends a time, whatever it is.
    #[inline]
    pub fn append(&mut self, unix_nanos: u64) {
        let time = split(unix_nanos);
        self.micros.append_value(time.micros);
        self.nanos.append_value(time.nanos);
    }

    /// Appends a time, or null for 0, which in OTLP means unknown.
    pub fn append_known(&mut self, unix_nanos: u64) {
        if unix_nanos == 0 {
            self.micros.append_null();
            self.nanos.append_null();
        } else {
            self.append(unix_nanos);
        }
    }

    /// Both columns.
    pub fn finish(&mut self) -> (ArrayRef, ArrayRef) {
        (Arc::new(self.micros.finish()), Arc::new(self.nanos.finish()))
    }
}

/// Sets the value of a row, unless it is the empty text.
#[inline]
pub fn set_text(column: &mut Dictionary, row: usize, text: &[u8]) {
    if !text.is_empty() {
        column.pad(row);
        column.append_value(text);
    }
}

/// Sets the number of a row.
#[inline]
pub fn set<T: ArrowPrimitiveType>(column: &mut PrimitiveBuilder<T>, row: usize, value: T::Native) {
    column.pad(row);
    column.append_value(value);
}

/// Sets a count of a row, unless it is 0.
#[inline]
pub fn set_count(column: &mut arrow_array::builder::Int64Builder, row: usize, count: u32) {
    if count != 0 {
        set(column, row, i64::from(count));
    }
}

/// Sets the 32-bit flag word of a row, bit for bit, unless it is 0.
#[inline]
pub fn set_flags(column: &mut Int32Builder, row: usize, word: u32) {
    if word != 0 {
        set(column, row, word.cast_signed());
    }
}

/// Sets the id of a row, unless it is not one: another length, or zeros.
#[inline]
pub fn set_id(column: &mut Bytes, row: usize, id: &[u8], length: usize) {
    if id.len() == length && id.iter().any(|byte| *byte != 0) {
        column.pad(row);
        column.append_value(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_are_the_same_only_if_every_byte_is() {
        let text: Vec<u8> = (0..40).collect();
        for length in 0..text.len() {
            let one = &text[..length];
            assert!(is_same(one, one));
            assert!(!is_same(one, &text[..=length]));
            for at in 0..length {
                let mut other = one.to_vec();
                other[at] ^= 0x40;
                assert!(!is_same(one, &other), "{length} bytes, another at {at}");
            }
        }
    }
}
