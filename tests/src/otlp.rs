//! OTLP requests made by hand, each item with an id of its own, and a client that posts
//! them. What a real SDK does is tested with real SDKs.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use hyper_util::rt::TokioIo;
use meridian_proto::signal::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// Nanoseconds since the Unix epoch.
pub fn now_unix_nanos() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "an application has a clock of its own")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since_epoch.map_or(0, |duration| duration.as_nanos());
    u64::try_from(nanos).expect("before the year 2554")
}

/// A string attribute.
pub fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue {
        value: Some(any_value::Value::StringValue(value.to_owned())),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

fn resource(service: &str) -> Option<Resource> {
    Some(Resource {
        attributes: vec![attribute("service.name", service)],
        ..Resource::default()
    })
}

/// A span with random ids that ended now.
pub fn span(name: &str) -> Span {
    let end = now_unix_nanos();
    Span {
        trace_id: rand::random::<[u8; 16]>().to_vec(),
        span_id: rand::random::<[u8; 8]>().to_vec(),
        name: name.to_owned(),
        kind: span::SpanKind::Server as i32,
        start_time_unix_nano: end - 5_000_000,
        end_time_unix_nano: end,
        attributes: vec![
            attribute("http.route", "/orders/{id}"),
            attribute("user.id", "42"),
        ],
        status: Some(Status::default()),
        ..Span::default()
    }
}

/// The request that carries these spans.
pub fn spans_request(service: &str, spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans {
        spans,
        ..ScopeSpans::default()
    }];
    let resource_spans = ResourceSpans {
        resource: resource(service),
        scope_spans,
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
    .encode_to_vec()
}

/// The request that carries these log records.
pub fn logs_request(service: &str, log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs {
        log_records,
        ..ScopeLogs::default()
    }];
    let resource_logs = ResourceLogs {
        resource: resource(service),
        scope_logs,
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![resource_logs],
    }
    .encode_to_vec()
}

/// A log record of now with this body.
pub fn log_record(body: String) -> LogRecord {
    let time = now_unix_nanos();
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: 9,
        body: Some(AnyValue {
            value: Some(any_value::Value::StringValue(body)),
        }),
        ..LogRecord::default()
    }
}

/// The request that carries gauges, one data point for each id.
pub fn metrics_request(service: &str, ids: &[String]) -> Vec<u8> {
    let point = |id: &String| NumberDataPoint {
        time_unix_nano: now_unix_nanos(),
        attributes: vec![attribute("id", id)],
        value: Some(number_data_point::Value::AsDouble(1.0)),
        ..NumberDataPoint::default()
    };
    gauge_request(service, ids.iter().map(point).collect())
}

/// The request that carries these data points of a gauge.
pub fn gauge_request(service: &str, data_points: Vec<NumberDataPoint>) -> Vec<u8> {
    let data = metric::Data::Gauge(Gauge { data_points });
    let metric = Metric {
        name: "load.level".to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    let scope_metrics = vec![ScopeMetrics {
        metrics: vec![metric],
        ..ScopeMetrics::default()
    }];
    let resource_metrics = ResourceMetrics {
        resource: resource(service),
        scope_metrics,
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![resource_metrics],
    }
    .encode_to_vec()
}

/// A request with so many items of a signal, each with an id that no other has.
pub fn request(signal: Signal, service: &str, items: usize) -> Vec<u8> {
    let ids = || (0..items).map(|_| uuid::Uuid::new_v4().to_string());
    match signal {
        Signal::Spans => spans_request(service, (0..items).map(|_| span("GET /orders/{id}")).collect()),
        Signal::Logs => logs_request(service, ids().map(log_record).collect()),
        Signal::Metrics => metrics_request(service, &ids().collect::<Vec<_>>()),
    }
}

/// The path to which OTLP over HTTP posts a signal.
pub fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "/v1/traces",
        Signal::Logs => "/v1/logs",
        Signal::Metrics => "/v1/metrics",
    }
}

/// Posts a body as a client of OTLP over HTTP does.
pub async fn post(
    client: &reqwest::Client,
    agent: SocketAddr,
    signal: Signal,
    content_type: &str,
    body: Vec<u8>,
) -> reqwest::Result<reqwest::Response> {
    let request = client.post(format!("http://{agent}{}", path(signal)));
    request
        .header("content-type", content_type)
        .timeout(Duration::from_secs(10))
        .body(body)
        .send()
        .await
}

/// Posts protobuf.
pub async fn post_protobuf(
    client: &reqwest::Client,
    agent: SocketAddr,
    signal: Signal,
    body: Vec<u8>,
) -> reqwest::Result<reqwest::Response> {
    post(client, agent, signal, "application/x-protobuf", body).await
}

/// Exports an encoded `ExportTraceServiceRequest` over gRPC; the inner error is the refusal.
pub async fn export_spans_grpc(
    agent: SocketAddr,
    request: &[u8],
) -> Result<Result<ExportTraceServiceResponse, tonic::Status>> {
    let request = ExportTraceServiceRequest::decode(request)?;
    let channel = Endpoint::from_shared(format!("http://{agent}"))?
        .connect()
        .await?;
    let mut client = tonic::client::Grpc::new(channel).max_encoding_message_size(usize::MAX);
    client.ready().await?;
    let codec = ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceResponse>::default();
    let path = PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let outcome = client.unary(tonic::Request::new(request), path, codec).await;
    Ok(outcome.map(tonic::Response::into_inner))
}

/// A channel over one connection that is made already.
pub async fn channel_over<C>(connection: C) -> Result<Channel>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut connection = Some(TokioIo::new(connection));
    let connector = tower::service_fn(move |_: Uri| {
        let connection = connection.take();
        std::future::ready(connection.ok_or_else(|| std::io::Error::from(ErrorKind::ConnectionReset)))
    });
    let endpoint = Endpoint::from_static("http://agent");
    Ok(endpoint.connect_with_connector(connector).await?)
}

/// Exports an encoded request of this signal over gRPC; the inner error is the refusal.
pub async fn export(channel: Channel, signal: Signal, request: Vec<u8>) -> Result<Result<(), tonic::Status>> {
    let path = PathAndQuery::from_static(match signal {
        Signal::Spans => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    });
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let outcome = match signal {
        Signal::Spans => {
            let codec = ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceResponse>::default();
            let request = tonic::Request::new(ExportTraceServiceRequest::decode(request.as_slice())?);
            client.unary(request, path, codec).await.map(drop)
        }
        Signal::Logs => {
            let codec = ProstCodec::<ExportLogsServiceRequest, ExportLogsServiceResponse>::default();
            let request = tonic::Request::new(ExportLogsServiceRequest::decode(request.as_slice())?);
            client.unary(request, path, codec).await.map(drop)
        }
        Signal::Metrics => {
            let codec = ProstCodec::<ExportMetricsServiceRequest, ExportMetricsServiceResponse>::default();
            let request = tonic::Request::new(ExportMetricsServiceRequest::decode(request.as_slice())?);
            client.unary(request, path, codec).await.map(drop)
        }
    };
    Ok(outcome)
}
