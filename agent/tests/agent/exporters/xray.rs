//! The X-Ray exporter, in the agent's own process, against a stand-in for AWS that judges every
//! document and checks every signature: what is delivered, what is waited for, what is given up.

use std::time::Duration;

use aws_standin::{Action, Denied, Faults, Standin};
use meridian_proto::signal::Signal;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::child::Child;
use super::iam;
use super::spans::{attribute, id, shop, span, text};
use super::standin::{self, REGION, assert_well_formed, standin};

const NAME: &str = "xray";

/// An agent with the exporter and further keys, which follow a comma.
async fn agent(aws: &Standin, more: &str) -> Child {
    let exporter = format!(
        "  {NAME}: {{ region: {REGION}, endpoint_url: \"{}\", rate: 10000, linger: 10ms, retry_longest: 200ms{more} }}\n",
        aws.url()
    );
    Child::start(&exporter, &aws.environment()).await
}

async fn send(agent: &Child, spans: Vec<Span>) {
    agent.send("/v1/traces", &shop(spans)).await;
}

fn count(metrics: &str, what: &str) -> i64 {
    standin::items(metrics, what, NAME, Signal::Spans)
}

fn dropped(metrics: &str, reason: &str) -> i64 {
    standin::dropped(metrics, reason, NAME, Signal::Spans)
}

/// The ids of the documents that were taken.
fn arrived(aws: &Standin) -> Vec<String> {
    aws.look(|seen| seen.documents.keys().cloned().collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_partial_failures_resets_and_lost_answers_lose_nothing() {
    let aws = standin(7).await;
    aws.fail(Faults {
        throttled: 0.3,
        unprocessed: 0.2,
        reset: 0.05,
        lost_answers: 0.05,
        broken: 0.05,
        slow: 0.1,
        slowness: Duration::from_millis(100),
        ..Faults::default()
    });
    let agent = agent(&aws, "").await;
    for number in 0..40 {
        send(&agent, (number * 50..number * 50 + 50).map(span).collect()).await;
    }
    let metrics = agent.settled(NAME, Signal::Spans, 2000).await;
    assert_eq!(
        (count(&metrics, "delivered"), count(&metrics, "dropped")),
        (2000, 0)
    );
    assert_well_formed(&aws);
    assert_eq!(arrived(&aws), (0..2000).map(id).collect::<Vec<_>>());
    aws.look(|seen| {
        let lost: usize = seen.lost_answers.values().sum();
        let faults = [lost, seen.resets, seen.unprocessed];
        assert!(
            faults.iter().all(|times| *times > 0),
            "the faults were there: {faults:?}"
        );
        assert_eq!(iam::needed(seen), iam::allowed(NAME));
    });
    let told = agent.logged(&["throttled"]);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_always_comes_back_is_given_up_while_others_are_taken() {
    let aws = standin(1).await;
    aws.fail(Faults {
        fails_on: Some(id(7)),
        ..Faults::default()
    });
    let agent = agent(&aws, "").await;
    send(&agent, (0..120).map(span).collect()).await;
    let metrics = agent.settled(NAME, Signal::Spans, 120).await;
    assert_eq!((count(&metrics, "dropped"), dropped(&metrics, "refused")), (1, 1));
    let others: Vec<String> = (0..120).filter(|number| *number != 7).map(id).collect();
    assert_eq!(arrived(&aws), others);
    let told = agent.logged(&["again and again"]);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_denies_everything_is_waited_for_and_told_once() {
    let aws = standin(1).await;
    aws.fail(Faults {
        denied: vec![Denied::Action(Action::PutTraceSegments)],
        ..Faults::default()
    });
    let agent = agent(&aws, "").await;
    for number in 0..3 {
        send(&agent, (number * 60..number * 60 + 60).map(span).collect()).await;
    }
    let denied = |metrics: &str| {
        let lines = metrics
            .lines()
            .filter(|line| line.contains("exporter_requests_total"));
        let mut denied = lines.filter(|line| line.contains("outcome=\"denied\""));
        denied.any(|line| {
            line.rsplit(' ')
                .next()
                .is_some_and(|times| times.len() > 1 || times > "5")
        })
    };
    let metrics = agent.shows("it is denied again and again", denied).await;
    assert_eq!(
        count(&metrics, "delivered") + count(&metrics, "dropped"),
        0,
        "it waits"
    );
    let errors = agent.logged(&["ERROR"]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("xray:PutTraceSegments"), "{errors:?}");
    aws.fail(Faults::default());
    let metrics = agent.settled(NAME, Signal::Spans, 180).await;
    assert_eq!(count(&metrics, "dropped"), 0);
    assert_well_formed(&aws);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_as_odd_as_can_be_are_delivered_and_harm_no_others() {
    let aws = standin(1).await;
    let agent = agent(&aws, "").await;
    let mut spans: Vec<Span> = (0..70).map(span).collect();
    let mut add =
        |number: usize, key: &str, value: Value| spans[number].attributes.push(attribute(key, value));
    add(1, "body", text("ü".repeat(1 << 20)));
    for (number, value) in [f64::NAN, f64::INFINITY, -0.0].into_iter().enumerate() {
        add(10 + number, "value", Value::DoubleValue(value));
        add(10 + number, "aws.xray.annotations", text("value"));
    }
    add(20, "peer.service", text("a?b*c \u{1F600}".repeat(100)));
    for part in 0..20 {
        add(30, &format!("part {part}"), text("x".repeat(10_000)));
    }
    // X-Ray has no place for these two.
    (spans[40].start_time_unix_nano, spans[40].end_time_unix_nano) = (0, 0);
    (spans[41].start_time_unix_nano, spans[41].end_time_unix_nano) = (0, 0);
    spans[50].status = Some(Status {
        code: 2,
        message: "\u{0}\"\\".repeat(500),
    });
    send(&agent, spans).await;
    let metrics = agent.settled(NAME, Signal::Spans, 70).await;
    assert_well_formed(&aws);
    assert_eq!(dropped(&metrics, "invalid"), 2);
    assert_eq!(count(&metrics, "dropped"), 2);
    let arrived = arrived(&aws);
    for number in (0..70).filter(|number| ![40, 41].contains(number)) {
        assert!(arrived.contains(&id(number)), "{number}");
    }
    assert!(
        arrived.len() > 70,
        "one span is several documents: {}",
        arrived.len()
    );
    let large = aws.look(|seen| seen.documents[&id(1)].text.clone());
    assert!(large.contains("meridian.trimmed"), "{large}");
    let told = agent.logged(&["X-Ray cannot hold"]);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampling_keeps_whole_traces_and_all_errors_and_counts_the_others() {
    let aws = standin(1).await;
    let agent = agent(&aws, ", sampling: { ratio: 0.25, keep_errors: true }").await;
    let is_error = |number: u64| number % 10 == 3;
    let spans = (0..1400).map(|number| Span {
        status: is_error(number).then(|| Status {
            code: 2,
            ..Status::default()
        }),
        ..span(number)
    });
    send(&agent, spans.collect()).await;
    let metrics = agent.settled(NAME, Signal::Spans, 1400).await;
    let arrived = arrived(&aws);
    let is_there = |number: u64| arrived.binary_search(&id(number)).is_ok();
    let kept = (0..200).filter(|trace| {
        let spans = || trace * 7..trace * 7 + 7;
        assert!(
            spans().filter(|number| is_error(*number)).all(is_there),
            "errors of {trace}"
        );
        let mut others = spans().filter(|number| !is_error(*number)).map(is_there);
        let first = others.next();
        assert!(others.all(|other| Some(other) == first), "trace {trace} is torn");
        first == Some(true)
    });
    let kept = kept.count();
    assert!((25..80).contains(&kept), "{kept} of 200");
    let left_out = 1400 - i64::try_from(arrived.len()).expect("few");
    assert_eq!(
        (dropped(&metrics, "sampled"), count(&metrics, "dropped")),
        (left_out, left_out)
    );
    assert_well_formed(&aws);
}
