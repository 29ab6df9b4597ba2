//! A far side for our agent: speaks the stream, acknowledges each batch at once, counts its rows
//! and the bytes of its message on the wire, and keeps nothing.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use futures::Stream;
use meridian_proto::signal::Signal;
use meridian_proto::stream::aggregator_server::{Aggregator, AggregatorServer};
use meridian_proto::stream::{
    Ack, AgentMessage, AggregatorMessage, Batch, Committed, Welcome, agent_message, aggregator_message,
};
use prost::Message;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status, Streaming};

use crate::bench::targets::Delivered;
use crate::ports::free_address;

/// As much as an aggregator grants by default.
const WINDOW_BYTES: u64 = 32 << 20;
const MESSAGE_BYTES_MAX: usize = 64 << 20;

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
        let delivered = Arc::clone(&self.delivered);
        let inbound = request.into_inner();
        let answers = futures::stream::unfold(inbound, move |mut inbound| {
            let delivered = Arc::clone(&delivered);
            async move {
                loop {
                    let message = inbound.message().await.ok()??;
                    if let Some(kind) = answer(message, &delivered) {
                        return Some((Ok(AggregatorMessage { kind: Some(kind) }), inbound));
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn answer(message: AgentMessage, delivered: &Delivered) -> Option<aggregator_message::Kind> {
    let bytes = message.encoded_len() as u64;
    match message.kind? {
        agent_message::Kind::Hello(_) => Some(aggregator_message::Kind::Welcome(welcome())),
        agent_message::Kind::Batch(batch) => {
            delivered.add(u64::from(batch.rows), bytes);
            Some(aggregator_message::Kind::Ack(ack(&batch)))
        }
        _ => None,
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
    }
}
