//! OTLP that is meant to hurt the agent: what is good is kept, what is bad is told, nothing is
//! repeated for ever, and a good span is accepted after each. `MERIDIAN_HOSTILE_OTLP` names a file:
//! then all inputs are sent instead of every third that is made quickly, and what became of each
//! is written there. It does not prove that there are no other inputs.

use std::time::Duration;

use anyhow::ensure;
use meridian_proto::signal::Signal;
use meridian_runtime::config::environment;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::hostile_otlp::attack::{Outcome, Patience, Verdict, attack};
use system_tests::hostile_otlp::client::Doors;
use system_tests::hostile_otlp::{inputs, light_inputs};
use system_tests::lab;

const MIB: u64 = 1 << 20;
/// The default of `receivers.otlp.memory_max`.
const MEMORY_MAX: u64 = 128 * MIB;
/// Stacks, the allocator's own, decompressors, and the batches that are on their way.
const BESIDE: u64 = 160 * MIB;
/// Longer than anything takes without optimization on a busy machine.
const PATIENCE: Patience = Patience {
    answer: Duration::from_secs(60),
    good: Duration::from_secs(30),
};
const STORED_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn hostile_otlp_costs_only_itself_and_the_good_items_beside_it_are_kept() {
    lab::run_heavy(|lab| async move {
        let aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let mut agent = Agent::start(&lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
        let before = agent.process.resident_bytes_peak()?;
        let doors = Doors {
            grpc: agent.grpc(),
            http: agent.http(),
        };
        let is_full = environment("MERIDIAN_HOSTILE_OTLP").is_some();
        let inputs = if is_full {
            inputs()
        } else {
            light_inputs().into_iter().step_by(3).collect()
        };
        let mut outcomes = Vec::new();
        attack(doors, Some(agent.admin()), &inputs, PATIENCE, |outcome| {
            outcomes.push(outcome);
            Ok(())
        })
        .await?;
        agent.process.check_running()?;
        let grown = agent.process.resident_bytes_peak()?.saturating_sub(before);
        if let Some(path) = environment("MERIDIAN_HOSTILE_OTLP") {
            std::fs::write(path, times(&outcomes, grown))?;
        }
        let faults = faults(&outcomes);
        ensure!(
            faults.is_empty(),
            "{} faults:\n{}",
            faults.len(),
            faults.join("\n")
        );
        ensure!(
            outcomes.len() == inputs.len(),
            "the service ended at {:?}",
            outcomes.last()
        );
        ensure!(grown <= MEMORY_MAX + BESIDE, "it grew by {} MiB", grown / MIB);

        agent.drained(STORED_WITHIN).await?;
        let metrics = agent.metrics().await?;
        let answers = aggregator.answers();
        for signal in Signal::ALL {
            let accepted = metrics.sum(
                "meridian_agent_accepted_items_total",
                &[("signal", signal.as_str())],
            );
            let stored = answers
                .number(&format!("SELECT count(*) AS n FROM {}", signal.as_str()))
                .await?;
            ensure!(
                stored as f64 == accepted,
                "{stored} {signal} of {accepted} are stored"
            );
        }
        Ok(())
    });
}

fn faults(outcomes: &[Outcome]) -> Vec<String> {
    let bad = outcomes.iter().filter(|outcome| {
        outcome.verdict != Verdict::Well || outcome.good_after.is_none() || outcome.miscounted != 0
    });
    bad.map(|outcome| format!("{outcome:?}")).collect()
}

/// One line per input, and the percentiles.
fn times(outcomes: &[Outcome], grown: u64) -> String {
    let mut times: Vec<Duration> = outcomes.iter().filter_map(|outcome| outcome.good_after).collect();
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let lines: Vec<String> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    format!(
        "{} inputs; a good span after each: median {:?}, p99 {:?}, greatest {:?}; grew by {} MiB\n{}\n",
        outcomes.len(),
        at(50),
        at(99),
        times.last(),
        grown / MIB,
        lines.join("\n")
    )
}
