//! Requests of one item per signal, in both formats and every encoding.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use meridian_proto::signal::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

const TIME_UNIX_NANO: u64 = 1_700_000_000_000_000_000;

pub const ENCODINGS: [&str; 4] = ["identity", "gzip", "zstd", "deflate"];

pub fn span(id: u8) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![id; 8],
        name: "checkout".to_owned(),
        start_time_unix_nano: TIME_UNIX_NANO,
        end_time_unix_nano: TIME_UNIX_NANO + 5,
        ..Span::default()
    }
}

pub fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans {
        spans,
        ..ScopeSpans::default()
    }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans,
            ..ResourceSpans::default()
        }],
    }
}

pub fn logs(time_unix_nano: u64) -> ExportLogsServiceRequest {
    let text = any_value::Value::StringValue("out of stock".to_owned());
    let record = LogRecord {
        time_unix_nano,
        body: Some(AnyValue { value: Some(text) }),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs {
        log_records: vec![record],
        ..ScopeLogs::default()
    }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs,
            ..ResourceLogs::default()
        }],
    }
}

fn metrics() -> ExportMetricsServiceRequest {
    let point = NumberDataPoint {
        time_unix_nano: TIME_UNIX_NANO,
        value: Some(number_data_point::Value::AsInt(42)),
        ..NumberDataPoint::default()
    };
    let gauge = metric::Data::Gauge(Gauge {
        data_points: vec![point],
    });
    let metric = Metric {
        name: "queue.length".to_owned(),
        data: Some(gauge),
        ..Metric::default()
    };
    let scope_metrics = vec![ScopeMetrics {
        metrics: vec![metric],
        ..ScopeMetrics::default()
    }];
    let resource_metrics = vec![ResourceMetrics {
        scope_metrics,
        ..ResourceMetrics::default()
    }];
    ExportMetricsServiceRequest { resource_metrics }
}

/// A request of `signal` in protobuf.
pub fn protobuf(signal: Signal) -> Vec<u8> {
    match signal {
        Signal::Spans => traces(vec![span(1)]).encode_to_vec(),
        Signal::Logs => logs(TIME_UNIX_NANO).encode_to_vec(),
        Signal::Metrics => metrics().encode_to_vec(),
    }
}

/// The same request in JSON.
pub fn json(signal: Signal) -> Vec<u8> {
    let value = match signal {
        Signal::Spans => serde_json::to_vec(&traces(vec![span(1)])),
        Signal::Logs => serde_json::to_vec(&logs(TIME_UNIX_NANO)),
        Signal::Metrics => serde_json::to_vec(&metrics()),
    };
    value.expect("JSON")
}

/// Whether two bodies are the same message, whatever the order and defaults of their fields.
pub fn same_message(signal: Signal, a: &[u8], b: &[u8]) -> bool {
    match signal {
        Signal::Spans => ExportTraceServiceRequest::decode(a) == ExportTraceServiceRequest::decode(b),
        Signal::Logs => ExportLogsServiceRequest::decode(a) == ExportLogsServiceRequest::decode(b),
        Signal::Metrics => ExportMetricsServiceRequest::decode(a) == ExportMetricsServiceRequest::decode(b),
    }
}

pub fn compressed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).expect("memory");
            encoder.finish().expect("memory")
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).expect("memory");
            encoder.finish().expect("memory")
        }
        "zstd" => zstd::encode_all(bytes, 1).expect("memory"),
        _ => bytes.to_vec(),
    }
}
