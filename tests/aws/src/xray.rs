//! X-Ray's PutTraceSegments: a call has at most 50 documents of at most 64 kB, and each document
//! is judged by itself. Traces are not put together.
//!
//! Sources: PutTraceSegments, X-Ray API reference; "AWS X-Ray segment documents", developer guide.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::account::{Account, Answer, State};
use crate::call::Call;
use crate::faults::Mishap;
use crate::problem::{Problem, taken};
use crate::seen::Document;

const DOCUMENTS_MAX: usize = 50;
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
const NAME_CHARS_MAX: usize = 200;
const ANNOTATIONS_MAX: usize = 50;
const ANNOTATION_CHARS_MAX: usize = 1000;
/// Of other strings that have a meaning.
const STRING_CHARS_MAX: usize = 250;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Put {
    trace_segment_documents: Vec<String>,
}

/// Why a document is not taken: code and what is told beside it.
type Fault = (&'static str, String);

/// PutTraceSegments.
pub fn put(account: &Account, call: &Call) -> Result<Answer, Problem> {
    let invalid = |message: String| Problem::shape("InvalidRequestException", message);
    let plain = call.plain().map_err(|error| invalid(error.to_string()))?;
    let put: Put = serde_json::from_slice(&plain)
        .map_err(|error| Problem::shape("SerializationException", error.to_string()))?;
    let documents = put.trace_segment_documents;
    if documents.is_empty() || documents.len() > DOCUMENTS_MAX {
        return Err(invalid(format!(
            "Exceeding maximum segment count: {DOCUMENTS_MAX}"
        )));
    }
    let mut state = account.state.lock();
    let unprocessed: Vec<Value> = documents
        .into_iter()
        .filter_map(|text| take(&mut state, text, account.settings.keeps))
        .collect();
    Ok(taken(
        "application/json",
        json!({ "UnprocessedTraceSegments": unprocessed }).to_string(),
    ))
}

/// Takes a document, or says what the answer says of it.
fn take(state: &mut State, text: String, keeps: bool) -> Option<Value> {
    let document: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    let id = document
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Err((code, message)) = check(&document, text.len()) {
        let unprocessed = unprocessed(&id, code, &message);
        state.seen.refused_documents.push((id, code.to_owned(), message));
        return Some(unprocessed);
    }
    if state.faults.fails_on.as_deref() == Some(&id) {
        return Some(unprocessed(&id, "InternalFailure", "Internal error"));
    }
    let share = state.faults.unprocessed;
    if state.dice.falls(Mishap::Unprocessed, share) {
        state.seen.unprocessed += 1;
        return Some(unprocessed(&id, "ThrottledException", "Rate exceeded"));
    }
    let document = state.seen.documents.entry(id).or_insert(Document {
        text: String::new(),
        times: 0,
    });
    document.times += 1;
    if keeps {
        document.text = text;
    }
    None
}

/// What cannot be read has no id in the answer either.
fn unprocessed(id: &str, code: &str, message: &str) -> Value {
    let message = format!("Invalid segment. ErrorCode: {code}, Cause: {message}");
    match id {
        "" => json!({ "ErrorCode": code, "Message": message }),
        id => json!({ "Id": id, "ErrorCode": code, "Message": message }),
    }
}

fn check(document: &Map<String, Value>, bytes: usize) -> Result<(), Fault> {
    let fault = |code, message: &str| Err((code, message.to_owned()));
    if document.is_empty() {
        return fault("ParseError", "no JSON object");
    }
    if bytes > DOCUMENT_BYTES_MAX {
        return fault("SegmentTooLarge", &format!("{bytes} bytes"));
    }
    let text = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("id") {
        "" => return fault("MissingId", ""),
        id if !is_hex(id, 16) => return fault("InvalidId", id),
        _ => {}
    }
    let trace: Vec<&str> = text("trace_id").split('-').collect();
    if trace == [""] {
        return fault("MissingTraceId", "");
    }
    let is_trace = matches!(*trace, ["1", time, random] if is_hex(time, 8) && is_hex(random, 24));
    if !is_trace {
        return fault("InvalidTraceId", text("trace_id"));
    }
    check_kind(document)?;
    check_name(text("name"))?;
    check_times(document)?;
    check_annotations(document.get("annotations"))?;
    check_strings(document)
}

fn is_hex(text: &str, length: usize) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == length && text.bytes().all(is_digit)
}

fn check_kind(document: &Map<String, Value>) -> Result<(), Fault> {
    let parent = document
        .get("parent_id")
        .map(|parent| parent.as_str().unwrap_or_default());
    match document.get("type").map(|kind| kind.as_str().unwrap_or_default()) {
        None => {}
        Some("subsegment") if parent.is_none() => return Err(("MissingParentId", String::new())),
        Some("subsegment") => {}
        Some(other) => return Err(("InvalidType", other.to_owned())),
    }
    match parent {
        Some(id) if !is_hex(id, 16) => Err(("InvalidParentId", id.to_owned())),
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), Fault> {
    let is_allowed = |character: char| {
        character.is_alphanumeric() || character.is_whitespace() || "_.:/%&#=+\\-@".contains(character)
    };
    let chars = name.chars().count();
    if name.is_empty() {
        return Err(("MissingName", String::new()));
    }
    if chars > NAME_CHARS_MAX || !name.chars().all(is_allowed) {
        return Err(("InvalidName", name.to_owned()));
    }
    Ok(())
}

fn check_times(document: &Map<String, Value>) -> Result<(), Fault> {
    let time = |key: &str| document.get(key).map(|time| time.as_f64().unwrap_or(-1.0));
    let start = time("start_time").ok_or(("MissingStartTime", String::new()))?;
    let is_in_progress = document.get("in_progress") == Some(&Value::Bool(true));
    match time("end_time") {
        _ if start < 0.0 => Err(("InvalidStartTime", start.to_string())),
        Some(_) if is_in_progress => Err(("InvalidInProgress", "there is an end_time".to_owned())),
        Some(end) if end < start => Err(("InvalidEndTime", format!("{end} is before {start}"))),
        None if !is_in_progress => Err(("MissingEndTime", String::new())),
        _ => Ok(()),
    }
}

fn check_annotations(annotations: Option<&Value>) -> Result<(), Fault> {
    let invalid = |what: &str| Err(("InvalidAnnotations", what.to_owned()));
    let Some(annotations) = annotations else {
        return Ok(());
    };
    let Some(annotations) = annotations.as_object() else {
        return invalid("no object");
    };
    if annotations.len() > ANNOTATIONS_MAX {
        return invalid("more than 50");
    }
    for (key, value) in annotations {
        let is_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        let is_value = match value {
            Value::String(text) => text.chars().count() <= ANNOTATION_CHARS_MAX,
            Value::Number(_) | Value::Bool(_) => true,
            _ => false,
        };
        if key.is_empty() || !key.bytes().all(is_key) || !is_value {
            return invalid(key);
        }
    }
    Ok(())
}

fn check_strings(document: &Map<String, Value>) -> Result<(), Fault> {
    for key in ["user", "origin", "namespace"] {
        let text = document
            .get(key)
            .map(|text| text.as_str().map(|text| text.chars().count()));
        if text.is_some_and(|chars| chars.is_none_or(|chars| chars > STRING_CHARS_MAX)) {
            return Err(("InvalidField", key.to_owned()));
        }
    }
    match document
        .get("namespace")
        .map(|namespace| namespace.as_str().unwrap_or_default())
    {
        None | Some("aws" | "remote") => {}
        Some(other) => return Err(("InvalidNamespace", other.to_owned())),
    }
    for key in ["metadata", "http", "aws", "sql", "service"] {
        if document.get(key).is_some_and(|value| !value.is_object()) {
            return Err(("InvalidField", key.to_owned()));
        }
    }
    for key in ["error", "fault", "throttle"] {
        if document.get(key).is_some_and(|value| !value.is_boolean()) {
            return Err(("InvalidField", key.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({
            "id": "0123456789abcdef", "trace_id": "1-58406520-a006649127e371903a2de979", "name": "orders",
            "start_time": 1.5, "end_time": 1.75, "annotations": { "a.b_C1": 1, "t": "x", "f": false },
        })
    }

    /// The code for the document with this member instead.
    fn code(key: &str, value: Value) -> &'static str {
        let mut document = document();
        document[key] = value;
        let object = document.as_object().expect("an object");
        let object: Map<_, _> = object
            .clone()
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect();
        let bytes = Value::Object(object.clone()).to_string().len();
        check(&object, bytes).map_or_else(|(code, _)| code, |()| "")
    }

    #[test]
    fn a_document_is_taken_that_keeps_every_rule() {
        assert_eq!(code("user", json!("u")), "");
        assert_eq!(code("name", json!(r"Zürich 東京_.:/%&#=+\-@")), "");
        assert_eq!(code("name", json!("ü".repeat(200))), "");
        assert_eq!(code("annotations", json!({ "a": "ü".repeat(1000) })), "");
    }

    #[test]
    fn each_rule_of_a_document_has_its_code() {
        for (key, value, expected) in [
            ("id", json!(null), "MissingId"),
            ("id", json!("0123456789abcde"), "InvalidId"),
            ("id", json!("0123456789ABCDEF"), "InvalidId"),
            ("trace_id", json!(null), "MissingTraceId"),
            (
                "trace_id",
                json!("58406520a006649127e371903a2de979"),
                "InvalidTraceId",
            ),
            (
                "trace_id",
                json!("1-58406520-a006649127e371903a2de97"),
                "InvalidTraceId",
            ),
            ("name", json!(null), "MissingName"),
            ("name", json!("a?b"), "InvalidName"),
            ("name", json!("ü".repeat(201)), "InvalidName"),
            ("start_time", json!(null), "MissingStartTime"),
            ("start_time", json!("1.5"), "InvalidStartTime"),
            ("end_time", json!(null), "MissingEndTime"),
            ("end_time", json!(1.25), "InvalidEndTime"),
            ("in_progress", json!(true), "InvalidInProgress"),
            ("type", json!("segment"), "InvalidType"),
            ("type", json!("subsegment"), "MissingParentId"),
            ("parent_id", json!("1"), "InvalidParentId"),
            ("annotations", json!({ "a-b": 1 }), "InvalidAnnotations"),
            ("annotations", json!({ "a": [1] }), "InvalidAnnotations"),
            (
                "annotations",
                json!({ "a": "x".repeat(1001) }),
                "InvalidAnnotations",
            ),
            ("namespace", json!("other"), "InvalidNamespace"),
            ("fault", json!("true"), "InvalidField"),
            ("user", json!("u".repeat(251)), "InvalidField"),
            (
                "metadata",
                json!({ "default": "x".repeat(65_536) }),
                "SegmentTooLarge",
            ),
        ] {
            assert_eq!(code(key, value.clone()), expected, "{key}: {value}");
        }
    }
}
