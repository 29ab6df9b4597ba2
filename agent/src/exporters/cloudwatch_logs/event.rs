//! A log record as the text of an event. CloudWatch counts the text's UTF-8 bytes; what is kept
//! is the text as it stands in the call.

use std::time::Duration;

use bytes::Bytes;
use meridian_proto::attributes::push_json_string;
use meridian_proto::ids::to_hex;

use super::settings::Format;
use crate::otlp::Malformed;
use crate::otlp::values::AnyValue;
use crate::otlp::view::{Attributes, LogRecord, Resource};
use crate::requests::quoted::Quoter;

/// A text that is too long is cut to this, so that its other members fit beside it.
const CUT_BYTES: usize = 512 << 10;
/// Ends a text that is cut and has no member that could say so.
const CUT_MARK: &str = " [truncated]";

/// How records become texts.
#[derive(Debug)]
pub struct Events {
    format: Format,
    resource_attributes: Vec<String>,
    bytes_max: usize,
}

/// An event.
#[derive(Debug)]
pub struct Event {
    /// Milliseconds since the epoch.
    pub timestamp: u64,
    /// Its text as a JSON string, without its quotes.
    pub message: Bytes,
    /// The text's bytes.
    pub bytes: usize,
}

impl Events {
    /// Texts have at most `bytes_max` bytes.
    pub fn new(format: Format, resource_attributes: Vec<String>, bytes_max: usize) -> Self {
        Self {
            format,
            resource_attributes,
            bytes_max,
        }
    }

    /// The members that all events of a resource have, ready to be appended.
    pub fn resource_members(&self, resource: &Resource<'_>) -> Result<String, Malformed> {
        let mut members = String::new();
        if self.format == Format::Json {
            for key in &self.resource_attributes {
                if let Some(value) = resource.attributes.get(key) {
                    members.push(',');
                    push_json_string(&mut members, key);
                    members.push(':');
                    push_value(&mut members, value)?;
                }
            }
        }
        Ok(members)
    }

    /// The event of a record. `text` is scratch.
    pub fn event(
        &self,
        record: &LogRecord<'_>,
        time: u64,
        resource_members: &str,
        (text, quoter): (&mut String, &mut Quoter),
    ) -> Result<Event, Malformed> {
        text.clear();
        match self.format {
            Format::Body => record.body.push_text(text)?,
            Format::Json => push_json(text, record, resource_members, None)?,
        }
        if text.len() > self.bytes_max {
            self.cut(record, resource_members, text)?;
        }
        if text.is_empty() {
            // An event without a text is refused, and its whole call with it.
            text.push(' ');
        }
        Ok(Event {
            timestamp: time / u64::try_from(Duration::from_millis(1).as_nanos()).unwrap_or(1),
            message: quoter.quote(text),
            bytes: text.len(),
        })
    }

    /// A text that no event may have: its body is cut between two characters and its attributes
    /// are left out, and it says so.
    fn cut(
        &self,
        record: &LogRecord<'_>,
        resource_members: &str,
        text: &mut String,
    ) -> Result<(), Malformed> {
        text.clear();
        match self.format {
            Format::Json => push_json(text, record, resource_members, Some(CUT_BYTES))?,
            Format::Body => record.body.push_text(text)?,
        }
        if text.len() > self.bytes_max {
            // Also a resource can be that large, or a text of nothing but escapes.
            let end = self.bytes_max.saturating_sub(CUT_MARK.len());
            text.truncate(text.floor_char_boundary(end));
            text.push_str(CUT_MARK);
        }
        Ok(())
    }
}

fn push_json(
    text: &mut String,
    record: &LogRecord<'_>,
    resource_members: &str,
    cut: Option<usize>,
) -> Result<(), Malformed> {
    text.push_str("{\"body\":");
    match (&record.body, cut) {
        (AnyValue::String(body), Some(bytes)) => {
            push_json_string(
                text,
                body.get(..body.floor_char_boundary(bytes)).unwrap_or_default(),
            );
        }
        (body, None) => push_value(text, body)?,
        (_, Some(_)) => text.push_str("null"),
    }
    if cut.is_some() {
        text.push_str(",\"truncated\":true");
    }
    let mut member = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(name);
            push_json_string(text, value);
        }
    };
    member(",\"severity\":", record.severity_text);
    member(",\"event_name\":", record.event_name);
    if record.severity_number != 0 {
        text.push_str(",\"severity_number\":");
        meridian_proto::attributes::push_int(text, i64::from(record.severity_number));
    }
    for (name, id) in [
        (",\"trace_id\":\"", record.trace_id),
        (",\"span_id\":\"", record.span_id),
    ] {
        if !id.is_empty() {
            text.push_str(name);
            text.push_str(&to_hex(id));
            text.push('"');
        }
    }
    text.push_str(resource_members);
    if cut.is_none() && !record.attributes.as_slice().is_empty() {
        push_attributes(text, &record.attributes)?;
    }
    text.push('}');
    Ok(())
}

fn push_attributes(text: &mut String, attributes: &Attributes<'_>) -> Result<(), Malformed> {
    text.push_str(",\"attributes\":{");
    for (index, attribute) in attributes.as_slice().iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_json_string(text, attribute.key);
        text.push(':');
        push_value(text, &attribute.value)?;
    }
    text.push('}');
    Ok(())
}

/// A value as JSON. What JSON has no number for is a string.
fn push_value(text: &mut String, value: &AnyValue<'_>) -> Result<(), Malformed> {
    match value {
        AnyValue::None => text.push_str("null"),
        AnyValue::String(string) => push_json_string(text, string),
        AnyValue::Double(number) if !number.is_finite() => {
            text.push('"');
            value.push_text(text)?;
            text.push('"');
        }
        AnyValue::Bytes(_) => {
            text.push('"');
            value.push_text(text)?;
            text.push('"');
        }
        AnyValue::Bool(_)
        | AnyValue::Int(_)
        | AnyValue::Double(_)
        | AnyValue::Array(_)
        | AnyValue::Map(_) => {
            value.push_text(text)?;
        }
    }
    Ok(())
}
