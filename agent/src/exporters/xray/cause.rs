//! The member `cause`: the exceptions of a span with their stacks. What is cut here, or is a stack
//! of a language that is not read, stays in the metadata as the event that it came in.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::facts::Facts;
use super::json;
use super::keys::Key;
use super::stacks::{self, Frame, Parsed};
use crate::otlp::Malformed;
use crate::otlp::view::{Attributes, Event, Span};

/// Exceptions of a document, causes included.
const EXCEPTIONS_MAX: usize = 16;

/// Beyond this, exceptions are written without the rest of their stacks.
const STACK_BYTES_MAX: usize = 24 << 10;

/// The name of an event that is an exception.
pub const EVENT: &str = "exception";

/// What the ids of exceptions and of further documents of a span are made from.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// An exception, by its number.
    Exception = 1,
    /// The segment of a local root that calls out.
    Service = 2,
    /// A document that continues another.
    Part = 3,
}

/// An id that is the same whenever the span is mapped, so that a span that is delivered twice is
/// still one.
pub fn derived_id(trace_id: &[u8], span_id: &[u8], purpose: Purpose, number: u64) -> [u8; 8] {
    let seed = number << 8 | purpose as u64;
    let hash = xxh3_64_with_seed(&[trace_id, span_id].concat(), seed);
    hash.max(1).to_be_bytes()
}

/// What of an exception's event the document has as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// Its type.
    pub kind: bool,
    /// Its message.
    pub message: bool,
    /// Its stack.
    pub stack: bool,
}

/// The exceptions of a span.
#[derive(Debug, Default)]
pub struct Causes<'a> {
    exceptions: Vec<Exception<'a>>,
    left_out: usize,
    is_remote: bool,
    told: Vec<Told>,
    /// Whether the message of the status is among them, as a whole.
    pub tells_status: bool,
}

#[derive(Debug)]
struct Exception<'a> {
    id: [u8; 8],
    kind: &'a str,
    message: Cow<'a, str>,
    frames: Vec<Frame<'a>>,
    has_cause: bool,
}

/// Reads the exceptions of a span; if it has none, an error's message is one.
pub fn read<'a>(
    span: &Span<'a>,
    facts: &mut Facts<'_, 'a>,
    language: Option<&str>,
    is_error: bool,
) -> Result<Causes<'a>, Malformed> {
    const CLIENT: i32 = 3;
    const PRODUCER: i32 = 4;
    let mut causes = Causes {
        is_remote: matches!(span.kind, CLIENT | PRODUCER),
        ..Causes::default()
    };
    if span.events.is_empty() && !is_error {
        return Ok(causes);
    }
    let mut list = Attributes::default();
    for event in &span.events {
        let told = if event.name == EVENT {
            causes.add_event(event, &mut list, span, language)?
        } else {
            Told::default()
        };
        causes.told.push(told);
    }
    if is_error && causes.exceptions.is_empty() {
        causes.add_status(span, facts);
    }
    Ok(causes)
}

impl<'a> Causes<'a> {
    fn add_event(
        &mut self,
        event: &Event<'a>,
        list: &mut Attributes<'a>,
        span: &Span<'a>,
        language: Option<&str>,
    ) -> Result<Told, Malformed> {
        event.attributes(list)?;
        let facts = Facts::of(list);
        let kind = facts.text(Key::ExceptionType).unwrap_or_default();
        let message = facts.text(Key::ExceptionMessage).unwrap_or_default();
        let stack = facts.text(Key::ExceptionStacktrace).unwrap_or_default();
        let parsed = stacks::parse(language.unwrap_or_default(), stack);
        if self.exceptions.len() >= EXCEPTIONS_MAX {
            self.left_out += 1;
            return Ok(Told::default());
        }
        let is_read = parsed.iter().any(|parsed| !parsed.frames.is_empty())
            && parsed.iter().all(Parsed::is_short)
            && self.exceptions.len() + parsed.len() <= EXCEPTIONS_MAX;
        let mut chain = parsed.into_iter();
        let frames = chain.next().map(|first| first.frames).unwrap_or_default();
        self.push(span, kind, Cow::Borrowed(message), frames);
        for cause in chain {
            if self.exceptions.len() >= EXCEPTIONS_MAX {
                self.left_out += 1;
                continue;
            }
            if let Some(effect) = self.exceptions.last_mut() {
                effect.has_cause = true;
            }
            self.push(span, cause.kind, cause.message, cause.frames);
        }
        Ok(Told {
            kind: is_short(kind),
            message: is_short(message),
            stack: is_read,
        })
    }

    fn add_status(&mut self, span: &Span<'a>, facts: &mut Facts<'_, 'a>) {
        let text = facts.text(Key::HttpStatusText);
        let message = if span.status_message.is_empty() {
            text
        } else {
            Some(span.status_message)
        };
        let Some(message) = message else {
            return;
        };
        let kind = facts.text(Key::ErrorType).unwrap_or_default();
        if is_short(kind) {
            facts.mark(Key::ErrorType);
        }
        if is_short(message) {
            self.tells_status = !span.status_message.is_empty();
            if text == Some(message) {
                facts.mark(Key::HttpStatusText);
            }
        }
        self.push(span, kind, Cow::Borrowed(message), Vec::new());
    }

    fn push(&mut self, span: &Span<'a>, kind: &'a str, message: Cow<'a, str>, frames: Vec<Frame<'a>>) {
        let number = self.exceptions.len() as u64;
        self.exceptions.push(Exception {
            id: derived_id(span.trace_id, span.span_id, Purpose::Exception, number),
            kind,
            message,
            frames,
            has_cause: false,
        });
    }

    /// What the document has of the event at this place.
    pub fn told(&self, event: usize) -> Told {
        self.told.get(event).copied().unwrap_or_default()
    }

    /// Writes the member; says how many exceptions are not in it.
    pub fn write(&self, out: &mut String) -> usize {
        json::object(out, "cause", |out| {
            json::array(out, "exceptions", |out| {
                let stop = out.len() + STACK_BYTES_MAX;
                let mut causes = self.exceptions.iter().skip(1);
                for exception in &self.exceptions {
                    let cause = causes.next().filter(|_| exception.has_cause);
                    self.write_exception(out, exception, cause, stop);
                }
            });
        });
        self.left_out
    }

    fn write_exception(
        &self,
        out: &mut String,
        exception: &Exception<'_>,
        cause: Option<&Exception<'_>>,
        stop: usize,
    ) {
        json::separate(out);
        out.push('{');
        json::id(out, "id", &exception.id);
        if !exception.kind.is_empty() {
            json::text(out, "type", exception.kind);
        }
        if !exception.message.is_empty() {
            json::text(out, "message", &exception.message);
        }
        json::name(out, "remote");
        out.push_str(if self.is_remote { "true" } else { "false" });
        let mut written = 0;
        json::array(out, "stack", |out| {
            while let Some(frame) = exception.frames.get(written).filter(|_| out.len() <= stop) {
                write_frame(out, frame);
                written += 1;
            }
        });
        let truncated = exception.frames.len() - written;
        if truncated > 0 {
            json::int(out, "truncated", i64::try_from(truncated).unwrap_or(i64::MAX));
        }
        if let Some(cause) = cause {
            json::id(out, "cause", &cause.id);
        }
        out.push('}');
    }

    /// Refers to the first exception, which another document of the span has.
    pub fn refer(&self, out: &mut String) -> usize {
        if let Some(first) = self.exceptions.first() {
            json::id(out, "cause", &first.id);
        }
        0
    }
}

fn is_short(text: &str) -> bool {
    json::cut(text, json::TEXT_CHARS_MAX).1
}

fn write_frame(out: &mut String, frame: &Frame<'_>) {
    json::separate(out);
    out.push('{');
    if !frame.path.is_empty() {
        json::text(out, "path", frame.path);
    }
    json::int(out, "line", i64::from(frame.line));
    if !frame.label.is_empty() {
        json::text(out, "label", frame.label);
    }
    out.push('}');
}
