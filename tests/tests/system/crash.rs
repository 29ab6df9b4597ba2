//! kill -9 of both processes in turn, under load, while clients repeat what was not
//! answered, while files are merged, vacuumed and logs cleaned in haste, and retention removes
//! rows of days ago that come beside the fresh ones. One run serves both
//! rules. What it does not prove: that the machine may crash.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, ensure};
use meridian_proto::signal::Signal;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::lab::{self, Lab};
use system_tests::load::{Load, Stored, Told, exactly_once, stored};
use system_tests::minio::Minio;
use system_tests::otlp;
use system_tests::wait::eventually;

const KILLS: u64 = 12;
/// Retention in this test, and how old the rows are that it is to remove.
const RETENTION: &str = "retention: 1d";
const OLD_NANOS: u64 = 3 * 24 * 3_600 * 1_000_000_000;
const REMOVED_WITHIN: Duration = Duration::from_secs(60);
const OLD: &str = "SELECT count(*) AS n FROM spans WHERE name = 'old'";

#[derive(Debug, Clone, Copy)]
struct Outcome {
    told: Told,
    stored: [Stored; 3],
}

fn outcome() -> Outcome {
    static OUTCOME: OnceLock<Outcome> = OnceLock::new();
    *OUTCOME.get_or_init(|| {
        let mut outcome = None;
        lab::run_heavy(|lab| async {
            let spec = AggregatorSpec::new("aggregator", &["eu"]);
            outcome = Some(crashes_under_load(lab, spec).await?);
            Ok(())
        });
        outcome.expect("an error would have failed the run")
    })
}

async fn crashes_under_load(lab: Arc<Lab>, spec: AggregatorSpec) -> Result<Outcome> {
    let mut spec = spec.with_hasty_maintenance("4s");
    spec.store_more = format!("{}, {RETENTION}", spec.store_more);
    let mut aggregator = Aggregator::start(&lab, spec).await?;
    let mut agent = Agent::start(&lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
    let load = Load::start(agent.http(), 4, Duration::from_millis(10));
    for kill in 0..KILLS {
        // Crashes fall into every phase of the commit interval.
        tokio::time::sleep(Duration::from_millis(600 + kill * 170 % 800)).await;
        if kill % 2 == 0 {
            agent.process.kill_9()?;
            agent.restart().await?;
        } else {
            aggregator.process.kill_9()?;
            aggregator.restart().await?;
        }
        send_old_spans(&agent).await?;
    }
    let told = load.finish().await?;
    agent.drained(Duration::from_secs(60)).await?;
    let answers = aggregator.answers();
    eventually(REMOVED_WITHIN, "retention removes what is old", || async {
        let answer = answers.sql(OLD).await?;
        ensure!(answer["data"][0]["n"] == 0, "{answer}");
        let warnings = answer["warnings"].to_string();
        ensure!(
            warnings.contains("are kept no longer"),
            "nothing was removed: {answer}"
        );
        Ok(())
    })
    .await?;
    let stored = stored(&answers).await?;
    Ok(Outcome { told, stored })
}

/// Spans of days ago, which no rule asks to be kept.
async fn send_old_spans(agent: &Agent) -> Result<()> {
    let old = |_| {
        let mut span = otlp::span("old");
        span.start_time_unix_nano -= OLD_NANOS;
        span.end_time_unix_nano -= OLD_NANOS;
        span
    };
    let body = otlp::spans_request("old", (0..10).map(old).collect());
    let http = reqwest::Client::new();
    let response = otlp::post_protobuf(&http, agent.http(), Signal::Spans, body).await?;
    ensure!(response.status().is_success(), "{response:?}");
    Ok(())
}

#[test]
fn no_acked_item_lost() {
    let Outcome { told, stored } = outcome();
    assert!(told.unanswered > 0, "the crashes hit no request: {told:?}");
    for signal in Signal::ALL {
        let (acknowledged, stored) = (told.acknowledged[signal.index()], stored[signal.index()]);
        assert!(acknowledged > 0, "{told:?}");
        assert_eq!(stored.distinct, acknowledged, "{signal}: {stored:?}");
    }
}

#[test]
fn no_duplicate_in_store() {
    let Outcome { told, stored } = outcome();
    for signal in Signal::ALL {
        let stored = stored[signal.index()];
        assert_eq!(stored.rows, stored.distinct, "{signal}: {told:?}");
    }
}

/// The same two rules, where a commit is a conditional put.
#[test]
fn in_a_bucket_no_acked_item_is_lost_and_none_is_there_twice() {
    lab::run_heavy(|lab| async move {
        let Some(minio) = Minio::start(&lab).await? else {
            return Ok(());
        };
        let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
        spec.store_url = Minio::store_url();
        spec.environment = minio.environment();
        let Outcome { told, stored } = crashes_under_load(lab, spec).await?;
        ensure!(told.unanswered > 0, "the crashes hit no request: {told:?}");
        exactly_once(&told, &stored)
    });
}
