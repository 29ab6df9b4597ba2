//! The ledger through everything that moves an item: delivery, an outage, drops, a crash.

use std::time::Duration;

use anyhow::ensure;
use meridian_proto::signal::Signal;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::lab;
use system_tests::otlp;

#[test]
fn ledger_balances() {
    lab::run(|lab| async move {
        let mut aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let mut spec = AgentSpec::new("agent", "eu", aggregator.ingest());
        spec.spool = "max_bytes: 4MiB, segment_bytes: 1MiB, when_full: drop_oldest".to_owned();
        let mut agent = Agent::start(&lab, spec).await?;
        let http = reqwest::Client::new();
        let send = async |agent: &Agent, requests: usize, items: usize| -> anyhow::Result<()> {
            for signal in Signal::ALL.into_iter().cycle().take(requests) {
                let body = otlp::request(signal, "ledger", items);
                let response = otlp::post_protobuf(&http, agent.http(), signal, body).await?;
                ensure!(response.status().is_success(), "{response:?}");
            }
            agent.balanced().await
        };

        send(&agent, 9, 10).await?;
        agent.drained(Duration::from_secs(30)).await?;

        aggregator.process.kill_9()?;
        send(&agent, 9, 10).await?;
        let pending = agent.metrics().await?.sum("meridian_agent_pending_items", &[]);
        ensure!(pending == 90.0, "{pending} items are pending");

        send(&agent, 120, 500).await?;
        let dropped = agent
            .metrics()
            .await?
            .sum("meridian_agent_dropped_items_total", &[]);
        ensure!(dropped > 0.0, "nothing was dropped from a spool of 4 MiB");

        agent.process.kill_9()?;
        agent.restart().await?;
        agent.balanced().await?;
        let recovered = agent.metrics().await?.sum("meridian_agent_recovered_items", &[]);
        ensure!(recovered > 0.0, "nothing was recovered");

        aggregator.restart().await?;
        send(&agent, 9, 10).await?;
        agent.drained(Duration::from_secs(60)).await
    });
}
