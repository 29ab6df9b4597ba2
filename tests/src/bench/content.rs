//! What is sent: a hundred spans, log records or data points per request, as the
//! instrumentation of web services writes them; about 500 bytes and a dozen attributes each
//! for spans. Nothing of it is ever sent twice.
//!
//! A trace has eight spans in four services, two in each, so that four requests of four
//! processes hold a part of it each: requests with the numbers 4n to 4n + 3 belong together.
//! ```text
//! request 4n      server ─ client          gateway        (no parent)
//! request 4n + 1           server ─ client checkout
//! request 4n + 2                    …
//! ```

mod logs;
mod metrics;
mod spans;

use anyhow::Result;
use bytes::Bytes;
use meridian_proto::signal::Signal;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::bench::random::{Random, derived};
use crate::bench::template::{Item, Piece};
use crate::otlp::attribute;

/// Items in each request.
pub const ITEMS: u32 = 100;
/// Requests that hold the parts of the same traces.
pub const PLACES: u64 = 4;
/// Spans, or log records, of a trace in one request.
const PER_TRACE: u64 = 2;
const TRACES: u64 = ITEMS as u64 / PER_TRACE;
/// Different items of one kind before the patching.
const VARIANTS: usize = 256;
const PODS: usize = 4;

/// Three chains of four services: each calls the next.
pub const SERVICES: [&str; 12] = [
    "gateway",
    "checkout",
    "payments",
    "ledger",
    "mobile-gateway",
    "catalogue",
    "search",
    "inventory",
    "partner-api",
    "accounts",
    "sessions",
    "notifications",
];
const ROUTES: [&str; 6] = [
    "/orders/{id}",
    "/orders/{id}/items",
    "/carts/{id}",
    "/users/{id}/addresses",
    "/products/{id}/reviews",
    "/payments/{id}/capture",
];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];

/// One in fifty fails.
fn status(random: &mut Random) -> i64 {
    match random.below(100) {
        0..80 => 200,
        80..94 => 201,
        94..98 => 404,
        _ => 503,
    }
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

/// How much log records say; others always say all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What an instrumented controller attaches.
    Full,
    /// The line, and one attribute beside it.
    Brief,
}

/// Makes requests of one signal.
#[derive(Debug)]
pub struct Generator {
    seed: u64,
    items: Items,
    /// The encoded resource and scope of each process.
    heads: Vec<Head>,
}

#[derive(Debug)]
enum Items {
    Spans(Box<spans::Spans>),
    Logs(Vec<Piece>),
    /// Of each process, always the same series.
    Metrics(Vec<Vec<Piece>>),
}

#[derive(Debug)]
struct Head {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Generator {
    /// A generator whose ids nobody has seen before.
    pub fn new(signal: Signal, detail: Detail) -> Result<Self> {
        let mut random = Random::new();
        let heads: Vec<Head> = SERVICES
            .iter()
            .flat_map(|service| (0..PODS).map(|pod| (*service, pod)).collect::<Vec<_>>())
            .map(|(service, pod)| head(service, pod, &mut random))
            .collect();
        let items = match signal {
            Signal::Spans => Items::Spans(Box::new(spans::Spans::new(&mut random)?)),
            Signal::Logs => Items::Logs(logs::records(detail, &mut random)?),
            Signal::Metrics => Items::Metrics(
                heads
                    .iter()
                    .map(|_| metrics::metrics(&mut random))
                    .collect::<Result<_>>()?,
            ),
        };
        let seed = random.number();
        Ok(Self { seed, items, heads })
    }

    /// The request with this number, as if it were made at `now_unix_nanos`.
    pub fn request(&self, random: &mut Random, number: u64, now_unix_nanos: u64) -> Bytes {
        let (group, place) = (number / PLACES, number % PLACES);
        let process = self.process(random, number);
        let pieces = self.pieces(random, process, place);
        let items_bytes: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
        let mut body = self.heads[process].begin(items_bytes);
        for (index, piece) in (0..).zip(pieces) {
            let at = body.len();
            body.extend_from_slice(&piece.bytes);
            let trace = derived(self.seed, group * TRACES + index / PER_TRACE);
            let span = (place * PER_TRACE + index % PER_TRACE).cast_signed();
            piece.fill(
                &mut body[at..],
                &mut Item::new(trace, span, now_unix_nanos),
                random,
            );
        }
        Bytes::from(body)
    }

    /// Who sends it. Spans come from the services of a chain in turn.
    fn process(&self, random: &mut Random, number: u64) -> usize {
        if !matches!(self.items, Items::Spans(_)) {
            return usize::try_from(number % self.heads.len() as u64).expect("below a length");
        }
        let chains = SERVICES.len() as u64 / PLACES;
        let chain = derived(!self.seed, number / PLACES) % chains;
        let service = usize::try_from(chain * PLACES + number % PLACES).expect("a service");
        service * PODS + random.index(PODS)
    }

    fn pieces(&self, random: &mut Random, process: usize, place: u64) -> Vec<&Piece> {
        match &self.items {
            Items::Spans(spans) => (0..u64::from(ITEMS))
                .map(|index| spans.piece(random, place, index % PER_TRACE))
                .collect(),
            Items::Logs(records) => (0..ITEMS)
                .map(|_| &records[random.index(records.len())])
                .collect(),
            Items::Metrics(metrics) => metrics[process].iter().collect(),
        }
    }
}

impl Head {
    /// The request up to its items, which are going to have so many bytes.
    fn begin(&self, items_bytes: usize) -> Vec<u8> {
        let scope_bytes = self.scope.len() + items_bytes;
        let resource_bytes = self.resource.len() + field_bytes(scope_bytes);
        let mut body = Vec::with_capacity(field_bytes(resource_bytes));
        put_head(&mut body, 1, resource_bytes);
        body.extend_from_slice(&self.resource);
        put_head(&mut body, 2, scope_bytes);
        body.extend_from_slice(&self.scope);
        body
    }
}

/// The tag and the length of an embedded message.
fn put_head(body: &mut Vec<u8>, field: u32, length: usize) {
    prost::encoding::encode_key(field, prost::encoding::WireType::LengthDelimited, body);
    prost::encoding::encode_varint(length as u64, body);
}

fn field_bytes(length: usize) -> usize {
    1 + prost::encoding::encoded_len_varint(length as u64) + length
}

/// A message as a field of another.
fn field(number: u32, message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field_bytes(message.encoded_len()));
    put_head(&mut bytes, number, message.encoded_len());
    bytes.extend(message.encode_to_vec());
    bytes
}

fn head(service: &str, pod: usize, random: &mut Random) -> Head {
    let pod = format!("{service}-7c9f8d6b54-{:04x}{pod}", random.below(1 << 16));
    let resource = Resource {
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
    };
    let scope = InstrumentationScope {
        name: "io.opentelemetry.tomcat-10.0".to_owned(),
        version: "2.20.0-alpha".to_owned(),
        ..InstrumentationScope::default()
    };
    Head {
        resource: field(1, &resource),
        scope: field(1, &scope),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::trace::v1::Span;

    use super::*;

    const NOW: u64 = 1_800_000_000_000_000_000;

    fn spans_of(generator: &Generator, number: u64) -> Vec<Span> {
        let body = generator.request(&mut Random::new(), number, NOW);
        let size = body.len() / 100;
        assert!((450..550).contains(&size), "{size} bytes per span");
        let request = ExportTraceServiceRequest::decode(body).expect("spans");
        request.resource_spans[0].scope_spans[0].spans.clone()
    }

    #[test]
    fn the_spans_of_a_trace_are_one_tree_across_four_requests() {
        let generator = Generator::new(Signal::Spans, Detail::Full).expect("a generator");
        let spans: Vec<Span> = (0..8).flat_map(|number| spans_of(&generator, number)).collect();
        assert_eq!(spans.len(), 800);
        let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id.clone(), span)).collect();
        assert_eq!(by_id.len(), 800, "span ids repeat");
        let traces: HashSet<_> = spans.iter().map(|span| span.trace_id.clone()).collect();
        assert_eq!(traces.len(), 100);
        let roots = spans.iter().filter(|span| span.parent_span_id.is_empty());
        assert_eq!(roots.count(), 100);
        for span in spans.iter().filter(|span| !span.parent_span_id.is_empty()) {
            let parent = by_id[&span.parent_span_id];
            assert_eq!(parent.trace_id, span.trace_id);
            assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
            assert!(span.end_time_unix_nano <= parent.end_time_unix_nano);
            assert!(span.attributes.len() >= 10);
        }
    }

    #[test]
    fn log_records_and_data_points_of_every_type_decode() {
        let mut random = Random::new();
        let logs = Generator::new(Signal::Logs, Detail::Full).expect("a generator");
        let body = logs.request(&mut random, 1, NOW);
        let request = ExportLogsServiceRequest::decode(body).expect("logs");
        let records = &request.resource_logs[0].scope_logs[0].log_records;
        assert_eq!(records.len(), 100);
        assert!(
            records
                .iter()
                .all(|record| record.time_unix_nano <= record.observed_time_unix_nano)
        );

        let metrics = Generator::new(Signal::Metrics, Detail::Full).expect("a generator");
        let body = metrics.request(&mut random, 1, NOW);
        let request = ExportMetricsServiceRequest::decode(body).expect("metrics");
        let (mut points, mut types) = (0, HashSet::new());
        for metric in &request.resource_metrics[0].scope_metrics[0].metrics {
            let data = metric.data.as_ref().expect("data");
            types.insert(std::mem::discriminant(data));
            points += match data {
                Data::Gauge(gauge) => gauge.data_points.len(),
                Data::Sum(sum) => sum.data_points.len(),
                Data::Histogram(histogram) => {
                    for point in &histogram.data_points {
                        assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
                    }
                    histogram.data_points.len()
                }
                Data::ExponentialHistogram(histogram) => {
                    for point in &histogram.data_points {
                        let positive = point.positive.as_ref().expect("positive buckets");
                        let sum = positive.bucket_counts.iter().sum::<u64>();
                        assert_eq!(point.count, point.zero_count + sum);
                    }
                    histogram.data_points.len()
                }
                Data::Summary(summary) => summary.data_points.len(),
            };
        }
        assert_eq!((points, types.len()), (100, 4));
    }
}
