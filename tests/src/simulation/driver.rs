//! Many seeds, each in a process of its own, so that every run begins in the same state: what a
//! process remembers, and the order of its threads, would else depend on the seeds before.
//!
//! The process of a seed gets its random numbers from `entropy.c`, a small library that is compiled
//! here and preloaded. This file knows nothing of what is simulated.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::nice;
use tempfile::TempDir;

use super::run;

const ENTROPY: &str = include_str!("entropy.c");
/// A run takes less than a second; one that takes so long hangs.
const RUN_MAX: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(2);
const PROGRESS: Duration = Duration::from_secs(10);
/// Many seeds leave the machine to others.
const NICE: i32 = 10;

const KEPT_BYTES: &str = "268435456";

/// How often a fault was met, and an answer heard.
const STRUCK: &str = "STRUCK ";
const ANSWERED: &str = "ANSWERED ";
/// What figures are told of: so many seeds.
const PER_SEEDS: u64 = 1_000;

const USAGE: &str = "usage: simulate SEEDS [--first N] [--jobs N]   runs so many seeds\n       \
    simulate --seed N                     runs one seed and prints what happened";

/// What the process of a seed said.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Whether all invariants held.
    pub is_well: bool,
    /// The hash of the events.
    pub hash: String,
    /// Everything that it said.
    pub text: String,
}

/// The program's arguments to its exit.
pub fn main(arguments: &[String]) -> Result<bool> {
    let number = |name: &str| -> Result<Option<u64>> {
        let at = arguments.iter().position(|argument| argument == name);
        let value = at.map(|at| arguments.get(at + 1).context(USAGE));
        Ok(value.transpose()?.map(|value| value.parse()).transpose()?)
    };
    if let Some(seed) = number("--inside")? {
        return inside(seed);
    }
    let program = std::env::current_exe()?;
    let entropy = Entropy::build()?;
    if let Some(seed) = number("--seed")? {
        let report = entropy.run(&program, seed)?;
        writeln!(std::io::stdout(), "{}", report.text)?;
        return Ok(report.is_well);
    }
    nice(NICE)?;
    let seeds: u64 = arguments.first().context(USAGE)?.parse().context(USAGE)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = number("--jobs")?.map_or(cores, |jobs| usize::try_from(jobs).unwrap_or(1));
    let failed = entropy.run_all(&program, number("--first")?.unwrap_or(0), seeds, jobs)?;
    Ok(failed.is_empty())
}

/// The process of one seed: says what happened, and fails if an invariant did not hold.
fn inside(seed: u64) -> Result<bool> {
    let panics = run::panics();
    let mut outcome = run::seed(seed)?;
    outcome.violations.extend(panics.lock().iter().cloned());
    let mut text = outcome.events.join("\n");
    for violation in &outcome.violations {
        text += &format!("\nVIOLATED {violation}");
    }
    for (kind, counts) in [(STRUCK, &outcome.strikes), (ANSWERED, &outcome.answers)] {
        for (what, count) in counts {
            text += &format!("\n{kind}{count} {what}");
        }
    }
    text += &format!("\nhash {:016x}", outcome.hash);
    writeln!(std::io::stdout(), "{text}")?;
    Ok(outcome.violations.is_empty())
}

/// The library that gives a process its random numbers.
#[derive(Debug)]
pub struct Entropy {
    directory: TempDir,
}

/// What happened over many seeds.
#[derive(Debug, Default)]
struct Sums(BTreeMap<String, (u64, u64)>);

struct Running {
    seed: u64,
    child: Child,
    output: File,
    began: Instant,
}

impl Entropy {
    /// Compiles it, with the C compiler that the build needs as well.
    pub fn build() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let source = directory.path().join("entropy.c");
        std::fs::write(&source, ENTROPY)?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(directory.path().join("entropy.so"))
            .arg(&source)
            .output()
            .context("cannot start cc, the C compiler")?;
        ensure!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        Ok(Self { directory })
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("entropy.so")
    }

    fn start(&self, program: &Path, seed: u64) -> Result<Running> {
        let output = tempfile::tempfile_in(self.directory.path())?;
        let child = Command::new(program)
            .args(["--inside", &seed.to_string()])
            .env("LD_PRELOAD", self.library())
            // A run is short: memory that is freed may stay.
            .env("MALLOC_MMAP_THRESHOLD_", KEPT_BYTES)
            .env("MALLOC_TRIM_THRESHOLD_", KEPT_BYTES)
            .env("MERIDIAN_SIMULATION_SEED", seed.to_string())
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output.try_clone()?)
            .spawn()?;
        Ok(Running {
            seed,
            child,
            output,
            began: Instant::now(),
        })
    }

    /// Runs one seed to its end.
    pub fn run(&self, program: &Path, seed: u64) -> Result<Report> {
        let mut running = self.start(program, seed)?;
        loop {
            if let Some(report) = running.poll()? {
                return Ok(report);
            }
            pause();
        }
    }

    /// Runs seeds, so many at a time; tells the progress and each failure, and returns the failures.
    pub fn run_all(&self, program: &Path, first: u64, seeds: u64, jobs: usize) -> Result<Vec<Report>> {
        let mut out = std::io::stdout();
        let (mut next, mut done, mut failed) = (first, 0, Vec::new());
        let (began, mut told) = (Instant::now(), Instant::now());
        let mut running: Vec<Running> = Vec::new();
        let (mut struck, mut answered) = (Sums::default(), Sums::default());
        while next < first + seeds || !running.is_empty() {
            while running.len() < jobs.max(1) && next < first + seeds {
                running.push(self.start(program, next)?);
                next += 1;
            }
            let mut still = Vec::new();
            for mut one in running {
                let Some(report) = one.poll()? else {
                    still.push(one);
                    continue;
                };
                done += 1;
                struck.add(&report.text, STRUCK);
                answered.add(&report.text, ANSWERED);
                if !report.is_well {
                    writeln!(out, "SEED={} failed: {}", report.seed, report.why())?;
                    failed.push(report);
                }
            }
            running = still;
            if told.elapsed() > PROGRESS {
                told = Instant::now();
                writeln!(
                    out,
                    "{done} of {seeds} seeds, {} failed, {:.0} s",
                    failed.len(),
                    began.elapsed().as_secs_f64()
                )?;
            }
            pause();
        }
        writeln!(
            out,
            "{done} seeds, {} failed, {:.0} s",
            failed.len(),
            began.elapsed().as_secs_f64()
        )?;
        writeln!(out, "what clients were told, per {PER_SEEDS} seeds:")?;
        answered.tell(&mut out, done)?;
        writeln!(out, "faults that struck, per {PER_SEEDS} seeds:")?;
        struck.tell(&mut out, done)?;
        for (why, seeds) in by_reason(&failed) {
            writeln!(out, "{:6} x {why}, such as SEED={}", seeds.len(), seeds[0])?;
        }
        Ok(failed)
    }
}

fn by_reason(failed: &[Report]) -> BTreeMap<String, Vec<u64>> {
    let mut reasons: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for report in failed {
        let why = report.why();
        let invariant = why.split(':').next().unwrap_or_default().to_owned();
        reasons.entry(invariant).or_default().push(report.seed);
    }
    reasons
}

impl Running {
    fn poll(&mut self) -> Result<Option<Report>> {
        let status = match self.child.try_wait()? {
            Some(status) => status,
            None if self.began.elapsed() < RUN_MAX => return Ok(None),
            None => {
                self.child.kill()?;
                self.child.wait()?
            }
        };
        let mut text = String::new();
        self.output.rewind()?;
        self.output.read_to_string(&mut text)?;
        if !status.success() {
            text += &format!("\nended with {status}");
        }
        let hash = text.rsplit("hash ").next().unwrap_or_default().trim().to_owned();
        Ok(Some(Report {
            seed: self.seed,
            is_well: status.success(),
            hash,
            text,
        }))
    }
}

impl Sums {
    fn add(&mut self, text: &str, kind: &str) {
        let counts = text.lines().filter_map(|line| {
            let (times, what) = line.strip_prefix(kind)?.split_once(' ')?;
            Some((what, times.parse::<u64>().ok()?))
        });
        for (what, times) in counts {
            let (seeds, sum) = self.0.entry(what.to_owned()).or_default();
            (*seeds, *sum) = (*seeds + 1, *sum + times);
        }
    }

    fn tell(&self, out: &mut impl Write, seeds: u64) -> Result<()> {
        for (what, (met, times)) in &self.0 {
            let [met, times] = [met, times].map(|count| count * PER_SEEDS / seeds.max(1));
            writeln!(out, "{times:9} times, in {met:4} seeds: {what}")?;
        }
        Ok(())
    }
}

impl Report {
    /// The first invariant that did not hold, or the last words.
    pub fn why(&self) -> String {
        let mut violated = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("VIOLATED "));
        let last = || self.text.lines().last().unwrap_or("it said nothing");
        violated.next().unwrap_or_else(last).to_owned()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this process does nothing but wait for others"
)]
fn pause() {
    std::thread::sleep(POLL);
}
