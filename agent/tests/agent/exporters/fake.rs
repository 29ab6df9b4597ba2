//! An aggregator that keeps what it commits in memory, and does wrong what it is told to.
//!
//! It checks what every aggregator relies on (Hello first, order, the window) and remembers
//! each record that it committed, so that a test sees what was lost or stored twice.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meridian_proto::payload;
use meridian_proto::signal::Signal;
use meridian_proto::stream::aggregator_server::{Aggregator, AggregatorServer};
use meridian_proto::stream::{
    Ack, AgentMessage, AggregatorMessage, Batch, Committed, Gap, Hello, Welcome, agent_message,
    aggregator_message,
};
use meridian_runtime::tasks::{self, Task};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub const WINDOW_BYTES: u64 = 64 * 1024;

/// What a stream does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Takes batches and neither commits nor acknowledges.
    NeverAcks,
    /// Commits the first batch, and ends the stream instead of saying so.
    CommitsAndDrops,
    /// Ends the stream at the first batch, with a status, without having committed it.
    Drops,
    /// Acknowledges more than it was sent.
    AcksTooMuch,
    /// Never sends Welcome.
    NeverWelcomes,
    /// Speaks another revision of the protocol.
    Refuses,
    /// Sends messages of kinds that nobody knows.
    Babbles,
}

/// What all streams have seen and committed.
#[derive(Debug, Default)]
pub struct Seen {
    pub faults: VecDeque<Fault>,
    pub streams: usize,
    pub hellos: Vec<Hello>,
    pub committed: [u64; 3],
    /// Rows of each committed record.
    pub records: BTreeMap<(usize, u64), u32>,
    pub batches: usize,
    pub flushes: usize,
    pub heartbeats: usize,
    pub watermark: u64,
    pub gaps: Vec<Gap>,
    pub goodbyes: Vec<u64>,
    pub in_flight_bytes_max: u64,
    /// What no agent may do.
    pub violations: Vec<String>,
}

impl Seen {
    pub fn rows(&self) -> u64 {
        self.records.values().map(|rows| u64::from(*rows)).sum()
    }

    fn commit(&mut self, batch: &Batch) {
        let index = index_of(batch);
        let mut seq = batch.first_seq;
        for (delta, rows) in batch.record_seq_deltas.iter().zip(&batch.record_rows) {
            seq += u64::from(*delta);
            if seq > self.committed[index] && self.records.insert((index, seq), *rows).is_some() {
                self.violations.push(format!("record {seq} twice"));
            }
        }
        if seq != batch.last_seq {
            self.violations
                .push(format!("the deltas end at {seq}, not at {}", batch.last_seq));
        }
        self.committed[index] = self.committed[index].max(batch.last_seq);
    }
}

fn index_of(batch: &Batch) -> usize {
    usize::try_from(batch.signal - 1).expect("a known signal")
}

/// A server that can go away and come back on its address.
pub struct Fake {
    pub seen: Arc<Mutex<Seen>>,
    pub address: SocketAddr,
    running: Option<(Task<()>, CancellationToken)>,
}

impl Fake {
    pub async fn start(faults: &[Fault]) -> Self {
        let mut fake = Self::absent().await;
        fake.seen.lock().faults = faults.iter().copied().collect();
        fake.come_back().await;
        fake
    }

    /// An address at which nobody listens yet.
    pub async fn absent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self {
            seen: Arc::default(),
            address: listener.local_addr().expect("bound"),
            running: None,
        }
    }

    pub async fn come_back(&mut self) {
        // The listener before goes with its task, which ends when the runtime gets to it.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let end = CancellationToken::new();
        let service = Service {
            seen: Arc::clone(&self.seen),
            end: end.clone(),
            streams: Mutex::default(),
        };
        let serving = async move {
            tonic::transport::Server::builder()
                .add_service(AggregatorServer::new(service).max_decoding_message_size(64 << 20))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .expect("the fake serves");
        };
        self.running = Some((tasks::spawn("fake aggregator", serving), end));
    }

    /// Ends every stream and listens no more.
    pub fn go_away(&mut self) {
        if let Some((serving, end)) = self.running.take() {
            end.cancel();
            drop(serving);
        }
    }
}

struct Service {
    seen: Arc<Mutex<Seen>>,
    end: CancellationToken,
    streams: Mutex<Vec<Task<()>>>,
}

type Outbound = mpsc::Sender<Result<AggregatorMessage, Status>>;

#[tonic::async_trait]
impl Aggregator for Service {
    type DeliverStream = ReceiverStream<Result<AggregatorMessage, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let fault = {
            let mut seen = self.seen.lock();
            seen.streams += 1;
            seen.faults.pop_front().unwrap_or(Fault::None)
        };
        if fault == Fault::Refuses {
            return Err(Status::failed_precondition(
                "this aggregator speaks revisions 7 to 9",
            ));
        }
        let (outbound, messages) = mpsc::channel(16);
        let (seen, end) = (Arc::clone(&self.seen), self.end.clone());
        let stream = tasks::spawn("fake stream", async move {
            let mut connection = Connection {
                seen,
                fault,
                in_flight_bytes: 0,
                sent: [0; 3],
            };
            tokio::select! {
                () = end.cancelled() => {}
                outcome = connection.serve(request.into_inner(), &outbound) => {
                    if let Err(status) = outcome {
                        outbound.send(Err(status)).await.ok();
                    }
                }
            }
        });
        self.streams.lock().push(stream);
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

struct Connection {
    seen: Arc<Mutex<Seen>>,
    fault: Fault,
    in_flight_bytes: u64,
    sent: [u64; 3],
}

impl Connection {
    async fn serve(
        &mut self,
        mut inbound: Streaming<AgentMessage>,
        outbound: &Outbound,
    ) -> Result<(), Status> {
        let first = inbound.message().await?.and_then(|message| message.kind);
        let Some(agent_message::Kind::Hello(hello)) = first else {
            self.violate("the first message is not Hello".to_owned());
            return Ok(());
        };
        self.seen.lock().hellos.push(hello);
        if self.fault == Fault::NeverWelcomes {
            std::future::pending::<()>().await;
        }
        if self.fault == Fault::Babbles {
            send(outbound, None).await;
        }
        let welcome = self.welcome();
        send(outbound, Some(aggregator_message::Kind::Welcome(welcome))).await;
        while let Some(message) = inbound.message().await? {
            match message.kind {
                Some(agent_message::Kind::Batch(batch)) => {
                    if !self.on_batch(&batch, outbound).await? {
                        return Ok(());
                    }
                }
                Some(agent_message::Kind::Heartbeat(heartbeat)) => {
                    let mut seen = self.seen.lock();
                    seen.heartbeats += 1;
                    seen.watermark = heartbeat.watermark_unix_nanos;
                    seen.gaps.extend(heartbeat.gaps);
                }
                Some(agent_message::Kind::Flush(_)) => self.seen.lock().flushes += 1,
                Some(agent_message::Kind::Goodbye(goodbye)) => {
                    self.seen.lock().goodbyes.push(goodbye.pending_items);
                    return Ok(());
                }
                Some(agent_message::Kind::Hello(_)) | None => self.violate("Hello twice".to_owned()),
            }
        }
        Ok(())
    }

    fn welcome(&mut self) -> Welcome {
        let committed = self.seen.lock().committed;
        self.sent = committed;
        let entry = |signal: Signal| Committed {
            signal: signal as i32,
            lane: 0,
            seq: committed[signal.index()],
        };
        Welcome {
            protocol: 1,
            committed: Signal::ALL.into_iter().map(entry).collect(),
            window_bytes: WINDOW_BYTES,
            aggregator: "fake".to_owned(),
            closed_ranges: Vec::new(),
        }
    }

    /// Whether the stream goes on.
    async fn on_batch(&mut self, batch: &Batch, outbound: &Outbound) -> Result<bool, Status> {
        self.examine(batch);
        match self.fault {
            Fault::NeverAcks => return Ok(true),
            Fault::Drops => return Err(Status::unavailable("the store is being moved")),
            Fault::CommitsAndDrops => {
                self.seen.lock().commit(batch);
                return Ok(false);
            }
            Fault::Babbles => send(outbound, None).await,
            _ => {}
        }
        self.seen.lock().commit(batch);
        self.in_flight_bytes -= u64::from(batch.uncompressed_bytes);
        let beyond = if self.fault == Fault::AcksTooMuch { 1 } else { 0 };
        let ack = Ack {
            signal: batch.signal,
            lane: 0,
            committed_seq: batch.last_seq + beyond,
        };
        send(outbound, Some(aggregator_message::Kind::Ack(ack))).await;
        Ok(true)
    }

    fn examine(&mut self, batch: &Batch) {
        let index = index_of(batch);
        if batch.first_seq <= self.sent[index] {
            self.violate(format!("{} sent after {}", batch.first_seq, self.sent[index]));
        }
        self.sent[index] = batch.last_seq;
        let rows = payload::decode(
            Signal::ALL[index],
            &batch.payload,
            batch.uncompressed_bytes,
            64 << 20,
        );
        if rows.expect("a payload").num_rows() != batch.rows as usize {
            self.violate("other rows than announced".to_owned());
        }
        let bytes = u64::from(batch.uncompressed_bytes);
        if self.in_flight_bytes > 0 && self.in_flight_bytes + bytes > WINDOW_BYTES {
            self.violate(format!("{} bytes in flight", self.in_flight_bytes + bytes));
        }
        self.in_flight_bytes += bytes;
        let mut seen = self.seen.lock();
        seen.batches += 1;
        seen.in_flight_bytes_max = seen.in_flight_bytes_max.max(self.in_flight_bytes);
    }

    fn violate(&self, what: String) {
        self.seen.lock().violations.push(what);
    }
}

async fn send(outbound: &Outbound, kind: Option<aggregator_message::Kind>) {
    // An agent that has gone hears nothing.
    outbound.send(Ok(AggregatorMessage { kind })).await.ok();
}
