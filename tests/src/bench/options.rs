//! What the command line asks for. Nothing is started here.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use meridian_runtime::units;

/// What `--help` prints.
pub const HELP: &str = "bench [OPTION …] [PART …]        all parts if none is named

  agent        our agent alone, all signals
  spans        our agent beside Rotel and the Collector, with spans
  logs         the same with log records
  metrics      the same with data points
  ack          acknowledgement at 20,000 spans per second, all of them
  overload     our agent's memory when more is offered than it can take

  --items N        items at full speed per round, fewer for slow peers   (1000000)
  --rounds N       rounds of each part with peers                              (3)
  --paced TIME     how long each load at a fixed rate lasts                  (10s)
  --json PATH      where the results go as JSON     (bench-results/ of the build)
";

/// What is measured, and how thoroughly.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names of parts; empty for all.
    pub parts: Vec<String>,
    /// Items at full speed in each round.
    pub items: u64,
    /// How often.
    pub rounds: usize,
    /// How long each load at a fixed rate lasts.
    pub paced: Duration,
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
            json: None,
        }
    }
}

impl Options {
    /// The same with one round.
    pub fn once(&self) -> Self {
        Self {
            rounds: 1,
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
