//! What the command line asks for. Nothing is started here.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use meridian_runtime::units;
use serde::Serialize;

/// What `--help` prints.
pub const HELP: &str = "bench [OPTION …] [PART …]        all parts if none is named

  agent        our agent alone, all signals
  spans        our agent beside Rotel and the Collector, with spans
  logs         the same with log records
  metrics      the same with data points
  ack          acknowledgement at 20,000 spans per second, all of them
  overload     our agent's memory when more is offered than it can take
  exporters    what each exporter costs our agent beyond intake and spool
  aggregator   three agents' streams until they are committed and compacted
  freshness    from a span's end until SQL sees it, at 20,000 spans per second
  queries      answers from ten million stored spans, beside DuckDB
  outage       the aggregator away, and the catch-up
  hostile      OTLP that is meant to hurt, beside Rotel and the Collector

  --items N        items at full speed per round, fewer for slow peers   (1000000)
  --rounds N       rounds of each part with peers                              (3)
  --paced TIME     how long each load at a fixed rate lasts                  (10s)
  --stored N       spans that the queries are asked about                 (10000000)
  --away TIME      how long the aggregator is away                             (60s)
  --repeat N       how often each query is asked                               (7)
  --json PATH      where the results go as JSON     (bench-results/ of the build)
";

/// What is measured, and how thoroughly.
#[derive(Debug, Clone, Serialize)]
pub struct Options {
    /// Names of parts; empty for all.
    pub parts: Vec<String>,
    /// Items at full speed in each round.
    pub items: u64,
    /// How often.
    pub rounds: usize,
    /// How long each load at a fixed rate lasts.
    pub paced: Duration,
    /// Items per second of these loads; half of it in an outage.
    pub rate: u32,
    /// Spans that the queries are asked about.
    pub stored: u64,
    /// How long the aggregator is away.
    pub away: Duration,
    /// How often each query is asked; traces more often.
    pub repeat: usize,
    /// So long an aggregator must be quiet to be at rest: longer than its looks at the tables.
    pub quiet: Duration,
    /// Where the results go.
    pub json: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            items: 1_000_000,
            rounds: 3,
            paced: Duration::from_secs(10),
            rate: 20_000,
            stored: 10_000_000,
            away: Duration::from_secs(60),
            repeat: 7,
            quiet: Duration::from_secs(12),
            json: None,
        }
    }
}

impl Options {
    /// In a line: figures of a smaller run are not those of a whole one.
    pub fn text(&self) -> String {
        format!(
            "{} items, {} rounds, {:?} at a fixed rate; {} spans stored; aggregator away for {:?}",
            self.items, self.rounds, self.paced, self.stored, self.away
        )
    }

    /// The same with one round.
    pub fn once(&self) -> Self {
        Self {
            rounds: 1,
            ..self.clone()
        }
    }

    /// The same with half of the work.
    pub fn half(&self) -> Self {
        Self {
            rounds: self.rounds.div_ceil(2),
            items: self.items / 2,
            paced: self.paced / 2,
            ..self.clone()
        }
    }

    /// Reads the arguments; `None` if they ask for help.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.with_context(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--help" => return Ok(None),
                "--items" => options.items = value()?.parse()?,
                "--rounds" => options.rounds = value()?.parse()?,
                "--paced" => options.paced = duration(&value()?)?,
                "--stored" => options.stored = value()?.parse()?,
                "--away" => options.away = duration(&value()?)?,
                "--repeat" => options.repeat = value()?.parse()?,
                "--json" => options.json = Some(value()?),
                other if other.starts_with('-') => bail!("there is no option {other}\n\n{HELP}"),
                "all" => {}
                part => options.parts.push(part.to_owned()),
            }
        }
        Ok(Some(options))
    }
}

fn duration(text: &str) -> Result<Duration> {
    units::parse_duration(text).with_context(|| format!("{text} is no duration, such as 10s"))
}
