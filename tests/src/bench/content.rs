//! What is sent: a hundred spans, log records or data points per request, about 500 bytes each
//! for spans, with a dozen attributes, as a web service's instrumentation writes them.
//!
//! Four spans make a trace: a server span whose parent is elsewhere, and three children. Ids,
//! times, addresses, paths and values are slots, which every request fills anew.

use anyhow::Result;
use meridian_proto::signal::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;

use crate::bench::template::{Fill, Random, Slots, Template};
use crate::otlp::attribute;

/// Items in each request.
pub const ITEMS: u32 = 100;
const SPANS_PER_TRACE: u32 = 4;
/// Different requests before the patching.
const TEMPLATES: usize = 32;
const SERVICES: [&str; 4] = ["checkout", "payments", "catalogue", "accounts"];
const ROUTES: [&str; 6] = [
    "/orders/{id}",
    "/orders/{id}/items",
    "/carts/{id}",
    "/users/{id}/addresses",
    "/products/{id}/reviews",
    "/payments/{id}/capture",
];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0) Safari/605.1",
    "okhttp/5.1.0",
    "python-requests/2.32.5",
];
const STATUSES: [i64; 8] = [200, 200, 200, 200, 200, 201, 404, 500];
const SEVERITIES: [(i32, &str); 4] = [(9, "INFO"), (9, "INFO"), (13, "WARN"), (17, "ERROR")];
const BOUNDS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
const POINTS_PER_METRIC: usize = 10;

/// The templates of a signal.
pub fn templates(signal: Signal) -> Result<Vec<Template>> {
    let one = || match signal {
        Signal::Spans => spans(),
        Signal::Logs => logs(),
        Signal::Metrics => metrics(),
    };
    (0..TEMPLATES).map(|_| one()).collect()
}

fn integer(key: &str, value: i64) -> KeyValue {
    let value = AnyValue {
        value: Some(any_value::Value::IntValue(value)),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

fn resource(random: &mut Random) -> Option<Resource> {
    let service = random.pick(&SERVICES);
    let pod = format!("{service}-7c9f8d6b54-{:05x}", random.below(1 << 20));
    Some(Resource {
        attributes: vec![
            attribute("service.name", service),
            attribute("service.version", "4.12.0"),
            attribute("service.instance.id", &pod),
            attribute("deployment.environment.name", "production"),
            attribute("cloud.region", "eu-central-1"),
            attribute("k8s.namespace.name", "shop"),
            attribute("k8s.pod.name", &pod),
            attribute("telemetry.sdk.language", "java"),
        ],
        ..Resource::default()
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "io.opentelemetry.tomcat-10.0".to_owned(),
        version: "2.20.0-alpha".to_owned(),
        ..InstrumentationScope::default()
    })
}

fn spans() -> Result<Template> {
    let (mut slots, mut random) = (Slots::default(), Random::new());
    let (mut spans, mut root) = (Vec::new(), (0, 0));
    for index in 0..ITEMS {
        let child = index % SPANS_PER_TRACE != 0;
        let trace = if child { Fill::CopyOf(root.0) } else { Fill::Random };
        let (trace_slot, trace_id) = slots.bytes(16, trace);
        let (span_slot, span_id) = slots.bytes(8, Fill::Random);
        let parent = if child { Fill::CopyOf(root.1) } else { Fill::Random };
        let (_, parent_span_id) = slots.bytes(8, parent);
        if !child {
            root = (trace_slot, span_slot);
        }
        let mut span = web_span(&mut slots, &mut random, child);
        (span.trace_id, span.span_id, span.parent_span_id) = (trace_id, span_id, parent_span_id);
        spans.push(span);
    }
    let scope_spans = vec![ScopeSpans {
        scope: scope(),
        spans,
        ..ScopeSpans::default()
    }];
    let resource_spans = vec![ResourceSpans {
        resource: resource(&mut random),
        scope_spans,
        ..ResourceSpans::default()
    }];
    slots.template(
        ExportTraceServiceRequest { resource_spans }.encode_to_vec(),
        ITEMS,
    )
}

fn web_span(slots: &mut Slots, random: &mut Random, child: bool) -> Span {
    let (start, start_time_unix_nano) = slots.fixed64(Fill::Time);
    let (_, end_time_unix_nano) = slots.fixed64(Fill::After(start));
    let (method, route) = (random.pick(&METHODS), random.pick(&ROUTES));
    let status = random.pick(&STATUSES);
    let kind = if child {
        span::SpanKind::Client
    } else {
        span::SpanKind::Server
    };
    Span {
        name: format!("{method} {route}"),
        kind: kind as i32,
        flags: 0x101,
        start_time_unix_nano,
        end_time_unix_nano,
        attributes: vec![
            attribute("http.request.method", method),
            attribute("http.route", route),
            attribute("url.path", &route.replace("{id}", &slots.text(12, Fill::Hex))),
            attribute("url.scheme", "https"),
            integer("http.response.status_code", status),
            attribute("server.address", "shop.example.com"),
            integer("server.port", 443),
            attribute("client.address", &slots.text(15, Fill::Address)),
            attribute("network.protocol.version", "1.1"),
            attribute("user_agent.original", random.pick(&BROWSERS)),
            attribute("user.id", &format!("user-{}", slots.text(8, Fill::Hex))),
            attribute("thread.name", &format!("http-nio-8080-exec-{}", random.below(50))),
        ],
        status: Some(Status {
            code: if status >= 500 { 2 } else { 0 },
            ..Status::default()
        }),
        ..Span::default()
    }
}

fn logs() -> Result<Template> {
    let (mut slots, mut random) = (Slots::default(), Random::new());
    let log_records = (0..ITEMS).map(|_| log_record(&mut slots, &mut random)).collect();
    let scope_logs = vec![ScopeLogs {
        scope: scope(),
        log_records,
        ..ScopeLogs::default()
    }];
    let resource_logs = vec![ResourceLogs {
        resource: resource(&mut random),
        scope_logs,
        ..ResourceLogs::default()
    }];
    slots.template(ExportLogsServiceRequest { resource_logs }.encode_to_vec(), ITEMS)
}

fn log_record(slots: &mut Slots, random: &mut Random) -> LogRecord {
    let (time, time_unix_nano) = slots.fixed64(Fill::Time);
    let (_, observed_time_unix_nano) = slots.fixed64(Fill::After(time));
    let (severity_number, severity_text) = random.pick(&SEVERITIES);
    let route = random.pick(&ROUTES).replace("{id}", &slots.text(12, Fill::Hex));
    let body = format!(
        "{} {route} by user-{} from {}: upstream answered {} after {} ms, order kept for a retry",
        random.pick(&METHODS),
        slots.text(8, Fill::Hex),
        slots.text(15, Fill::Address),
        random.pick(&STATUSES),
        random.below(900),
    );
    LogRecord {
        time_unix_nano,
        observed_time_unix_nano,
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue {
            value: Some(any_value::Value::StringValue(body)),
        }),
        attributes: vec![
            attribute("log.logger.name", "com.example.shop.OrderController"),
            attribute("thread.name", &format!("http-nio-8080-exec-{}", random.below(50))),
            attribute("code.function.name", "com.example.shop.OrderController.capture"),
            integer("code.line.number", 214),
            attribute("session.id", &slots.text(16, Fill::Hex)),
            attribute("log.iostream", "stdout"),
        ],
        trace_id: slots.bytes(16, Fill::Random).1,
        span_id: slots.bytes(8, Fill::Random).1,
        ..LogRecord::default()
    }
}

fn metrics() -> Result<Template> {
    let (mut slots, mut random) = (Slots::default(), Random::new());
    let count = ITEMS as usize / POINTS_PER_METRIC;
    let metrics = (0..count)
        .map(|index| metric(&mut slots, &mut random, index))
        .collect();
    let scope_metrics = vec![ScopeMetrics {
        scope: scope(),
        metrics,
        ..ScopeMetrics::default()
    }];
    let resource_metrics = vec![ResourceMetrics {
        resource: resource(&mut random),
        scope_metrics,
        ..ResourceMetrics::default()
    }];
    slots.template(
        ExportMetricsServiceRequest { resource_metrics }.encode_to_vec(),
        ITEMS,
    )
}

/// Four gauges, four sums and two histograms of ten.
fn metric(slots: &mut Slots, random: &mut Random, index: usize) -> Metric {
    let cumulative = AggregationTemporality::Cumulative as i32;
    let data = match index % 5 {
        0 | 2 => metric::Data::Gauge(Gauge {
            data_points: (0..POINTS_PER_METRIC).map(|_| number(slots, random)).collect(),
        }),
        1 | 3 => metric::Data::Sum(Sum {
            data_points: (0..POINTS_PER_METRIC).map(|_| number(slots, random)).collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        _ => metric::Data::Histogram(Histogram {
            data_points: (0..POINTS_PER_METRIC).map(|_| histogram(slots, random)).collect(),
            aggregation_temporality: cumulative,
        }),
    };
    Metric {
        name: format!("http.server.measure.{index}"),
        description: "What a benchmark measures".to_owned(),
        unit: "s".to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn series(random: &mut Random) -> Vec<KeyValue> {
    vec![
        attribute("http.request.method", random.pick(&METHODS)),
        attribute("http.route", random.pick(&ROUTES)),
        integer("http.response.status_code", random.pick(&STATUSES)),
        attribute("url.scheme", "https"),
        attribute("network.protocol.version", "1.1"),
        attribute(
            "availability.zone",
            random.pick(&["eu-central-1a", "eu-central-1b"]),
        ),
    ]
}

fn number(slots: &mut Slots, random: &mut Random) -> NumberDataPoint {
    let (start, start_time_unix_nano) = slots.fixed64(Fill::Time);
    let value = f64::from_bits(slots.fixed64(Fill::Value).1);
    NumberDataPoint {
        attributes: series(random),
        start_time_unix_nano,
        time_unix_nano: slots.fixed64(Fill::After(start)).1,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn histogram(slots: &mut Slots, random: &mut Random) -> HistogramDataPoint {
    let (start, start_time_unix_nano) = slots.fixed64(Fill::Time);
    let buckets: Vec<(usize, u64)> = (0..=BOUNDS.len()).map(|_| slots.fixed64(Fill::Count)).collect();
    let total = Fill::Total(buckets[0].0, buckets.len());
    HistogramDataPoint {
        attributes: series(random),
        start_time_unix_nano,
        time_unix_nano: slots.fixed64(Fill::After(start)).1,
        count: slots.fixed64(total).1,
        sum: Some(f64::from_bits(slots.fixed64(Fill::Value).1)),
        bucket_counts: buckets.iter().map(|(_, placeholder)| *placeholder).collect(),
        explicit_bounds: BOUNDS.to_vec(),
        ..HistogramDataPoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_about_five_hundred_bytes_and_every_signal_decodes() {
        let mut random = Random::new();
        let now = crate::otlp::now_unix_nanos();
        for signal in Signal::ALL {
            let template = templates(signal).expect("templates").remove(0);
            let body = template.request(&mut random, now);
            let items: usize = match signal {
                Signal::Spans => {
                    assert!((450..550).contains(&(body.len() / 100)), "{} bytes", body.len());
                    let request = ExportTraceServiceRequest::decode(body).expect("spans");
                    request.resource_spans[0].scope_spans[0].spans.len()
                }
                Signal::Logs => {
                    let request = ExportLogsServiceRequest::decode(body).expect("logs");
                    request.resource_logs[0].scope_logs[0].log_records.len()
                }
                Signal::Metrics => {
                    let request = ExportMetricsServiceRequest::decode(body).expect("metrics");
                    10 * request.resource_metrics[0].scope_metrics[0].metrics.len()
                }
            };
            assert_eq!(items, 100, "{signal}");
        }
    }
}
