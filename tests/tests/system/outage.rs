//! The aggregator is away, and the spool absorbs it or refuses with a hint.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_proto::signal::Signal;
use reqwest::StatusCode;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::lab;
use system_tests::load::{Load, exactly_once, stored};
use system_tests::otlp::{self, attribute};
use system_tests::wait::eventually;

#[test]
fn an_aggregator_that_is_gone_for_a_minute_costs_nothing() {
    lab::run(|lab| async move {
        let mut aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let agent = Agent::start(&lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
        let load = Load::start(agent.http(), 2, Duration::from_millis(100));
        aggregator.process.kill_9()?;
        tokio::time::sleep(Duration::from_secs(60)).await;
        aggregator.restart().await?;
        let told = load.finish().await?;
        ensure!(
            told.refusals == 0 && told.unanswered == 0,
            "the spool had room: {told:?}"
        );
        agent.drained(Duration::from_secs(60)).await?;
        exactly_once(&told, &stored(&aggregator.answers()).await?)
    });
}

/// A request of about 64 KiB with one span.
pub(super) fn big_request() -> Vec<u8> {
    let mut span = otlp::span("big");
    let noise: String = (0..4096)
        .map(|_| uuid::Uuid::new_v4().to_string().split_off(20))
        .collect();
    span.attributes.push(attribute("noise", &noise));
    otlp::spans_request("big", vec![span])
}

#[test]
fn a_full_spool_refuses_with_a_hint_and_recovers_by_itself() {
    lab::run(|lab| async move {
        let mut aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let mut spec = AgentSpec::new("agent", "eu", aggregator.ingest());
        spec.spool = "max_bytes: 4MiB, segment_bytes: 1MiB, when_full: refuse".to_owned();
        let agent = Agent::start(&lab, spec).await?;
        aggregator.process.kill_9()?;

        let http = reqwest::Client::new();
        let mut accepted = 0;
        let refusal = loop {
            let response = otlp::post_protobuf(&http, agent.http(), Signal::Spans, big_request()).await?;
            if !response.status().is_success() {
                break response;
            }
            accepted += 1;
            ensure!(accepted < 1000, "the spool never fills");
        };
        ensure!(
            accepted > 0,
            "refused with an empty spool: {}",
            refusal.text().await?
        );
        ensure!(refusal.status() == StatusCode::TOO_MANY_REQUESTS, "{refusal:?}");
        ensure!(
            refusal.headers().contains_key("retry-after"),
            "no Retry-After: {refusal:?}"
        );
        refused_over_grpc(&agent).await?;

        aggregator.restart().await?;
        eventually(
            Duration::from_secs(60),
            "the agent takes requests again",
            || async {
                let response = otlp::post_protobuf(&http, agent.http(), Signal::Spans, big_request()).await?;
                ensure!(response.status().is_success(), "{response:?}");
                Ok(())
            },
        )
        .await?;
        agent.drained(Duration::from_secs(30)).await?;
        aggregator
            .answers()
            .has_rows("spans", accepted + 1, Duration::from_secs(10))
            .await
    });
}

/// A span over gRPC is refused with the time of the next try.
pub(super) async fn refused_over_grpc(agent: &Agent) -> Result<()> {
    let outcome = otlp::export_spans_grpc(agent.grpc(), &big_request()).await?;
    let status = outcome.err().context("accepted by a full spool")?;
    ensure!(status.code() == tonic::Code::ResourceExhausted, "{status:?}");
    let details = String::from_utf8_lossy(status.details()).into_owned();
    ensure!(
        details.contains("google.rpc.RetryInfo"),
        "no RetryInfo: {status:?}"
    );
    Ok(())
}
