//! A client of OTLP over gRPC that sends prepared requests: as many as the target takes, or at
//! a fixed rate. A request that is refused is sent again, byte for byte, and counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes};
use meridian_proto::signal::Signal;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::bench::content;
use crate::bench::template::{Random, Template};
use crate::otlp::now_unix_nanos;

/// Requests in flight; each client has a connection for four of them.
pub const IN_FLIGHT: usize = 16;
const PER_CONNECTION: usize = 4;
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// So long a request is tried.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the clients were told.
#[derive(Debug, Default)]
pub struct Told {
    /// Answers that asked to come back later.
    pub refusals: u64,
    /// Time from when a request was due until it was acknowledged.
    pub latencies: Vec<Duration>,
}

/// How fast the clients send.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As soon as there is an answer.
    Full,
    /// One request each so long, whatever the answers do.
    Every(Duration),
}

/// Sends `requests` requests, and returns when all are acknowledged.
pub async fn send(target: SocketAddr, signal: Signal, requests: u64, pace: Pace) -> Result<Told> {
    let plan = Arc::new(Plan {
        path: path(signal),
        templates: content::templates(signal)?,
        next: AtomicU64::new(0),
        requests,
        pace,
        start: Instant::now(),
    });
    let mut clients = JoinSet::new();
    let mut channel = connect(target).await?;
    for number in 0..IN_FLIGHT {
        if number > 0 && number % PER_CONNECTION == 0 {
            channel = connect(target).await?;
        }
        clients.spawn(client(channel.clone(), Arc::clone(&plan)));
    }
    let mut told = Told::default();
    while let Some(client) = clients.join_next().await {
        let one = client??;
        told.refusals += one.refusals;
        told.latencies.extend(one.latencies);
    }
    told.latencies.sort_unstable();
    Ok(told)
}

async fn connect(target: SocketAddr) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{target}"))?;
    endpoint.connect().await.context("connecting to the target")
}

struct Plan {
    path: PathAndQuery,
    templates: Vec<Template>,
    next: AtomicU64,
    requests: u64,
    pace: Pace,
    start: Instant,
}

impl Plan {
    /// When the request with this number is due. One that a client comes to early is due when
    /// its timer fires: the timer's millisecond is the client's, not the target's.
    async fn due(&self, number: u64) -> Instant {
        let Pace::Every(pause) = self.pace else {
            return Instant::now();
        };
        let due = self.start + pause.mul_f64(number as f64);
        if due < Instant::now() {
            return due;
        }
        tokio::time::sleep_until(due).await;
        Instant::now()
    }
}

async fn client(channel: Channel, plan: Arc<Plan>) -> Result<Told> {
    let mut grpc = Grpc::new(channel);
    let mut random = Random::new();
    let mut told = Told::default();
    loop {
        let number = plan.next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.requests {
            return Ok(told);
        }
        let due = plan.due(number).await;
        let template = &plan.templates[random.index(plan.templates.len())];
        let body = template.request(&mut random, now_unix_nanos());
        let deadline = Instant::now() + PATIENCE;
        while let Err(status) = export(&mut grpc, &plan.path, body.clone()).await {
            let retryable = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
            if !retryable || Instant::now() > deadline {
                bail!("the target refused: {status}");
            }
            told.refusals += 1;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        told.latencies.push(due.elapsed());
    }
}

async fn export(grpc: &mut Grpc<Channel>, path: &PathAndQuery, body: Bytes) -> Result<(), Status> {
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let answer = grpc.unary(tonic::Request::new(body), path.clone(), Raw).await?;
    match answer.into_inner().len() {
        // Nothing, or an empty partial success.
        0..=2 => Ok(()),
        _ => Err(Status::internal("some items were rejected")),
    }
}

fn path(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        Signal::Spans => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    })
}

/// Bytes as they are.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
