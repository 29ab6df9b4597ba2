//! AWS's OTLP endpoints, in the agent's own process, against a stand-in for AWS that decodes with
//! the reference decoder and holds every limit: what is delivered, what is given up.

use std::time::Duration;

use aws_standin::{Action, Faults, Standin};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;

use super::child::Child;
use super::iam;
use super::spans::{attribute, request, shop, span, text};
use super::standin::{REGION, assert_well_formed, dropped, standin};

/// An agent with this exporter and further keys, which follow a comma.
async fn agent(name: &str, aws: &Standin, more: &str) -> Child {
    let exporter = format!(
        "  {name}: {{ region: {REGION}, endpoint_url: \"{}\", protocol: otlp, rate: 10000, linger: 10ms, retry_longest: 200ms{more} }}\n",
        aws.url()
    );
    Child::start(&exporter, &aws.environment()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_arrive_in_spite_of_throttling_and_resets_and_what_is_too_large_costs_only_itself() {
    let aws = standin(1).await;
    aws.fail(Faults {
        throttled: 0.3,
        reset: 0.1,
        slow: 0.1,
        slowness: Duration::from_millis(50),
        ..Faults::default()
    });
    let agent = agent("xray", &aws, "").await;
    // More than a request may hold, together and in one.
    for number in 0..4 {
        let spans = (number * 100..number * 100 + 100).map(|number| {
            let mut span = span(number);
            span.attributes.push(attribute("body", text("x".repeat(30_000))));
            span
        });
        agent.send("/v1/traces", &shop(spans.collect())).await;
    }
    agent
        .send("/v1/traces", &shop((400..12_400).map(span).collect()))
        .await;
    let mut large: Vec<_> = (12_400..12_410).map(span).collect();
    large[5]
        .attributes
        .push(attribute("body", text("x".repeat(210_000))));
    agent.send("/v1/traces", &shop(large)).await;
    let resource = vec![attribute("env", text("x".repeat(17_000)))];
    agent
        .send(
            "/v1/traces",
            &request(resource, (12_410..12_420).map(span).collect()),
        )
        .await;
    let metrics = agent.settled("xray", Signal::Spans, 12_420).await;
    assert_well_formed(&aws);
    assert_eq!(dropped(&metrics, "too_large", "xray", Signal::Spans), 11);
    assert_eq!(aws.look(|seen| seen.spans.len()), 12_409);
    assert_eq!(aws.look(iam::needed), iam::allowed("xray_otlp"));
    let told = agent.logged(&["AWS takes no"]);
    assert_eq!(told.len(), 2, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampled_spans_say_so_and_the_others_are_counted() {
    let aws = standin(1).await;
    let agent = agent("xray", &aws, ", sampling: { ratio: 0.25 }").await;
    agent
        .send("/v1/traces", &shop((0..700).map(span).collect()))
        .await;
    let metrics = agent.settled("xray", Signal::Spans, 700).await;
    assert_well_formed(&aws);
    let kept = aws.look(|seen| seen.spans.len());
    assert!((70..300).contains(&kept) && kept.is_multiple_of(7), "{kept}");
    let left_out = i64::try_from(700 - kept).expect("few");
    assert_eq!(dropped(&metrics, "sampled", "xray", Signal::Spans), left_out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_records_go_to_the_stream_that_is_configured_and_rejected_ones_are_counted() {
    let aws = standin(1).await;
    aws.create_log_group("/meridian/prod", &["node-1"]);
    let agent = agent("cloudwatch_logs", &aws, "").await;
    let now = Clock::system().now_unix_nanos();
    let record = |number: u64| LogRecord {
        // One of a hundred is of three weeks ago.
        time_unix_nano: now
            - if number.is_multiple_of(100) {
                21 * 86_400_000_000_000
            } else {
                0
            },
        body: Some(AnyValue {
            value: Some(text(format!("{number:x>300}"))),
        }),
        ..LogRecord::default()
    };
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: (0..11_000).map(record).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    agent.send("/v1/logs", &logs.encode_to_vec()).await;
    let metrics = agent.settled("cloudwatch_logs", Signal::Logs, 11_000).await;
    assert_well_formed(&aws);
    assert_eq!(dropped(&metrics, "refused", "cloudwatch_logs", Signal::Logs), 110);
    let (stored, calls) = aws.look(|seen| {
        let stored: usize = seen.streams.values().map(|stream| stream.count).sum();
        (stored, seen.calls(Action::OtlpLogs))
    });
    assert_eq!(stored, 10_890);
    assert!(calls >= 4, "3.6 MB in {calls} calls");
}
