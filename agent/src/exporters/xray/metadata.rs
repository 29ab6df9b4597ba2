//! The member `metadata`: everything that X-Ray has no field for, so that nothing that a span says
//! gets lost. What OpenTelemetry names for systems without such fields has its name here.

use meridian_proto::attributes::{push_int, push_json_string};

use super::cause::{Causes, EVENT};
use super::document::{Item, Role};
use super::draft::Draft;
use super::facts::Facts;
use super::json;
use super::keys::Key;
use super::resource::PREFIX;
use crate::otlp::view::{Attributes, Event};
use crate::otlp::{AnyValue, Malformed};

/// What other members of the document have already.
pub struct Extras<'c, 'a> {
    /// What the document is to its span.
    pub role: Role,
    /// Its name.
    pub name: &'c str,
    /// Its exceptions.
    pub causes: &'c Causes<'a>,
    /// By place: whether an attribute is an annotation.
    pub annotated: Vec<bool>,
}

/// The value of an entry.
pub enum Content<'c, 'a> {
    /// That of an attribute.
    Value(&'c AnyValue<'a>),
    /// A text.
    Text(&'c str),
    /// A number.
    Count(u32),
    /// An event, without the attributes that are told elsewhere.
    Event(&'c Event<'a>, &'c Attributes<'a>, &'c [&'static str]),
}

impl Content<'_, '_> {
    /// Appends it.
    pub fn write(&self, out: &mut String) -> Result<(), Malformed> {
        match self {
            Self::Value(value) => json::value(out, value)?,
            Self::Text(text) => push_json_string(out, text),
            Self::Count(count) => push_int(out, i64::from(*count)),
            Self::Event(event, attributes, told) => {
                out.push('{');
                json::name(out, "time");
                json::push_seconds(out, event.time_unix_nano);
                json::name(out, "name");
                push_json_string(out, event.name);
                json::object(out, "attributes", |out| {
                    let left = attributes.as_slice().iter();
                    for attribute in left.filter(|attribute| !told.contains(&attribute.key)) {
                        json::entry_name(out, "", attribute.key);
                        json::value(out, &attribute.value)?;
                    }
                    Ok(())
                })?;
                out.push('}');
            }
        }
        Ok(())
    }

    /// Appends the beginning of its text, of so many bytes.
    pub fn write_cut(&self, out: &mut String, bytes_max: usize) -> Result<(), Malformed> {
        let mut written = String::new();
        let text = match self {
            Self::Value(AnyValue::String(text)) => *text,
            Self::Text(text) => *text,
            _ => {
                self.write(&mut written)?;
                &written
            }
        };
        push_json_string(out, json::cut_bytes(text, bytes_max));
        Ok(())
    }
}

/// Writes the member.
pub fn write(
    draft: &mut Draft<'_>,
    item: &Item<'_, '_>,
    facts: &Facts<'_, '_>,
    extras: &Extras<'_, '_>,
) -> Result<(), Malformed> {
    draft.begin_metadata();
    if extras.role != Role::Service {
        for (place, attribute, is_used) in facts.all() {
            let is_annotated = extras.annotated.get(place).copied().unwrap_or(false);
            if !is_used && !is_annotated {
                draft.entry("", attribute.key, &Content::Value(&attribute.value))?;
            }
        }
        of_span(draft, item, extras)?;
        events(draft, item, extras.causes)?;
    }
    if extras.role.is_segment() && !draft.entries(&item.resource.metadata) {
        for attribute in item.resource.left() {
            draft.entry(PREFIX, attribute.key, &Content::Value(&attribute.value))?;
        }
    }
    Ok(())
}

fn of_span(draft: &mut Draft<'_>, item: &Item<'_, '_>, extras: &Extras<'_, '_>) -> Result<(), Malformed> {
    let span = item.span;
    let status = if extras.causes.tells_status {
        ""
    } else {
        span.status_message
    };
    let name = if extras.name == span.name { "" } else { span.name };
    let texts = [
        ("otel.span.name", name),
        ("otel.status_description", status),
        ("otel.scope.name", item.scope.name),
        ("otel.scope.version", item.scope.version),
        ("w3c.tracestate", item.trace_state),
    ];
    for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        draft.entry("", key, &Content::Text(text))?;
    }
    let counts = [
        ("otel.dropped_attributes_count", span.dropped_attributes_count),
        ("otel.dropped_events_count", span.dropped_events_count),
        ("otel.dropped_links_count", span.dropped_links_count),
    ];
    for (key, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        draft.entry("", key, &Content::Count(count))?;
    }
    Ok(())
}

/// Events, and what of an exception its member does not tell.
fn events(draft: &mut Draft<'_>, item: &Item<'_, '_>, causes: &Causes<'_>) -> Result<(), Malformed> {
    let mut list = Attributes::default();
    for (place, event) in item.span.events.iter().enumerate() {
        event.attributes(&mut list)?;
        let told = causes.told(place);
        let told = [
            (Key::ExceptionType, told.kind),
            (Key::ExceptionMessage, told.message),
            (Key::ExceptionStacktrace, told.stack),
        ];
        let told: Vec<&'static str> = told
            .into_iter()
            .filter(|(_, is_told)| *is_told)
            .map(|(key, _)| key.text())
            .collect();
        let is_told = |key: &&str| told.contains(key);
        let nothing_left = list.as_slice().iter().all(|attribute| is_told(&attribute.key));
        if event.name == EVENT && !told.is_empty() && nothing_left {
            continue;
        }
        let key = format!("otel.event.{place}");
        draft.entry("", &key, &Content::Event(event, &list, &told))?;
    }
    Ok(())
}
