//! Clocks that are set while everything runs, by libfaketime, which nobody here wrote. What it does
//! not prove: anything about a machine that sleeps.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::answers::Answers;
use system_tests::lab::{self, Lab};
use system_tests::load::{Load, exactly_once, stored};
use system_tests::peers;
use system_tests::wait::eventually;

const NOTICED_WITHIN: Duration = Duration::from_secs(60);
const HOUR: f64 = 3_600.0;
/// Seconds that a loaded machine may need between two looks at a clock.
const ABOUT: f64 = 600.0;
const DELIVERED_WITHIN: Duration = Duration::from_secs(90);

/// A process's clock, as a file that libfaketime reads again and again.
struct Hand(PathBuf);

impl Hand {
    fn new(lab: &Lab, name: &str) -> Result<Self> {
        Ok(Self(lab.write(&format!("{name}.time"), "+0")?))
    }

    /// Sets the clock ahead of the true time, or back to it.
    fn set(&self, ahead: &str) -> Result<()> {
        // Nobody reads half of it.
        let new = self.0.with_extension("new");
        std::fs::write(&new, ahead)?;
        Ok(std::fs::rename(new, &self.0)?)
    }

    fn environment(&self, library: &str) -> Vec<(String, String)> {
        let file = self.0.display().to_string();
        let variables = [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", file.as_str()),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        variables
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }
}

/// The region is well, by a clock that is ahead of the true time by so many hours and behind the
/// agent's by so many, and nothing that is known of it lies in the future.
async fn is_well(answers: &Answers, ahead: f64, agent_ahead: f64) -> Result<()> {
    eventually(NOTICED_WITHIN, &format!("well at {ahead} h"), || async {
        let rows = answers
            .rows(
                "SELECT state, clock_offset_ms, date_part('epoch', now()) AS now, \
                 date_part('epoch', now() - last_seen) AS unheard, \
                 date_part('epoch', now() - watermark) AS behind FROM agents",
            )
            .await?;
        let [agent] = rows.as_slice() else {
            anyhow::bail!("one agent, not {rows:?}");
        };
        let seconds = |key: &str| agent[key].as_f64().with_context(|| format!("{key}: {agent}"));
        let true_now = Duration::from_nanos(system_tests::otlp::now_unix_nanos()).as_secs_f64();
        let is_ahead = seconds("now")? - true_now;
        for age in ["unheard", "behind"] {
            ensure!(seconds(age)? >= 0.0, "a negative age: {agent}");
        }
        let is_about = |seconds: f64, hours: f64| (seconds - hours * HOUR).abs() < ABOUT;
        ensure!(is_about(is_ahead, ahead), "the clock is {is_ahead} s ahead");
        let agent_is_ahead = seconds("clock_offset_ms")? / 1_000.0;
        ensure!(is_about(agent_is_ahead, agent_ahead), "{agent}");
        ensure!(agent["state"] == "ok", "{agent}");
        let region: Value = answers.region("eu").await?;
        ensure!(region["state"] == "ok", "{region}");
        Ok(())
    })
    .await
}

#[test]
fn clocks_that_jump_by_an_hour_lose_and_double_nothing() {
    lab::run(|lab| async move {
        let Some(library) = peers::find("libfaketime")? else {
            return Ok(());
        };
        let library = library.display().to_string();
        let (theirs, ours) = (Hand::new(&lab, "agent")?, Hand::new(&lab, "aggregator")?);
        let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
        spec.environment = ours.environment(&library);
        let aggregator = Aggregator::start(&lab, spec).await?;
        let mut spec = AgentSpec::new("agent", "eu", aggregator.ingest());
        spec.environment = theirs.environment(&library);
        let agent = Agent::start(&lab, spec).await?;
        let load = Load::start(agent.http(), 2, Duration::from_millis(100));
        let answers = aggregator.answers();
        is_well(&answers, 0.0, 0.0).await?;
        theirs.set("+1h")?;
        is_well(&answers, 0.0, 1.0).await?;
        ours.set("+1h")?;
        is_well(&answers, 1.0, 0.0).await?;
        // The agent's records go on from where they were.
        theirs.set("+0")?;
        is_well(&answers, 1.0, 0.0).await?;
        ours.set("+0")?;
        is_well(&answers, 0.0, 1.0).await?;
        let told = load.finish().await?;
        ensure!(told.unanswered == 0, "{told:?}");
        agent.drained(DELIVERED_WITHIN).await?;
        exactly_once(&told, &stored(&answers).await?)?;
        agent.balanced().await
    });
}
