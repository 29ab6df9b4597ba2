//! The items themselves: a span and a log record, and what is inside of a span. They are read
//! whole; their events and links keep their attributes unread until somebody asks.

use super::Attributes;
use crate::otlp::values::AnyValue;
use crate::otlp::wire::{Fields, Malformed};

/// A span.
#[derive(Debug, Default)]
pub struct Span<'a> {
    /// 16 bytes.
    pub trace_id: &'a [u8],
    /// 8 bytes.
    pub span_id: &'a [u8],
    /// 8 bytes, empty if it has no parent.
    pub parent_span_id: &'a [u8],
    /// W3C `tracestate`, empty if there is none.
    pub trace_state: &'a str,
    /// W3C trace flags, and the bits of OTLP above them.
    pub flags: u32,
    /// The name.
    pub name: &'a str,
    /// `SpanKind`, as the number that came.
    pub kind: i32,
    /// The start, in nanoseconds since the epoch.
    pub start_time_unix_nano: u64,
    /// The end.
    pub end_time_unix_nano: u64,
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// The events.
    pub events: Vec<Event<'a>>,
    /// The links.
    pub links: Vec<Link<'a>>,
    /// `StatusCode`, as the number that came.
    pub status_code: i32,
    /// What the status says, empty if nothing.
    pub status_message: &'a str,
    /// How many more attributes it had.
    pub dropped_attributes_count: u32,
    /// How many more events.
    pub dropped_events_count: u32,
    /// How many more links.
    pub dropped_links_count: u32,
}

impl<'a> Span<'a> {
    /// Reads a span in the place of the one before.
    pub fn read(&mut self, fields: Fields<'a>) -> Result<(), Malformed> {
        self.reset();
        for field in fields {
            let field = field?;
            match field.number {
                1 => self.trace_id = field.bytes()?,
                2 => self.span_id = field.bytes()?,
                3 => self.trace_state = field.string()?,
                4 => self.parent_span_id = field.bytes()?,
                5 => self.name = field.string()?,
                6 => self.kind = field.int32()?,
                7 => self.start_time_unix_nano = field.fixed64()?,
                8 => self.end_time_unix_nano = field.fixed64()?,
                9 => self.attributes.add(&field)?,
                10 => self.dropped_attributes_count = field.uint32()?,
                11 => self.events.push(Event::read(field.message()?)?),
                12 => self.dropped_events_count = field.uint32()?,
                13 => self.links.push(Link::read(field.message()?)?),
                14 => self.dropped_links_count = field.uint32()?,
                15 => self.read_status(field.message()?)?,
                16 => self.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it failed: its status says so, or it is a server's that says nothing and has
    /// answered with a status of 500 or above.
    pub fn is_error(&self) -> bool {
        const UNSET: i32 = 0;
        const ERROR: i32 = 2;
        const SERVER: i32 = 2;
        let answered = || {
            let keys = ["http.response.status_code", "http.status_code"];
            keys.iter().find_map(|key| match self.attributes.get(key)? {
                AnyValue::Int(status) => Some(*status),
                _ => None,
            })
        };
        self.status_code == ERROR
            || (self.status_code == UNSET
                && self.kind == SERVER
                && answered().is_some_and(|status| status >= 500))
    }

    fn reset(&mut self) {
        let mut lists = std::mem::take(self);
        lists.attributes.clear();
        lists.events.clear();
        lists.links.clear();
        self.attributes = lists.attributes;
        self.events = lists.events;
        self.links = lists.links;
    }

    fn read_status(&mut self, fields: Fields<'a>) -> Result<(), Malformed> {
        for field in fields {
            let field = field?;
            match field.number {
                2 => self.status_message = field.string()?,
                3 => self.status_code = field.int32()?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Something that happened during a span.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// When, in nanoseconds since the epoch.
    pub time_unix_nano: u64,
    /// What.
    pub name: &'a str,
    /// How many more attributes it had.
    pub dropped_attributes_count: u32,
    fields: Fields<'a>,
}

impl<'a> Event<'a> {
    fn read(fields: Fields<'a>) -> Result<Self, Malformed> {
        let mut event = Self {
            time_unix_nano: 0,
            name: "",
            dropped_attributes_count: 0,
            fields,
        };
        for field in event.fields.clone() {
            let field = field?;
            match field.number {
                1 => event.time_unix_nano = field.fixed64()?,
                2 => event.name = field.string()?,
                4 => event.dropped_attributes_count = field.uint32()?,
                _ => {}
            }
        }
        Ok(event)
    }

    /// Its attributes, in the place of what the list had.
    pub fn attributes(&self, into: &mut Attributes<'a>) -> Result<(), Malformed> {
        collect(self.fields.clone(), 3, into)
    }
}

/// Another span that a span belongs to.
#[derive(Debug, Clone)]
pub struct Link<'a> {
    /// 16 bytes, empty if it has none.
    pub trace_id: &'a [u8],
    /// 8 bytes, empty if it has none.
    pub span_id: &'a [u8],
    /// W3C `tracestate`, empty if there is none.
    pub trace_state: &'a str,
    /// How many more attributes it had.
    pub dropped_attributes_count: u32,
    /// As a span's.
    pub flags: u32,
    fields: Fields<'a>,
}

impl<'a> Link<'a> {
    fn read(fields: Fields<'a>) -> Result<Self, Malformed> {
        let mut link = Self {
            trace_id: &[],
            span_id: &[],
            trace_state: "",
            dropped_attributes_count: 0,
            flags: 0,
            fields,
        };
        for field in link.fields.clone() {
            let field = field?;
            match field.number {
                1 => link.trace_id = field.bytes()?,
                2 => link.span_id = field.bytes()?,
                3 => link.trace_state = field.string()?,
                5 => link.dropped_attributes_count = field.uint32()?,
                6 => link.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(link)
    }

    /// Its attributes, in the place of what the list had.
    pub fn attributes(&self, into: &mut Attributes<'a>) -> Result<(), Malformed> {
        collect(self.fields.clone(), 4, into)
    }
}

fn collect<'a>(fields: Fields<'a>, number: u32, into: &mut Attributes<'a>) -> Result<(), Malformed> {
    into.clear();
    for field in fields {
        let field = field?;
        if field.number == number {
            into.add(&field)?;
        }
    }
    Ok(())
}

/// A log record.
#[derive(Debug, Default)]
pub struct LogRecord<'a> {
    /// When it happened, in nanoseconds since the epoch; 0 if unknown.
    pub time_unix_nano: u64,
    /// When it was seen; 0 if unknown.
    pub observed_time_unix_nano: u64,
    /// `SeverityNumber`, as the number that came.
    pub severity_number: i32,
    /// The severity's name where it was logged, empty if it has none.
    pub severity_text: &'a str,
    /// The body.
    pub body: AnyValue<'a>,
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// How many more it had.
    pub dropped_attributes_count: u32,
    /// W3C trace flags.
    pub flags: u32,
    /// 16 bytes, empty if it has none.
    pub trace_id: &'a [u8],
    /// 8 bytes, empty if it has none.
    pub span_id: &'a [u8],
    /// The name of the event that it is, empty if it is none.
    pub event_name: &'a str,
}

impl<'a> LogRecord<'a> {
    /// Reads a record in the place of the one before.
    pub fn read(&mut self, fields: Fields<'a>) -> Result<(), Malformed> {
        let mut attributes = std::mem::take(self).attributes;
        attributes.clear();
        self.attributes = attributes;
        for field in fields {
            let field = field?;
            match field.number {
                1 => self.time_unix_nano = field.fixed64()?,
                2 => self.severity_number = field.int32()?,
                3 => self.severity_text = field.string()?,
                5 => self.body = std::mem::take(&mut self.body).and(field.message()?)?,
                6 => self.attributes.add(&field)?,
                7 => self.dropped_attributes_count = field.uint32()?,
                8 => self.flags = field.fixed32()?,
                9 => self.trace_id = field.bytes()?,
                10 => self.span_id = field.bytes()?,
                11 => self.observed_time_unix_nano = field.fixed64()?,
                12 => self.event_name = field.string()?,
                _ => {}
            }
        }
        Ok(())
    }
}
