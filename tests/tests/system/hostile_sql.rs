//! Statements that are meant to hurt the aggregator: each ends with an answer or a clear
//! refusal, costs nobody else anything, and leaves nothing running. `MERIDIAN_HOSTILE_CALLS`
//! says how many random calls there are. The list of chosen statements (`hostile::statements`) is
//! not sent yet: some of them still take memory beside the pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use meridian_runtime::config::environment;
use meridian_runtime::tasks::{self, Task};
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::answers::Answers;
use system_tests::hostile;
use system_tests::lab::{self, Lab};
use system_tests::load::Load;
use system_tests::wait::eventually;

const MIB: u64 = 1 << 20;
const QUERY_MEMORY: u64 = 128 * MIB;
/// What one call of a function makes beside the pool, for each of the queries and threads that
/// run together, with the allocator's own.
const BESIDE_POOL: u64 = 384 * MIB;
/// What the server reads of a request.
const REQUEST_BYTES_MAX: usize = 1 << 20;
const UNANSWERED_MAX: Duration = Duration::from_secs(30);
const HEALTHY: &str = "SELECT count(*) AS n FROM spans WHERE name = 'healthy'";
const CALLS: usize = 400;

struct Attacked {
    aggregator: Aggregator,
    agent: Agent,
    load: Load,
    healthy: Task<Result<u64>>,
    before: u64,
}

impl Attacked {
    async fn start(lab: &Arc<Lab>) -> Result<Self> {
        let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
        spec.more = "limits: { query_memory: 128MiB, query_timeout: 3s, ingest_memory: 64MiB }\n".to_owned();
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
        let healthy = tasks::spawn("healthy query", ask_healthy(answers));
        Ok(Self {
            aggregator,
            agent,
            load,
            healthy,
            before,
        })
    }

    /// Asks two at a time; fails on what is neither an answer nor a clear refusal.
    async fn attack(&mut self, statements: Vec<(String, String)>) -> Result<()> {
        let answers = self.aggregator.answers();
        let asked = futures::stream::iter(statements).map(|(class, sql)| {
            let answers = answers.clone();
            async move { judge(&answers, &class, &sql).await }
        });
        let mut faults: Vec<String> = asked
            .buffer_unordered(2)
            .filter_map(|judged| async { judged.err().map(|fault| format!("{fault:#}")) })
            .collect()
            .await;
        self.aggregator.process.check_running()?;
        let count = faults.len();
        faults.truncate(20);
        ensure!(
            count == 0,
            "{count} statements were neither answered nor refused:\n{}",
            faults.join("\n")
        );
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        ensure!(
            !self.healthy.is_finished(),
            "the healthy query was not answered: {:?}",
            (&mut self.healthy).await
        );
        drop(self.healthy);
        self.load.finish().await?;
        let process = &mut self.aggregator.process;
        process.check_running()?;
        let grown = process.resident_bytes_peak()?.saturating_sub(self.before);
        ensure!(
            grown <= QUERY_MEMORY + BESIDE_POOL,
            "it grew by {} MiB",
            grown / MIB
        );
        eventually(Duration::from_secs(20), "the CPU is at rest", || async {
            let before = self.aggregator.process.cpu()?.total();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let busy = self.aggregator.process.cpu()?.total() - before;
            ensure!(busy < Duration::from_millis(500), "{busy:?} in a second");
            Ok(())
        })
        .await?;
        self.agent.drained(Duration::from_secs(30)).await
    }
}

/// Fails if nothing is answered for so long; how fast it is depends on the machine.
async fn ask_healthy(answers: Answers) -> Result<u64> {
    let mut answered = Instant::now();
    loop {
        match answers.number(HEALTHY).await {
            Ok(_) => answered = Instant::now(),
            Err(error) if answered.elapsed() > UNANSWERED_MAX => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn judge(answers: &Answers, class: &str, sql: &str) -> Result<()> {
    let shown: String = sql.chars().take(160).collect();
    let (status, body) = match answers.ask_raw(sql).await {
        // The server answers and closes while the rest of such a body is still being sent; the
        // client may see the one or the other.
        Err(_) if sql.len() > REQUEST_BYTES_MAX => return Ok(()),
        asked => asked.with_context(|| format!("{class}: {shown}"))?,
    };
    if status == 200 {
        return Ok(());
    }
    let code = body["error"]["code"].as_str().unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    ensure!(
        !code.is_empty() && !message.is_empty() && (status != 500 || code == "query_panicked"),
        "{class}: {shown}: {status} {body}"
    );
    Ok(())
}

#[test]
fn absurd_calls_of_every_function_are_answered_or_refused_and_cost_nobody_else() {
    lab::run_heavy(|lab| async move {
        let count = environment("MERIDIAN_HOSTILE_CALLS").map_or(Ok(CALLS), |text| text.parse())?;
        let mut attacked = Attacked::start(&lab).await?;
        let routines = "SELECT DISTINCT routine_name AS name, function_type AS kind \
            FROM information_schema.routines ORDER BY name, kind";
        let functions: Vec<(String, String)> = attacked
            .aggregator
            .answers()
            .rows(routines)
            .await?
            .iter()
            .filter_map(|row| Some((row["name"].as_str()?.to_owned(), row["kind"].as_str()?.to_owned())))
            .collect();
        ensure!(functions.len() > 150, "{} functions", functions.len());
        let calls = hostile::calls(&functions, 2026, count).into_iter();
        attacked
            .attack(calls.map(|sql| ("call".to_owned(), sql)).collect())
            .await?;
        attacked.finish().await
    });
}
