//! The part about hostile OTLP: the same inputs into our agent and its peers, judged by one rule
//! (`hostile_otlp::attack`) and with the same patience. A target that does not accept a good span
//! any more is started anew, and goes on with the next input. What became of each input is written
//! at once, so that a run that is cut leaves what it has found.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::options::Options;
use crate::bench::progress;
use crate::bench::report::{Column, Part};
use crate::bench::run::results_folder;
use crate::bench::targets::{Kind, Target};
use crate::hostile_otlp::attack::{Outcome, Patience, Verdict, attack};
use crate::hostile_otlp::client::Doors;
use crate::hostile_otlp::{Input, inputs};
use crate::lab::{self, Lab};

const MIB: f64 = 1024.0 * 1024.0;
const KINDS: [Kind; 3] = [Kind::Agent, Kind::Rotel, Kind::Collector];
/// For everybody. Bombs of gigabytes take seconds to read on a machine that is shared.
const PATIENCE: Patience = Patience {
    answer: Duration::from_secs(10),
    good: Duration::from_secs(5),
};
/// A good span after an input is accepted within so long, if the input was handled well.
const SOON: Duration = Duration::from_secs(1);
/// How often is said how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Our agent and its peers.
pub fn part(options: &Options) -> Part {
    let mut part = Part::new("hostile");
    let inputs = &inputs();
    for kind in KINDS {
        progress(&format!("hostile inputs: {}", kind.name()));
        let outcomes = results_folder(options).and_then(|folder| {
            let path = folder.join(format!("hostile-{}.jsonl", kind.word()));
            lab::attempt(|lab| async move { attacked(&lab, kind, inputs, &path).await })
        });
        match outcomes {
            Ok(Some(attacked)) => attacked.record(&mut part, kind.name()),
            Ok(None) => part
                .left_out
                .push(format!("left out: {}: it is not installed", kind.name())),
            Err(fault) => part
                .left_out
                .push(format!("left out: {}: {fault:#}", kind.name())),
        }
    }
    part.note(
        "handled well: all good items are kept and each bad one is told, what can never succeed is refused with a \
         status that SDKs do not repeat, the answer comes within 10 s, and a good span is accepted within 1 s after it",
    );
    part.note("harmless: the same, but good items may be refused with the bad ones, and bad ones accepted");
    part.note("each input and its answer: hostile-*.jsonl beside the results");
    part
}

#[derive(Default)]
struct Attacked {
    outcomes: Vec<Outcome>,
    restarts: usize,
    peak_bytes: u64,
}

async fn attacked(lab: &Arc<Lab>, kind: Kind, inputs: &[Input], path: &Path) -> Result<Option<Attacked>> {
    let mut file = File::create(path)?;
    let mut attacked = Attacked::default();
    let mut told = Instant::now();
    while attacked.outcomes.len() < inputs.len() {
        let Some(mut target) = Target::start(lab, kind).await? else {
            return Ok(None);
        };
        let doors = Doors {
            grpc: target.grpc,
            http: target.http,
        };
        let rest = inputs.get(attacked.outcomes.len()..).context("a rest")?;
        attack(doors, None, rest, PATIENCE, |outcome| {
            writeln!(file, "{}", serde_json::to_string(&outcome)?)?;
            attacked.outcomes.push(outcome);
            if told.elapsed() > TOLD_EVERY {
                told = Instant::now();
                let (count, well) = (attacked.outcomes.len(), attacked.share(is_well));
                let of = inputs.len();
                progress(&format!("{}: {count} of {of}, {well:.1} % well", kind.name()));
            }
            Ok(())
        })
        .await?;
        // A process that has ended has no peak to read any more.
        let peak = target.process().resident_bytes_peak().unwrap_or(0);
        attacked.peak_bytes = attacked.peak_bytes.max(peak);
        attacked.restarts += usize::from(attacked.outcomes.len() < inputs.len());
    }
    Ok(Some(attacked))
}

fn is_well(outcome: &Outcome) -> bool {
    outcome.verdict == Verdict::Well && is_soon(outcome)
}

fn is_harmless(outcome: &Outcome) -> bool {
    !matches!(outcome.verdict, Verdict::Repeated | Verdict::Unanswered) && is_soon(outcome)
}

fn is_soon(outcome: &Outcome) -> bool {
    outcome.good_after.is_some_and(|after| after <= SOON)
}

impl Attacked {
    fn share(&self, is: fn(&Outcome) -> bool) -> f64 {
        let count = self.outcomes.iter().filter(|outcome| is(outcome)).count();
        100.0 * count as f64 / self.outcomes.len() as f64
    }

    /// A column of the table.
    fn record(&self, part: &mut Part, name: &'static str) {
        let column = Column::new(name, 1);
        let of = |verdict: Verdict| {
            let judged = self.outcomes.iter().filter(|outcome| outcome.verdict == verdict);
            judged.count() as f64
        };
        let mut times: Vec<Duration> = self
            .outcomes
            .iter()
            .filter_map(|outcome| outcome.good_after)
            .collect();
        times.sort_unstable();
        let millis = |time: Option<&Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        part.record("inputs", column, self.outcomes.len() as f64);
        part.record("handled well, %", column, self.share(is_well));
        for (class, (well, count)) in self.classes() {
            let share = 100.0 * well as f64 / count as f64;
            part.record(&format!("of {count} of the class {class}, %"), column, share);
        }
        let figures = [
            ("harmless, %", self.share(is_harmless)),
            ("good items refused", of(Verdict::GoodRefused)),
            ("bad ones accepted", of(Verdict::BadAccepted)),
            ("repeated for ever", of(Verdict::Repeated)),
            ("not answered", of(Verdict::Unanswered)),
            ("restarts", self.restarts as f64),
            (
                "good span afterwards, p99 ms",
                millis(times.get(times.len() * 99 / 100)),
            ),
            ("good span afterwards, greatest ms", millis(times.last())),
            ("peak RSS, MiB", self.peak_bytes as f64 / MIB),
        ];
        for (row, value) in figures {
            part.record(row, column, value);
        }
    }

    /// How many of each class were handled well, and how many there are.
    fn classes(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut classes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for outcome in &self.outcomes {
            let (well, count) = classes.entry(outcome.class).or_default();
            *well += usize::from(is_well(outcome));
            *count += 1;
        }
        classes
    }
}
