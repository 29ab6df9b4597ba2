//! OTLP as decoders see it that are not ours: opentelemetry-proto for what is accepted, and for
//! everything else messages that know of OTLP only where its items are. They judge nothing.

use meridian_proto::signal::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest as Logs;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest as Metrics;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Spans;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

/// A request as its own types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Spans(Spans),
    Logs(Logs),
    Metrics(Metrics),
}

impl Request {
    pub(crate) fn decode(signal: Signal, body: &[u8]) -> Result<Self, prost::DecodeError> {
        Ok(match signal {
            Signal::Spans => Self::Spans(Spans::decode(body)?),
            Signal::Logs => Self::Logs(Logs::decode(body)?),
            Signal::Metrics => Self::Metrics(Metrics::decode(body)?),
        })
    }

    pub(crate) fn from_json(signal: Signal, json: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match signal {
            Signal::Spans => Self::Spans(serde_json::from_slice(json)?),
            Signal::Logs => Self::Logs(serde_json::from_slice(json)?),
            Signal::Metrics => Self::Metrics(serde_json::from_slice(json)?),
        })
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Spans(request) => serde_json::to_vec(request),
            Self::Logs(request) => serde_json::to_vec(request),
            Self::Metrics(request) => serde_json::to_vec(request),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Spans(request) => request.encode_to_vec(),
            Self::Logs(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
        }
    }

    pub(crate) fn items(&self) -> usize {
        match self {
            Self::Spans(request) => {
                let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
                scopes.map(|scope| scope.spans.len()).sum()
            }
            Self::Logs(request) => {
                let scopes = request.resource_logs.iter().flat_map(|group| &group.scope_logs);
                scopes.map(|scope| scope.log_records.len()).sum()
            }
            Self::Metrics(request) => {
                let scopes = request
                    .resource_metrics
                    .iter()
                    .flat_map(|group| &group.scope_metrics);
                let metrics = scopes.flat_map(|scope| &scope.metrics);
                metrics.map(|metric| points(metric.data.as_ref())).sum()
            }
        }
    }
}

fn points(data: Option<&Data>) -> usize {
    match data {
        None => 0,
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
    }
}

#[derive(Clone, PartialEq, Message)]
struct Groups {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Scopes>,
}

#[derive(Clone, PartialEq, Message)]
struct Scopes {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Items>,
}

#[derive(Clone, PartialEq, Message)]
struct Items {
    #[prost(bytes = "vec", repeated, tag = "2")]
    items: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(oneof = "Points", tags = "5, 7, 9, 10, 11")]
    data: Option<Points>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Points {
    #[prost(message, tag = "5")]
    Gauge(Point),
    #[prost(message, tag = "7")]
    Sum(Point),
    #[prost(message, tag = "9")]
    Histogram(Point),
    #[prost(message, tag = "10")]
    Exponential(Point),
    #[prost(message, tag = "11")]
    Summary(Point),
}

#[derive(Clone, PartialEq, Message)]
struct Point {
    #[prost(bytes = "vec", repeated, tag = "1")]
    points: Vec<Vec<u8>>,
}

/// How many items there are, whatever is wrong with them; `None` if that cannot be said.
pub(crate) fn count_items(signal: Signal, body: &[u8]) -> Option<usize> {
    let groups = Groups::decode(body).ok()?;
    let scopes = groups.resources.iter().flat_map(|group| &group.scopes);
    let items = scopes.flat_map(|scope| &scope.items);
    if signal != Signal::Metrics {
        return Some(items.count());
    }
    let mut count = 0;
    for metric in items {
        count += match Metric::decode(metric.as_slice()).ok()?.data {
            None => 0,
            Some(
                Points::Gauge(data)
                | Points::Sum(data)
                | Points::Histogram(data)
                | Points::Exponential(data)
                | Points::Summary(data),
            ) => data.points.len(),
        };
    }
    Some(count)
}
