//! The paths of OTLP, which receivers serve and exporters ask. Nothing is sent or served here.
//!
//! Source: OTLP specification 1.x.

use meridian_proto::signal::Signal;

/// The method that takes a signal over gRPC.
pub fn grpc(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

/// The path that takes a signal over HTTP.
pub fn http(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "/v1/traces",
        Signal::Logs => "/v1/logs",
        Signal::Metrics => "/v1/metrics",
    }
}
