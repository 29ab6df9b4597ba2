//! The columns that only spans have.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Int32Builder, Int64Builder};
use meridian_proto::ids::{SPAN_ID_BYTES, TRACE_ID_BYTES};
use meridian_proto::schema;
use meridian_proto::schema::{names, promoted};

use super::attributes::{Attributes, Maps};
use super::columns::{Bytes, Column, Dictionary, Named, TimeColumns, set_count, set_flags, set_id, set_text};
use super::nested::Lists;
use crate::otlp::wire::{Field, Fields, Malformed, Singular};

/// One row per span.
pub struct SpanColumns {
    rows: usize,
    trace_id: Bytes,
    span_id: Bytes,
    parent_span_id: Bytes,
    trace_state: Dictionary,
    flags: Int32Builder,
    name: Dictionary,
    kind: Dictionary,
    status_code: Dictionary,
    status_message: Dictionary,
    start: TimeColumns,
    duration: Int64Builder,
    attributes: Attributes,
    events: Events,
    links: Links,
    dropped: [Int64Builder; 3],
}

impl Default for SpanColumns {
    fn default() -> Self {
        Self {
            rows: 0,
            trace_id: Bytes::default(),
            span_id: Bytes::default(),
            parent_span_id: Bytes::default(),
            trace_state: Dictionary::default(),
            flags: Int32Builder::new(),
            name: Dictionary::default(),
            kind: Dictionary::default(),
            status_code: Dictionary::default(),
            status_message: Dictionary::default(),
            start: TimeColumns::default(),
            duration: Int64Builder::new(),
            attributes: Attributes::new(promoted::SPAN),
            events: Events::default(),
            links: Links::default(),
            dropped: Default::default(),
        }
    }
}

/// The singular fields of a span.
#[derive(Default)]
struct Scalars<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
    trace_state: &'a [u8],
    flags: u32,
    name: &'a [u8],
    kind: i32,
    start: u64,
    end: u64,
    dropped: [u32; 3],
    status: Singular<'a>,
}

impl SpanColumns {
    /// Appends the row of a span.
    pub fn push(&mut self, fields: Fields<'_>) -> Result<(), Malformed> {
        let mut span = Scalars::default();
        for field in fields {
            let field = field?;
            match field.number {
                1 => span.trace_id = field.bytes()?,
                2 => span.span_id = field.bytes()?,
                3 => span.trace_state = field.bytes()?,
                4 => span.parent_span_id = field.bytes()?,
                5 => span.name = field.bytes()?,
                6 => span.kind = field.int32()?,
                7 => span.start = field.fixed64()?,
                8 => span.end = field.fixed64()?,
                9 => self.attributes.add(&field)?,
                10 => span.dropped[0] = field.uint32()?,
                11 => self.events.add(field.message()?)?,
                12 => span.dropped[1] = field.uint32()?,
                13 => self.links.add(field.message()?)?,
                14 => span.dropped[2] = field.uint32()?,
                15 => span.status.add(&field)?,
                16 => span.flags = field.fixed32()?,
                _ => {}
            }
        }
        self.attributes.end();
        self.events.lists.end_some(self.rows, self.events.count);
        self.links.lists.end_some(self.rows, self.links.count);
        self.append(&span)
    }

    fn append(&mut self, span: &Scalars<'_>) -> Result<(), Malformed> {
        let (code, message) = status(span.status.fields())?;
        let row = self.rows;
        self.trace_id.append_value(span.trace_id);
        self.span_id.append_value(span.span_id);
        set_id(&mut self.parent_span_id, row, span.parent_span_id, SPAN_ID_BYTES);
        set_text(&mut self.trace_state, row, span.trace_state);
        set_flags(&mut self.flags, row, span.flags);
        self.name.append_value(span.name);
        append_enum(&mut self.kind, span.kind, &names::KINDS);
        append_enum(&mut self.status_code, code, &names::STATUS);
        set_text(&mut self.status_message, row, message.as_bytes());
        self.start.append(span.start);
        // Both are below 2^63, as the check has made sure.
        let duration = span.end.cast_signed().wrapping_sub(span.start.cast_signed());
        self.duration.append_value(duration);
        for (column, count) in self.dropped.iter_mut().zip(span.dropped) {
            set_count(column, row, count);
        }
        self.rows += 1;
        Ok(())
    }

    /// The columns.
    pub fn finish(&mut self, named: &mut Named) {
        let rows = std::mem::take(&mut self.rows);
        self.parent_span_id.pad(rows);
        self.trace_state.pad(rows);
        self.flags.pad(rows);
        self.status_message.pad(rows);
        self.dropped.iter_mut().for_each(|column| column.pad(rows));
        let (start, start_ns) = self.start.finish();
        named.extend([("start_time", start), ("start_time_ns", start_ns)]);
        let [attributes, events, links] = &mut self.dropped;
        let plain: [(&'static str, ArrayRef); 15] = [
            ("trace_id", Arc::new(self.trace_id.finish_binary())),
            ("span_id", Arc::new(self.span_id.finish_binary())),
            ("parent_span_id", Arc::new(self.parent_span_id.finish_binary())),
            ("trace_state", Arc::new(self.trace_state.finish())),
            ("flags", Arc::new(self.flags.finish())),
            ("name", Arc::new(self.name.finish())),
            ("kind", Arc::new(self.kind.finish())),
            ("status_code", Arc::new(self.status_code.finish())),
            ("status_message", Arc::new(self.status_message.finish())),
            ("duration_ns", Arc::new(self.duration.finish())),
            ("events", self.events.finish(rows)),
            ("links", self.links.finish(rows)),
            ("dropped_attributes_count", Arc::new(attributes.finish())),
            ("dropped_events_count", Arc::new(events.finish())),
            ("dropped_links_count", Arc::new(links.finish())),
        ];
        named.extend(plain);
        self.attributes.finish(named);
    }
}

/// Appends the name of an enum's value, or its number if this release has no name for it.
pub fn append_enum(column: &mut Dictionary, value: i32, names: &[&'static str]) {
    match usize::try_from(value).ok().and_then(|index| names.get(index)) {
        Some(name) => column.append_value(name),
        None => column.append_value(value.to_string()),
    }
}

fn status(fields: Fields<'_>) -> Result<(i32, &str), Malformed> {
    let (mut code, mut message) = (0, "");
    for field in fields {
        let field = field?;
        match field.number {
            2 => message = field.string()?,
            3 => code = field.int32()?,
            _ => {}
        }
    }
    Ok((code, message))
}

#[derive(Default)]
struct Events {
    time: TimeColumns,
    name: Bytes,
    attributes: Maps,
    letters: Bytes,
    dropped: Int64Builder,
    count: usize,
    lists: Lists,
}

impl Events {
    fn add(&mut self, fields: Fields<'_>) -> Result<(), Malformed> {
        let (mut time, mut name, mut dropped) = (0, "", 0);
        for field in fields {
            let field = field?;
            match field.number {
                1 => time = field.fixed64()?,
                2 => name = field.string()?,
                3 => self.attributes.key_value(&field)?,
                4 => dropped = field.uint32()?,
                _ => {}
            }
        }
        self.time.append_known(time);
        self.name.append_option((!name.is_empty()).then_some(name));
        let letters = &mut self.letters;
        self.attributes.end(|row| letters.append_value(row));
        set_count(&mut self.dropped, self.count, dropped);
        self.count += 1;
        Ok(())
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.dropped.pad(std::mem::take(&mut self.count));
        self.lists.pad(rows);
        let (time, time_ns) = self.time.finish();
        let columns: Vec<ArrayRef> = vec![
            time,
            time_ns,
            Arc::new(self.name.finish_text()),
            self.attributes.finish(),
            Arc::new(self.letters.finish_text()),
            Arc::new(self.dropped.finish()),
        ];
        self.lists.finish_structs(schema::event_fields(), columns)
    }
}

#[derive(Default)]
struct Links {
    trace_id: Bytes,
    span_id: Bytes,
    trace_state: Bytes,
    attributes: Maps,
    letters: Bytes,
    dropped: Int64Builder,
    flags: Int32Builder,
    count: usize,
    lists: Lists,
}

impl Links {
    fn add(&mut self, fields: Fields<'_>) -> Result<(), Malformed> {
        let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
        let (mut trace_state, mut dropped, mut word) = ("", 0, 0);
        for field in fields {
            let field: Field<'_> = field?;
            match field.number {
                1 => trace_id = field.bytes()?,
                2 => span_id = field.bytes()?,
                3 => trace_state = field.string()?,
                4 => self.attributes.key_value(&field)?,
                5 => dropped = field.uint32()?,
                6 => word = field.fixed32()?,
                _ => {}
            }
        }
        set_id(&mut self.trace_id, self.count, trace_id, TRACE_ID_BYTES);
        set_id(&mut self.span_id, self.count, span_id, SPAN_ID_BYTES);
        self.trace_state
            .append_option((!trace_state.is_empty()).then_some(trace_state));
        let letters = &mut self.letters;
        self.attributes.end(|row| letters.append_value(row));
        set_count(&mut self.dropped, self.count, dropped);
        set_flags(&mut self.flags, self.count, word);
        self.count += 1;
        Ok(())
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        let count = std::mem::take(&mut self.count);
        self.trace_id.pad(count);
        self.span_id.pad(count);
        self.dropped.pad(count);
        self.flags.pad(count);
        self.lists.pad(rows);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.trace_id.finish_binary()),
            Arc::new(self.span_id.finish_binary()),
            Arc::new(self.trace_state.finish_text()),
            self.attributes.finish(),
            Arc::new(self.letters.finish_text()),
            Arc::new(self.dropped.finish()),
            Arc::new(self.flags.finish()),
        ];
        self.lists.finish_structs(schema::link_fields(), columns)
    }
}
