//! A far side for our agent: speaks the stream, acknowledges what it has received as often as
//! an aggregator commits, counts rows and the bytes of the messages, and keeps nothing.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::Stream;
use meridian_proto::signal::Signal;
use meridian_proto::stream::aggregator_server::{Aggregator, AggregatorServer};
use meridian_proto::stream::{
    Ack, AgentMessage, AggregatorMessage, Batch, Committed, Welcome, agent_message, aggregator_message,
};
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Response, Status, Streaming};

use crate::bench::targets::Delivered;
use crate::ports::free_address;

/// As much as an aggregator grants by default.
const WINDOW_BYTES: u64 = 32 << 20;
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// An aggregator's default commit interval.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// So much at once is committed before the interval is over.
const COMMIT_BYTES: u64 = WINDOW_BYTES / 2;

/// Listens until the set is dropped; what arrives is counted in `delivered`.
pub fn listen(serving: &mut JoinSet<()>, delivered: Arc<Delivered>) -> SocketAddr {
    let address = free_address();
    let service = AggregatorServer::new(Sink { delivered }).max_decoding_message_size(MESSAGE_BYTES_MAX);
    serving.spawn(async move {
        let server = tonic::transport::Server::builder().add_service(service);
        server.serve(address).await.ok();
    });
    address
}

struct Sink {
    delivered: Arc<Delivered>,
}

type Answers = Pin<Box<dyn Stream<Item = Result<AggregatorMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Aggregator for Sink {
    type DeliverStream = Answers;

    async fn deliver(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Answers>, Status> {
        let session = Session {
            inbound: request.into_inner(),
            delivered: Arc::clone(&self.delivered),
            pending: Vec::new(),
            pending_bytes: 0,
            commit_at: Instant::now() + COMMIT_INTERVAL,
        };
        let answers = futures::stream::unfold(session, |mut session| async {
            let kind = session.answer().await?;
            Some((Ok(AggregatorMessage { kind: Some(kind) }), session))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

struct Session {
    inbound: Streaming<AgentMessage>,
    delivered: Arc<Delivered>,
    /// Acknowledgements that wait for the commit, one per signal and lane.
    pending: Vec<Ack>,
    pending_bytes: u64,
    commit_at: Instant,
}

impl Session {
    /// The next message to the agent; `None` when it is gone.
    async fn answer(&mut self) -> Option<aggregator_message::Kind> {
        loop {
            let is_due = self.commit_at <= Instant::now() || self.pending_bytes >= COMMIT_BYTES;
            if is_due && let Some(ack) = self.pending.pop() {
                return Some(aggregator_message::Kind::Ack(ack));
            }
            if is_due {
                self.pending_bytes = 0;
                self.commit_at = Instant::now() + COMMIT_INTERVAL;
            }
            tokio::select! {
                message = self.inbound.message() => match message.ok()?? {
                    AgentMessage { kind: Some(agent_message::Kind::Hello(_)) } => {
                        return Some(aggregator_message::Kind::Welcome(welcome()));
                    }
                    message => self.take(message),
                },
                () = sleep_until(self.commit_at) => {}
            }
        }
    }

    fn take(&mut self, message: AgentMessage) {
        let bytes = message.encoded_len() as u64;
        match message.kind {
            Some(agent_message::Kind::Batch(batch)) => {
                self.delivered.add(u64::from(batch.rows), bytes);
                self.pending_bytes += u64::from(batch.uncompressed_bytes);
                let ack = ack(&batch);
                self.pending
                    .retain(|other| (other.signal, other.lane) != (ack.signal, ack.lane));
                self.pending.push(ack);
            }
            Some(agent_message::Kind::Flush(_)) => self.commit_at = Instant::now(),
            _ => {}
        }
    }
}

fn ack(batch: &Batch) -> Ack {
    Ack {
        signal: batch.signal,
        lane: batch.lane,
        committed_seq: batch.last_seq,
    }
}

fn welcome() -> Welcome {
    let committed = Signal::ALL.map(|signal| Committed {
        signal: meridian_proto::stream::Signal::from(signal).into(),
        ..Committed::default()
    });
    Welcome {
        protocol: meridian_proto::PROTOCOL,
        committed: committed.to_vec(),
        window_bytes: WINDOW_BYTES,
        aggregator: "a far side that keeps nothing".to_owned(),
        closed_ranges: Vec::new(),
    }
}
