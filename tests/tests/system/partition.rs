//! A network between agent and aggregator that is slow and lossy and then drops packets without a
//! word: the kernel's own TCP meets it, on connections that stay half open.
//! `MERIDIAN_PARTITION_SECONDS` makes it last longer after the silence was seen. What it does not
//! prove: that a network which changes bytes is survived.

use std::time::Duration;

use anyhow::ensure;
use meridian_runtime::config::environment;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::lab;
use system_tests::load::{Load, exactly_once, stored};
use system_tests::network::{Cut, Network};

use super::silence::{is_ok, is_silent};

const DELIVERED_WITHIN: Duration = Duration::from_secs(120);

fn a_partition_is_seen_and_costs_nothing(cut: Cut) {
    lab::run(|lab| async move {
        let Some(mut network) = Network::build()? else {
            return Ok(());
        };
        let lasts = environment("MERIDIAN_PARTITION_SECONDS").map_or(Ok(0), |text| text.parse())?;
        let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
        spec.ingest_host = network.aggregator();
        let aggregator = Aggregator::start(&lab, spec).await?;
        let mut spec = AgentSpec::new("agent", "eu", aggregator.ingest());
        spec.host = network.agent();
        spec.launcher = network.launcher();
        let agent = Agent::start(&lab, spec).await?;
        let answers = aggregator.answers();
        network.worsen()?;
        let load = Load::start(agent.http(), 2, Duration::from_millis(200));
        is_ok(&answers, "eu").await?;

        network.cut(cut)?;
        is_silent(&answers, "eu", 1).await?;
        tokio::time::sleep(Duration::from_secs(lasts)).await;
        is_silent(&answers, "eu", 1).await?;
        network.heal()?;

        is_ok(&answers, "eu").await?;
        let told = load.finish().await?;
        ensure!(told.refusals == 0, "the spool had room: {told:?}");
        agent.drained(DELIVERED_WITHIN).await?;
        exactly_once(&told, &stored(&answers).await?)
    });
}

#[test]
fn silence_is_visible_across_a_partition_and_all_arrives_once_after_it() {
    a_partition_is_seen_and_costs_nothing(Cut::Both);
}

#[test]
fn silence_is_visible_when_only_the_agent_is_not_heard_and_all_arrives_once_after_it() {
    a_partition_is_seen_and_costs_nothing(Cut::FromAgent);
}
