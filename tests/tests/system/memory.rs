//! Every process stays within the memory that its configuration allows, whatever is thrown
//! at it. Debug builds are measured by how much they grow, not by what they start with.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Result, ensure};
use meridian_proto::signal::Signal;
use meridian_runtime::config::environment;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::lab;
use system_tests::load::Load;
use system_tests::minio::{self, Minio};
use system_tests::otlp;
use system_tests::overload::{self, AgentCounts, ClientCounts};
use system_tests::process::Process;
use system_tests::s3_proxy::{Fault, S3Proxy};
use system_tests::wait::eventually;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const MIB: u64 = 1024 * 1024;
/// Stacks, the allocator's own, and what connections hold.
const SLACK_BYTES: u64 = 96 * MIB;

/// Fails if the process has grown by more than its configuration allows.
fn check_growth(name: &str, process: &Process, before: u64, allowed: u64) -> Result<()> {
    let grown = process.resident_bytes_peak()?.saturating_sub(before);
    ensure!(
        grown <= allowed + SLACK_BYTES,
        "{name} grew by {} MiB",
        grown / MIB
    );
    Ok(())
}

/// Opens connections that announce and send 4 MB each and never end their bodies.
async fn hold_bodies_open(agent: SocketAddr, count: usize) -> Result<JoinSet<TcpStream>> {
    const BODY_BYTES: usize = 4_000_000;
    let mut held = JoinSet::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(agent).await?;
        held.spawn(async move {
            let head = format!(
                "POST /v1/traces HTTP/1.1\r\nhost: agent\r\ncontent-type: application/x-protobuf\r\n\
                 content-length: {BODY_BYTES}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.ok();
            let body = vec![0; BODY_BYTES - 1];
            // The agent may rightly stop reading, or close: not for ever, and not our concern.
            tokio::time::timeout(Duration::from_secs(5), stream.write_all(&body))
                .await
                .ok();
            stream
        });
    }
    Ok(held)
}

#[test]
fn memory_within_limit() {
    lab::run_heavy(|lab| async move {
        let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
        spec.more = "limits: { ingest_memory: 64MiB, query_memory: 64MiB }\n".to_owned();
        spec.commit_interval = "30s".to_owned();
        let mut aggregator = Aggregator::start(&lab, spec).await?;
        let mut spec = AgentSpec::new("agent", "eu", aggregator.ingest());
        spec.otlp = "memory_max: 32MiB".to_owned();
        let mut agent = Agent::start(&lab, spec).await?;
        let before_agent = agent.process.resident_bytes_peak()?;
        let before_aggregator = aggregator.process.resident_bytes_peak()?;

        let held = hold_bodies_open(agent.http(), 100).await?.join_all().await;
        drop(held);
        flood(&agent).await?;
        let answers = aggregator.answers();
        answers
            .sql_refused("SELECT count(*) FROM spans a, spans b, spans c, spans d ORDER BY 1")
            .await
            .ok();
        let load = Load::start(agent.http(), 2, Duration::from_millis(50));
        tokio::time::sleep(Duration::from_secs(2)).await;
        load.finish().await?;

        agent.process.check_running()?;
        aggregator.process.check_running()?;
        check_growth("the agent", &agent.process, before_agent, 32 * MIB)?;
        check_growth(
            "the aggregator",
            &aggregator.process,
            before_aggregator,
            128 * MIB,
        )?;
        agent.balanced().await
    });
}

/// More than the aggregator may hold: it must push back through the stream's window.
async fn flood(agent: &Agent) -> Result<()> {
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let address = agent.http();
        clients.spawn(async move {
            let http = reqwest::Client::new();
            for _ in 0..25 {
                let body = otlp::request(Signal::Spans, "flood", 1000);
                // A refusal is as good as an answer here.
                otlp::post_protobuf(&http, address, Signal::Spans, body)
                    .await
                    .ok();
            }
        });
    }
    clients.join_all().await;
    Ok(())
}

/// Working memory beside the configured limits, as the documentation names it: two copies of
/// the rows that are being committed, for each of three tables.
const COMMIT_BYTES: u64 = 8 * MIB;
const COMMITTING_BYTES: u64 = 3 * 2 * COMMIT_BYTES;
const INGEST_BYTES: u64 = 64 * MIB;
const RECEIVER_BYTES: u64 = 32 * MIB;

/// Both processes are offered more than they can take: for twenty seconds, or for as long as
/// `make soak` says. The store is slow, so that the aggregator can commit little.
#[test]
fn memory_within_limit_at_full_overload() {
    lab::run_heavy(|lab| async move {
        let seconds = environment("MERIDIAN_SOAK_SECONDS").map_or(Ok(20), |text| text.parse())?;
        let batch = overload::batch(&lab, 5_000).await?;
        let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
        spec.more = "limits: { ingest_memory: 64MiB, query_memory: 64MiB }\n".to_owned();
        spec.store_more = "commit_bytes: 8MiB".to_owned();
        let minio = Minio::start(&lab).await?;
        let proxy = match &minio {
            Some(minio) => Some(S3Proxy::start(minio.address()).await?),
            None => None,
        };
        if let Some(proxy) = &proxy {
            spec.store_url = Minio::store_url();
            spec.environment = minio::environment_of(proxy.address());
        }
        let mut aggregator = Aggregator::start(&lab, spec).await?;
        let mut spec = AgentSpec::new("agent", "eu", aggregator.ingest());
        spec.otlp = "memory_max: 32MiB".to_owned();
        spec.spool = "max_bytes: 16MiB, segment_bytes: 4MiB".to_owned();
        let mut agent = Agent::start(&lab, spec).await?;

        let before = [
            agent.process.resident_bytes()?,
            aggregator.process.resident_bytes()?,
        ];
        let (clients, told) = overload::clients(&agent, 16);
        let (agents, heard) = overload::agents(aggregator.ingest(), 48, &batch);
        eventually(Duration::from_secs(30), "agents are heard", || async {
            ensure!(heard.acks.load(Relaxed) > 0, "{heard:?}");
            Ok(())
        })
        .await?;
        if let Some(proxy) = &proxy {
            proxy.set(Fault::Slow(Duration::from_millis(200)));
        }
        let mut samples = Vec::new();
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            samples.push([
                agent.process.resident_bytes()?,
                aggregator.process.resident_bytes()?,
            ]);
        }
        drop((clients, agents));
        report(before, &samples, &told, &heard);
        agent.process.check_running()?;
        aggregator.process.check_running()?;
        ensure!(
            told.accepted.load(Relaxed) > 0 && heard.acks.load(Relaxed) > 0,
            "nothing works"
        );
        ensure!(
            told.slowed_down.load(Relaxed) > 0,
            "no client was told to slow down: {told:?}"
        );
        check_growth("the agent", &agent.process, before[0], RECEIVER_BYTES)?;
        let allowed = INGEST_BYTES + COMMITTING_BYTES;
        check_growth("the aggregator", &aggregator.process, before[1], allowed)?;
        if let Some(proxy) = &proxy {
            proxy.set(Fault::Nothing);
        }
        agent.balanced().await
    });
}

#[expect(clippy::print_stderr, reason = "the figures of a soak are what it is for")]
fn report(before: [u64; 2], samples: &[[u64; 2]], told: &ClientCounts, heard: &AgentCounts) {
    for (index, name) in ["agent", "aggregator"].into_iter().enumerate() {
        let of = |part: &[[u64; 2]]| {
            let sizes = part.iter().map(|sample| sample[index] / MIB);
            (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0))
        };
        let (first, second) = samples.split_at(samples.len() / 2);
        eprintln!(
            "{name}: {} MiB before; {:?} MiB (least, most) in the first half of {} s, {:?} MiB in the second",
            before[index] / MIB,
            of(first),
            samples.len(),
            of(second)
        );
    }
    eprintln!("clients of the agent: {told:?}\nagents of the aggregator: {heard:?}");
}
