//! The command: which parts are measured, in which order, and where the results go.
//!
//! Rounds go around all targets, so that a busy minute of the machine hits every one of them.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use meridian_proto::signal::Signal;
use parking_lot::Mutex;

use crate::bench::content::ITEMS;
use crate::bench::machine::Machine;
use crate::bench::measure::{Figures, Plan, measure};
use crate::bench::report::{Line, Report};
use crate::bench::targets::Kind;
use crate::lab;
use crate::otlp::now_unix_nanos;
use crate::process::build_folder;

const HELP: &str = "bench [--items N] [--rounds N] [PART …]

  spans     our agent beside Rotel and the Collector, with spans
  logs      the same with log records
  metrics   the same with data points
  agent     our agent alone, all signals
  ack       acknowledgement at 20,000 spans per second, all targets
  all       spans, logs and metrics (default)
";
/// Ten seconds at the fixed rate.
const PACED_REQUESTS: u64 = 2000;

struct Options {
    items: u64,
    rounds: usize,
    cases: Vec<(Kind, Signal)>,
    is_full_speed: bool,
}

/// Reads the arguments, measures, prints the table and the path of the JSON.
pub fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let Some(options) = parse(arguments)? else {
        return say(HELP);
    };
    let machine = Machine::here();
    let plan = Plan {
        requests: if options.is_full_speed {
            options.items / u64::from(ITEMS)
        } else {
            0
        },
        paced_requests: PACED_REQUESTS,
    };
    let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); options.cases.len()];
    for round in 1..=options.rounds {
        for ((kind, signal), figures) in options.cases.iter().zip(&mut rounds) {
            say(&format!("==> round {round}: {signal}, {}\n", kind.name()))?;
            match one(*kind, *signal, plan) {
                Some(measured) => figures.push(measured),
                None => say("    left out: it is not installed\n")?,
            }
        }
    }
    let cases = options.cases.iter().zip(rounds);
    let lines = cases
        .filter(|(_, figures)| !figures.is_empty())
        .map(|((kind, signal), figures)| Line::new(*kind, *signal, figures));
    let report = Report {
        machine,
        time_unix_nanos: now_unix_nanos(),
        items: options.items,
        lines: lines.collect(),
    };
    finish(&report)
}

/// One target in a folder of its own; a fault ends the run and shows the logs.
fn one(kind: Kind, signal: Signal, plan: Plan) -> Option<Figures> {
    let measured = Arc::new(Mutex::new(None));
    let result = Arc::clone(&measured);
    lab::run(|lab| async move {
        *result.lock() = measure(&lab, kind, signal, plan).await?;
        Ok(())
    });
    measured.lock().take()
}

fn finish(report: &Report) -> Result<()> {
    let folder = build_folder()?.join("bench-results");
    std::fs::create_dir_all(&folder)?;
    let path: PathBuf = folder.join(format!("{}.json", report.time_unix_nanos / 1_000_000_000));
    std::fs::write(&path, serde_json::to_vec_pretty(report)?)?;
    let machine = &report.machine;
    say(&format!(
        "\n{} cores of {}, {} MiB, Linux {}, load {} before the run; {} items per round\n\n{}\n{}\n",
        machine.cores,
        machine.cpu,
        machine.memory_mib,
        machine.kernel,
        machine.load,
        report.items,
        report.table(),
        path.display()
    ))
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options {
        items: 1_000_000,
        rounds: 3,
        cases: Vec::new(),
        is_full_speed: true,
    };
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().context("a number is missing");
        let peers = |signal| Kind::ALL.map(|kind| (kind, signal)).to_vec();
        match argument.as_str() {
            "--help" => return Ok(None),
            "--items" => options.items = number()?.parse()?,
            "--rounds" => options.rounds = number()?.parse()?,
            "spans" => options.cases.extend(peers(Signal::Spans)),
            "logs" => options.cases.extend(peers(Signal::Logs)),
            "metrics" => options.cases.extend(peers(Signal::Metrics)),
            "agent" => options
                .cases
                .extend(Signal::ALL.map(|signal| (Kind::Agent, signal))),
            "all" => options.cases.extend(Signal::ALL.into_iter().flat_map(peers)),
            "ack" => {
                options.cases.extend(peers(Signal::Spans));
                options.is_full_speed = false;
            }
            other => bail!("no part is called {other}\n\n{HELP}"),
        }
    }
    if options.cases.is_empty() {
        let all = Signal::ALL.into_iter();
        options.cases = all
            .flat_map(|signal| Kind::ALL.map(|kind| (kind, signal)))
            .collect();
    }
    Ok(Some(options))
}

fn say(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
