//! The OTLP exporter against a backend that decodes with the reference decoder and fails on
//! purpose: what it takes, what it is told again, and what is given up.

use std::time::Duration;

use meridian_agent::exporters::otlp::{Compression, Otlp, Protocol, Settings};
use meridian_agent::requests::courier::{Context, Courier};
use meridian_agent::requests::metrics::Metrics;
use meridian_agent::requests::settings::Settings as Requests;
use meridian_agent::sampling::Sampling;
use meridian_proto::signal::Signal;
use meridian_runtime::config::{FromConfig, HttpUrl};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;

use super::backend::{Backend, Faults};
use super::rig::{Rig, eventually};

const NAME: &str = "otlp";
const WITHIN: Duration = Duration::from_secs(30);

fn courier(rig: &Rig, backend: &Backend) -> Courier<Otlp> {
    courier_at(10_000.0, rig, backend)
}

fn courier_at(rate: f64, rig: &Rig, backend: &Backend) -> Courier<Otlp> {
    let mut requests = Requests::at_rate(rate);
    requests.linger = Duration::from_millis(10);
    requests.retry_longest = Duration::from_millis(50);
    let settings = Settings {
        endpoint: HttpUrl::from_config(&format!("http://{}", backend.address)).expect("a URL"),
        protocol: Protocol::Http,
        compression: Compression::Zstd,
        headers: Vec::new(),
        request_bytes: 2000,
        sampling: Sampling::default(),
        requests,
    };
    let context = Context {
        spool: rig.spool.clone(),
        ledger: rig.ledger.clone(),
        metrics: Metrics::new(&rig.registry).expect("started once"),
    };
    let sink = Otlp::new(&settings).expect("the system has roots");
    Courier::new(NAME.to_owned(), sink, requests, context)
}

/// A request with a log record for each text.
fn logs(texts: &[String]) -> Vec<u8> {
    let record = |text: &String| LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        severity_text: text.clone(),
        ..LogRecord::default()
    };
    let scope = ScopeLogs {
        log_records: texts.iter().map(record).collect(),
        ..ScopeLogs::default()
    };
    let group = ResourceLogs {
        scope_logs: vec![scope],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![group],
    }
    .encode_to_vec()
}

fn texts(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("text {number}")).collect()
}

fn count(rig: &Rig, what: &str) -> i64 {
    rig.sum(&format!("meridian_agent_{what}_items_total"), NAME, Signal::Logs)
}

async fn delivered(rig: &Rig, accepted: i64) {
    eventually("everything is settled", || {
        count(rig, "delivered") + count(rig, "dropped") == accepted
    })
    .await;
    rig.assert_ledger_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_and_lost_answers_lose_nothing() {
    let rig = Rig::new(&[NAME]);
    let backend = Backend::start(Faults {
        throttles_every: Some(3),
        loses_answers_every: Some(7),
        ..Faults::default()
    })
    .await;
    rig.run(NAME, |stop| courier(&rig, &backend).run(stop));
    for number in 0..200 {
        rig.accept(Signal::Logs, 5, logs(&texts(number * 5..number * 5 + 5)))
            .await;
    }
    delivered(&rig, 1000).await;
    assert_eq!(count(&rig, "dropped"), 0);
    let taken = backend.taken();
    assert!(
        texts(0..1000).iter().all(|text| taken.contains_key(text)),
        "all arrived"
    );
    assert!(taken.values().any(|times| *times > 1), "an answer was lost");
    rig.stop(WITHIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_refused_costs_only_the_item_that_is_no_good() {
    let rig = Rig::new(&[NAME]);
    let backend = Backend::start(Faults {
        refuses: Some("text 77"),
        ..Faults::default()
    })
    .await;
    for number in 0..40 {
        rig.accept(Signal::Logs, 3, logs(&texts(number * 3..number * 3 + 3)))
            .await;
    }
    rig.run(NAME, |stop| courier(&rig, &backend).run(stop));
    delivered(&rig, 120).await;
    assert_eq!(count(&rig, "dropped"), 1);
    let taken = backend.taken();
    assert_eq!(taken.len(), 119);
    assert!(taken.values().all(|times| *times == 1));
    rig.stop(WITHIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_refuses_everything_is_not_asked_about_each_item() {
    let rig = Rig::new(&[NAME]);
    let backend = Backend::start(Faults {
        refuses: Some("bad"),
        ..Faults::default()
    })
    .await;
    for _ in 0..40 {
        rig.accept(Signal::Logs, 8, logs(&vec!["bad".to_owned(); 8]))
            .await;
    }
    rig.run(NAME, |stop| courier(&rig, &backend).run(stop));
    delivered(&rig, 320).await;
    assert_eq!(count(&rig, "dropped"), 320);
    // Forty records, what they were joined to, and a few that were divided.
    assert!(backend.requests() < 130, "{} requests", backend.requests());
    rig.stop(WITHIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_items_are_counted_and_whoever_is_not_let_in_waits() {
    let rig = Rig::new(&[NAME]);
    let backend = Backend::start(Faults {
        is_closed: true,
        ..Faults::default()
    })
    .await;
    rig.accept(Signal::Logs, 4, logs(&texts(0..4))).await;
    rig.run(NAME, |stop| courier(&rig, &backend).run(stop));
    eventually("it was tried", || backend.requests() > 0).await;
    assert_eq!(count(&rig, "delivered") + count(&rig, "dropped"), 0, "it waits");
    backend.fail(Faults {
        rejects: 3,
        ..Faults::default()
    });
    delivered(&rig, 4).await;
    assert_eq!(count(&rig, "dropped"), 3);
    rig.stop(WITHIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_was_away_and_then_throttles_is_not_given_up() {
    let rig = Rig::new(&[NAME]);
    let backend = Backend::start(Faults {
        is_away: true,
        ..Faults::default()
    })
    .await;
    // So slow that the one that tries often has to wait for its turn.
    rig.run(NAME, |stop| courier_at(20.0, &rig, &backend).run(stop));
    for number in 0..12 {
        rig.accept(Signal::Logs, 60, logs(&texts(number * 60..number * 60 + 60)))
            .await;
    }
    eventually("it was tried again and again", || backend.requests() >= 6).await;
    backend.fail(Faults {
        throttles_every: Some(1),
        ..Faults::default()
    });
    let tried = backend.requests();
    eventually("it was throttled", || backend.requests() >= tried + 3).await;
    backend.fail(Faults::default());
    delivered(&rig, 720).await;
    assert_eq!(count(&rig, "dropped"), 0);
    rig.stop(WITHIN).await;
}
