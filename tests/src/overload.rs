//! More than a process can take, for as long as it is wanted: clients that send to an agent
//! without a pause, and agents made by hand that send to an aggregator as fast as the network
//! lets them. They count what they were told; nothing is asserted here.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{Stream, StreamExt};
use meridian_proto::signal::Signal;
use meridian_proto::stream::aggregator_server::{Aggregator, AggregatorServer};
use meridian_proto::stream::{
    AgentMessage, AggregatorMessage, Batch, Welcome, agent_message, aggregator_message,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::agent::{Agent, AgentSpec};
use crate::fake_agent::{FakeAgent, hello, message};
use crate::lab::Lab;
use crate::otlp;
use crate::ports::free_address;

const ITEMS_PER_REQUEST: usize = 1_000;
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What clients of an agent were told.
#[derive(Debug, Default)]
pub struct ClientCounts {
    /// Requests that were accepted.
    pub accepted: AtomicU64,
    /// Requests that were refused with a hint when to come back.
    pub slowed_down: AtomicU64,
    /// Other answers, and none.
    pub others: AtomicU64,
}

/// Clients that send spans without a pause, half of them over gRPC.
pub fn clients(agent: &Agent, count: usize) -> (JoinSet<()>, Arc<ClientCounts>) {
    let (grpc, http) = (agent.grpc(), agent.http());
    let (mut set, counts) = (JoinSet::new(), Arc::new(ClientCounts::default()));
    for number in 0..count {
        let counts = Arc::clone(&counts);
        set.spawn(async move {
            let client = reqwest::Client::new();
            let same = otlp::request(Signal::Spans, "overload", ITEMS_PER_REQUEST);
            loop {
                // What an agent saw already costs it nothing: one more span makes it another
                // request, for lists of protobuf go on where they are appended to.
                let fresh = otlp::request(Signal::Spans, "overload", 1);
                let body = [same.as_slice(), &fresh].concat();
                let outcome = match number % 2 {
                    0 => over_http(&client, http, body).await,
                    _ => over_grpc(grpc, &body).await,
                };
                let counter = match outcome {
                    Ok(true) => &counts.accepted,
                    Ok(false) => &counts.slowed_down,
                    Err(_) => &counts.others,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    (set, counts)
}

/// Whether it was accepted; if not, there was a hint.
async fn over_http(client: &reqwest::Client, agent: SocketAddr, body: Vec<u8>) -> Result<bool> {
    let response = otlp::post_protobuf(client, agent, Signal::Spans, body).await?;
    if response.status().is_success() {
        return Ok(true);
    }
    let headers = response.headers();
    headers.get("retry-after").context("no Retry-After")?;
    Ok(false)
}

async fn over_grpc(agent: SocketAddr, body: &[u8]) -> Result<bool> {
    let Err(status) = otlp::export_spans_grpc(agent, body).await? else {
        return Ok(true);
    };
    let details = String::from_utf8_lossy(status.details()).into_owned();
    let is_hint = status.code() == Code::ResourceExhausted && details.contains("google.rpc.RetryInfo");
    is_hint.then_some(false).with_context(|| format!("{status:?}"))
}

/// A batch of spans as a real agent makes it of one request.
pub async fn batch(lab: &Arc<Lab>, spans: usize) -> Result<Batch> {
    let (sender, receiver) = oneshot::channel();
    let (address, mut serving) = (free_address(), JoinSet::new());
    let service = AggregatorServer::new(Capture(Arc::new(Mutex::new(Some(sender)))));
    serving.spawn(async move {
        let server = tonic::transport::Server::builder().add_service(service);
        server.serve(address).await.ok();
    });
    let agent = Agent::start(lab, AgentSpec::new("capture", "eu", address)).await?;
    let client = reqwest::Client::new();
    let body = otlp::request(Signal::Spans, "overload", spans);
    otlp::post_protobuf(&client, agent.http(), Signal::Spans, body)
        .await?
        .error_for_status()?;
    Ok(tokio::time::timeout(Duration::from_secs(30), receiver).await??)
}

/// An aggregator that keeps the first batch of spans, and acknowledges nothing.
struct Capture(Arc<Mutex<Option<oneshot::Sender<Batch>>>>);

type Answers = Pin<Box<dyn Stream<Item = Result<AggregatorMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Aggregator for Capture {
    type DeliverStream = Answers;

    async fn deliver(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Answers>, Status> {
        let welcome = Welcome {
            protocol: meridian_proto::PROTOCOL,
            window_bytes: 64 << 20,
            ..Welcome::default()
        };
        let kind = Some(aggregator_message::Kind::Welcome(welcome));
        let welcome = futures::stream::once(std::future::ready(Ok(AggregatorMessage { kind })));
        let state = (request.into_inner(), Arc::clone(&self.0));
        let reading = futures::stream::unfold(state, |(mut inbound, kept)| async move {
            while let Ok(Some(message)) = inbound.message().await {
                if let Some(agent_message::Kind::Batch(batch)) = message.kind
                    && let Some(sender) = kept.lock().take()
                {
                    // Whoever asked has given up.
                    sender.send(batch).ok();
                }
            }
            None
        });
        Ok(Response::new(Box::pin(welcome.chain(reading))))
    }
}

/// What agents made by hand have sent, and what was acknowledged.
#[derive(Debug, Default)]
pub struct AgentCounts {
    /// Batches that left.
    pub sent: AtomicU64,
    /// Acknowledgements that came.
    pub acks: AtomicU64,
    /// Streams that the aggregator refused or ended.
    pub ended: AtomicU64,
}

/// Agents that send `batch` again and again, each time as new rows, whatever the window that
/// they were granted: only the network's own flow control holds them.
pub fn agents(aggregator: SocketAddr, count: usize, batch: &Batch) -> (JoinSet<()>, Arc<AgentCounts>) {
    let (mut set, counts) = (JoinSet::new(), Arc::new(AgentCounts::default()));
    for number in 0..count {
        let (batch, counts) = (batch.clone(), Arc::clone(&counts));
        set.spawn(async move {
            loop {
                stream(aggregator, number, batch.clone(), &counts).await.ok();
                counts.ended.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        });
    }
    (set, counts)
}

/// One stream of a new agent, until the aggregator ends it.
async fn stream(aggregator: SocketAddr, number: usize, batch: Batch, counts: &AgentCounts) -> Result<()> {
    let hello = hello("eu", &format!("overload-{number}"), otlp::now_unix_nanos());
    let (agent, _) = FakeAgent::connect(aggregator, hello).await?;
    let (outgoing, mut incoming) = agent.split();
    let sending = async {
        let mut batch = batch;
        let records = batch.last_seq - batch.first_seq + 1;
        batch.first_seq = 1;
        loop {
            batch.last_seq = batch.first_seq + records - 1;
            batch.watermark_unix_nanos = otlp::now_unix_nanos();
            outgoing
                .send(message(agent_message::Kind::Batch(batch.clone())))
                .await?;
            counts.sent.fetch_add(1, Ordering::Relaxed);
            batch.first_seq = batch.last_seq + 1;
        }
    };
    let hearing = async {
        while incoming.message().await?.is_some() {
            counts.acks.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    tokio::select! {
        outcome = sending => outcome,
        outcome = hearing => outcome,
    }
}
