//! Trace requests for the exporters, made with another implementation of OTLP.

use meridian_runtime::clock::Clock;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

/// An attribute.
pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

pub fn text(text: impl Into<String>) -> Value {
    Value::StringValue(text.into())
}

/// The id of the span of this number, as X-Ray has it.
pub fn id(number: u64) -> String {
    format!("{:016x}", number + 1)
}

/// A span of now. Traces have seven spans, and random ids.
pub fn span(number: u64) -> Span {
    let now = Clock::system().now_unix_nanos();
    let trace = xxhash_rust::xxh3::xxh3_128(&(number / 7).to_be_bytes());
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        parent_span_id: match number % 7 {
            0 => Vec::new(),
            _ => number.to_be_bytes().to_vec(),
        },
        name: format!("GET /cart/{}", number % 3),
        kind: 2 + (number % 2) as i32,
        start_time_unix_nano: now - 1_000_000,
        end_time_unix_nano: now,
        attributes: vec![
            attribute("http.request.method", text("GET")),
            attribute("url.path", text("/cart")),
            attribute("server.address", text("shop.example")),
            attribute("http.response.status_code", Value::IntValue(200)),
        ],
        ..Span::default()
    }
}

/// A request of a resource with these attributes.
pub fn request(attributes: Vec<KeyValue>, spans: Vec<Span>) -> Vec<u8> {
    let group = ResourceSpans {
        resource: Some(Resource {
            attributes,
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![group],
    }
    .encode_to_vec()
}

/// A request of the shop with these spans.
pub fn shop(spans: Vec<Span>) -> Vec<u8> {
    request(vec![attribute("service.name", text("shop"))], spans)
}
