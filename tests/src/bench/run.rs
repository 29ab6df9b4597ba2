//! The command: which parts are measured, in which order, and where the results go. A part
//! that fails is named with its reason, and the others go on.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use meridian_proto::signal::Signal;

use crate::bench::machine::Machine;
use crate::bench::options::{HELP, Options};
use crate::bench::report::{Part, Report};
use crate::bench::{agents, exporters, freshness, hostile, ingest, outage, progress, queries, say};
use crate::otlp::now_unix_nanos;
use crate::process::build_folder;

type Measure = fn(&Options) -> Part;

/// The parts; those that repeat a part of another, or measure no cost, are left out of a whole run.
const PARTS: [(&str, bool, Measure); 12] = [
    ("spans", true, |options| {
        agents::beside_peers("spans", Signal::Spans, options)
    }),
    ("logs", true, |options| {
        agents::beside_peers("logs", Signal::Logs, &options.half())
    }),
    ("metrics", true, |options| {
        agents::beside_peers("metrics", Signal::Metrics, &options.half())
    }),
    ("agent", false, agents::alone),
    ("ack", false, agents::acknowledgement),
    ("overload", true, agents::overload),
    ("exporters", true, exporters::part),
    ("aggregator", true, ingest::part),
    ("freshness", true, freshness::part),
    ("queries", true, queries::part),
    ("outage", true, outage::part),
    ("hostile", false, hostile::part),
];

/// Reads the arguments, measures, prints the tables and the path of the JSON.
pub fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let Some(options) = Options::parse(arguments)? else {
        return say(HELP);
    };
    let report = measure(&options)?;
    let path = write(&report, &options)?;
    say(&format!("{}\n{}\n", report.text(), path.display()))
}

/// Measures the parts that are asked for.
pub fn measure(options: &Options) -> Result<Report> {
    for part in &options.parts {
        let is_known = PARTS.iter().any(|(name, ..)| name == part);
        ensure!(is_known, "there is no part {part}\n\n{HELP}");
    }
    let machine = Machine::here();
    let time_unix_nanos = now_unix_nanos();
    let mut parts = Vec::new();
    for (name, is_usual, measure) in PARTS {
        let is_asked = match options.parts.as_slice() {
            [] => is_usual,
            parts => parts.iter().any(|part| part == name),
        };
        if !is_asked {
            continue;
        }
        progress(&format!("part {name}"));
        let start = Instant::now();
        let mut part = measure(options);
        part.seconds = start.elapsed().as_secs_f64();
        parts.push(part);
    }
    Ok(Report {
        machine,
        time_unix_nanos,
        options: options.clone(),
        parts,
    })
}

/// Where the results go.
pub(super) fn results_folder(options: &Options) -> Result<PathBuf> {
    if let Some(path) = &options.json {
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        return Ok(folder.to_owned());
    }
    let folder = build_folder()?.join("bench-results");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn write(report: &Report, options: &Options) -> Result<PathBuf> {
    let path = match &options.json {
        Some(path) => PathBuf::from(path),
        None => results_folder(options)?.join(format!("{}.json", report.time_unix_nanos / 1_000_000_000)),
    };
    let json = serde_json::to_vec_pretty(report)?;
    std::fs::write(&path, &json)?;
    std::fs::write(path.with_file_name("latest.json"), &json)?;
    Ok(path)
}
