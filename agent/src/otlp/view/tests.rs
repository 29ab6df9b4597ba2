//! The views against another reader of the same bytes (opentelemetry-proto).

mod metrics;

use opentelemetry_proto::tonic::common::v1::AnyValue as OtherValue;
use opentelemetry_proto::tonic::common::v1::KeyValue as OtherKeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::otlp::tests::{arbitrary, normal};
use crate::otlp::wire::put_bytes;

/// As another reader has it; of the same value there is one text.
fn other(value: Option<&OtherValue>) -> String {
    format!("{:?}", value.and_then(|value| value.value.as_ref()))
}

fn ours(value: &AnyValue<'_>) -> String {
    let text = |text: &str| Some(Value::StringValue(text.to_owned()));
    let value = match value {
        AnyValue::None => None,
        AnyValue::String(value) => text(value),
        AnyValue::Bool(value) => Some(Value::BoolValue(*value)),
        AnyValue::Int(value) => Some(Value::IntValue(*value)),
        AnyValue::Double(value) => Some(Value::DoubleValue(*value)),
        AnyValue::Bytes(value) => Some(Value::BytesValue(value.to_vec())),
        AnyValue::Array(values) => {
            let inner: Vec<String> = elements(values)
                .map(|value| ours(&value.expect("sound")))
                .collect();
            return format!("[{}]", inner.join(","));
        }
        AnyValue::Map(map) => {
            let entry = |entry: Attribute<'_>| format!("{:?}:{}", entry.key, ours(&entry.value));
            let inner: Vec<String> = entries(map).map(|read| entry(read.expect("sound"))).collect();
            return format!("{{{}}}", inner.join(","));
        }
    };
    format!("{value:?}")
}

fn theirs(value: Option<&OtherValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::ArrayValue(array)) => {
            let inner: Vec<String> = array.values.iter().map(|value| theirs(Some(value))).collect();
            format!("[{}]", inner.join(","))
        }
        Some(Value::KvlistValue(map)) => format!("{{{}}}", pairs(&map.values).join(",")),
        _ => other(value),
    }
}

fn pairs(entries: &[OtherKeyValue]) -> Vec<String> {
    let pair = |entry: &OtherKeyValue| format!("{:?}:{}", entry.key, theirs(entry.value.as_ref()));
    entries.iter().map(pair).collect()
}

fn listed(attributes: &Attributes<'_>) -> Vec<String> {
    let pair = |entry: &Attribute<'_>| format!("{:?}:{}", entry.key, ours(&entry.value));
    attributes.as_slice().iter().map(pair).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_span_says_what_another_reader_finds_in_it(request in arbitrary::spans()) {
        let body = request.encode_to_vec();
        let mut expected = normal::spans(&request).into_iter();
        let mut span = Span::default();
        let mut list = Attributes::default();
        for (group, theirs) in resource_groups(&body).zip(&request.resource_spans) {
            let group = group.expect("sound");
            let resource = group.resource().expect("sound");
            let attributes = theirs.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
            prop_assert_eq!(listed(&resource.attributes), pairs(attributes));
            for (scope_group, theirs) in group.scopes().zip(&theirs.scope_spans) {
                let scope_group = scope_group.expect("sound");
                let scope = scope_group.scope().expect("sound");
                let named = theirs.scope.as_ref().map(|scope| (scope.name.as_str(), scope.version.as_str()));
                prop_assert_eq!((scope.name, scope.version), named.unwrap_or_default());
                for (item, theirs) in scope_group.items().zip(&theirs.spans) {
                    span.read(item.expect("sound")).expect("sound");
                    expected.next();
                    prop_assert_eq!(span.trace_id, &theirs.trace_id);
                    prop_assert_eq!(span.span_id, &theirs.span_id);
                    prop_assert_eq!(span.parent_span_id, &theirs.parent_span_id);
                    prop_assert_eq!(span.trace_state, &theirs.trace_state);
                    prop_assert_eq!((span.flags, span.kind), (theirs.flags, theirs.kind));
                    prop_assert_eq!(span.name, &theirs.name);
                    prop_assert_eq!(span.start_time_unix_nano, theirs.start_time_unix_nano);
                    prop_assert_eq!(span.end_time_unix_nano, theirs.end_time_unix_nano);
                    let status = theirs.status.clone().unwrap_or_default();
                    prop_assert_eq!((span.status_code, span.status_message), (status.code, status.message.as_str()));
                    prop_assert_eq!(listed(&span.attributes), pairs(&theirs.attributes));
                    prop_assert_eq!(span.events.len(), theirs.events.len());
                    for (event, theirs) in span.events.iter().zip(&theirs.events) {
                        event.attributes(&mut list).expect("sound");
                        prop_assert_eq!((event.name, event.time_unix_nano), (theirs.name.as_str(), theirs.time_unix_nano));
                        prop_assert_eq!(listed(&list), pairs(&theirs.attributes));
                    }
                    prop_assert_eq!(span.links.len(), theirs.links.len());
                    for (link, theirs) in span.links.iter().zip(&theirs.links) {
                        link.attributes(&mut list).expect("sound");
                        prop_assert_eq!((link.trace_id, link.span_id), (&theirs.trace_id[..], &theirs.span_id[..]));
                        prop_assert_eq!(listed(&list), pairs(&theirs.attributes));
                    }
                }
            }
        }
        prop_assert!(expected.next().is_none(), "every span was handed out");
    }

    #[test]
    fn a_log_record_says_what_another_reader_finds_in_it(request in arbitrary::logs()) {
        let body = request.encode_to_vec();
        let mut left = normal::logs(&request).len();
        let mut record = LogRecord::default();
        for (group, theirs) in resource_groups(&body).zip(&request.resource_logs) {
            for (scope_group, theirs) in group.expect("sound").scopes().zip(&theirs.scope_logs) {
                for (item, theirs) in scope_group.expect("sound").items().zip(&theirs.log_records) {
                    record.read(item.expect("sound")).expect("sound");
                    left -= 1;
                    prop_assert_eq!(ours(&record.body), self::theirs(theirs.body.as_ref()));
                    prop_assert_eq!(listed(&record.attributes), pairs(&theirs.attributes));
                    prop_assert_eq!(record.time_unix_nano, theirs.time_unix_nano);
                    prop_assert_eq!(record.observed_time_unix_nano, theirs.observed_time_unix_nano);
                    prop_assert_eq!(record.severity_number, theirs.severity_number);
                    prop_assert_eq!(record.severity_text, &theirs.severity_text);
                    prop_assert_eq!(record.event_name, &theirs.event_name);
                    prop_assert_eq!((record.trace_id, record.span_id), (&theirs.trace_id[..], &theirs.span_id[..]));
                    prop_assert_eq!(record.flags, theirs.flags);
                }
            }
        }
        prop_assert_eq!(left, 0, "every record was handed out");
    }

    #[test]
    fn whatever_the_bytes_are_the_views_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (mut span, mut record) = (Span::default(), LogRecord::default());
        for group in resource_groups(&bytes).flatten() {
            drop(group.resource());
            for scope_group in group.scopes().flatten() {
                drop(scope_group.scope());
                for item in scope_group.items().flatten() {
                    drop((span.read(item.clone()), record.read(item)));
                }
            }
        }
    }
}

#[test]
fn what_stands_in_two_parts_is_one_message() {
    // Two resources, as a protobuf writer may split one; the second value of a key wins.
    let text = |key: &str, value: &str| {
        let mut any = Vec::new();
        put_bytes(&mut any, 1, value.as_bytes());
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, &[0x18, 0x07]);
        put_bytes(&mut entry, 2, &any);
        let mut resource = Vec::new();
        put_bytes(&mut resource, 1, &entry);
        resource
    };
    let mut group = Vec::new();
    put_bytes(&mut group, 1, &text("a", "1"));
    put_bytes(&mut group, 1, &text("b", "2"));
    let mut body = Vec::new();
    put_bytes(&mut body, 1, &group);
    let group = resource_groups(&body).next().expect("a group").expect("sound");
    let resource = group.resource().expect("sound");
    assert_eq!(resource.attributes.text("a"), Some("1"));
    assert_eq!(resource.attributes.text("b"), Some("2"));
    assert_eq!(resource.attributes.text("c"), None);
}
