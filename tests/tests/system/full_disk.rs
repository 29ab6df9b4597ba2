//! A disk without a byte of room, under load: the agent's, and that of the aggregator's
//! directory. Clients are told when to come again, whoever is killed meanwhile starts again, and
//! all goes on by itself when there is room. What it does not prove: that a disk which fails in
//! other ways is survived (the simulation does).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use meridian_proto::signal::Signal;
use reqwest::{Response, StatusCode};
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::lab;
use system_tests::load::{Load, Told, exactly_once, stored};
use system_tests::otlp;
use system_tests::small_disk::SmallDisk;
use system_tests::wait::eventually;

use super::outage::{big_request, refused_over_grpc};

const WITHIN: Duration = Duration::from_secs(60);
/// Between two tries of what was refused.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A client of large requests; it repeats each, byte for byte, until it is accepted.
struct Bulk<'a> {
    http: reqwest::Client,
    agent: &'a Agent,
    body: Vec<u8>,
    accepted: u64,
}

impl<'a> Bulk<'a> {
    fn new(agent: &'a Agent) -> Self {
        Self {
            http: reqwest::Client::new(),
            agent,
            body: big_request(),
            accepted: 0,
        }
    }

    async fn offer(&mut self) -> Result<Response> {
        let body = self.body.clone();
        let response = otlp::post_protobuf(&self.http, self.agent.http(), Signal::Spans, body).await?;
        if response.status().is_success() {
            self.accepted += 1;
            self.body = big_request();
        }
        Ok(response)
    }

    /// Sends until there is no room, which both protocols must say with a hint.
    async fn until_refused(&mut self, disk: &SmallDisk) -> Result<()> {
        let deadline = Instant::now() + WITHIN;
        loop {
            disk.fill()?;
            let response = self.offer().await?;
            if !response.status().is_success() {
                ensure!(response.status() == StatusCode::TOO_MANY_REQUESTS, "{response:?}");
                ensure!(response.headers().contains_key("retry-after"), "{response:?}");
                return refused_over_grpc(self.agent).await;
            }
            ensure!(
                Instant::now() < deadline,
                "{} requests and still room",
                self.accepted
            );
        }
    }

    async fn until_accepted(&mut self) -> Result<()> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let response = self.offer().await?;
            if response.status().is_success() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "there is room again: {response:?}");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Nothing that was acknowledged is missing, nothing is there twice, and who was refused was
/// told when to come again.
async fn all_is_there(
    aggregator: &Aggregator,
    agent: &Agent,
    mut told: Told,
    bulk_accepted: u64,
) -> Result<()> {
    ensure!(told.refusals > 0 && told.refusals_without_hint == 0, "{told:?}");
    agent.drained(WITHIN).await?;
    told.acknowledged[Signal::Spans.index()] += bulk_accepted;
    exactly_once(&told, &stored(&aggregator.answers()).await?)
}

#[test]
fn an_agent_whose_disk_is_full_refuses_with_a_hint_and_recovers_by_itself() {
    lab::run(|lab| async move {
        let Some(disk) = SmallDisk::mount(lab.path("agent.spool"), 12)? else {
            return Ok(());
        };
        let mut aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let mut spec = AgentSpec::new("agent", "eu", aggregator.ingest());
        spec.spool = "max_bytes: 256MiB, segment_bytes: 1MiB, compress_after: 1s".to_owned();
        let mut agent = Agent::start(&lab, spec).await?;
        let load = Load::start(agent.http(), 2, Duration::from_millis(20));
        let mut bulk = Bulk::new(&agent);
        bulk.until_accepted().await?;

        // While everything is delivered as it comes, and then while nothing is.
        bulk.until_refused(&disk).await?;
        disk.free()?;
        bulk.until_accepted().await?;
        aggregator.process.kill_9()?;
        bulk.until_refused(&disk).await?;
        let before = bulk.accepted;
        agent.process.kill_9()?;
        agent.restart().await?;
        let mut bulk = Bulk::new(&agent);
        bulk.until_refused(&disk).await?;

        disk.free()?;
        bulk.until_accepted().await?;
        aggregator.restart().await?;
        let accepted = before + bulk.accepted;
        all_is_there(&aggregator, &agent, load.finish().await?, accepted).await
    });
}

/// What `/readyz` and every answer say while nothing can be committed; rows are read as ever.
async fn says_store_is_full(aggregator: &Aggregator, disk: &SmallDisk) -> Result<()> {
    let answers = aggregator.answers();
    eventually(WITHIN, "all are told of the full disk", || async {
        // What maintenance removes is room for a commit.
        disk.fill()?;
        let answer = answers.sql("SELECT count(*) AS n FROM spans").await?;
        let warnings = answer["warnings"].to_string();
        ensure!(
            answer["status"] != "ok" && warnings.contains("cannot be used at present"),
            "{answer}"
        );
        let (status, text) = aggregator.says("/readyz").await?;
        ensure!(
            status == 503 && text.contains("No space left on device"),
            "{status}: {text}"
        );
        Ok(())
    })
    .await
}

#[test]
fn a_store_whose_disk_is_full_holds_the_agents_back_and_recovers_by_itself() {
    lab::run(|lab| async move {
        let Some(disk) = SmallDisk::mount(lab.path("aggregator.store"), 64)? else {
            return Ok(());
        };
        let spec = AggregatorSpec::new("aggregator", &["eu"]).with_hasty_maintenance("2s");
        let mut aggregator = Aggregator::start(&lab, spec).await?;
        let mut spec = AgentSpec::new("agent", "eu", aggregator.ingest());
        spec.spool = "max_bytes: 4MiB, segment_bytes: 1MiB".to_owned();
        let agent = Agent::start(&lab, spec).await?;
        let load = Load::start(agent.http(), 2, Duration::from_millis(50));
        let mut bulk = Bulk::new(&agent);
        bulk.until_accepted().await?;

        bulk.until_refused(&disk).await?;
        says_store_is_full(&aggregator, &disk).await?;
        aggregator.process.check_running()?;
        aggregator.process.kill_9()?;
        aggregator.begin_again()?;
        says_store_is_full(&aggregator, &disk).await?;
        bulk.until_refused(&disk).await?;

        disk.free()?;
        aggregator.ready().await?;
        bulk.until_accepted().await?;
        let told = load.finish().await?;
        all_is_there(&aggregator, &agent, told, bulk.accepted).await
    });
}
