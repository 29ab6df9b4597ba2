//! Tables in a bucket whose server misbehaves: it is away when the aggregator starts, and
//! later throttles, hangs, loses answers and goes away under load. Nothing is lost, nothing
//! is there twice, and every answer says what is wrong.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_proto::signal::Signal;
use serde_json::Value;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::lab::{self, Lab};
use system_tests::load::{Load, Told, exactly_once, stored};
use system_tests::minio::{self, Minio};
use system_tests::peers;
use system_tests::s3_proxy::{Fault, S3Proxy};
use system_tests::wait::eventually;

const SOON: Duration = Duration::from_secs(30);

/// An aggregator behind `proxy` that gives up a request early, so that a test sees it soon.
fn behind(proxy: &S3Proxy) -> AggregatorSpec {
    let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
    spec.store_url = Minio::store_url();
    spec.store_more = "s3: { connect_timeout: 1s, request_timeout: 3s, retry_timeout: 2s }".to_owned();
    spec.environment = minio::environment_of(proxy.address());
    spec
}

/// Waits until `/readyz` names the store, while `/livez` is well.
async fn says_store_away(aggregator: &Aggregator) -> Result<()> {
    eventually(SOON, "/readyz names the store", || async {
        let (status, text) = aggregator.says("/readyz").await?;
        ensure!(status == 503, "{status}: {text}");
        ensure!(
            text.contains("store: the store s3://meridian/tables"),
            "{status}: {text}"
        );
        Ok(())
    })
    .await?;
    let (status, text) = aggregator.says("/livez").await?;
    ensure!(status == 200, "/livez: {status}: {text}");
    Ok(())
}

fn warns_of_store(answer: &Value) -> bool {
    let warnings = answer["warnings"].as_array().into_iter().flatten();
    let mut texts = warnings.filter_map(Value::as_str);
    texts.any(|text| text.contains("the store s3://meridian/tables"))
}

#[test]
fn an_aggregator_that_starts_without_its_store_says_so_and_goes_on_when_it_comes() {
    lab::run(|lab| async move {
        let Some(minio) = Minio::start(&lab).await? else {
            return Ok(());
        };
        let proxy = S3Proxy::start(minio.address()).await?;
        proxy.set(Fault::Away);
        let mut aggregator = Aggregator::begin(&lab, behind(&proxy))?;
        let agent = Agent::start(&lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
        let load = Load::start(agent.http(), 2, Duration::from_millis(50));
        says_store_away(&aggregator).await?;

        let answers = aggregator.answers();
        let refusal = answers.sql_refused("SELECT count(*) FROM spans").await?;
        ensure!(refusal.status == 503, "{refusal:?}");
        ensure!(refusal.code == "store_unreachable", "{refusal:?}");
        ensure!(refusal.message.contains("s3://meridian/tables"), "{refusal:?}");
        let regions = answers.get("/api/v1/regions").await?;
        ensure!(
            regions["status"] == "unknown" && warns_of_store(&regions),
            "{regions}"
        );
        aggregator.process.check_running()?;

        proxy.set(Fault::Nothing);
        aggregator.ready().await?;
        let told = load.finish().await?;
        agent.drained(SOON * 2).await?;
        exactly_once(&told, &stored(&answers).await?)
    });
}

#[test]
fn a_bucket_that_throttles_hangs_loses_answers_and_goes_away_costs_nothing() {
    lab::run_heavy(|lab| async move {
        let Some(minio) = Minio::start(&lab).await? else {
            return Ok(());
        };
        let proxy = S3Proxy::start(minio.address()).await?;
        let mut aggregator = Aggregator::start(&lab, behind(&proxy)).await?;
        let agent = Agent::start(&lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
        let load = Load::start(agent.http(), 2, Duration::from_millis(50));
        for (fault, lasts) in [
            (Fault::SlowDown(50), Duration::from_secs(5)),
            (Fault::Slow(Duration::from_secs(2)), Duration::from_secs(8)),
            (Fault::PutAnswerLost(50), Duration::from_secs(8)),
            (Fault::PutAnswerLost(100), Duration::from_secs(5)),
            (Fault::Stuck, Duration::from_secs(10)),
        ] {
            proxy.set(fault);
            tokio::time::sleep(lasts).await;
            ensure!(proxy.met() > 0, "no request met {fault:?}");
        }
        away_under_load(&aggregator, &proxy).await?;
        aggregator.process.check_running()?;

        let told = load.finish().await?;
        ensure!(told.refusals == 0, "the spool had room: {told:?}");
        agent.drained(SOON * 2).await?;
        let answers = aggregator.answers();
        exactly_once(&told, &stored(&answers).await?)?;
        let regions = answers.get("/api/v1/regions").await?;
        ensure!(!warns_of_store(&regions), "the outage is over: {regions}");
        others_read(&lab, &minio, &told).await
    });
}

/// The store goes away: rows in memory still answer, with a warning; others do not, with the
/// reason.
async fn away_under_load(aggregator: &Aggregator, proxy: &S3Proxy) -> Result<()> {
    proxy.set(Fault::Away);
    says_store_away(aggregator).await?;
    let answers = aggregator.answers();
    // What is recent is in memory: no file holds a time that is yet to come.
    let hot = "SELECT count(*) AS n FROM spans WHERE start_time > now() + INTERVAL '1 day'";
    let answer = answers.sql(hot).await?;
    ensure!(answer["status"] != "ok" && warns_of_store(&answer), "{answer}");
    let all = "SELECT count(DISTINCT trace_id) FROM spans";
    let refusal = answers.sql_refused(all).await?;
    ensure!(
        refusal.status == 503 && refusal.code == "store_unreachable",
        "{refusal:?}"
    );
    proxy.set(Fault::Nothing);
    aggregator.ready().await
}

/// A Delta reader that is not ours counts the same rows in the bucket.
async fn others_read(lab: &Arc<Lab>, minio: &Minio, told: &Told) -> Result<()> {
    let (url, environment) = (Minio::store_url(), minio.environment());
    let printed = peers::python_with(lab, "read_tables.py", &[&url], &environment, SOON * 2).await?;
    let read: Value = serde_json::from_str(printed.lines().last().context("an answer")?)?;
    for signal in Signal::ALL {
        let (counted, expected) = (&read[signal.as_str()], told.acknowledged[signal.index()]);
        ensure!(
            counted["deltalake"] == expected,
            "{signal}: {expected}: {counted}"
        );
    }
    Ok(())
}
