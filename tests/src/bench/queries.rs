//! The part about queries: ten million stored spans, asked by our aggregator over HTTP and by
//! DuckDB over the same files, in the same run and with the same memory.
//!
//! Times of ours include HTTP and JSON; DuckDB's end when the answer is in a table of its own.
//! Cold means a new
//! process whose files are not in the page cache.

mod questions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use meridian_proto::signal::Signal;
use serde::Deserialize;
use serde_json::json;

use crate::aggregator::Aggregator;
use crate::answers::Answers;
use crate::bench::agents::percentile;
use crate::bench::options::Options;
use crate::bench::progress;
use crate::bench::report::{Bound, Column, Part};
use crate::bench::stored::Stored;
use crate::bench::world::{aggregator_spec, files};
use crate::lab::{self, Lab};
use crate::peers;

use questions::{Question, questions, trace_ids, trace_question};

const MIB: f64 = 1024.0 * 1024.0;
const COLD: Column = Column::new("cold ms", 0);
const P50: Column = Column::new("p50 ms", 1);
const P99: Column = Column::new("p99 ms", 1);
const CPU: Column = Column::new("CPU ms", 1);
const DUCK_P50: Column = Column::new("DuckDB p50 ms", 1);
const DUCK_P99: Column = Column::new("DuckDB p99 ms", 1);
const DUCK_CPU: Column = Column::new("DuckDB CPU ms", 1);
const PEAK: Column = Column::new("peak RSS MiB", 0);
const DUCK_PEAK: Column = Column::new("DuckDB peak RSS MiB", 0);
const FILES: Column = Column::new("files", 0);
const DISK: Column = Column::new("disk bytes/span", 1);
const LOAD: Column = Column::new("loaded spans/s", 0);

/// Traces that are asked for, by the repetitions of a question.
const TRACES: usize = 6;
const STORE: &str = "the store";
const DUCKDB_WITHIN: Duration = Duration::from_secs(600);
const QUERY_MEMORY_MIB: f64 = 2048.0;

/// Our answers beside DuckDB's.
pub fn part(options: &Options) -> Part {
    let mut part = Part::new("queries");
    let spans = options.stored;
    let outcome = lab::attempt(|lab| async move {
        let mut part = Part::new("queries");
        measure(&lab, options, &mut part).await?;
        Ok::<_, anyhow::Error>(part)
    });
    match outcome {
        Ok(measured) => part = measured,
        Err(fault) => part.left_out.push(format!("left out: {fault:#}")),
    }
    let disk = part.median(STORE, DISK);
    let at_rest = format!("disk bytes per span at rest, {spans} stored");
    part.goal(&at_rest, Bound::AtMost, 40.0, disk);
    let by_id = format!("a trace by id among {spans} spans, p99 ms (warm)");
    let trace = part.median(questions::TRACE, P99);
    part.goal(&by_id, Bound::AtMost, 50.0, trace);
    let ours = part.median(questions::BY_SERVICE, P50);
    part.goal(
        "by service over one hour, p50 ms (warm)",
        Bound::AtMost,
        500.0,
        ours,
    );
    let theirs = part.median(questions::BY_SERVICE, DUCK_P50);
    let beside = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
    part.goal("the same ÷ DuckDB's", Bound::AtMost, 1.0, beside);
    let peak = part.median(STORE, PEAK);
    part.goal(
        "aggregator's peak RSS in queries, MiB (query_memory)",
        Bound::AtMost,
        QUERY_MEMORY_MIB,
        peak,
    );
    part
}

async fn measure(lab: &Arc<Lab>, options: &Options, part: &mut Part) -> Result<()> {
    let stored = Stored::open(lab, options.stored, options.quiet).await?;
    let tables = [Signal::Spans, Signal::Logs];
    let mut paths: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for signal in tables {
        let table = files(lab, &stored.folder, signal).await?;
        if signal == Signal::Spans {
            part.record(STORE, FILES, table.files as f64);
            part.record(STORE, DISK, table.bytes as f64 / table.rows.max(1) as f64);
            part.note(format!("{} spans in {} files", table.rows, table.files));
        }
        paths.insert(signal.as_str(), table.paths);
    }
    part.record(STORE, LOAD, stored.spans as f64 / stored.load_seconds);

    let mut spec = aggregator_spec();
    spec.store_url = format!("file://{}", stored.folder.display());
    let mut aggregator = Aggregator::start(lab, spec).await?;
    let ids = trace_ids(&aggregator.answers(), &stored, TRACES * options.repeat).await?;
    let mut asked = questions(&stored, options.repeat);
    asked.insert(0, trace_question(&ids));
    cold(&mut aggregator, &asked[..2], &paths, part).await?;
    warm(&aggregator, &asked, part).await?;
    let peak = aggregator.process.resident_bytes_peak()? as f64 / MIB;
    part.record(STORE, PEAK, peak);
    drop(aggregator);
    duckdb(lab, &asked, &paths, part).await
}

async fn ask(answers: &Answers, ours: &str) -> Result<()> {
    match ours.strip_prefix("GET ") {
        Some(path) => answers.get(path).await.map(drop),
        None => answers.sql(ours).await.map(drop),
    }
}

/// The first two questions, each by a process that has just been started.
async fn cold(
    aggregator: &mut Aggregator,
    asked: &[Question],
    paths: &BTreeMap<&str, Vec<PathBuf>>,
    part: &mut Part,
) -> Result<()> {
    for question in asked {
        progress(&format!("cold: {}", question.name));
        aggregator.process.kill_9()?;
        for path in paths.values().flatten() {
            forget(path)?;
        }
        aggregator.restart().await?;
        let start = Instant::now();
        ask(&aggregator.answers(), &question.ours[0]).await?;
        part.record(question.name, COLD, start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

/// Takes a file out of the page cache.
fn forget(path: &PathBuf) -> Result<()> {
    let file = std::fs::File::open(path)?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

async fn warm(aggregator: &Aggregator, asked: &[Question], part: &mut Part) -> Result<()> {
    let answers = aggregator.answers();
    for question in asked {
        progress(&format!("warm: {}", question.name));
        ask(&answers, &question.ours[0]).await?;
        let before = aggregator.process.cpu()?.total();
        let mut times = Vec::new();
        for _ in 0..question.repeat {
            for statement in &question.ours {
                let start = Instant::now();
                ask(&answers, statement).await?;
                times.push(start.elapsed());
            }
        }
        let cpu = aggregator.process.cpu()?.total() - before;
        let count = times.len() as f64;
        times.sort_unstable();
        part.record(question.name, P50, percentile(&times, 50));
        part.record(question.name, P99, percentile(&times, 99));
        part.record(question.name, CPU, cpu.as_secs_f64() * 1e3 / count);
    }
    Ok(())
}

#[derive(Deserialize)]
struct DuckDb {
    version: String,
    peak_mib: f64,
    answers: BTreeMap<String, DuckDbAnswer>,
}

#[derive(Deserialize)]
struct DuckDbAnswer {
    ms: Vec<f64>,
    cpu_ms: f64,
}

async fn duckdb(
    lab: &Lab,
    asked: &[Question],
    paths: &BTreeMap<&str, Vec<PathBuf>>,
    part: &mut Part,
) -> Result<()> {
    progress("the same by DuckDB");
    let questions: Vec<_> = asked
        .iter()
        .map(|question| json!({"name": question.name, "statements": question.duckdb, "repeat": question.repeat}))
        .collect();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let spec = json!({"files": paths, "threads": threads, "memory": "2GB", "questions": questions});
    let path = lab.write("duckdb.json", &spec.to_string())?;
    let path = path.display().to_string();
    let printed = match peers::python(lab, "duckdb_queries.py", &[&path], DUCKDB_WITHIN).await {
        Ok(printed) => printed,
        Err(fault) => {
            part.left_out.push(format!("left out: DuckDB: {fault:#}"));
            return Ok(());
        }
    };
    let last = printed.lines().last().context("DuckDB printed nothing")?;
    let found: DuckDb = serde_json::from_str(last)?;
    for (question, answer) in asked
        .iter()
        .filter_map(|question| Some((question, found.answers.get(question.name)?)))
    {
        let mut times: Vec<Duration> = answer
            .ms
            .iter()
            .map(|ms| Duration::from_secs_f64(ms / 1e3))
            .collect();
        times.sort_unstable();
        part.record(question.name, DUCK_P50, percentile(&times, 50));
        part.record(question.name, DUCK_P99, percentile(&times, 99));
        part.record(question.name, DUCK_CPU, answer.cpu_ms);
    }
    part.record(STORE, DUCK_PEAK, found.peak_mib);
    part.note(format!(
        "DuckDB {} with {threads} threads and 2 GB, its cache of footers on",
        found.version
    ));
    Ok(())
}
