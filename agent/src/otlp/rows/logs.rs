//! The columns that only log records have.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Int32Builder, Int64Builder};
use meridian_proto::ids::{SPAN_ID_BYTES, TRACE_ID_BYTES};
use meridian_proto::schema::names;

use super::attributes::Attributes;
use super::columns::{
    Bytes, Column, Dictionary, Named, TimeColumns, set, set_count, set_flags, set_id, set_text,
};
use crate::otlp::values::AnyValue;
use crate::otlp::wire::{Fields, Malformed, Singular};

/// One row per log record.
pub struct LogColumns {
    rows: usize,
    time: TimeColumns,
    time_origin: Dictionary,
    observed: TimeColumns,
    severity_number: Int32Builder,
    severity_text: Dictionary,
    body: Bytes,
    body_type: Dictionary,
    event_name: Dictionary,
    trace_id: Bytes,
    span_id: Bytes,
    flags: Int32Builder,
    attributes: Attributes,
    dropped: Int64Builder,
    text: String,
}

impl Default for LogColumns {
    fn default() -> Self {
        Self {
            rows: 0,
            time: TimeColumns::default(),
            time_origin: Dictionary::default(),
            observed: TimeColumns::default(),
            severity_number: Int32Builder::new(),
            severity_text: Dictionary::default(),
            body: Bytes::default(),
            body_type: Dictionary::default(),
            event_name: Dictionary::default(),
            trace_id: Bytes::default(),
            span_id: Bytes::default(),
            flags: Int32Builder::new(),
            attributes: Attributes::new(&[]),
            dropped: Int64Builder::new(),
            text: String::new(),
        }
    }
}

/// The singular fields of a log record.
#[derive(Default)]
struct Scalars<'a> {
    time: u64,
    observed: u64,
    severity_number: i32,
    severity_text: &'a [u8],
    body: Singular<'a>,
    event_name: &'a [u8],
    trace_id: &'a [u8],
    span_id: &'a [u8],
    flags: u32,
    dropped: u32,
}

impl LogColumns {
    /// Appends the row of a log record that was received at this time.
    pub fn push(&mut self, fields: Fields<'_>, received: u64) -> Result<(), Malformed> {
        let mut log = Scalars::default();
        for field in fields {
            let field = field?;
            match field.number {
                1 => log.time = field.fixed64()?,
                2 => log.severity_number = field.int32()?,
                3 => log.severity_text = field.bytes()?,
                5 => log.body.add(&field)?,
                6 => self.attributes.add(&field)?,
                7 => log.dropped = field.uint32()?,
                8 => log.flags = field.fixed32()?,
                9 => log.trace_id = field.bytes()?,
                10 => log.span_id = field.bytes()?,
                11 => log.observed = field.fixed64()?,
                12 => log.event_name = field.bytes()?,
                _ => {}
            }
        }
        self.attributes.end();
        self.append_times(&log, received);
        self.append_body(&log.body)?;
        let row = self.rows;
        if log.severity_number != 0 {
            set(&mut self.severity_number, row, log.severity_number);
        }
        set_text(&mut self.severity_text, row, log.severity_text);
        set_text(&mut self.event_name, row, log.event_name);
        set_id(&mut self.trace_id, row, log.trace_id, TRACE_ID_BYTES);
        set_id(&mut self.span_id, row, log.span_id, SPAN_ID_BYTES);
        set_flags(&mut self.flags, row, log.flags);
        set_count(&mut self.dropped, row, log.dropped);
        self.rows += 1;
        Ok(())
    }

    fn append_times(&mut self, log: &Scalars<'_>, received: u64) {
        let (time, origin) = match (log.time, log.observed) {
            (0, 0) => (received, Some(names::RECEIVED)),
            (0, observed) => (observed, Some(names::OBSERVED)),
            (time, _) => (time, None),
        };
        self.time.append(time);
        self.time_origin.append_option(origin);
        self.observed.append_known(log.observed);
    }

    fn append_body(&mut self, body: &Singular<'_>) -> Result<(), Malformed> {
        if body.bytes().is_none() {
            self.body.append_null();
            self.body_type.append_nulls(1);
            return Ok(());
        }
        let value = AnyValue::read(body.fields())?;
        match &value {
            AnyValue::None => self.body.append_null(),
            AnyValue::String(text) => self.body.append_value(text),
            other => {
                self.text.clear();
                other.push_text(&mut self.text)?;
                self.body.append_value(&self.text);
            }
        }
        let mut letter = [0; 4];
        self.body_type
            .append_value(&*value.letter().encode_utf8(&mut letter));
        Ok(())
    }

    /// The columns.
    pub fn finish(&mut self, named: &mut Named) {
        let rows = std::mem::take(&mut self.rows);
        self.severity_number.pad(rows);
        self.severity_text.pad(rows);
        self.event_name.pad(rows);
        self.trace_id.pad(rows);
        self.span_id.pad(rows);
        self.flags.pad(rows);
        self.dropped.pad(rows);
        let (time, time_ns) = self.time.finish();
        let (observed, observed_ns) = self.observed.finish();
        let plain: [(&'static str, ArrayRef); 14] = [
            ("time", time),
            ("time_ns", time_ns),
            ("time_origin", Arc::new(self.time_origin.finish())),
            ("observed_time", observed),
            ("observed_time_ns", observed_ns),
            ("severity_number", Arc::new(self.severity_number.finish())),
            ("severity_text", Arc::new(self.severity_text.finish())),
            ("body", Arc::new(self.body.finish_text())),
            ("body_type", Arc::new(self.body_type.finish())),
            ("event_name", Arc::new(self.event_name.finish())),
            ("trace_id", Arc::new(self.trace_id.finish_binary())),
            ("span_id", Arc::new(self.span_id.finish_binary())),
            ("flags", Arc::new(self.flags.finish())),
            ("dropped_attributes_count", Arc::new(self.dropped.finish())),
        ];
        named.extend(plain);
        self.attributes.finish(named);
    }
}
