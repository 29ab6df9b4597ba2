//! The spellings that OTLP JSON allows, and what is said about those it does not.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::*;

fn transcode(signal: Signal, json: &str) -> Result<Vec<u8>, JsonFault> {
    json_to_protobuf(signal, json.as_bytes(), &CheckLimits::default())
}

fn span(fields: &str) -> Span {
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#);
    let bytes = transcode(Signal::Spans, &json).expect("OTLP JSON");
    let request = ExportTraceServiceRequest::decode(bytes.as_slice()).expect("protobuf");
    request.resource_spans[0].scope_spans[0].spans[0].clone()
}

#[test]
fn every_allowed_spelling_is_taken() {
    let expected = Span {
        name: "a\"b".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_544_712_660_300_000_001,
        ..Span::default()
    };
    for fields in [
        r#""name":"a\"b","kind":2,"startTimeUnixNano":"1544712660300000001""#,
        r#""name":"a\u0022b","kind":"SPAN_KIND_SERVER","start_time_unix_nano":1544712660300000001"#,
        r#""name":"a\"b","kind":"2","startTimeUnixNano":1544712660300000001,"events":null,"traceId":"","unknown":{"a":[1,{}]}"#,
    ] {
        assert_eq!(span(fields), expected);
    }
    assert_eq!(span(r#""startTimeUnixNano":1.5e3"#).start_time_unix_nano, 1500);
    assert!(
        transcode(Signal::Logs, " {} \n")
            .expect("an empty request")
            .is_empty()
    );
}

#[test]
fn bytes_are_base64_in_either_alphabet_and_ids_hex_in_either_case() {
    for text in ["-_8=", "+/8=", "-_8", "+/8"] {
        let span = span(&format!(
            r#""attributes":[{{"key":"k","value":{{"bytesValue":"{text}"}}}}]"#
        ));
        let value = span.attributes[0].value.clone().and_then(|value| value.value);
        assert_eq!(value, Some(Value::BytesValue(vec![0xfb, 0xff])));
    }
    assert_eq!(span(r#""spanId":"EEE19b7ec3c1b174""#).span_id[0], 0xee);
    assert_eq!(span(r#""spanId":"no hex""#).span_id, b"not hex");
}

#[test]
fn of_several_members_of_a_oneof_the_last_counts() {
    let span = span(
        r#""attributes":[{"key":"k","value":{"stringValue":"a","intValue":7,"boolValue":null}},
        {"key":"l","value":{"arrayValue":{"values":[{}]},"arrayValue":{"values":[]}}}]"#,
    );
    let value = |index: usize| span.attributes[index].value.clone().and_then(|value| value.value);
    assert_eq!(value(0), Some(Value::IntValue(7)));
    assert_eq!(value(1), Some(Value::ArrayValue(Default::default())));
}

#[test]
fn a_fault_names_its_line_and_column() {
    let cases = [
        ("\u{feff}{}", 1, 1, "a byte order mark, which JSON does not allow"),
        ("{}\n{}", 2, 1, "bytes after the end of the JSON"),
        ("[]", 1, 1, "expected an object"),
        ("", 1, 1, "expected an object"),
        (
            "{\"resourceSpans\":[\n{\"schemaUrl\": 5}]}",
            2,
            15,
            "expected a string",
        ),
        ("{\"resourceSpans\":{}}", 1, 18, "expected an array"),
        ("{\"resourceSpans\":[", 1, 19, "expected an object"),
    ];
    for (json, line, column, message) in cases {
        let fault = transcode(Signal::Spans, json).expect_err(json);
        assert_eq!(
            (fault.line, fault.column, fault.message.as_str()),
            (line, column, message),
            "{json:?}"
        );
    }
}

#[test]
fn numbers_that_do_not_fit_are_faults() {
    for field in [
        r#""startTimeUnixNano":-1"#,
        r#""startTimeUnixNano":"18446744073709551616""#,
        r#""startTimeUnixNano":"abc""#,
        r#""startTimeUnixNano":1.5"#,
        r#""droppedAttributesCount":4294967296"#,
        r#""kind":"SPAN_KIND_UNHEARD_OF""#,
        r#""attributes":[{"value":{"doubleValue":1e999}}]"#,
        r#""attributes":[{"value":{"bytesValue":"*"}}]"#,
    ] {
        let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{field}}}]}}]}}]}}"#);
        assert!(transcode(Signal::Spans, &json).is_err(), "{field}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
    let fault = transcode(Signal::Spans, &deep).expect_err("too deep");
    assert_eq!(fault.message, "the JSON nests too deep");
    let limits = CheckLimits {
        transcoded_bytes_max: 100,
        ..CheckLimits::default()
    };
    let many = format!(r#"{{"resourceSpans":[{}{{}}]}}"#, "{},".repeat(200));
    let fault = json_to_protobuf(Signal::Spans, many.as_bytes(), &limits).expect_err("too large");
    assert_eq!(fault.message, "the request is too large as protobuf");
}

/// The shapes of the examples that OpenTelemetry publishes, and those themselves if they
/// lie beside the project.
#[test]
fn the_published_examples_are_read_as_others_read_them() {
    let own = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},
        "scopeMetrics":[{"scope":{"name":"l","version":"1.0.0"},"metrics":[
        {"name":"c","unit":"1","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[
            {"asDouble":5,"startTimeUnixNano":"1544712660300000000","timeUnixNano":"1544712660300000000"}]}},
        {"name":"h","histogram":{"aggregationTemporality":1,"dataPoints":[
            {"count":"2","sum":2,"bucketCounts":["1","1"],"explicitBounds":[1],"min":0,"max":2}]}},
        {"name":"e","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[
            {"count":"3","sum":10,"scale":0,"zeroCount":"1","positive":{"offset":1,"bucketCounts":["0","2"]}}]}}]}]}]}"#;
    same::<ExportMetricsServiceRequest>(Signal::Metrics, own);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/otlp");
    for (file, signal) in [
        ("trace.json", Signal::Spans),
        ("metrics.json", Signal::Metrics),
        ("logs.json", Signal::Logs),
        ("events.json", Signal::Logs),
    ] {
        let Ok(json) = std::fs::read_to_string(folder.join(file)) else {
            println!("skipped: {file} does not lie beside the project");
            continue;
        };
        match signal {
            Signal::Spans => same::<ExportTraceServiceRequest>(signal, &json),
            Signal::Metrics => same::<ExportMetricsServiceRequest>(signal, &json),
            Signal::Logs => {
                same::<opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest>(
                    signal, &json,
                )
            }
        }
    }
}

fn same<M>(signal: Signal, json: &str)
where
    M: prost::Message + Default + PartialEq + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let ours = transcode(signal, json).expect("OTLP JSON");
    let other: M = serde_json::from_str(json).expect("OTLP JSON of others");
    assert_eq!(M::decode(ours.as_slice()).expect("protobuf"), other);
}
