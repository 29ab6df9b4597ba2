//! Silence is never health: whoever does not report is listed as what it is, with default
//! times. What it does not prove: that the share of what is missing is well estimated.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal as Kill;
use serde_json::Value;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::answers::Answers;
use system_tests::fake_agent::{FakeAgent, hello};
use system_tests::lab;
use system_tests::load::{Load, stored};
use system_tests::otlp::now_unix_nanos;
use system_tests::proxy::Proxy;
use system_tests::wait::eventually;

/// The promise of the design: a region's silence is told within a minute.
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// Longer than the settling time, in which nothing can be complete yet.
const SETTLED_WITHIN: Duration = Duration::from_secs(40);
/// How long an agent is away in these tests.
const ABSENCE: Duration = Duration::from_secs(30);

/// The region reports, and all of it is there.
pub(super) async fn is_ok(answers: &Answers, region: &str) -> Result<()> {
    eventually(SETTLED_WITHIN, &format!("{region} is ok"), || async {
        let entry = answers.region(region).await?;
        ensure!(entry["state"] == "ok", "{entry}");
        ensure!(entry["completeness"] == 1.0, "{entry}");
        not_in_the_future(&entry)
    })
    .await
}

/// Nothing that is silent counts for more than a half, or is complete after its last word.
pub(super) async fn is_silent(answers: &Answers, region: &str, expected: u64) -> Result<()> {
    eventually(TOLD_WITHIN, &format!("{region} is silent"), || async {
        let answer = answers.get("/api/v1/regions").await?;
        let entry = system_tests::answers::region_of(&answer, region)?;
        ensure!(entry["state"] == "silent", "{entry}");
        ensure!(
            answer["status"] == "partial" || answer["status"] == "unknown",
            "{}",
            answer["status"]
        );
        ensure!(
            entry["agents_reporting"] == 0 && entry["agents_expected"] == expected,
            "{entry}"
        );
        ensure!(
            entry["completeness"].as_f64().is_none_or(|share| share <= 0.5),
            "{entry}"
        );
        // RFC 3339 in UTC sorts as text.
        let (complete_to, last_seen) = (entry["complete_to"].as_str(), entry["last_seen"].as_str());
        ensure!(complete_to <= last_seen, "complete after the last word: {entry}");
        ensure!(last_seen.is_some() == (expected > 0), "{entry}");
        Ok(())
    })
    .await
}

/// `complete_to` against what the same aggregator calls now.
fn not_in_the_future(entry: &Value) -> Result<()> {
    let complete_to = entry["complete_to"]
        .as_str()
        .with_context(|| format!("nothing is complete: {entry}"))?;
    let last_seen = entry["last_seen"].as_str().context("never seen")?;
    ensure!(complete_to <= last_seen, "complete in the future: {entry}");
    Ok(())
}

fn gaps(entry: &Value) -> Vec<Value> {
    entry["gaps"].as_array().cloned().unwrap_or_default()
}

#[test]
fn silence_is_visible() {
    lab::run(|lab| async move {
        let regions = ["never", "well", "died", "cut", "hung"];
        let mut aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &regions)).await?;
        let proxy = Proxy::start(aggregator.ingest()).await?;
        let well = Agent::start(&lab, AgentSpec::new("well", "well", aggregator.ingest())).await?;
        let mut died = Agent::start(&lab, AgentSpec::new("died", "died", aggregator.ingest())).await?;
        let cut = Agent::start(&lab, AgentSpec::new("cut", "cut", proxy.address())).await?;
        let hung = Agent::start(&lab, AgentSpec::new("hung", "hung", aggregator.ingest())).await?;
        let answers = aggregator.answers();
        is_silent(&answers, "never", 0).await?;
        for region in ["well", "died", "cut", "hung"] {
            is_ok(&answers, region).await?;
        }

        died.process.kill_9()?;
        proxy.hold();
        hung.process.signal(Kill::STOP)?;
        for region in ["died", "cut", "hung"] {
            is_silent(&answers, region, 1).await?;
        }
        is_ok(&answers, "well").await?;

        // Forgetting the silent would make them healthy.
        aggregator.process.kill_9()?;
        aggregator.restart().await?;
        let answers = aggregator.answers();
        for region in ["died", "cut", "hung"] {
            is_silent(&answers, region, 1).await?;
        }
        is_silent(&answers, "never", 0).await?;
        is_ok(&answers, "well").await?;

        // Whoever comes back is well again.
        died.restart().await?;
        proxy.pass(aggregator.ingest());
        hung.process.signal(Kill::CONT)?;
        for region in ["died", "cut", "hung"] {
            is_ok(&answers, region).await?;
        }
        for agent in [&well, &died, &cut, &hung] {
            agent.drained(SETTLED_WITHIN).await?;
        }
        Ok(())
    });
}

#[test]
fn silence_is_visible_as_a_gap_after_the_agent_is_back_unless_the_spool_fills_it() {
    lab::run(|lab| async move {
        let regions = ["dead", "stopped", "spooling"];
        let aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &regions)).await?;
        let answers = aggregator.answers();
        let proxy = Proxy::start(aggregator.ingest()).await?;
        let mut dead = Agent::start(&lab, AgentSpec::new("dead", "dead", aggregator.ingest())).await?;
        let stopped = Agent::start(&lab, AgentSpec::new("stopped", "stopped", aggregator.ingest())).await?;
        let spooling = Agent::start(&lab, AgentSpec::new("spooling", "spooling", proxy.address())).await?;
        for region in regions {
            is_ok(&answers, region).await?;
        }

        dead.process.kill_9()?;
        stopped.process.signal(Kill::STOP)?;
        proxy.hold();
        let load = Load::start(spooling.http(), 1, Duration::from_millis(200));
        tokio::time::sleep(ABSENCE).await;
        dead.restart().await?;
        stopped.process.signal(Kill::CONT)?;
        proxy.cut();
        proxy.pass(aggregator.ingest());
        let told = load.finish().await?;

        spooling.drained(SETTLED_WITHIN).await?;
        system_tests::load::exactly_once(&told, &stored(&answers).await?)?;
        for region in ["dead", "stopped"] {
            eventually(
                SETTLED_WITHIN,
                &format!("the absence of {region} is a gap"),
                || async {
                    let answer = answers.get("/api/v1/regions?from=-10m&to=now").await?;
                    let entry = system_tests::answers::region_of(&answer, region)?;
                    ensure!(entry["state"] == "ok", "{entry}");
                    ensure!(answer["status"] == "partial", "{}", answer["status"]);
                    ensure!(gaps(entry).iter().any(|gap| gap["to"].is_string()), "{entry}");
                    Ok(())
                },
            )
            .await?;
        }
        is_ok(&answers, "spooling").await?;
        let entry = answers.region("spooling").await?;
        ensure!(gaps(&entry).is_empty(), "the spool filled the hole: {entry}");
        Ok(())
    });
}

#[test]
fn silence_is_visible_when_a_clock_is_minutes_fast() {
    const FAST_NANOS: u64 = 300 * 1_000_000_000;
    lab::run(|lab| async move {
        let aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["fast"])).await?;
        let answers = aggregator.answers();
        let started = now_unix_nanos() + FAST_NANOS;
        let (agent, _) = FakeAgent::connect(aggregator.ingest(), hello("fast", "node", started)).await?;
        for _ in 0..15 {
            agent.heartbeat(now_unix_nanos() + FAST_NANOS).await?;
            let answer = answers.get("/api/v1/regions").await?;
            let entry = system_tests::answers::region_of(&answer, "fast")?;
            let as_of = answer["as_of"].as_str().context("as_of")?;
            for time in [&entry["complete_to"], &entry["last_seen"], &answer["complete_to"]] {
                ensure!(
                    time.as_str().is_none_or(|time| time <= as_of),
                    "in the future: {answer}"
                );
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    });
}

#[test]
fn silence_after_a_goodbye_is_expected() {
    lab::run(|lab| async move {
        let aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let answers = aggregator.answers();
        let stays = Agent::start(&lab, AgentSpec::new("stays", "eu", aggregator.ingest())).await?;
        let mut leaves = Agent::start(&lab, AgentSpec::new("leaves", "eu", aggregator.ingest())).await?;
        eventually(SETTLED_WITHIN, "both report", || async {
            let entry = answers.region("eu").await?;
            ensure!(entry["agents_reporting"] == 2, "{entry}");
            Ok(())
        })
        .await?;
        let status = leaves.process.terminate(Duration::from_secs(20)).await?;
        ensure!(status.success(), "{status}");
        eventually(SETTLED_WITHIN, "one is expected", || async {
            let entry = answers.region("eu").await?;
            ensure!(
                entry["agents_expected"] == 1 && entry["agents_reporting"] == 1,
                "{entry}"
            );
            ensure!(entry["state"] == "ok", "{entry}");
            Ok(())
        })
        .await?;
        stays.balanced().await
    });
}
