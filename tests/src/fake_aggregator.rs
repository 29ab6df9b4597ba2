//! An aggregator made by hand that speaks the stream, and lies: for what no real one does. It
//! keeps which records it was sent and how many rows they have; it decodes nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt;
use meridian_proto::stream::aggregator_server::{Aggregator, AggregatorServer};
use meridian_proto::stream::{
    Ack, AgentMessage, AggregatorMessage, Batch, Committed, Signal, Welcome, agent_message,
    aggregator_message,
};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status, Streaming};

use crate::ports::free_address;

const WINDOW_BYTES: u64 = 4 << 20;
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Acknowledges what it was not sent.
    AcksTooMuch,
    /// Acknowledges, and then less than it has acknowledged.
    GoesBack,
    /// Takes batches and acknowledges none.
    NeverAcks,
}

/// What it was sent and what it has committed.
#[derive(Debug, Default)]
pub struct Seen {
    /// Streams that were opened.
    pub streams: usize,
    /// Rows of each committed record, by signal and sequence.
    pub records: BTreeMap<(i32, u64), u32>,
    /// Records that were committed twice.
    pub twice: usize,
    committed: BTreeMap<i32, u64>,
    truthful: bool,
}

impl Seen {
    /// Rows of all records.
    pub fn rows(&self) -> u64 {
        self.records.values().map(|rows| u64::from(*rows)).sum()
    }

    fn commit(&mut self, batch: &Batch) {
        let mut seq = batch.first_seq;
        for (delta, rows) in batch.record_seq_deltas.iter().zip(&batch.record_rows) {
            seq += u64::from(*delta);
            let is_again = self.records.insert((batch.signal, seq), *rows).is_some();
            self.twice += usize::from(is_again);
        }
        self.committed.insert(batch.signal, batch.last_seq);
    }

    fn welcome(&self) -> Welcome {
        let committed = |(signal, seq): (&i32, &u64)| Committed {
            signal: *signal,
            seq: *seq,
            ..Committed::default()
        };
        Welcome {
            protocol: meridian_proto::PROTOCOL,
            committed: self.committed.iter().map(committed).collect(),
            window_bytes: WINDOW_BYTES,
            aggregator: "made by hand".to_owned(),
            closed_ranges: Vec::new(),
        }
    }
}

/// A running one; it ends when this is dropped.
pub struct FakeAggregator {
    /// Where agents connect.
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _serving: JoinSet<()>,
}

impl FakeAggregator {
    /// Starts one that lies until it is told not to.
    pub fn start(lie: Lie) -> Self {
        let (address, seen) = (free_address(), Arc::<Mutex<Seen>>::default());
        let door = Door {
            lie,
            seen: Arc::clone(&seen),
        };
        let service = AggregatorServer::new(door).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve(address).await.ok();
        });
        Self {
            address,
            seen,
            _serving: serving,
        }
    }

    /// From now on it does as it should, on streams that are open as well.
    pub fn tell_the_truth(&self) {
        self.seen.lock().truthful = true;
    }

    /// What it has seen.
    pub fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock())
    }
}

struct Door {
    lie: Lie,
    seen: Arc<Mutex<Seen>>,
}

type Answers = std::pin::Pin<Box<dyn futures::Stream<Item = Result<AggregatorMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Aggregator for Door {
    type DeliverStream = Answers;

    async fn deliver(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Answers>, Status> {
        self.seen.lock().streams += 1;
        let (lie, seen) = (self.lie, Arc::clone(&self.seen));
        let answers = request.into_inner().map(move |message| {
            let answers = match message.ok().and_then(|message| message.kind) {
                Some(agent_message::Kind::Hello(_)) => {
                    let welcome = seen.lock().welcome();
                    vec![aggregator_message::Kind::Welcome(welcome)]
                }
                Some(agent_message::Kind::Batch(batch)) => answer(lie, &mut seen.lock(), &batch),
                _ => Vec::new(),
            };
            futures::stream::iter(
                answers
                    .into_iter()
                    .map(|kind| Ok(AggregatorMessage { kind: Some(kind) })),
            )
        });
        Ok(Response::new(Box::pin(answers.flatten())))
    }
}

fn answer(lie: Lie, seen: &mut Seen, batch: &Batch) -> Vec<aggregator_message::Kind> {
    let ack = |committed_seq| {
        let signal = Signal::try_from(batch.signal).unwrap_or_default().into();
        let (lane, committed_seq) = (batch.lane, committed_seq);
        aggregator_message::Kind::Ack(Ack {
            signal,
            lane,
            committed_seq,
        })
    };
    let lies = !seen.truthful;
    match lie {
        Lie::NeverAcks if lies => return Vec::new(),
        Lie::AcksTooMuch if lies => return vec![ack(batch.last_seq + 1_000_000)],
        _ => seen.commit(batch),
    }
    match lie {
        Lie::GoesBack if lies => vec![
            ack(batch.last_seq),
            ack(0),
            ack(batch.first_seq.saturating_sub(1)),
        ],
        _ => vec![ack(batch.last_seq)],
    }
}
