//! The part about hostile OTLP: the same inputs into our agent and its peers, judged by one rule.
//! A target that does not accept a good span any more is started anew, and goes on with the next
//! input.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::options::Options;
use crate::bench::progress;
use crate::bench::report::{Column, Part};
use crate::bench::targets::{Kind, Target};
use crate::hostile_otlp::attack::{Outcome, Verdict, attack};
use crate::hostile_otlp::client::Doors;
use crate::hostile_otlp::inputs;
use crate::lab::{self, Lab};

const MIB: f64 = 1024.0 * 1024.0;
const INPUTS: Column = Column::new("inputs", 0);
const WELL: Column = Column::new("handled well %", 1);
const HARMLESS: Column = Column::new("answered, not repeated, good span within 1 s %", 1);
const GOOD_REFUSED: Column = Column::new("good items refused", 0);
const BAD_ACCEPTED: Column = Column::new("bad accepted", 0);
const REPEATED: Column = Column::new("repeated for ever", 0);
const UNANSWERED: Column = Column::new("unanswered", 0);
const ENDED: Column = Column::new("restarts", 0);
const GOOD_P99: Column = Column::new("good span after, p99 ms", 1);
const GOOD_MAX: Column = Column::new("good span after, greatest ms", 1);
const PEAK: Column = Column::new("peak RSS MiB", 0);
/// A good span after an input is accepted within so long.
const SOON: Duration = Duration::from_secs(1);

/// Our agent and its peers.
pub fn part(_: &Options) -> Part {
    let mut part = Part::new("hostile");
    for kind in [Kind::Agent, Kind::Rotel, Kind::Collector] {
        progress(&format!("hostile inputs: {}", kind.name()));
        match lab::attempt(|lab| async move { attacked(&lab, kind).await }) {
            Ok(Some(attacked)) => attacked.record(&mut part, kind.name()),
            Ok(None) => part
                .left_out
                .push(format!("left out: {}: it is not installed", kind.name())),
            Err(fault) => part
                .left_out
                .push(format!("left out: {}: {fault:#}", kind.name())),
        }
    }
    part.note("handled well: all good items are kept and each bad one is told, what can never succeed is refused with a status that SDKs do not repeat, and a good span is accepted afterwards");
    part
}

struct Attacked {
    outcomes: Vec<Outcome>,
    restarts: usize,
    peak_bytes: u64,
}

async fn attacked(lab: &Arc<Lab>, kind: Kind) -> Result<Option<Attacked>> {
    let inputs = inputs();
    let mut attacked = Attacked {
        outcomes: Vec::new(),
        restarts: 0,
        peak_bytes: 0,
    };
    while attacked.outcomes.len() < inputs.len() {
        let Some(mut target) = Target::start(lab, kind).await? else {
            return Ok(None);
        };
        let doors = Doors {
            grpc: target.grpc,
            http: target.http,
        };
        let rest = inputs.get(attacked.outcomes.len()..).context("a rest")?;
        attacked.outcomes.extend(attack(doors, None, rest).await?);
        // A process that has ended has no peak to read any more.
        let peak = target.process().resident_bytes_peak().unwrap_or(0);
        attacked.peak_bytes = attacked.peak_bytes.max(peak);
        attacked.restarts += usize::from(attacked.outcomes.len() < inputs.len());
    }
    Ok(Some(attacked))
}

impl Attacked {
    fn record(&self, part: &mut Part, name: &str) {
        let share = |is: &dyn Fn(&Outcome) -> bool| {
            let count = self.outcomes.iter().filter(|outcome| is(outcome)).count();
            100.0 * count as f64 / self.outcomes.len() as f64
        };
        let of = |verdict: Verdict| {
            let judged = self.outcomes.iter().filter(|outcome| outcome.verdict == verdict);
            judged.count() as f64
        };
        let is_soon = |outcome: &Outcome| outcome.good_after.is_some_and(|after| after <= SOON);
        let harms = [Verdict::Repeated, Verdict::Unanswered];
        let mut times: Vec<Duration> = self
            .outcomes
            .iter()
            .filter_map(|outcome| outcome.good_after)
            .collect();
        times.sort_unstable();
        let millis = |time: Option<&Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        let figures = [
            (INPUTS, self.outcomes.len() as f64),
            (
                WELL,
                share(&|outcome| outcome.verdict == Verdict::Well && is_soon(outcome)),
            ),
            (
                HARMLESS,
                share(&|outcome| !harms.contains(&outcome.verdict) && is_soon(outcome)),
            ),
            (GOOD_REFUSED, of(Verdict::GoodRefused)),
            (BAD_ACCEPTED, of(Verdict::BadAccepted)),
            (REPEATED, of(Verdict::Repeated)),
            (UNANSWERED, of(Verdict::Unanswered)),
            (ENDED, self.restarts as f64),
            (GOOD_P99, millis(times.get(times.len() * 99 / 100))),
            (GOOD_MAX, millis(times.last())),
            (PEAK, self.peak_bytes as f64 / MIB),
        ];
        for (column, value) in figures {
            part.record(name, column, value);
        }
    }
}
