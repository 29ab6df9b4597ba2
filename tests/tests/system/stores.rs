//! Several aggregators: each with a store of its own, or all on one store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::lab::{self, Lab};
use system_tests::load::{Load, exactly_once, stored};
use system_tests::minio::Minio;
use system_tests::proxy::Proxy;
use system_tests::wait::eventually;

#[test]
fn two_aggregators_with_a_store_each_both_end_with_everything() {
    lab::run(|lab| async move {
        let first = Aggregator::start(&lab, AggregatorSpec::new("first", &["eu"])).await?;
        let mut second = Aggregator::start(&lab, AggregatorSpec::new("second", &["eu"])).await?;
        let mut spec = AgentSpec::new("agent", "eu", first.ingest());
        spec.exporters
            .push(("aggregator/second".to_owned(), vec![second.ingest()]));
        let agent = Agent::start(&lab, spec).await?;
        let load = Load::start(agent.http(), 2, Duration::from_millis(50));
        tokio::time::sleep(Duration::from_secs(2)).await;
        second.process.kill_9()?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        second.restart().await?;
        let told = load.finish().await?;
        agent.drained(Duration::from_secs(60)).await?;
        exactly_once(&told, &stored(&first.answers()).await?)?;
        exactly_once(&told, &stored(&second.answers()).await?)
    });
}

#[test]
fn an_agent_that_moves_between_aggregators_on_one_store_duplicates_and_loses_nothing() {
    lab::run_heavy(|lab| async move {
        let mut spec = AggregatorSpec::new("first", &["eu"]);
        spec.store_url = format!("file://{}", lab.path("shared.store").display());
        move_between_two(&lab, spec).await
    });
}

#[test]
fn two_aggregators_on_one_bucket_duplicate_and_lose_nothing() {
    lab::run_heavy(|lab| async move {
        let Some(minio) = Minio::start(&lab).await? else {
            return Ok(());
        };
        let mut spec = AggregatorSpec::new("first", &["eu"]);
        spec.store_url = Minio::store_url();
        spec.environment = minio.environment();
        move_between_two(&lab, spec).await
    });
}

/// One agent that moves to and fro between two aggregators with this specification.
async fn move_between_two(lab: &Arc<Lab>, mut spec: AggregatorSpec) -> Result<()> {
    let first = Aggregator::start(lab, spec.clone()).await?;
    spec.name = "second".to_owned();
    let second = Aggregator::start(lab, spec).await?;
    let proxy = Proxy::start(first.ingest()).await?;
    let agent = Agent::start(lab, AgentSpec::new("agent", "eu", proxy.address())).await?;
    let load = Load::start(agent.http(), 2, Duration::from_millis(20));
    for aggregator in [&second, &first, &second, &first, &second, &first] {
        // Moves fall into every phase of the commit interval.
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        proxy.pass(aggregator.ingest());
    }
    let told = load.finish().await?;
    agent.drained(Duration::from_secs(60)).await?;
    for aggregator in [&first, &second] {
        let answers = aggregator.answers();
        // The other's commits are seen when the log is read again.
        eventually(Duration::from_secs(30), "both see all", || async {
            exactly_once(&told, &stored(&answers).await?)
        })
        .await?;
    }
    Ok(())
}
