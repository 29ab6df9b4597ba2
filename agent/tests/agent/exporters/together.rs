//! All exporters of one agent at once, in its own process: each has everything that it takes, and
//! one that stands still holds up no other.

use aws_standin::{Faults, Seen, Standin};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::backend::{self, Backend};
use super::child::Child;
use super::cloudwatch_logs::{logs, numbered};
use super::fake::Fake;
use super::spans::{attribute, shop, span, text};
use super::standin::{assert_well_formed, counter, items, standin};

const EXPORTERS: [(&str, &[Signal]); 5] = [
    ("aggregator", &Signal::ALL),
    ("otlp", &Signal::ALL),
    ("xray", &[Signal::Spans]),
    ("cloudwatch_logs", &[Signal::Logs]),
    ("cloudwatch_metrics", &[Signal::Metrics]),
];
const REQUESTS: u64 = 30;
const ITEMS: u64 = 20;
/// Ten records a second for an hour.
const HOUR_REQUESTS: u64 = 36;
const HOUR_ITEMS: u64 = 1_000;

const RECORDS: &str = "meridian_agent_spool_committed_records_total";
const COMMITS: &str = "meridian_agent_spool_commits_total";

/// The far sides of all five.
struct Sides {
    aggregator: Fake,
    backend: Backend,
    aws: Standin,
}

impl Sides {
    async fn start() -> Self {
        Self {
            aggregator: Fake::start(&[]).await,
            backend: Backend::start(backend::Faults::default()).await,
            aws: standin(1).await,
        }
    }

    async fn agent(&self) -> Child {
        let often = "rate: 1000, linger: 100ms, retry_longest: 200ms";
        let aws = format!(
            "region: eu-central-1, endpoint_url: \"{}\", {often}",
            self.aws.url()
        );
        let exporters = format!(
            "  aggregator: {{ endpoint: \"http://{}\" }}\n  \
             otlp: {{ endpoint: \"http://{}\", protocol: http, compression: zstd, {often} }}\n  \
             xray: {{ {aws} }}\n  \
             cloudwatch_logs: {{ {aws} }}\n  \
             cloudwatch_metrics: {{ {aws}, metrics: {{ \"*\": {{ dimensions: [service.name] }} }} }}\n",
            self.aggregator.address, self.backend.address
        );
        Child::start(&exporters, &self.aws.environment()).await
    }
}

/// A request of data points of now.
fn points(items: u64) -> Vec<u8> {
    let point = |number: u64| NumberDataPoint {
        time_unix_nano: Clock::system().now_unix_nanos(),
        value: Some(Value::AsInt(number.cast_signed())),
        ..NumberDataPoint::default()
    };
    let gauge = Gauge {
        data_points: (0..items).map(point).collect(),
    };
    let metric = Metric {
        name: "queue.length".to_owned(),
        data: Some(metric::Data::Gauge(gauge)),
        ..Metric::default()
    };
    let scope_metrics = ScopeMetrics {
        metrics: vec![metric],
        ..ScopeMetrics::default()
    };
    let resource = Resource {
        attributes: vec![attribute("service.name", text("cart"))],
        ..Resource::default()
    };
    let group = ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![scope_metrics],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![group],
    }
    .encode_to_vec()
}

fn number(items: u64) -> i64 {
    i64::try_from(items).expect("few")
}

/// The exporters that have not delivered so many items of each of these signals that they take.
fn behind(text: &str, wanted: u64, of: &[Signal]) -> Vec<(&'static str, i64)> {
    let missing = |(exporter, signals): (&'static str, &[Signal])| {
        let taken = of.iter().filter(|signal| signals.contains(signal));
        let missing = taken.map(|signal| number(wanted) - items(text, "delivered", exporter, *signal));
        (exporter, missing.sum())
    };
    let behind = EXPORTERS.into_iter().map(missing);
    behind.filter(|(_, missing)| *missing != 0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_exporters_have_everything_that_they_take() {
    let sides = Sides::start().await;
    let agent = sides.agent().await;
    let counted = async |name: &str| counter(&agent.metrics().await, name);
    let before = (counted(RECORDS).await, counted(COMMITS).await);
    for request in 0..REQUESTS {
        let first = 1 + request * ITEMS;
        let spans = (first..first + ITEMS).map(span).collect();
        agent.send("/v1/traces", &shop(spans)).await;
        agent
            .send("/v1/logs", &logs("cart", numbered("log", 0..20)))
            .await;
        agent.send("/v1/metrics", &points(ITEMS)).await;
    }
    let all = REQUESTS * ITEMS;
    agent
        .shows("all of them have everything", |text| {
            behind(text, ITEMS * REQUESTS, &Signal::ALL).is_empty()
        })
        .await;
    assert_eq!(sides.aggregator.seen.lock().rows(), 3 * all);
    assert_eq!(sides.backend.items(), 3 * all);
    let (documents, events) = sides.aws.look(|seen: &Seen| {
        let events: usize = seen.streams.values().map(|stream| stream.count).sum();
        (seen.documents.len() as u64, events as u64)
    });
    assert_eq!((documents, events), (all, all));
    assert!(sides.aws.look(|seen| seen.data_count) > 0);
    assert_well_formed(&sides.aws);
    // One after the other, each was fsynced by itself, and once for all five.
    let requests = 3 * number(REQUESTS);
    let after = (counted(RECORDS).await, counted(COMMITS).await);
    assert_eq!((after.0 - before.0, after.1 - before.1), (requests, requests));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exporter_that_stands_still_for_an_hour_of_data_holds_up_no_other() {
    let sides = Sides::start().await;
    let agent = sides.agent().await;
    let broken = Faults {
        broken: 1.0,
        ..Faults::default()
    };
    sides.aws.fail(broken);
    for _ in 0..HOUR_REQUESTS {
        agent
            .send("/v1/logs", &logs("cart", numbered("log", 0..1_000)))
            .await;
    }
    let hour = HOUR_REQUESTS * HOUR_ITEMS;
    let stands = |text: &str| behind(text, hour, &[Signal::Logs]) == [("cloudwatch_logs", number(hour))];
    agent.shows("the others have everything", stands).await;

    sides.aws.fail(Faults::default());
    agent
        .shows("it has caught up", |text| {
            behind(text, hour, &[Signal::Logs]).is_empty()
        })
        .await;
    assert_well_formed(&sides.aws);
}
