//! The limits of the three endpoints.

use http::Request;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Gauge, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;
use crate::Settings;

const NOW: u64 = 1_700_000_000_000_000_000;

fn account() -> Account {
    let account = Account::new(Settings {
        clock: meridian_runtime::clock::Clock::told(|| NOW),
        ..Settings::of_region("eu-central-1")
    });
    account.state.lock().create("group", &["stream"]);
    account
}

fn call(message: &impl Message) -> Call {
    let request = Request::post("/v1/logs")
        .header("content-type", "application/x-protobuf")
        .header("x-aws-log-group", "group")
        .header("x-aws-log-stream", "stream");
    let (head, ()) = request.body(()).expect("a request").into_parts();
    Call {
        head,
        body: message.encode_to_vec().into(),
    }
}

fn resource(bytes: usize) -> Option<Resource> {
    let value = AnyValue {
        value: Some(Value::StringValue("x".repeat(bytes))),
    };
    Some(Resource {
        attributes: vec![KeyValue {
            key: "k".to_owned(),
            value: Some(value),
            ..KeyValue::default()
        }],
        ..Resource::default()
    })
}

fn spans(count: usize, name_bytes: usize, resource_bytes: usize) -> ExportTraceServiceRequest {
    let span = Span {
        name: "x".repeat(name_bytes),
        ..Span::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(resource_bytes),
            scope_spans: vec![ScopeSpans {
                spans: vec![span; count],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn records(times: &[u64], bytes: usize) -> ExportLogsServiceRequest {
    let record = |time: &u64| LogRecord {
        time_unix_nano: *time,
        severity_text: "x".repeat(bytes),
        ..LogRecord::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: times.iter().map(record).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

fn points(count: usize, labels: usize) -> ExportMetricsServiceRequest {
    let label = |number: usize| KeyValue {
        key: format!("label{number}"),
        ..KeyValue::default()
    };
    let point = NumberDataPoint {
        attributes: (0..labels).map(label).collect(),
        ..NumberDataPoint::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![Metric {
                    data: Some(Data::Gauge(Gauge {
                        data_points: vec![point; count],
                    })),
                    ..Metric::default()
                }],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn said(outcome: Result<Answer, Problem>) -> String {
    outcome.map_or_else(|problem| problem.message, |_| String::new())
}

#[test]
fn the_limits_of_traces_strike() {
    let said = |request: &ExportTraceServiceRequest| said(traces(&account(), &call(request)));
    assert_eq!(said(&spans(10_000, 1, 16_000)), "");
    assert!(said(&spans(10_001, 1, 1)).contains("10001 spans"));
    assert!(said(&spans(1, 200 * 1024, 1)).contains("bytes of a span"));
    assert!(said(&spans(1, 1, 16 * 1024)).contains("bytes of a resource"));
    assert!(said(&spans(30, 190 * 1024, 1)).contains("at most 5242880"));
}

#[test]
fn the_limits_of_logs_strike() {
    let said = |request: &ExportLogsServiceRequest| said(logs(&account(), &call(request)));
    assert_eq!(said(&records(&[NOW; 10_000], 1)), "");
    assert!(said(&records(&[NOW; 10_001], 1)).contains("10001 records"));
    assert!(said(&records(&[NOW], 1_048_576)).contains("bytes of a record"));
    assert!(said(&records(&[NOW; 11], 100_000)).contains("bytes of all records"));
    let mut elsewhere = call(&records(&[NOW], 1));
    let header = http::HeaderValue::from_static("another");
    elsewhere.head.headers.insert("x-aws-log-stream", header);
    let problem = logs(&account(), &elsewhere).expect_err("there is no such stream");
    assert_eq!(problem.code, "ResourceNotFoundException");
}

#[test]
fn records_that_are_too_old_are_a_partial_success() {
    let account = account();
    let old = NOW - 15 * 86_400_000_000_000;
    logs(&account, &call(&records(&[old, NOW], 1))).expect("it is taken");
    let state = account.state.lock();
    assert_eq!(state.seen.rejected_events.get("too_old"), Some(&1));
    assert_eq!(
        state
            .seen
            .streams
            .values()
            .map(|stream| stream.count)
            .sum::<usize>(),
        1
    );
}

#[test]
fn the_limits_of_metrics_strike() {
    let said = |request: &ExportMetricsServiceRequest| said(metrics(&account(), &call(request)));
    assert_eq!(said(&points(1000, 3)), "");
    assert_eq!(said(&points(1, 150)), "");
    assert!(said(&points(1001, 3)).contains("1001 data points"));
    assert!(said(&points(1, 151)).contains("151 labels"));
}
