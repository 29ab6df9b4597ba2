//! Each class of input that is refused or rejected, with what is said about it.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use arrow_array::Array;

use super::*;
use crate::otlp::json_to_protobuf;
use crate::otlp::tests::builder;
use crate::otlp::wire::{put_bytes, put_tag};

fn checked(signal: Signal, json: &str) -> Checked {
    let limits = CheckLimits::default();
    let body = json_to_protobuf(signal, json.as_bytes(), &limits).expect("OTLP JSON");
    check(signal, body.into(), &limits).expect("sound framing")
}

/// Two spans: a sound one and one that has `changed` instead.
fn spans(changed: &str) -> Checked {
    let sound = r#"{"traceId":"01020304050607080102030405060708","spanId":"0102030405060708","name":"a"}"#;
    checked(
        Signal::Spans,
        &format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{sound},{changed}]}}]}}]}}"#),
    )
}

fn points(metric: &str) -> Checked {
    checked(
        Signal::Metrics,
        &format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m",{metric}}}]}}]}}]}}"#),
    )
}

#[test]
fn a_span_without_sound_ids_or_times_is_rejected_alone_and_told_why() {
    let trace = r#""traceId":"01020304050607080102030405060708""#;
    let span = r#""spanId":"0102030405060708""#;
    let cases = [
        (
            format!(r#"{{{trace},"spanId":"01020304050607"}}"#),
            "span_id has 7 bytes, want 8",
        ),
        (
            format!(r#"{{{trace},"spanId":"0000000000000000"}}"#),
            "span_id is all zeros",
        ),
        (format!(r#"{{{trace}}}"#), "span_id has 0 bytes, want 8"),
        (
            format!(r#"{{{span},"traceId":"01"}}"#),
            "trace_id has 1 byte, want 16",
        ),
        (
            format!(r#"{{{span},"traceId":"{:032}"}}"#, 0),
            "trace_id is all zeros",
        ),
        (
            format!(r#"{{{span},"traceId":"not a trace id, not a trace id, "}}"#),
            "trace_id is not hex",
        ),
        (
            format!(r#"{{{trace},{span},"parentSpanId":"0102"}}"#),
            "parent_span_id has 2 bytes, want 8",
        ),
        (
            format!(r#"{{{trace},{span},"startTimeUnixNano":"9223372036854775808"}}"#),
            "Span.start_time_unix_nano is 2^63 or more",
        ),
        (
            format!(r#"{{{trace},{span},"endTimeUnixNano":"18446744073709551615"}}"#),
            "Span.end_time_unix_nano is 2^63 or more",
        ),
        (
            format!(r#"{{{trace},{span},"events":[{{"timeUnixNano":"9223372036854775808"}}]}}"#),
            "Event.time_unix_nano is 2^63 or more",
        ),
    ];
    for (span, reason) in cases {
        let checked = spans(&span);
        assert_eq!(checked.reasons.to_string(), format!("1 span: {reason}"));
        assert_eq!((checked.items, checked.rejected), (1, 1));
        let kept = ExportTraceServiceRequest::decode(checked.body).expect("protobuf");
        assert_eq!(kept.resource_spans[0].scope_spans[0].spans[0].name, "a");
        assert_eq!(kept.resource_spans[0].scope_spans[0].spans.len(), 1);
    }
}

#[test]
fn a_string_that_is_not_utf8_costs_what_it_describes() {
    let mut request =
        spans(r#"{"traceId":"02020304050607080102030405060708","spanId":"0202030405060708","name":"XY"}"#);
    let mut body = request.body.to_vec();
    let name = body.windows(2).position(|pair| pair == b"XY").expect("the name");
    body[name] = 0xff;
    request = check(Signal::Spans, body.into(), &CheckLimits::default()).expect("sound framing");
    assert_eq!(request.reasons.to_string(), "1 span: Span.name is not UTF-8");
    assert_eq!(request.items, 1);

    let json = r#"{"resourceLogs":[
        {"resource":{"attributes":[{"key":"XY"}]},"scopeLogs":[{"logRecords":[{"timeUnixNano":1},{}]}]},
        {"scopeLogs":[{"scope":{"name":"XY"},"logRecords":[{"timeUnixNano":1}]},{"logRecords":[{"timeUnixNano":2}]}]}]}"#;
    let mut body = checked(Signal::Logs, json).body.to_vec();
    while let Some(at) = body.windows(2).position(|pair| pair == b"XY") {
        body[at] = 0xff;
    }
    let logs = check(Signal::Logs, body.into(), &CheckLimits::default()).expect("sound framing");
    let told =
        "2 log records: KeyValue.key is not UTF-8; 1 log record: InstrumentationScope.name is not UTF-8";
    assert_eq!(logs.reasons.to_string(), told);
    assert_eq!((logs.items, logs.rejected), (1, 3));
    assert!(logs.every_log_has_time, "of those that are kept");
    assert_eq!(builder(Signal::Logs).push(&logs.body, 1), Ok(1));
}

#[test]
fn a_data_point_that_contradicts_itself_is_rejected_alone() {
    let cases = [
        (
            r#""histogram":{"dataPoints":[{"bucketCounts":[1,2],"explicitBounds":[1,2]},{}]}"#,
            "2 bucket_counts for 2 explicit_bounds, want 3",
        ),
        (
            r#""histogram":{"dataPoints":[{"bucketCounts":[1,2,3],"explicitBounds":[2,2]},{}]}"#,
            "explicit_bounds do not increase",
        ),
        (
            r#""histogram":{"dataPoints":[{"bucketCounts":[1,2],"explicitBounds":["NaN"]},{}]}"#,
            "explicit_bounds do not increase",
        ),
        (
            r#""histogram":{"dataPoints":[{"count":"9223372036854775808"},{}]}"#,
            "HistogramDataPoint.count is 2^63 or more",
        ),
        (
            r#""sum":{"dataPoints":[{"timeUnixNano":"9223372036854775808"},{}]}"#,
            "NumberDataPoint.time_unix_nano is 2^63 or more",
        ),
        (
            r#""exponentialHistogram":{"dataPoints":[{"positive":{"bucketCounts":["18446744073709551615"]}},{}]}"#,
            "Buckets.bucket_counts is 2^63 or more",
        ),
    ];
    for (metric, reason) in cases {
        let checked = points(metric);
        assert_eq!(checked.reasons.to_string(), format!("1 data point: {reason}"));
        assert_eq!((checked.items, checked.rejected), (1, 1));
        assert_eq!(builder(Signal::Metrics).push(&checked.body, 1), Ok(1));
    }
    assert_eq!(
        points(r#""gauge":{"dataPoints":[{"flags":1}]}"#).items,
        1,
        "no recorded value is a value"
    );
    assert_eq!(points(r#""unit":"1""#).items, 0);
}

#[test]
fn data_of_a_metric_that_was_replaced_is_not_passed_on() {
    let message = |number: u32, of: &[u8]| {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, number, of);
        bytes
    };
    let no_point = [0x0a, 0x01, 0xff];
    let (gauge, sum) = (message(5, &no_point), message(7, &message(1, &[])));
    let body = message(1, &message(2, &message(2, &[gauge, sum].concat())));
    assert!(
        ExportMetricsServiceRequest::decode(&*body).is_err(),
        "others refuse it"
    );

    let checked = check(Signal::Metrics, body.into(), &CheckLimits::default()).expect("sound framing");
    assert_eq!((checked.items, checked.rejected), (1, 0));
    assert!(ExportMetricsServiceRequest::decode(checked.body).is_ok());
}

#[test]
fn a_value_that_nests_too_deep_is_rejected_alone() {
    let nested = |depth: usize| {
        format!(
            r#"{{"traceId":"01020304050607080102030405060708","spanId":"0102030405060708",
            "attributes":[{{"key":"k","value":{}{{"intValue":1}}{}}}]}}"#,
            r#"{"kvlistValue":{"values":[{"key":"$k","value":"#.repeat(depth),
            "}]}}".repeat(depth)
        )
    };
    let deep = spans(&nested(31));
    assert_eq!(
        deep.reasons.to_string(),
        "1 span: a value nests deeper than 30 levels"
    );
    let fits = spans(&nested(30));
    assert_eq!(fits.rejected, 0);
    assert!(ExportTraceServiceRequest::decode(fits.body.clone()).is_ok());
    let mut rows = builder(Signal::Spans);
    assert_eq!(rows.push(&fits.body, 1), Ok(2));
    let rebuilt = meridian_proto::rebuild::spans(&rows.finish()).expect("rebuilds");
    let attribute = &rebuilt["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["attributes"][0];
    assert!(attribute.to_string().contains("intValue"));
}

#[test]
fn logs_with_invalid_ids_are_kept_without_them() {
    let logs = checked(
        Signal::Logs,
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"01","spanId":"zz","observedTimeUnixNano":5},{}]}]}]}"#,
    );
    assert_eq!(
        (logs.items, logs.rejected, logs.every_log_has_time),
        (2, 0, false)
    );
    let mut rows = builder(Signal::Logs);
    rows.push(&logs.body, 7_001).expect("accepted");
    let batch = rows.finish();
    let column = |name| batch.column_by_name(name).expect("a column");
    assert_eq!(
        (column("trace_id").null_count(), column("span_id").null_count()),
        (2, 2)
    );
    let rebuilt = meridian_proto::rebuild::logs(&batch).expect("rebuilds");
    let records = &rebuilt["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    assert_eq!(records.to_string(), r#"[{"observedTimeUnixNano":"5"},{}]"#);
}

#[test]
fn framing_that_is_not_protobuf_refuses_the_whole_request_with_its_place() {
    let mut group = Vec::new();
    put_tag(&mut group, 1, 3);
    let mut wrong_type = Vec::new();
    put_tag(&mut wrong_type, 1, 0);
    wrong_type.push(1);
    let cases: [(&[u8], usize, &str); 5] = [
        (&[0x0a, 0x05, 0x00], 2, "a field that ends beyond its message"),
        (&group, 0, "a group or an unknown wire type"),
        (
            &wrong_type,
            0,
            "a field with another wire type than OTLP gives it",
        ),
        (&[0x80], 0, "a truncated varint"),
        (b"{\"resourceSpans\":[]}", 0, "a group or an unknown wire type"),
    ];
    for (body, offset, what) in cases {
        let fault = check(
            Signal::Spans,
            Bytes::copy_from_slice(body),
            &CheckLimits::default(),
        );
        assert_eq!(fault, Err(Malformed { offset, what }));
    }
}

#[test]
fn a_million_empty_spans_are_counted_and_cost_no_memory() {
    let mut scope = Vec::new();
    for _ in 0..1_000_000 {
        scope.extend_from_slice(&[0x12, 0]);
    }
    let mut resource = Vec::new();
    put_bytes(&mut resource, 2, &scope);
    let mut body = Vec::new();
    put_bytes(&mut body, 1, &resource);
    let checked = check(Signal::Spans, body.into(), &CheckLimits::default()).expect("sound");
    assert_eq!((checked.items, checked.rejected), (0, 1_000_000));
    assert!(checked.body.len() < 16);
    assert_eq!(
        checked.reasons.to_string(),
        "1000000 spans: trace_id has 0 bytes, want 16"
    );
}
