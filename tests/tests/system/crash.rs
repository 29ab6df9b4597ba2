//! kill -9 of both processes in turn, under load, while clients repeat what was not
//! answered, while files are merged, vacuumed and logs cleaned in haste. One run serves both
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

const KILLS: u64 = 12;

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
    let spec = spec.with_hasty_maintenance("4s");
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
    }
    let told = load.finish().await?;
    agent.drained(Duration::from_secs(60)).await?;
    let stored = stored(&aggregator.answers()).await?;
    Ok(Outcome { told, stored })
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
