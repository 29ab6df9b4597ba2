//! Statements that are meant to hurt the aggregator: each ends with an answer or a clear
//! refusal, costs nobody else anything, and leaves nothing running. How well an answer fits its
//! question is not judged here.
//!
//! Of the chosen statements a fixed part is asked, some of each class; with
//! `MERIDIAN_HOSTILE_STATEMENTS=all` all of them are, and `MERIDIAN_HOSTILE_CLASS` names one class
//! to ask as a whole. `MERIDIAN_HOSTILE_CALLS` says how many random calls there are,
//! `MERIDIAN_HOSTILE_AT_ONCE` how many statements are asked at the same time, and
//! `MERIDIAN_HOSTILE_REPORT` names a folder for a table of what became of each, which grows while
//! they are asked; asked one at a time, it says what each of them took.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use meridian_runtime::config::environment;
use meridian_runtime::tasks::{self, Task};
use parking_lot::Mutex;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::answers::Answers;
use system_tests::hostile::{self, Hostile, calls};
use system_tests::lab::{self, Lab};
use system_tests::load::Load;
use system_tests::wait::eventually;

const MIB: u64 = 1 << 20;
const LIMITS: &str =
    "limits: { query_memory: 128MiB, query_timeout: 2s, ingest_memory: 64MiB, process_memory: 512MiB }\n";
/// `process_memory`, what grows between two looks at it, and the pages of the program's file.
const PROCESS_MEMORY: u64 = (512 + 256) * MIB;
/// Its deadline is that of all queries, which a machine under other load may miss for a while.
const UNANSWERED_MAX: Duration = Duration::from_secs(120);
const HEALTHY: &str = "SELECT count(*) AS n FROM spans WHERE name = 'healthy'";
const CALLS: usize = 360;
const AT_ONCE: usize = 4;
/// Of each class of statements the first is asked, and then every so many.
const PART: usize = 6;

struct Attacked {
    aggregator: Aggregator,
    agent: Agent,
    load: Load,
    healthy: Task<Result<()>>,
    latencies: Arc<Mutex<Vec<Duration>>>,
    before: u64,
    peak: u64,
}

/// What became of a statement.
struct Ended {
    hostile: Hostile,
    /// `answered`, or the code of the refusal.
    outcome: Result<String>,
    took: Duration,
    grown: u64,
    cpu: Duration,
}

impl Ended {
    /// Whether the call made sense, so that it was answered unless a limit ended it.
    fn was_taken(&self) -> bool {
        let refusals = [
            "invalid_query",
            "query_failed",
            "query_panicked",
            "syntax",
            "unknown_column",
        ];
        let outcome = self.outcome.as_deref();
        outcome.is_ok_and(|outcome| !refusals.contains(&outcome))
    }

    fn line(&self) -> String {
        let outcome = match &self.outcome {
            Ok(outcome) => outcome.clone(),
            Err(fault) => format!("FAULT {fault:#}").replace(['\n', '\t'], " "),
        };
        let shown: String = self.hostile.sql.chars().take(400).collect();
        format!(
            "{}\t{outcome}\t{}\t{}\t{}\t{}",
            self.hostile.function.as_deref().unwrap_or(self.hostile.class),
            self.took.as_millis(),
            self.cpu.as_millis(),
            self.grown / MIB,
            shown.replace(['\n', '\t'], " ")
        )
    }
}

/// A file with a line for each statement that has ended, if one is asked for.
struct Table(Option<File>);

impl Table {
    fn begin(name: &str) -> Result<Self> {
        let folder = environment("MERIDIAN_HOSTILE_REPORT").map(PathBuf::from);
        let file = folder.map(|folder| File::create(folder.join(format!("{name}.tsv"))));
        let mut table = Self(file.transpose()?);
        table.add("class\toutcome\tms\tcpu ms\tMiB\tstatement")?;
        Ok(table)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        match &mut self.0 {
            Some(file) => Ok(writeln!(file, "{line}")?),
            None => Ok(()),
        }
    }
}

impl Attacked {
    async fn start(lab: &Arc<Lab>) -> Result<Self> {
        let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
        spec.more = LIMITS.to_owned();
        // The backtrace of a panic that is caught maps the debug information of the whole program, 400
        // MiB that count as its memory. Only developers ask for backtraces.
        spec.environment
            .push(("RUST_BACKTRACE".to_owned(), "0".to_owned()));
        let aggregator = Aggregator::start(lab, spec).await?;
        let agent = Agent::start(lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
        let load = Load::start(agent.http(), 1, Duration::from_millis(100));
        let answers = aggregator.answers();
        eventually(Duration::from_secs(30), "spans are there", || async {
            ensure!(
                answers.number("SELECT count(*) AS n FROM spans").await? > 0,
                "none"
            );
            Ok(())
        })
        .await?;
        let before = aggregator.process.resident_bytes()?;
        let latencies = Arc::default();
        let healthy = tasks::spawn("healthy query", ask_healthy(answers, Arc::clone(&latencies)));
        Ok(Self {
            aggregator,
            agent,
            load,
            healthy,
            latencies,
            before,
            peak: 0,
        })
    }

    /// Asks several at a time; fails on what is neither an answer nor a clear refusal.
    async fn attack(&mut self, name: &str, statements: Vec<Hostile>) -> Result<Vec<Ended>> {
        let at_once = environment("MERIDIAN_HOSTILE_AT_ONCE").map_or(Ok(AT_ONCE), |text| text.parse())?;
        let mut table = Table::begin(name)?;
        let attacked = &*self;
        let mut asked = futures::stream::iter(statements)
            .map(|hostile| async move { attacked.ask(hostile, at_once == 1).await })
            .buffer_unordered(at_once);
        let mut ended: Vec<Ended> = Vec::new();
        while let Some(next) = asked.next().await {
            table.add(&next.line())?;
            ended.push(next);
        }
        drop(asked);
        let grown = ended.iter().map(|ended| ended.grown);
        self.peak = grown.fold(self.grown()?, u64::max);
        table.add(&self.summary()?)?;
        self.aggregator.process.check_running()?;
        let faults = ended.iter().filter_map(|ended| ended.outcome.as_ref().err());
        let mut faults: Vec<String> = faults.map(|fault| format!("{fault:#}")).collect();
        let count = faults.len();
        faults.truncate(20);
        ensure!(
            count == 0,
            "{count} statements were neither answered nor refused:\n{}",
            faults.join("\n")
        );
        Ok(ended)
    }

    async fn ask(&self, hostile: Hostile, is_alone: bool) -> Ended {
        let process = &self.aggregator.process;
        let cpu = || process.cpu().map(|cpu| cpu.total()).unwrap_or_default();
        if is_alone {
            process.forget_peak().ok();
        }
        let (before, cpu_before, begun) = (
            process.resident_bytes().unwrap_or_default(),
            cpu(),
            Instant::now(),
        );
        let outcome = judge(&self.aggregator.answers(), &hostile).await;
        let peak = process.resident_bytes_peak().unwrap_or_default();
        Ended {
            hostile,
            outcome,
            took: begun.elapsed(),
            grown: peak.saturating_sub(before),
            cpu: cpu().saturating_sub(cpu_before),
        }
    }

    fn grown(&self) -> Result<u64> {
        let peak = self.aggregator.process.resident_bytes_peak()?;
        Ok(peak.saturating_sub(self.before))
    }

    /// How long the healthy query took meanwhile, and what all of it cost in memory.
    fn summary(&self) -> Result<String> {
        let mut latencies = self.latencies.lock().clone();
        latencies.sort_unstable();
        let at = |share: usize| latencies.get(latencies.len() * share / 100).copied();
        Ok(format!(
            "# healthy: {} answers, p50 {:?}, p99 {:?}, max {:?}\n# grown by {} MiB",
            latencies.len(),
            at(50),
            at(99),
            latencies.last(),
            self.peak / MIB
        ))
    }

    async fn finish(mut self) -> Result<()> {
        ensure!(
            !self.healthy.is_finished(),
            "the healthy query was not answered: {:?}",
            (&mut self.healthy).await
        );
        self.aggregator.process.check_running()?;
        let grown = self.grown()?.max(self.peak);
        drop(self.healthy);
        ensure!(
            self.before + grown <= PROCESS_MEMORY,
            "it grew by {} to {} MiB",
            grown / MIB,
            (self.before + grown) / MIB
        );
        eventually(Duration::from_secs(30), "the CPU is at rest", || async {
            let before = self.aggregator.process.cpu()?.total();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let busy = self.aggregator.process.cpu()?.total() - before;
            ensure!(busy < Duration::from_millis(500), "{busy:?} in a second");
            Ok(())
        })
        .await?;
        self.load.finish().await?;
        self.agent.drained(Duration::from_secs(30)).await
    }
}

/// Fails if nothing is answered for so long; how fast it is depends on the machine.
async fn ask_healthy(answers: Answers, latencies: Arc<Mutex<Vec<Duration>>>) -> Result<()> {
    let mut answered = Instant::now();
    loop {
        let asked = Instant::now();
        match answers.number(HEALTHY).await {
            Ok(_) => {
                answered = Instant::now();
                latencies.lock().push(asked.elapsed());
            }
            Err(error) if answered.elapsed() > UNANSWERED_MAX => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn judge(answers: &Answers, hostile: &Hostile) -> Result<String> {
    let shown: String = hostile.sql.chars().take(160).collect();
    let asked = answers.ask_raw(&hostile.sql).await;
    let (status, body) = asked.with_context(|| format!("{}: {shown}", hostile.class))?;
    if status == 200 {
        return Ok("answered".to_owned());
    }
    let code = body["error"]["code"].as_str().unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    let hint = body["error"]["hint"].as_str().unwrap_or_default();
    let is_clear = match code {
        "statement_too_complex" => message.contains("limits.statement.") && !hint.is_empty(),
        "query_panicked" => status == 500,
        code => !code.is_empty() && !message.is_empty() && status != 500,
    };
    ensure!(is_clear, "{}: {shown}: {status} {body}", hostile.class);
    Ok(code.to_owned())
}

fn chosen() -> Result<Vec<Hostile>> {
    let mut statements = hostile::statements();
    let class = environment("MERIDIAN_HOSTILE_CLASS");
    match (class, environment("MERIDIAN_HOSTILE_STATEMENTS").as_deref()) {
        (Some(class), _) => statements.retain(|statement| statement.class == class),
        (None, Some("all")) => {}
        (None, None) => {
            let mut met: HashMap<&str, usize> = HashMap::new();
            statements.retain(|statement| {
                let of_class = met.entry(statement.class).or_default();
                *of_class += 1;
                (*of_class - 1).is_multiple_of(PART)
            });
        }
        (None, Some(other)) => bail!("MERIDIAN_HOSTILE_STATEMENTS is {other}, not all"),
    }
    ensure!(!statements.is_empty(), "no statement is chosen");
    Ok(statements)
}

#[test]
fn chosen_statements_end_within_their_limits_and_cost_nobody_else() {
    lab::run_heavy(|lab| async move {
        let mut attacked = Attacked::start(&lab).await?;
        attacked.attack("statements", chosen()?).await?;
        attacked.finish().await
    });
}

#[test]
fn absurd_calls_of_every_function_are_answered_or_refused_and_cost_nobody_else() {
    lab::run_heavy(|lab| async move {
        let count = environment("MERIDIAN_HOSTILE_CALLS").map_or(Ok(CALLS), |text| text.parse())?;
        let mut attacked = Attacked::start(&lab).await?;
        let answers = attacked.aggregator.answers();
        let (routines, parameters) = (
            answers.rows(calls::ROUTINES).await?,
            answers.rows(calls::PARAMETERS).await?,
        );
        let functions = calls::functions(&routines, &parameters);
        ensure!(functions.len() > 250, "{} functions", functions.len());
        let ended = attacked
            .attack("calls", calls::calls(&functions, 2026, count))
            .await?;
        let never = never_taken(&ended);
        ensure!(never.is_empty(), "refused, whatever they were given: {never:?}");
        attacked.finish().await
    });
}

/// A function that is refused with every argument is not tested at all.
fn never_taken(ended: &[Ended]) -> Vec<&str> {
    let mut is_taken: BTreeMap<&str, bool> = BTreeMap::new();
    for ended in ended {
        if let Some(function) = &ended.hostile.function {
            *is_taken.entry(function).or_default() |= ended.was_taken();
        }
    }
    let never = is_taken.into_iter().filter(|(_, taken)| !taken);
    never.map(|(function, _)| function).collect()
}

#[test]
fn named_queries_pass_the_same_gate() {
    lab::run(|lab| async move {
        let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
        spec.more = "limits: { statement: { tokens: 10 } }\n".to_owned();
        let aggregator = Aggregator::start(&lab, spec).await?;
        let (status, said) = aggregator.says("/api/v1/queries/services").await?;
        ensure!(
            status == 400 && said.contains("limits.statement.tokens"),
            "{status} {said}"
        );
        Ok(())
    });
}
