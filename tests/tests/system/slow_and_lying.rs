//! Peers that take time and peers that lie: clients that hardly send, open thousands of streams
//! or say nothing, and aggregators that acknowledge what is not so. Others are served meanwhile,
//! memory stays bounded, and nothing is lost. It does not prove that no peer is slower.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_proto::signal::Signal;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::fake_aggregator::{FakeAggregator, Lie};
use system_tests::lab;
use system_tests::otlp;
use system_tests::ports::free_address;
use system_tests::wait::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const WITHIN: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// Stacks, the allocator's own, and what a few hundred connections hold.
const SLACK_BYTES: u64 = 96 * MIB;

/// A span is accepted over both protocols.
async fn is_served(agent: &Agent) -> Result<()> {
    eventually(WITHIN, "a good span is accepted", || async {
        let body = otlp::request(Signal::Spans, "good", 1);
        let client = reqwest::Client::new();
        let response = otlp::post_protobuf(&client, agent.http(), Signal::Spans, body).await?;
        ensure!(response.status().is_success(), "{}", response.status());
        let body = otlp::request(Signal::Spans, "good", 1);
        otlp::export_spans_grpc(agent.grpc(), &body).await??;
        Ok(())
    })
    .await
}

async fn has_struck(agent: &Agent, limit: &str) -> Result<()> {
    eventually(WITHIN, limit, || async {
        let metrics = agent.metrics().await?;
        let count = metrics.sum("meridian_agent_connection_limits_total", &[("limit", limit)]);
        ensure!(count > 0.0, "{limit} has not struck");
        Ok(())
    })
    .await
}

/// Writes `first`, then a byte per second, or nothing more.
async fn hold(address: SocketAddr, first: Vec<u8>, then_trickle: bool) {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return;
    };
    stream.write_all(&first).await.ok();
    let mut answer = [0; 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut answer) => if !matches!(read, Ok(1..)) { return },
            () = tokio::time::sleep(Duration::from_secs(1)) => if then_trickle {
                stream.write_all(b"x").await.ok();
            },
        }
    }
}

fn announced(bytes: usize) -> Vec<u8> {
    let head = "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\n";
    format!("{head}content-length: {bytes}\r\n\r\n").into_bytes()
}

/// A preface, settings, and so many streams that stay open (RFC 9113; RFC 7541 for the headers).
fn streams(count: u32) -> Vec<u8> {
    let path = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let length = u8::try_from(path.len()).expect("a short path");
    // POST, http, :path, :authority a, content-type application/grpc.
    let headers = [
        &[0x83, 0x86, 0x04, length][..],
        path,
        b"\x01\x01a\x0f\x10\x10application/grpc",
    ]
    .concat();
    let size = u8::try_from(headers.len()).expect("short headers");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for number in 0..count {
        bytes.extend_from_slice(&[0, 0, size, 1, 4]);
        bytes.extend_from_slice(&(2 * number + 1).to_be_bytes());
        bytes.extend_from_slice(&headers);
    }
    bytes
}

#[test]
fn slow_clients_and_floods_of_connections_and_streams_cost_only_themselves() {
    lab::run_heavy(|lab| async move {
        let mut spec = AgentSpec::new("agent", "eu", free_address());
        spec.otlp = "memory_max: 32MiB, max_connections: 64".to_owned();
        let mut agent = Agent::start(&lab, spec).await?;
        let before = agent.process.resident_bytes_peak()?;
        let mut clients = JoinSet::new();
        for address in [agent.http(), agent.grpc()] {
            for _ in 0..200 {
                clients.spawn(hold(address, Vec::new(), false));
                clients.spawn(hold(address, b"POST /v1/tra".to_vec(), true));
            }
        }
        is_served(&agent).await?;
        has_struck(&agent, "connections").await?;
        clients.shutdown().await;

        for _ in 0..30 {
            clients.spawn(hold(agent.http(), announced(10 << 20), true));
            clients.spawn(hold(agent.http(), announced(10 << 20), false));
        }
        for _ in 0..4 {
            clients.spawn(hold(agent.grpc(), streams(10_000), false));
        }
        is_served(&agent).await?;
        has_struck(&agent, "body").await?;
        has_struck(&agent, "streams").await?;
        is_served(&agent).await?;
        clients.shutdown().await;
        agent.process.check_running()?;
        let grown = agent.process.resident_bytes_peak()?.saturating_sub(before);
        ensure!(grown <= 32 * MIB + SLACK_BYTES, "it grew by {} MiB", grown / MIB);
        agent.balanced().await
    });
}

/// An aggregator lies until this is in the agent's log; then it tells the truth, and everything
/// arrives once.
fn lied_to(lie: Lie, logged: &'static str) {
    lab::run(move |lab| async move {
        const REQUESTS: u64 = 40;
        const SPANS: u64 = 50;
        let aggregator = FakeAggregator::start(lie);
        let mut spec = AgentSpec::new("agent", "eu", aggregator.address);
        spec.exporter = "ack_timeout: 2s, batch_linger: 50ms, reconnect_max: 500ms".to_owned();
        let mut agent = Agent::start(&lab, spec).await?;
        let before = agent.process.resident_bytes_peak()?;
        let client = reqwest::Client::new();
        for _ in 0..REQUESTS {
            let body = otlp::request(Signal::Spans, "lied to", usize::try_from(SPANS)?);
            let response = otlp::post_protobuf(&client, agent.http(), Signal::Spans, body).await?;
            response.error_for_status()?;
        }
        eventually(WITHIN, logged, || async {
            agent
                .process
                .log()?
                .contains(logged)
                .then_some(())
                .context("it is not in the log")
        })
        .await?;
        is_served(&agent).await?;
        aggregator.tell_the_truth();
        agent.drained(WITHIN).await?;
        let accepted = agent
            .metrics()
            .await?
            .sum("meridian_agent_accepted_items_total", &[]);
        let (rows, twice) = aggregator.seen(|seen| (seen.rows(), seen.twice));
        ensure!(accepted >= (REQUESTS * SPANS) as f64, "{accepted} were accepted");
        ensure!(
            rows as f64 == accepted && twice == 0,
            "{rows} of {accepted}, {twice} records twice"
        );
        agent.process.check_running()?;
        let grown = agent.process.resident_bytes_peak()?.saturating_sub(before);
        ensure!(grown <= SLACK_BYTES, "it grew by {} MiB", grown / MIB);
        Ok(())
    });
}

#[test]
fn an_aggregator_that_acknowledges_what_it_was_not_sent_is_left_and_nothing_is_lost() {
    lied_to(Lie::AcksTooMuch, "but was sent only up to");
}

#[test]
fn an_aggregator_that_goes_back_in_sequence_is_told_of_and_nothing_is_lost() {
    lied_to(Lie::GoesBack, "acknowledges less than it had acknowledged");
}

#[test]
fn an_aggregator_that_never_acknowledges_is_left_and_nothing_is_lost() {
    lied_to(Lie::NeverAcks, "acknowledged nothing within the ack timeout");
}
