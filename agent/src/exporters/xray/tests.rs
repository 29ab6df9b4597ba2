//! The mapping, rule by rule: OTLP JSON in, documents out. The rules are AWS's: what a document is,
//! which names and sizes X-Ray refuses. Whether AWS takes the documents is not tested here.

mod cases;
mod invariants;
mod odd;
mod oversize;

use meridian_proto::signal::Signal;
use serde_json::{Value, json};

use super::{DOCUMENT_BYTES_MAX, Mapped, Mapper, Mapping};
use crate::otlp::{CheckLimits, json_to_protobuf};

pub const TRACE: &str = "5759e988bd862e3fe1be46a994272793";

/// OTLP's way to write attributes.
pub fn attributes(of: &Value) -> Value {
    let entries = of.as_object().cloned().unwrap_or_default();
    let entry = |(key, value): (String, Value)| json!({"key": key, "value": any(&value)});
    Value::Array(entries.into_iter().map(entry).collect())
}

fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(value) if value.is_i64() => json!({"intValue": value.to_string()}),
        Value::Number(value) => json!({"doubleValue": value}),
        Value::String(value) => json!({"stringValue": value}),
        Value::Array(values) => {
            let values: Vec<Value> = values.iter().map(any).collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Object(_) => json!({"kvlistValue": {"values": attributes(value)}}),
    }
}

/// A span with these attributes and what `more` says beside them.
pub fn span(attributes_of: &Value, more: &Value) -> Value {
    let mut span = json!({
        "traceId": TRACE, "spanId": "53995c3f42cd8ad8", "name": "op", "kind": 3,
        "startTimeUnixNano": "1480615200010000000", "endTimeUnixNano": "1480615200090000000",
        "attributes": attributes(attributes_of),
    });
    let members = span.as_object_mut().expect("an object");
    members.extend(more.as_object().cloned().unwrap_or_default());
    span
}

pub fn request(resource: &Value, spans: &[Value]) -> Vec<u8> {
    let request = json!({"resourceSpans": [{
        "resource": {"attributes": attributes(resource)},
        "scopeSpans": [{"spans": spans}],
    }]});
    let text = request.to_string();
    json_to_protobuf(Signal::Spans, text.as_bytes(), &CheckLimits::default()).expect("OTLP JSON")
}

/// The documents of a body, each judged by another reader of JSON and by X-Ray's rules.
pub fn documents_of(settings: Mapping, body: &[u8]) -> Vec<Value> {
    let mut documents = Vec::new();
    let mapped = Mapper::new(settings).documents(body, |mapped| {
        if let Mapped::Document(document) = mapped {
            assert!(
                document.json.len() <= DOCUMENT_BYTES_MAX,
                "{} bytes",
                document.json.len()
            );
            let value: Value = serde_json::from_str(document.json).expect("JSON");
            invariants::hold(&value);
            let notes = &value["metadata"]["default"]["meridian.trimmed"];
            assert_eq!(document.is_trimmed, notes.is_array());
            documents.push(value);
        }
    });
    mapped.expect("sound");
    documents
}

/// The only document of a span.
pub fn document(resource: &Value, span: &Value) -> Value {
    let mut documents = documents_of(Mapping::default(), &request(resource, std::slice::from_ref(span)));
    assert_eq!(documents.len(), 1, "{documents:#?}");
    documents.remove(0)
}
