//! The kinds of columns that all signals use. No OTLP is read here.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryBuilder, Int16Builder, Int64Builder, StringDictionaryBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::types::Int32Type;
use meridian_proto::schema;
use meridian_proto::time::{SplitTime, UNIX_NANOS_MAX};

/// A dictionary-encoded column: interned per batch.
pub type Dictionary = StringDictionaryBuilder<Int32Type>;

/// Finished columns with their names.
pub type Named = Vec<(&'static str, ArrayRef)>;

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

/// Appends a string, or null for the empty one.
pub fn append_some(column: &mut Dictionary, text: &str) {
    column.append_option((!text.is_empty()).then_some(text));
}

/// Appends a count, or null for 0.
pub fn append_count(column: &mut Int64Builder, count: u32) {
    column.append_option((count != 0).then_some(i64::from(count)));
}

/// Appends an id, or null if it is not one: another length, or zeros.
pub fn append_id(column: &mut BinaryBuilder, id: &[u8], length: usize) {
    let sound = id.len() == length && id.iter().any(|byte| *byte != 0);
    column.append_option(sound.then_some(id));
}

/// A 32-bit flag word, bit for bit; null for 0.
pub fn flags(word: u32) -> Option<i32> {
    (word != 0).then_some(word.cast_signed())
}
