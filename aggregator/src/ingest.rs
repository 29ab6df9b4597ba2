//! The agents' side door: one gRPC stream per agent, admitted by bytes, acknowledged when
//! its rows are committed. Rows are decoded and checked here, and kept by the store.

pub mod budget;
pub mod messages;
mod metrics;
pub mod rows;
mod session;

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use futures::Stream;
use meridian_proto::ids::AgentId;
use meridian_proto::stream::aggregator_server::{Aggregator, AggregatorServer};
use meridian_proto::stream::{AgentMessage, AggregatorMessage};
use meridian_runtime::clock::Clock;
use meridian_runtime::http::{Limits as ConnectionLimits, ListenerMetrics, Options, serve};
use meridian_runtime::net::Listener;
use meridian_runtime::tasks::{self, Task};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Response, Status, Streaming};
use tower::Service;

use crate::coverage::Coverage;
use crate::store::Store;

use budget::Budget;
use messages::Messages;
pub use metrics::IngestMetrics;

/// What agents may take of this process; all of it is configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What was received and is not yet committed: unread bytes, messages, rows.
    pub memory_bytes: usize,
    /// One message, as it is sent; a quarter of the memory if that is less.
    pub message_bytes: usize,
    /// Streams that are open at the same time.
    pub streams_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            // A record is never divided, and agents take requests of 16 MiB by default.
            message_bytes: 24 << 20,
            streams_max: 1024,
        }
    }
}

/// Acknowledgements that wait for an agent to read them.
const ACKS_MAX: usize = 16;
const KEEPALIVE: Duration = Duration::from_secs(10);

/// What ingest works with.
#[derive(Debug, Clone)]
pub struct Ingest(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    coverage: Coverage,
    clock: Clock,
    metrics: IngestMetrics,
    budget: Budget,
    /// One permit per stream.
    places: Arc<Semaphore>,
    streams_max: usize,
    name: String,
    stop: CancellationToken,
    streams: Mutex<Streams>,
}

/// The newest stream of each agent.
#[derive(Debug, Default)]
struct Streams {
    next: u64,
    open: HashMap<AgentId, (u64, CancellationToken)>,
}

impl Ingest {
    /// `name` is told to agents, for people and logs; `stop` ends every stream.
    pub fn new(
        store: Store,
        coverage: Coverage,
        clock: Clock,
        metrics: IngestMetrics,
        limits: Limits,
        name: String,
        stop: CancellationToken,
    ) -> Self {
        let streams_max = limits.streams_max.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            store,
            coverage,
            clock,
            metrics,
            budget: Budget::new(&limits),
            places: Arc::new(Semaphore::new(streams_max)),
            streams_max,
            name,
            stop,
            streams: Mutex::default(),
        }))
    }

    /// Serves agents until `stop` is cancelled and their streams have ended. How many connections
    /// there may be follows from the memory: each may hold a window of unread bytes.
    pub async fn serve(
        self,
        listener: Listener,
        limits: ConnectionLimits,
        metrics: ListenerMetrics,
    ) -> Result<(), Infallible> {
        let (stop, shared) = (self.0.stop.clone(), Arc::clone(&self.0));
        let options = Options {
            limits: ConnectionLimits {
                max_connections: shared.budget.connections_max,
                ..limits
            },
            metrics,
            window_bytes: Some(shared.budget.window_bytes),
            keep_alive: KEEPALIVE,
            only_http2: true,
            bodies_are_streams: true,
            ..Options::default()
        };
        let door = Door {
            shared,
            server: AggregatorServer::new(self),
        };
        serve(listener, Router::new().fallback_service(door), options, stop).await
    }
}

impl Shared {
    /// Makes this the agent's stream; an older one ends.
    fn enter(&self, agent: AgentId) -> (u64, CancellationToken) {
        let mut streams = self.streams.lock();
        streams.next += 1;
        let (number, superseded) = (streams.next, CancellationToken::new());
        if let Some((_, older)) = streams.open.insert(agent, (number, superseded.clone())) {
            older.cancel();
        }
        self.metrics
            .streams
            .set(i64::try_from(streams.open.len()).unwrap_or(i64::MAX));
        (number, superseded)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let status = Status::resource_exhausted(format!(
                "this aggregator has {} streams open and takes no more (limits.streams)",
                self.streams_max
            ));
            self.metrics.refused(&status);
            status
        })
    }

    fn leave(&self, agent: AgentId, number: u64) {
        let mut streams = self.streams.lock();
        if streams
            .open
            .get(&agent)
            .is_some_and(|(newest, _)| *newest == number)
        {
            streams.open.remove(&agent);
        }
        self.metrics
            .streams
            .set(i64::try_from(streams.open.len()).unwrap_or(i64::MAX));
    }

    fn note_memory(&self) {
        self.metrics
            .memory_bytes
            .set(i64::try_from(self.budget.rows_used()).unwrap_or(i64::MAX));
    }
}

/// A stream's messages on their way past the generated server.
#[derive(Debug, Clone)]
struct Inbound(Arc<Mutex<Option<Messages>>>);

/// The generated server, which answers; what comes in is read by [`Messages`] instead, under
/// the budget, and the server sees an empty body.
#[derive(Debug, Clone)]
struct Door {
    shared: Arc<Shared>,
    server: AggregatorServer<Ingest>,
}

impl Service<Request> for Door {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <AggregatorServer<Ingest> as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let messages = Messages::new(Body::new(body), &self.shared.budget);
        head.extensions
            .insert(Inbound(Arc::new(Mutex::new(Some(messages)))));
        self.server.call(http::Request::from_parts(head, Body::empty()))
    }
}

#[tonic::async_trait]
impl Aggregator for Ingest {
    type DeliverStream = Answers;

    async fn deliver(
        &self,
        request: tonic::Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Answers>, Status> {
        let place = self.0.place()?;
        let messages = request
            .extensions()
            .get::<Inbound>()
            .and_then(|inbound| inbound.0.lock().take())
            .ok_or_else(|| Status::internal("the request has lost its body"))?;
        let (answers, receiver) = mpsc::channel(ACKS_MAX);
        let session = session::run(Arc::clone(&self.0), messages, answers);
        let task = tasks::spawn("ingest stream", async move {
            session.await;
            drop(place);
        });
        Ok(Response::new(Answers {
            receiver: ReceiverStream::new(receiver),
            _task: task,
        }))
    }
}

/// What the aggregator says on a stream. When the agent is gone this is dropped, and with it
/// the stream's task.
#[derive(Debug)]
pub struct Answers {
    receiver: ReceiverStream<Result<AggregatorMessage, Status>>,
    _task: Task<()>,
}

impl Stream for Answers {
    type Item = Result<AggregatorMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.receiver).poll_next(context)
    }
}
