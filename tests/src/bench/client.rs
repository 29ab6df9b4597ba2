//! A client of OTLP over gRPC that sends prepared requests: as many as the target takes, or at
//! a fixed rate. A request that is refused is sent again, byte for byte, and counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

use crate::bench::content::{Detail, Generator, ITEMS};
use crate::bench::random::Random;
use crate::otlp::now_unix_nanos;

/// Requests in flight unless a load says otherwise.
const IN_FLIGHT: usize = 16;
/// Clients that share a connection.
const PER_CONNECTION: usize = 4;
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// So long a request is tried.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent, and how.
#[derive(Debug, Clone)]
pub struct Load {
    /// Of which signal.
    pub signal: Signal,
    /// How much its items say.
    pub detail: Detail,
    /// How many requests, unless the load is stopped before.
    pub requests: u64,
    /// How fast.
    pub pace: Pace,
    /// Which times the items carry.
    pub times: Times,
    /// Requests in flight.
    pub clients: usize,
}

impl Load {
    /// So many requests with the present time, as fast as they are answered.
    pub fn full(signal: Signal, requests: u64) -> Self {
        Self {
            signal,
            detail: Detail::Full,
            requests,
            pace: Pace::Full,
            times: Times::Now,
            clients: IN_FLIGHT,
        }
    }

    /// So many items per second for so long.
    pub fn paced(signal: Signal, items_per_second: u32, duration: Duration) -> Self {
        let pause = Duration::from_secs(1) * ITEMS / items_per_second;
        let requests = duration.as_nanos().div_ceil(pause.as_nanos());
        Self {
            pace: Pace::Every(pause),
            ..Self::full(signal, u64::try_from(requests).unwrap_or(u64::MAX))
        }
    }

    /// How many items that makes.
    pub fn items(&self) -> u64 {
        self.requests * u64::from(ITEMS)
    }
}

/// How fast the clients send.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As soon as there is an answer.
    Full,
    /// One request each so long, whatever the answers do.
    Every(Duration),
}

/// Which times the items carry.
#[derive(Debug, Clone, Copy)]
pub enum Times {
    /// The present.
    Now,
    /// From one to the other, evenly, in nanoseconds since the epoch.
    Spread(u64, u64),
}

/// What the clients were told.
#[derive(Debug, Default)]
pub struct Told {
    /// Requests that were acknowledged.
    pub acknowledged: u64,
    /// Answers that asked to come back later.
    pub refusals: u64,
    /// Time from when a request was due until it was acknowledged, sorted.
    pub latencies: Vec<Duration>,
}

/// Clients at work.
pub struct Sending {
    plan: Arc<Plan>,
    clients: JoinSet<Result<Told>>,
}

/// Sends a load, and returns when all of it is acknowledged.
pub async fn send(target: SocketAddr, load: Load) -> Result<Told> {
    Sending::start(target, load).await?.finish().await
}

impl Sending {
    /// Starts the clients of a load.
    pub async fn start(target: SocketAddr, load: Load) -> Result<Self> {
        let plan = Arc::new(Plan {
            path: path(load.signal),
            generator: Generator::new(load.signal, load.detail)?,
            next: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            start: Instant::now(),
            load,
        });
        let mut clients = JoinSet::new();
        let mut channel = connect(target).await?;
        for number in 0..plan.load.clients {
            if number > 0 && number % PER_CONNECTION == 0 {
                channel = connect(target).await?;
            }
            clients.spawn(client(channel.clone(), Arc::clone(&plan)));
        }
        Ok(Self { plan, clients })
    }

    /// Requests that have been begun.
    pub fn begun(&self) -> u64 {
        self.plan
            .next
            .load(Ordering::Relaxed)
            .min(self.plan.load.requests)
    }

    /// Lets every client finish its request and begin no other.
    pub async fn stop(self) -> Result<Told> {
        self.plan.is_stopped.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits until all is acknowledged.
    pub async fn finish(mut self) -> Result<Told> {
        let mut told = Told::default();
        while let Some(client) = self.clients.join_next().await {
            let one = client??;
            told.acknowledged += one.acknowledged;
            told.refusals += one.refusals;
            told.latencies.extend(one.latencies);
        }
        told.latencies.sort_unstable();
        Ok(told)
    }
}

/// A client that sends single requests of the caller's.
pub struct Probe {
    grpc: Grpc<Channel>,
    path: PathAndQuery,
}

impl Probe {
    /// Connects to a target.
    pub async fn connect(target: SocketAddr, signal: Signal) -> Result<Self> {
        Ok(Self {
            grpc: Grpc::new(connect(target).await?),
            path: path(signal),
        })
    }

    /// Sends one request until it is acknowledged.
    pub async fn send(&mut self, body: Bytes) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(status) = export(&mut self.grpc, &self.path, body.clone()).await {
            if !is_retryable(&status) || Instant::now() > deadline {
                bail!("the target refused: {status}");
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Ok(())
    }
}

fn is_retryable(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
}

async fn connect(target: SocketAddr) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{target}"))?;
    endpoint.connect().await.context("connecting to the target")
}

struct Plan {
    path: PathAndQuery,
    generator: Generator,
    next: AtomicU64,
    is_stopped: AtomicBool,
    start: Instant,
    load: Load,
}

impl Plan {
    /// The number of the next request, unless there is none.
    fn next(&self) -> Option<u64> {
        if self.is_stopped.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.load.requests).then_some(number)
    }

    /// When the request with this number is due. One that a client comes to early is due when
    /// its timer fires: the timer's millisecond is the client's, not the target's.
    async fn due(&self, number: u64) -> Instant {
        let Pace::Every(pause) = self.load.pace else {
            return Instant::now();
        };
        let due = self.start + pause.mul_f64(number as f64);
        if due < Instant::now() {
            return due;
        }
        tokio::time::sleep_until(due).await;
        Instant::now()
    }

    fn request(&self, number: u64, random: &mut Random) -> Bytes {
        let now = match self.load.times {
            Times::Now => now_unix_nanos(),
            Times::Spread(from, until) => {
                let step = (until - from) / self.load.requests.max(1);
                from + step * number
            }
        };
        self.generator.request(random, number, now)
    }
}

async fn client(channel: Channel, plan: Arc<Plan>) -> Result<Told> {
    let mut grpc = Grpc::new(channel);
    let mut random = Random::new();
    let mut told = Told::default();
    while let Some(number) = plan.next() {
        let due = plan.due(number).await;
        let body = plan.request(number, &mut random);
        let deadline = Instant::now() + PATIENCE;
        while let Err(status) = export(&mut grpc, &plan.path, body.clone()).await {
            if !is_retryable(&status) || Instant::now() > deadline {
                bail!("the target refused: {status}");
            }
            told.refusals += 1;
            if plan.is_stopped.load(Ordering::Relaxed) {
                return Ok(told);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        told.acknowledged += 1;
        told.latencies.push(due.elapsed());
    }
    Ok(told)
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

/// The method that takes a signal.
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
