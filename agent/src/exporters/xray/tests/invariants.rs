//! What is true of every document, as a function that the other tests use, and arbitrary spans.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;

use super::super::{Mapped, Mapper, Mapping};
use super::documents_of;
use crate::otlp::tests::arbitrary;

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_trace_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts.as_slice(), ["1", time, rest] if is_hex(time, 8) && is_hex(rest, 24))
}

/// Strings of 250 characters at most, but where other limits are.
fn strings_are_short(value: &Value) {
    match value {
        Value::String(text) => assert!(text.chars().count() <= 250, "{text}"),
        Value::Array(values) => values.iter().for_each(strings_are_short),
        Value::Object(members) => members.values().for_each(strings_are_short),
        _ => {}
    }
}

/// X-Ray's rules for a document.
pub fn hold(document: &Value) {
    let text = |member: &str| document[member].as_str().unwrap_or_default();
    let name = text("name");
    assert!((1..=200).contains(&name.chars().count()), "{name:?}");
    // Of what is not ASCII, `is_alphabetic` is a weaker judge than X-Ray, but not our own.
    let is_allowed = |character: char| match character {
        '\0'..='\x7f' => character.is_ascii_alphanumeric() || " _.:/%&#=+\\-@".contains(character),
        _ => character.is_alphabetic(),
    };
    assert!(name.chars().all(is_allowed), "{name:?}");
    assert!(
        is_hex(text("id"), 16) && is_trace_id(text("trace_id")),
        "{document}"
    );
    let time = |member: &str| document[member].as_f64().expect("a time");
    assert!(time("start_time") <= time("end_time"));
    let mut known = document.as_object().expect("an object").clone();
    match known.remove("type") {
        Some(kind) => assert!(kind == "subsegment" && is_hex(text("parent_id"), 16)),
        None => assert!(
            known
                .get("parent_id")
                .is_none_or(|id| is_hex(id.as_str().unwrap_or(""), 16))
        ),
    }
    let annotations = known.remove("annotations");
    let annotations = annotations.as_ref().and_then(Value::as_object);
    for (key, value) in annotations.into_iter().flatten() {
        let is_clean = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.');
        assert!(!key.is_empty() && key.bytes().all(is_clean), "{key}");
        assert!(value.is_boolean() || value.is_number() || value.is_string());
        assert!(value.as_str().is_none_or(|text| text.chars().count() <= 1000));
    }
    assert!(annotations.is_none_or(|annotations| annotations.len() <= 50));
    assert!(
        known
            .get("links")
            .is_none_or(|links| links.as_array().is_some_and(|links| links.len() <= 20))
    );
    for link in known
        .remove("links")
        .iter()
        .flat_map(|links| links.as_array().into_iter().flatten())
    {
        assert!(is_trace_id(link["trace_id"].as_str().unwrap_or_default()));
        assert!(is_hex(link["id"].as_str().unwrap_or_default(), 16));
    }
    known.remove("metadata");
    strings_are_short(&Value::Object(known.clone()));
    for member in known.keys() {
        let is_known = [
            "name",
            "id",
            "trace_id",
            "parent_id",
            "start_time",
            "end_time",
            "namespace",
            "origin",
            "service",
            "error",
            "throttle",
            "fault",
            "http",
            "cause",
            "aws",
            "sql",
            "user",
        ];
        assert!(is_known.contains(&member.as_str()), "{member}");
    }
}

/// Keys that mean something, so that arbitrary values come where others are expected.
const KEYS: [&str; 24] = [
    "aws.span.kind",
    "aws.local.service",
    "aws.remote.service",
    "peer.service",
    "db.system",
    "db.namespace",
    "db.connection_string",
    "server.address",
    "server.port",
    "http.response.status_code",
    "http.method",
    "url.path",
    "url.query",
    "url.full",
    "rpc.system",
    "rpc.method",
    "aws.dynamodb.table_names",
    "aws.xray.annotations",
    "enduser.id",
    "exception.stacktrace",
    "telemetry.sdk.language",
    "cloud.platform",
    "host.id",
    "service.name",
];

const VALUES: [&str; 10] = [
    "LOCAL_ROOT",
    "aws-api",
    "java",
    "python",
    "aws_ecs",
    "postgresql",
    "Caused by: X:\n\tat a(",
    "  File \nDuring handling of the above exception, another exception occurred:\n",
    "jdbc:x://[::1]:5/\u{0}\u{1f600}",
    "\u{301}\u{93e}",
];

fn renamed(
    mut request: ExportTraceServiceRequest,
    names: &[(usize, usize, bool)],
) -> ExportTraceServiceRequest {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    let mut names = names.iter().cycle();
    let mut rename = |list: &mut Vec<KeyValue>| {
        for entry in list {
            let Some(&(key, value, is_set)) = names.next() else {
                return;
            };
            entry.key = KEYS[key].to_owned();
            if is_set {
                let value = Some(Any::StringValue(VALUES[value].to_owned()));
                entry.value = Some(AnyValue { value });
            }
        }
    };
    for group in &mut request.resource_spans {
        group
            .resource
            .iter_mut()
            .for_each(|resource| rename(&mut resource.attributes));
        for span in group.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans) {
            rename(&mut span.attributes);
            for event in &mut span.events {
                "exception".clone_into(&mut event.name);
                rename(&mut event.attributes);
            }
        }
    }
    request
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_document_of_arbitrary_spans_is_one_that_x_ray_takes(
        request in arbitrary::spans(),
        names in prop::collection::vec((0..KEYS.len(), 0..VALUES.len(), any::<bool>()), 1..40),
        index_all_attributes in any::<bool>(),
    ) {
        let settings = || Mapping { index_all_attributes, ..Mapping::default() };
        documents_of(settings(), &request.encode_to_vec());
        documents_of(settings(), &renamed(request, &names).encode_to_vec());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(Mapper::new(Mapping::default()).documents(&bytes, |_| ()));
    }

    #[test]
    fn every_span_gives_a_document_or_a_reason_and_the_same_ones_again(request in arbitrary::spans()) {
        let body = request.encode_to_vec();
        let mut mapper = Mapper::new(Mapping::default());
        let mut runs = [Vec::new(), Vec::new()];
        let mut seen = std::collections::BTreeSet::new();
        for run in &mut runs {
            let count = mapper.documents(&body, |mapped| match mapped {
                Mapped::Document(document) => {
                    seen.insert(document.item);
                    run.push(document.json.to_owned());
                }
                Mapped::Dropped { item, reason } => {
                    seen.insert(item);
                    run.push(reason.to_string());
                }
                Mapped::Sampled { item } => panic!("{item}"),
            });
            let count = count.expect("sound");
            prop_assert_eq!(seen.len(), usize::try_from(count).expect("fits"));
        }
        prop_assert_eq!(&runs[0], &runs[1], "what is delivered twice is the same");
    }
}
