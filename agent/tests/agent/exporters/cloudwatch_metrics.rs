//! The CloudWatch metrics exporter, in the agent's own process, against a stand-in for AWS that
//! holds every limit and checks every signature: what arrives is what was counted, whatever fails
//! on the way and whenever the agent is killed.

use aws_standin::{Cause, Faults, Measured, Seen, Standin};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::child::Child;
use super::iam;
use super::rig::sum;
use super::standin::{REGION, assert_well_formed, items, standin};

const NAME: &str = "cloudwatch_metrics";
const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;

/// An agent that sends everything by service, with further keys, which follow a comma.
async fn agent(aws: &Standin, more: &str) -> Child {
    let exporter = format!(
        "  {NAME}: {{ region: {REGION}, endpoint_url: \"{}\", rate: 10000, linger: 10ms, retry_longest: 200ms, \
         metrics: {{ \"*\": {{ dimensions: [service.name] }} }}{more} }}\n",
        aws.url()
    );
    Child::start(&exporter, &aws.environment()).await
}

fn now() -> u64 {
    Clock::system().now_unix_nanos()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// A sum of one point, which counts since `start`.
fn counter(start: u64, value: i64, temporality: i32) -> Metric {
    let point = NumberDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: now(),
        value: Some(Number::AsInt(value)),
        ..NumberDataPoint::default()
    };
    Metric {
        name: "requests".to_owned(),
        unit: "{request}".to_owned(),
        data: Some(Data::Sum(Sum {
            data_points: vec![point],
            aggregation_temporality: temporality,
            is_monotonic: true,
        })),
        ..Metric::default()
    }
}

/// A cumulative histogram of one point, each value of which is 1.5.
fn duration(start: u64, count: u64) -> Metric {
    let point = HistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: now(),
        count,
        sum: Some(count as f64 * 1.5),
        bucket_counts: vec![0, count, 0],
        explicit_bounds: vec![1.0, 2.0],
        ..HistogramDataPoint::default()
    };
    Metric {
        name: "duration".to_owned(),
        unit: "s".to_owned(),
        data: Some(Data::Histogram(Histogram {
            data_points: vec![point],
            aggregation_temporality: CUMULATIVE,
        })),
        ..Metric::default()
    }
}

fn request(service: &str, metrics: Vec<Metric>) -> Vec<u8> {
    let group = ResourceMetrics {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", service)],
            ..Resource::default()
        }),
        scope_metrics: vec![ScopeMetrics {
            metrics,
            ..ScopeMetrics::default()
        }],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![group],
    }
    .encode_to_vec()
}

/// How many values of a metric arrived, and their sum.
fn arrived(seen: &Seen, name: &str) -> (f64, f64) {
    let mut all = (0.0, 0.0);
    for datum in seen.data.iter().filter(|datum| datum.name == name) {
        let values = match &datum.measured {
            Measured::Value(value) => vec![(*value, 1.0)],
            Measured::Values(values) => values.clone(),
            Measured::Statistics { .. } => Vec::new(),
        };
        for (value, count) in values {
            all.0 += count;
            all.1 += value * count;
        }
    }
    all
}

fn dropped(metrics: &str) -> i64 {
    items(metrics, "dropped", NAME, Signal::Metrics)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_resets_and_errors_lose_and_double_nothing() {
    let aws = standin(31).await;
    aws.fail(Faults {
        throttled: 0.3,
        reset: 0.05,
        broken: 0.05,
        ..Faults::default()
    });
    let agent = agent(&aws, "").await;
    let start = now();
    let had_all = |seen: &Seen| {
        let faults = [Cause::Throttled, Cause::Broken];
        faults.iter().all(|cause| seen.refused(*cause) > 0) && seen.resets > 0
    };
    let mut sent = 0_u32;
    while sent < 300 || !aws.look(had_all) {
        sent += 1;
        let metrics = vec![
            counter(start, i64::from(sent), CUMULATIVE),
            duration(start, 2 * u64::from(sent)),
        ];
        agent.send("/v1/metrics", &request("shop", metrics)).await;
        agent
            .send("/v1/metrics", &request("delta", vec![counter(start, 1, DELTA)]))
            .await;
        assert!(sent < 20_000, "the faults were there long ago");
    }
    let metrics = agent.settled(NAME, Signal::Metrics, 3 * i64::from(sent)).await;
    assert_eq!(dropped(&metrics), 0);
    assert_well_formed(&aws);
    let sent = f64::from(sent);
    assert_eq!(aws.look(|seen| arrived(seen, "requests").1), 2.0 * sent);
    let (count, total) = aws.look(|seen| arrived(seen, "duration"));
    assert_eq!(count, 2.0 * sent);
    assert!((total - 3.0 * sent).abs() < 1e-6 * total, "{total}");
    assert_eq!(aws.look(iam::needed), iam::allowed(NAME));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_goes_on_counting_where_it_was() {
    let aws = standin(32).await;
    let mut agent = agent(&aws, "").await;
    let start = now();
    let mut accepted = 0;
    for life in 0..4_u32 {
        for step in 1..=20 {
            let value = life * 20 + step;
            let metrics = vec![
                counter(start, i64::from(value), CUMULATIVE),
                duration(start, u64::from(value)),
            ];
            agent.send("/v1/metrics", &request("shop", metrics)).await;
            agent
                .send("/v1/metrics", &request("delta", vec![counter(start, 1, DELTA)]))
                .await;
        }
        accepted += 60;
        // What is settled was kept: after the kill it is neither lost nor sent again.
        let metrics = agent.metrics().await;
        let recovered = sum(&metrics, "meridian_agent_recovered_items", NAME, Signal::Metrics);
        let metrics = agent.settled(NAME, Signal::Metrics, recovered + 60).await;
        assert_eq!(dropped(&metrics), 0);
        agent.restart(&aws.environment()).await;
    }
    assert_well_formed(&aws);
    assert_eq!(
        aws.look(|seen| arrived(seen, "requests").1),
        f64::from(accepted) * 2.0 / 3.0
    );
    assert_eq!(
        aws.look(|seen| arrived(seen, "duration").0),
        f64::from(accepted) / 3.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cloudwatch_cannot_hold_costs_itself_alone_and_is_told_once() {
    let aws = standin(33).await;
    let agent = agent(&aws, ", max_series: 2").await;
    for number in 0..50 {
        let mut old = counter(0, 1, DELTA);
        let mut unnamed = counter(0, 1, DELTA);
        unnamed.name = "n".repeat(256);
        if let Some(Data::Sum(sum)) = &mut old.data {
            sum.data_points[0].time_unix_nano = 1;
        }
        let metrics = vec![old, counter(0, 1, DELTA), unnamed];
        agent
            .send("/v1/metrics", &request(&format!("service-{number}"), metrics))
            .await;
    }
    let metrics = agent.settled(NAME, Signal::Metrics, 150).await;
    assert_eq!(dropped(&metrics), 100);
    for reason in ["too_old", "invalid"] {
        assert!(
            metrics.contains(&format!("reason=\"{reason}\",signal=\"metrics\"}} 50")),
            "{metrics}"
        );
        assert_eq!(agent.logged(&["a data point is dropped", reason]).len(), 1);
    }
    assert_well_formed(&aws);
    assert_eq!(aws.look(|seen| arrived(seen, "requests").1), 50.0);
    assert!(metrics.contains("meridian_agent_cloudwatch_billed_series{exporter=\"cloudwatch_metrics\"} 3"));
    assert!(
        metrics.contains(
            "meridian_agent_cloudwatch_overflowed_points_total{exporter=\"cloudwatch_metrics\"} 48"
        )
    );
}
