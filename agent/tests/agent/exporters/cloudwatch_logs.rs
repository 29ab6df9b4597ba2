//! The CloudWatch Logs exporter, in the agent's own process, against a stand-in for AWS that holds
//! every limit and checks every signature: what is delivered, what is waited for, what is given up.

mod denied;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_standin::{Action, Cause, Faults, Seen, Settings, Standin};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::child::Child;
use super::iam;
use super::rig::eventually;
use super::standin::{self, REGION, assert_well_formed, standin};

const NAME: &str = "cloudwatch_logs";
const HOUR: u64 = 3_600_000_000_000;

/// The exporter with further keys, which follow a comma.
fn exporter(aws: &Standin, more: &str) -> String {
    format!(
        "  {NAME}: {{ region: {REGION}, endpoint_url: \"{}\", log_group: \"/meridian/{{service.name}}\", format: body, \
         rate: 10000, retry_longest: 100ms, create_spread: 10ms{more} }}\n",
        aws.url()
    )
}

async fn agent(aws: &Standin, more: &str) -> Child {
    Child::start(&exporter(aws, more), &aws.environment()).await
}

fn now() -> u64 {
    Clock::system().now_unix_nanos()
}

fn text(text: impl Into<String>) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(Value::StringValue(text.into())),
    })
}

/// A request of a service's records: times and bodies.
pub(super) fn logs(service: &str, records: impl IntoIterator<Item = (u64, String)>) -> Vec<u8> {
    let record = |(time_unix_nano, body): (u64, String)| LogRecord {
        time_unix_nano,
        body: text(body),
        ..LogRecord::default()
    };
    let attribute = KeyValue {
        key: "service.name".to_owned(),
        value: text(service),
        ..KeyValue::default()
    };
    let group = ResourceLogs {
        resource: Some(Resource {
            attributes: vec![attribute],
            ..Resource::default()
        }),
        scope_logs: vec![ScopeLogs {
            log_records: records.into_iter().map(record).collect(),
            ..ScopeLogs::default()
        }],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![group],
    }
    .encode_to_vec()
}

/// Records of now, with bodies of this beginning and a number.
pub(super) fn numbered(begin: &str, numbers: std::ops::Range<usize>) -> Vec<(u64, String)> {
    let now = now();
    numbers.map(|number| (now, format!("{begin} {number}"))).collect()
}

fn count(metrics: &str, what: &str) -> i64 {
    standin::items(metrics, what, NAME, Signal::Logs)
}

fn dropped(metrics: &str, reason: &str) -> i64 {
    standin::dropped(metrics, reason, NAME, Signal::Logs)
}

/// How often each text arrived.
fn arrived(aws: &Standin) -> BTreeMap<String, usize> {
    aws.look(|seen| {
        let messages = seen.messages().into_iter();
        messages.map(|(text, times)| (text.to_owned(), times)).collect()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_resets_lost_and_slow_answers_lose_nothing() {
    let aws = standin(30).await;
    aws.fail(Faults {
        throttled: 0.3,
        reset: 0.05,
        lost_answers: 0.15,
        broken: 0.05,
        slow: 0.1,
        slowness: Duration::from_millis(200),
        ..Faults::default()
    });
    let agent = agent(&aws, ", linger: 10ms, retention_days: 7").await;
    let had_all = |seen: &Seen| {
        let faults = [Cause::Throttled, Cause::Broken];
        let lost = seen.lost_answers.get(&Action::PutLogEvents).copied();
        faults.iter().all(|cause| seen.refused(*cause) > 0) && seen.resets > 0 && lost > Some(1)
    };
    let mut sent = 0;
    while sent < 4000 || !aws.look(had_all) {
        let service = format!("service-{}", sent % 8);
        agent
            .send_logs(&logs(&service, numbered("event", sent..sent + 49)))
            .await;
        sent += 49;
        assert!(sent < 20_000, "the faults were there long ago");
        if sent > 4000 {
            agent
                .settled(NAME, Signal::Logs, i64::try_from(sent).expect("few"))
                .await;
        }
    }
    let metrics = agent
        .settled(NAME, Signal::Logs, i64::try_from(sent).expect("few"))
        .await;
    assert_eq!(count(&metrics, "dropped"), 0);
    assert_well_formed(&aws);
    let arrived = arrived(&aws);
    assert!((0..sent).all(|number| arrived.contains_key(&format!("event {number}"))));
    aws.look(|seen| assert_eq!(iam::needed(seen), iam::allowed(NAME)));
    for number in 0..8 {
        let group = format!("/meridian/service-{number}");
        assert_eq!(aws.retention_days(&group), Some(7), "{group}");
    }
    assert!(
        arrived.values().any(|times| *times > 1),
        "a lost answer is a duplicate"
    );
    let of_spans = ["exporter=\"cloudwatch_logs\"", "signal=\"spans\""];
    let books = metrics
        .lines()
        .find(|line| of_spans.iter().all(|label| line.contains(label)));
    assert_eq!(books, None, "it takes no spans");
    let told = agent.logged(&["throttled"]);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_too_old_too_new_or_expired_are_counted_by_kind_and_the_others_stored() {
    let aws = standin(1).await;
    let agent = agent(&aws, ", linger: 100ms, retention_days: 3").await;
    let now = now();
    let days = |days: u64| now - days * 24 * HOUR;
    let records = [
        (days(14) - HOUR, "too old"),
        (days(14) + HOUR, "expired"),
        (days(3) - 2 * HOUR, "also expired"),
        (days(3) + 2 * HOUR, "old"),
        (days(2), "a day younger"),
        (now + HOUR, "soon"),
        (now + 3 * HOUR, "too new"),
    ];
    let records = records.map(|(time, body)| (time, body.to_owned()));
    agent.send_logs(&logs("times", records)).await;
    let metrics = agent.settled(NAME, Signal::Logs, 7).await;
    assert_eq!(dropped(&metrics, "too_old"), 3);
    assert_eq!(dropped(&metrics, "too_new"), 1);
    assert_well_formed(&aws);
    assert_eq!(
        arrived(&aws).into_keys().collect::<Vec<_>>(),
        ["a day younger", "old", "soon"]
    );
    let rejected = aws.look(|seen| seen.rejected_events.clone());
    assert_eq!(
        rejected,
        BTreeMap::from([("expired", 2), ("too_new", 1), ("too_old", 1)])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_two_megabytes_is_cut_and_says_so_and_the_others_are_whole() {
    for (format, mark) in [("body", " [truncated]"), ("json", "\"truncated\":true")] {
        let aws = standin(1).await;
        let exporter =
            exporter(&aws, ", linger: 100ms").replace("format: body", &format!("format: {format}"));
        let agent = Child::start(&exporter, &aws.environment()).await;
        let mut records = numbered("small", 0..10);
        records.insert(5, (now(), "ü".repeat(1 << 20)));
        agent.send_logs(&logs("large", records)).await;
        let metrics = agent.settled(NAME, Signal::Logs, 11).await;
        assert_eq!(count(&metrics, "dropped"), 0);
        assert_well_formed(&aws);
        let arrived = arrived(&aws);
        assert_eq!(arrived.len(), 11);
        let large = arrived.keys().max_by_key(|text| text.len()).expect("events");
        assert!(
            large.len() > 500_000 && large.contains(mark),
            "{} bytes",
            large.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_backlog_needs_hardly_more_calls_than_the_fewest() {
    let aws = standin(1).await;
    aws.fail(Faults {
        broken: 1.0,
        ..Faults::default()
    });
    // Nothing that is not full leaves before the end.
    let agent = agent(&aws, ", linger: 10m, window_bytes: 8MiB").await;
    let (events, bytes) = (8000, 4000);
    for number in 0..40 {
        let records = numbered("event", number * 200..number * 200 + 200).into_iter();
        let records = records.map(|(time, text)| (time, format!("{text:x<bytes$}")));
        agent.send_logs(&logs("backlog", records)).await;
    }
    eventually("it was tried", || {
        aws.look(|seen| seen.calls(Action::PutLogEvents)) > 2
    })
    .await;
    // Most of it is read and sent only while the agent ends.
    agent.ask_to_end();
    agent.says("stopped stage=\"receivers\"").await;
    aws.fail(Faults::default());
    agent.ended().await;
    assert_well_formed(&aws);
    let (stored, calls) = aws.look(|seen| {
        let stored: usize = seen.streams.values().map(|stream| stream.count).sum();
        (stored, seen.taken.get(&Action::PutLogEvents).copied())
    });
    assert_eq!(stored, events);
    let fewest = (events * (bytes + 26)).div_ceil(1_048_576);
    let calls = calls.expect("calls");
    assert!(calls <= fewest + fewest / 20, "{calls} calls, {fewest} would do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_assumed_and_its_keys_sign() {
    let aws = standin(1).await;
    let role = ", linger: 10ms, assume_role: \"arn:aws:iam::123456789012:role/telemetry\"";
    let agent = agent(&aws, role).await;
    agent.send_logs(&logs("role", numbered("event", 0..10))).await;
    let metrics = agent.settled(NAME, Signal::Logs, 10).await;
    assert_eq!(count(&metrics, "dropped"), 0);
    assert_well_formed(&aws);
    aws.look(|seen| {
        assert_eq!(seen.calls(Action::AssumeRole), 1);
        let mut expected = iam::allowed("assume_role");
        expected.extend(iam::allowed(NAME));
        expected.remove(Action::PutRetentionPolicy.permission());
        assert_eq!(iam::needed(seen), expected);
    });
}
