//! A store in a directory of which files are damaged: answers name them, say that they are
//! partial, and give the rest; ingest and merges go on; what is put back is there again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_proto::ids::to_hex;
use meridian_proto::signal::Signal;
use serde_json::Value;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::answers::Answers;
use system_tests::damage::{Damage, Whole, data_files, log_files};
use system_tests::lab::{self, Lab};
use system_tests::load::{Load, exactly_once, stored};
use system_tests::otlp;
use system_tests::wait::eventually;

const DRAINED_WITHIN: Duration = Duration::from_secs(60);
const SEEN_WITHIN: Duration = Duration::from_secs(60);
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(120);
/// Spans of one request, and of one file.
const SPANS: usize = 50;

/// A request whose spans lie in a file of their own.
struct Part {
    name: String,
    trace_id: String,
    file: PathBuf,
}

struct World {
    aggregator: Aggregator,
    agent: Agent,
}

impl World {
    async fn start(lab: &Arc<Lab>, spec: AggregatorSpec) -> Result<Self> {
        let aggregator = Aggregator::start(lab, spec).await?;
        let mut spec = AgentSpec::new("agent", "eu", aggregator.ingest());
        spec.exporter = "batch_linger: 20ms".to_owned();
        let agent = Agent::start(lab, spec).await?;
        eventually(SEEN_WITHIN, "the region is ok", || async {
            let entry = aggregator.answers().region("eu").await?;
            ensure!(entry["state"] == "ok", "{entry}");
            Ok(())
        })
        .await?;
        Ok(Self { aggregator, agent })
    }

    fn table(&self) -> PathBuf {
        self.aggregator.store().join("spans")
    }

    async fn send(&self, name: &str) -> Result<Vec<u8>> {
        let spans: Vec<_> = (0..SPANS).map(|_| otlp::span(name)).collect();
        let trace_id = spans[0].trace_id.clone();
        let body = otlp::spans_request("damaged", spans);
        let http = reqwest::Client::new();
        let response = otlp::post_protobuf(&http, self.agent.http(), Signal::Spans, body).await?;
        ensure!(response.status().is_success(), "{response:?}");
        self.agent.drained(DRAINED_WITHIN).await?;
        Ok(trace_id)
    }

    /// Sends a part and finds its file.
    async fn part(&self, name: &str) -> Result<Part> {
        let before = data_files(&self.table())?;
        let trace_id = to_hex(&self.send(name).await?);
        let file = data_files(&self.table())?
            .into_iter()
            .find(|path| !before.contains(path));
        Ok(Part {
            name: name.to_owned(),
            trace_id,
            file: file.context("a file of the part")?,
        })
    }
}

/// How many spans of each name there are.
const BY_NAME: &str = "SELECT name, count(DISTINCT span_id) AS n FROM spans GROUP BY name ORDER BY name";

fn names(answer: &Value) -> Result<Vec<String>> {
    let rows = answer["data"].as_array().context("rows")?;
    for row in rows {
        ensure!(row["n"] == SPANS, "a part is there in part: {answer}");
    }
    let name = |row: &Value| row["name"].as_str().unwrap_or_default().to_owned();
    Ok(rows.iter().map(name).collect())
}

/// Whether an answer says that it is partial, and why.
fn is_partial(answer: &Value, named: &[&str]) -> Result<()> {
    ensure!(answer["status"] == "partial", "{answer}");
    let warnings = answer["warnings"].to_string();
    for name in named {
        ensure!(warnings.contains(name), "{name} is not named: {warnings}");
    }
    Ok(())
}

async fn is_whole(answers: &Answers, expected: &[&str]) -> Result<()> {
    eventually(SEEN_WITHIN, "everything is there and ok", || async {
        let answer = answers.sql(BY_NAME).await?;
        ensure!(names(&answer)? == expected, "{answer}");
        ensure!(
            answer["status"] == "ok" && answer["warnings"] == serde_json::json!([]),
            "{answer}"
        );
        Ok(())
    })
    .await
}

async fn trace(aggregator: &Aggregator, part: &Part) -> Result<(u16, Value)> {
    let url = format!("http://{}/api/v1/traces/{}", aggregator.http(), part.trace_id);
    let response = reqwest::get(url).await?;
    Ok((response.status().as_u16(), response.json().await?))
}

async fn damaged(aggregator: &Aggregator, metric: &str) -> Result<f64> {
    let metrics = aggregator.metrics().await?;
    Ok(metrics.sum(metric, &[("signal", "spans")]))
}

#[test]
fn a_question_names_a_damaged_file_and_answers_the_rest_and_a_copy_brings_it_back() {
    lab::run(|lab| async move {
        let spec = AggregatorSpec::new("aggregator", &["eu"]);
        let mut world = World::start(&lab, spec).await?;
        let mut struck: Vec<(Part, Whole)> = Vec::new();
        for damage in Damage::ALL {
            let part = world.part(&format!("{damage:?}")).await?;
            let whole = damage.strike(&part.file)?;
            struck.push((part, whole));
        }
        let well = world.part("well").await?;
        let files = struck.iter().map(|(_, whole)| whole.name());
        let files = files.collect::<Result<Vec<&str>>>()?;
        let aggregator = &world.aggregator;
        let answers = aggregator.answers();

        let answer = answers.sql(BY_NAME).await?;
        ensure!(names(&answer)? == ["well"], "{answer}");
        is_partial(&answer, &files)?;
        let path = format!("/api/v1/queries/trace_spans?trace_id={}", well.trace_id);
        let answer = answers.get(&path).await?;
        ensure!(answer["data"].as_array().map(Vec::len) == Some(1), "{answer}");
        is_partial(&answer, &files)?;
        let (status, answer) = trace(aggregator, &well).await?;
        ensure!(status == 200, "{status}: {answer}");
        is_partial(&answer, &files)?;
        let (status, answer) = trace(aggregator, &struck[0].0).await?;
        ensure!(status == 404, "{status}: {answer}");
        is_partial(&answer, &files)?;
        let count = damaged(aggregator, "meridian_aggregator_damaged_files").await?;
        ensure!(count == 3.0, "{count} damaged files are counted");
        // Questions that need none of them are whole.
        let other = answers
            .sql("SELECT count(*) AS n FROM spans WHERE region = 'us'")
            .await?;
        ensure!(
            other["warnings"]
                .as_array()
                .is_some_and(|all| all.iter().all(|one| !one.to_string().contains("parquet"))),
            "{other}"
        );

        world.part("later").await?;
        let answer = answers.sql(BY_NAME).await?;
        ensure!(names(&answer)? == ["later", "well"], "{answer}");
        for (_, whole) in &struck {
            whole.restore()?;
        }
        world.aggregator.process.kill_9()?;
        world.aggregator.restart().await?;
        is_whole(
            &world.aggregator.answers(),
            &["Corrupt", "Missing", "Truncated", "later", "well"],
        )
        .await
    });
}

#[test]
fn merges_set_a_damaged_file_aside_and_lose_no_good_row() {
    lab::run_heavy(|lab| async move {
        let spec = AggregatorSpec::new("aggregator", &["eu"]).with_hasty_maintenance("2s");
        // Merges wait for this many files, so that there is time to damage some of them.
        let spec = AggregatorSpec {
            store_more: spec.store_more.replace("merge_files: 3", "merge_files: 9"),
            ..spec
        };
        let world = World::start(&lab, spec).await?;
        let mut struck: Vec<(Part, Whole)> = Vec::new();
        for damage in Damage::ALL {
            let part = world.part(&format!("{damage:?}")).await?;
            let whole = damage.strike(&part.file)?;
            struck.push((part, whole));
        }
        let mut expected = Vec::new();
        for number in 0..9 {
            expected.push(format!("well {number}"));
            world.send(&expected[number]).await?;
        }
        let aggregator = &world.aggregator;
        eventually(SEEN_WITHIN, "the others are merged", || async {
            let merges = damaged(aggregator, "meridian_aggregator_merges_total").await?;
            ensure!(merges >= 1.0, "{merges} merges");
            Ok(())
        })
        .await?;
        // The missing and the truncated one are also found without a question.
        eventually(SEEN_WITHIN, "the damaged files are counted", || async {
            let count = damaged(aggregator, "meridian_aggregator_damaged_files").await?;
            ensure!(count == 3.0, "{count}");
            Ok(())
        })
        .await?;
        let answer = aggregator.answers().sql(BY_NAME).await?;
        ensure!(names(&answer)? == expected, "{answer}");
        let files = struck.iter().map(|(_, whole)| whole.name());
        is_partial(&answer, &files.collect::<Result<Vec<&str>>>()?)?;

        // What is put back is noticed by itself, and nothing has become of it.
        for (part, whole) in &struck {
            whole.restore()?;
            expected.push(part.name.clone());
        }
        expected.sort();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        is_whole(&aggregator.answers(), &expected).await
    });
}

#[test]
fn a_damaged_log_entry_is_named_while_the_rest_answers_and_ingest_goes_on() {
    lab::run(|lab| async move {
        let spec = AggregatorSpec::new("aggregator", &["eu"]).with_hasty_maintenance("2s");
        let mut world = World::start(&lab, spec).await?;
        world.part("first").await?;
        let before = log_files(&world.table(), "json")?;
        world.part("second").await?;
        let entry = log_files(&world.table(), "json")?
            .into_iter()
            .find(|path| !before.contains(path));
        world.part("third").await?;
        let whole = Damage::Truncated.strike(&entry.context("an entry of the log")?)?;
        world.aggregator.process.kill_9()?;
        world.aggregator.restart().await?;

        world.agent.drained(DRAINED_WITHIN).await?;
        world.part("fourth").await?;
        let aggregator = &world.aggregator;
        let answer = aggregator.answers().sql(BY_NAME).await?;
        ensure!(names(&answer)? == ["first", "fourth", "third"], "{answer}");
        is_partial(&answer, &[whole.name()?])?;
        let count = damaged(aggregator, "meridian_aggregator_damaged_log_entries").await?;
        ensure!(count == 1.0, "{count} damaged entries are counted");

        // A copy that is put back is noticed by itself, and no row is there twice.
        whole.restore()?;
        is_whole(&aggregator.answers(), &["first", "fourth", "second", "third"]).await?;
        let rows = aggregator
            .answers()
            .number("SELECT count(*) AS n FROM spans")
            .await?;
        ensure!(rows == 4 * i64::try_from(SPANS)?, "{rows} rows");
        Ok(())
    });
}

#[test]
fn a_damaged_checkpoint_costs_nothing() {
    lab::run(|lab| async move {
        let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
        spec.commit_interval = "50ms".to_owned();
        let mut world = World::start(&lab, spec).await?;
        let load = Load::start(world.agent.http(), 2, Duration::from_millis(20));
        let checkpoint = eventually(CHECKPOINT_WITHIN, "a checkpoint", || async {
            let checkpoints = log_files(&world.table(), "parquet")?;
            checkpoints.into_iter().next_back().context("none")
        })
        .await?;
        let told = load.finish().await?;
        world.agent.drained(DRAINED_WITHIN).await?;
        Damage::Corrupt.strike(&checkpoint)?;
        world.aggregator.process.kill_9()?;
        world.aggregator.restart().await?;
        let answers = world.aggregator.answers();
        exactly_once(&told, &stored(&answers).await?)?;
        eventually(SEEN_WITHIN, "the damaged checkpoint is counted", || async {
            let count = damaged(&world.aggregator, "meridian_aggregator_damaged_log_entries").await?;
            ensure!(count == 1.0, "{count}");
            Ok(())
        })
        .await
    });
}
