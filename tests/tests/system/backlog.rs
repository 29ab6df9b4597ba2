//! The backlog of an outage is delivered beside fresh data: fresh data first, everything once,
//! through crashes of both sides and outages while catching up. How fast it is, is not tested:
//! where a backlog must not be over, its acknowledgements are held back, and it is larger than
//! what may be sent without them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use meridian_proto::signal::Signal;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::answers::Answers;
use system_tests::lab;
use system_tests::load::{Load, Told, exactly_once, stored};
use system_tests::otlp;
use system_tests::proxy::Proxy;
use system_tests::wait::eventually;

const CONNECTED_WITHIN: Duration = Duration::from_secs(60);
const CLOSED_WITHIN: Duration = Duration::from_secs(30);
const DRAINED_WITHIN: Duration = Duration::from_secs(240);
/// Batches and a window so small that catching up takes many round trips.
const SLOW: &str =
    "catch_up_after: 200ms, batch_rows: 100, batch_bytes: 64KiB, window_bytes: 512KiB, reconnect_max: 500ms";
const REQUESTS: usize = 40;
const ITEMS: usize = 200;

fn slow_agent(aggregator: SocketAddr) -> AgentSpec {
    let mut spec = AgentSpec::new("agent", "eu", aggregator);
    spec.exporter = SLOW.to_owned();
    spec
}

/// What accumulates over some seconds while nobody takes it. Counts what was acknowledged.
async fn accumulate(agent: &Agent, told: &mut Told) -> Result<()> {
    let http = reqwest::Client::new();
    for number in 0..REQUESTS {
        for signal in Signal::ALL {
            // Half of them are in one signal, so that the lanes of the others end sooner.
            if signal != Signal::Spans && number % 4 != 0 {
                continue;
            }
            let body = otlp::request(signal, "backlog", ITEMS);
            let response = otlp::post_protobuf(&http, agent.http(), signal, body).await?;
            ensure!(response.status().is_success(), "{response:?}");
            told.acknowledged[signal.index()] += ITEMS as u64;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Waits for a stream, sends one span and waits until it is seen; tells how much of the backlog
/// was left then.
async fn fresh_is_seen(agent: &Agent, answers: &Answers, name: &str, told: &mut Told) -> Result<f64> {
    eventually(CONNECTED_WITHIN, "there is a stream", || async {
        let metrics = agent.metrics().await?;
        let connected = metrics.sum("meridian_agent_exporter_connected", &[]);
        ensure!(connected == 1.0, "not yet");
        Ok(())
    })
    .await?;
    let http = reqwest::Client::new();
    let body = otlp::spans_request("fresh", vec![otlp::span(name)]);
    let response = otlp::post_protobuf(&http, agent.http(), Signal::Spans, body).await?;
    ensure!(response.status().is_success(), "{response:?}");
    told.acknowledged[Signal::Spans.index()] += 1;
    let sql = format!("SELECT count(*) AS n FROM spans WHERE name = '{name}'");
    eventually(DRAINED_WITHIN, "the fresh span is seen", || async {
        ensure!(answers.number(&sql).await? == 1, "not yet");
        Ok(())
    })
    .await?;
    left(agent).await
}

async fn left(agent: &Agent) -> Result<f64> {
    Ok(agent.metrics().await?.sum("meridian_agent_catch_up_items", &[]))
}

/// How many times of the region are missing.
async fn gaps(answers: &Answers) -> Result<usize> {
    let entry = answers.region("eu").await?;
    ensure!(
        entry["state"] != "silent",
        "the gap must be that of the backlog: {entry}"
    );
    Ok(entry["gaps"].as_array().map_or(0, Vec::len))
}

#[test]
fn fresh_data_is_seen_while_the_backlog_is_a_gap_that_closes() {
    lab::run(|lab| async move {
        let mut aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let proxy = Proxy::start(aggregator.ingest()).await?;
        let agent = Agent::start(&lab, slow_agent(proxy.address())).await?;
        let answers = aggregator.answers();
        let mut told = Told::default();
        fresh_is_seen(&agent, &answers, "before", &mut told).await?;

        aggregator.process.kill_9()?;
        proxy.hold_after_greeting(aggregator.ingest());
        accumulate(&agent, &mut told).await?;
        aggregator.restart().await?;
        let backlog = fresh_is_seen(&agent, &answers, "fresh", &mut told).await?;
        ensure!(backlog > 0.0, "the fresh span came after the backlog");
        agent.balanced().await?;
        eventually(CLOSED_WITHIN, "what is late is a gap", || async {
            ensure!(gaps(&answers).await? > 0);
            Ok(())
        })
        .await?;

        proxy.pass(aggregator.ingest());
        agent.drained(DRAINED_WITHIN).await?;
        ensure!(left(&agent).await? == 0.0, "nothing is left of the backlog");
        eventually(CLOSED_WITHIN, "the gap is closed", || async {
            let gaps = gaps(&answers).await?;
            ensure!(gaps == 0, "{gaps} gaps");
            Ok(())
        })
        .await?;
        exactly_once(&told, &stored(&answers).await?)
    });
}

#[test]
fn catching_up_survives_kills_of_both_sides_and_further_outages() {
    lab::run_heavy(|lab| async move {
        let mut aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let proxy = Proxy::start(aggregator.ingest()).await?;
        let mut agent = Agent::start(&lab, slow_agent(proxy.address())).await?;
        let answers = aggregator.answers();
        let mut told = Told::default();
        for outage in 0..3 {
            aggregator.process.kill_9()?;
            proxy.hold_after_greeting(aggregator.ingest());
            accumulate(&agent, &mut told).await?;
            aggregator.restart().await?;
            let name = format!("fresh {outage}");
            let backlog = fresh_is_seen(&agent, &answers, &name, &mut told).await?;
            ensure!(backlog > 0.0, "the fresh span came after the backlog");
            agent.process.kill_9()?;
            agent.restart().await?;
            ensure!(left(&agent).await? > 0.0, "the ranges survive the agent");
            agent.balanced().await?;
            proxy.pass(aggregator.ingest());
            aggregator.process.kill_9()?;
            aggregator.restart().await?;
        }
        agent.drained(DRAINED_WITHIN).await?;
        exactly_once(&told, &stored(&answers).await?)
    });
}

#[test]
fn catching_up_goes_on_with_another_aggregator_of_the_store() {
    lab::run_heavy(|lab| async move {
        let mut spec = AggregatorSpec::new("first", &["eu"]);
        spec.store_url = format!("file://{}", lab.path("shared.store").display());
        let mut first = Aggregator::start(&lab, spec.clone()).await?;
        spec.name = "second".to_owned();
        let mut second = Aggregator::start(&lab, spec).await?;
        let proxy = Proxy::start(first.ingest()).await?;
        let mut spec = slow_agent(proxy.address());
        spec.exporters[0].1.push(second.ingest());
        let agent = Agent::start(&lab, spec).await?;
        let mut more = Told::default();

        first.process.kill_9()?;
        second.process.kill_9()?;
        proxy.hold_after_greeting(first.ingest());
        accumulate(&agent, &mut more).await?;
        first.restart().await?;
        let backlog = fresh_is_seen(&agent, &first.answers(), "fresh", &mut more).await?;
        ensure!(backlog > 0.0, "the fresh span came after the backlog");
        let load = Load::start(agent.http(), 1, Duration::from_millis(50));
        proxy.pass(first.ingest());
        for _ in 0..3 {
            first.process.kill_9()?;
            second.restart().await?;
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            second.process.kill_9()?;
            first.restart().await?;
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        let mut told = load.finish().await?;
        for (sum, more) in told.acknowledged.iter_mut().zip(more.acknowledged) {
            *sum += more;
        }
        agent.drained(DRAINED_WITHIN).await?;
        exactly_once(&told, &stored(&first.answers()).await?)
    });
}

#[test]
fn the_oldest_data_comes_first_where_that_is_configured() {
    lab::run(|lab| async move {
        let mut aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let mut spec = slow_agent(aggregator.ingest());
        spec.exporter.push_str(", catch_up: oldest");
        let agent = Agent::start(&lab, spec).await?;
        let mut told = Told::default();
        aggregator.process.kill_9()?;
        accumulate(&agent, &mut told).await?;
        aggregator.restart().await?;
        let backlog = fresh_is_seen(&agent, &aggregator.answers(), "fresh", &mut told).await?;
        ensure!(backlog == 0.0, "nothing is set aside");
        agent.drained(DRAINED_WITHIN).await?;
        exactly_once(&told, &stored(&aggregator.answers()).await?)
    });
}
