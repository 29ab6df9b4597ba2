//! One agent's stream from Hello to its end: reads a message only when there is memory for
//! it, and acknowledges what the store has committed. It knows no other stream.

use std::sync::Arc;
use std::time::Duration;

use meridian_proto::ids::AgentId;
use meridian_proto::signal::Signal;
use meridian_proto::stream::{
    Ack, AggregatorMessage, Batch, ClosedRange, Committed, Hello, Welcome, agent_message, aggregator_message,
};
use meridian_proto::{PROTOCOL, stream};
use meridian_runtime::tasks;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataValue;

use super::Shared;
use super::messages::{Messages, Received};
use super::rows::{self, Identity};
use crate::store::{Books, Lane, LaneKey, SetAside};

/// What an agent may have sent and not yet acknowledged, at most.
const WINDOW_BYTES: u64 = 32 << 20;
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A running commit is waited for; a store that does not answer is not.
const STORE_WITHIN: Duration = Duration::from_secs(8);
/// At the end of the process, how long a stream waits for its last acknowledgements.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// While this side does not read, it says so to the coverage this often.
const HOLD_TICK: Duration = Duration::from_secs(1);
const NAME_BYTES_MAX: usize = 256;
/// When an agent that came while the store was away should come again.
const RETRY_PUSHBACK_MS: u32 = 2_000;

type Answers = mpsc::Sender<Result<AggregatorMessage, Status>>;

/// Runs one stream; its outcome goes to the agent.
pub(super) async fn run(shared: Arc<Shared>, mut inbound: Messages, answers: Answers) {
    let outcome = match greet(&shared, &mut inbound, &answers).await {
        Ok(mut session) => {
            let outcome = session.serve(&mut inbound).await;
            session.shared.coverage.disconnected(session.identity.agent);
            outcome
        }
        Err(status) => Err(status),
    };
    if let Err(status) = outcome {
        shared.metrics.refused(&status);
        tracing::warn!(code = %status.code(), message = status.message(), "a stream ended");
        // The agent may be gone already; then nobody needs the reason.
        answers.send(Err(status)).await.unwrap_or_default();
    }
}

/// How far a lane of this stream has come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    signal: Signal,
    lane: LaneKey,
    /// The last sequence that came on this stream: an agent may only be told of what it sent.
    received: u64,
    acked: u64,
}

struct Session {
    shared: Arc<Shared>,
    answers: Answers,
    identity: Identity,
    number: u64,
    superseded: CancellationToken,
    progress: Vec<Progress>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.leave(self.identity.agent, self.number);
    }
}

async fn greet(shared: &Arc<Shared>, inbound: &mut Messages, answers: &Answers) -> Result<Session, Status> {
    let first = tokio::time::timeout(HELLO_WITHIN, inbound.next())
        .await
        .map_err(|_| Status::deadline_exceeded("no Hello within ten seconds"))??;
    let came = Instant::now();
    let Some(agent_message::Kind::Hello(mut hello)) = first.and_then(|first| first.message.kind) else {
        return Err(Status::failed_precondition("a stream begins with Hello"));
    };
    let identity = identity(&hello)?;
    let books = books(shared, identity.agent, &hello).await?;
    grown_old(&mut hello, came.elapsed());
    let (number, superseded) = shared.enter(identity.agent);
    let progress = books
        .iter()
        .flat_map(|(signal, books)| progress(identity.agent, *signal, books))
        .collect();
    let session = Session {
        shared: Arc::clone(shared),
        answers: answers.clone(),
        identity,
        number,
        superseded,
        progress,
    };
    shared
        .coverage
        .hello(session.identity.agent, &hello, shared.clock.now_unix_nanos());
    session
        .send(aggregator_message::Kind::Welcome(session.welcome(&books)))
        .await?;
    Ok(session)
}

/// What the log has of this agent now, after what it asks for. An older answer would make it
/// send again what it need not, so that without an answer there is no stream: it comes back.
async fn books(shared: &Shared, agent: AgentId, hello: &Hello) -> Result<Vec<(Signal, Books)>, Status> {
    let requests = requests(hello)?;
    tokio::time::timeout(STORE_WITHIN, shared.store.books(agent, requests))
        .await
        .map_err(|_| {
            let closed = shared.store.outage().filter(|outage| outage.is_closed);
            let message = closed.map(|outage| outage.to_string());
            later(message.unwrap_or_else(|| "the store does not answer; try again later".to_owned()))
        })?
        .map_err(|error| {
            later(format!(
                "the store cannot be read: {}",
                meridian_runtime::chain(&error)
            ))
        })
}

/// The backlogs that an agent sets aside, by [`Signal::index`].
fn requests(hello: &Hello) -> Result<[Option<SetAside>; 3], Status> {
    let mut requests = [None; 3];
    for one in &hello.set_aside {
        let signal = u8::try_from(one.signal).ok().and_then(Signal::from_u8);
        let Some(signal) = signal.filter(|_| i64::try_from(one.to_seq).is_ok()) else {
            return Err(Status::invalid_argument(format!(
                "Hello.set_aside names signal {} and sequence {}, which cannot be",
                one.signal, one.to_seq
            )));
        };
        requests[signal.index()] = Some(SetAside {
            to: one.to_seq,
            caught_up: one.caught_up_seq,
        });
    }
    Ok(requests)
}

fn progress(agent: AgentId, signal: Signal, books: &Books) -> [Progress; 2] {
    let lanes = [(Lane::Live, books.live), (Lane::CatchUp, books.catch_up)];
    lanes.map(|(lane, seq)| Progress {
        signal,
        lane: LaneKey { agent, lane },
        received: 0,
        acked: seq,
    })
}

/// A refusal with gRPC's own hint when to come back (gRFC A6, server pushback).
fn later(message: String) -> Status {
    let mut status = Status::unavailable(message);
    status
        .metadata_mut()
        .insert("grpc-retry-pushback-ms", MetadataValue::from(RETRY_PUSHBACK_MS));
    status
}

/// The agent's clock went on while this side waited for the log: it must not look slow by that,
/// or its times would be taken for later ones.
fn grown_old(hello: &mut Hello, by: Duration) {
    if hello.now_unix_nanos != 0 {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        hello.now_unix_nanos = hello.now_unix_nanos.saturating_add(by);
    }
}

fn identity(hello: &Hello) -> Result<Identity, Status> {
    if hello.protocol != PROTOCOL {
        return Err(Status::failed_precondition(format!(
            "this aggregator serves revision {PROTOCOL} of the stream, the agent speaks {}",
            hello.protocol
        )));
    }
    let agent = AgentId::from_slice(&hello.agent_id).ok_or_else(|| {
        Status::invalid_argument(format!(
            "Hello.agent_id has {} bytes, want 16",
            hello.agent_id.len()
        ))
    })?;
    for (field, value) in [
        ("region", &hello.region),
        ("cluster", &hello.cluster),
        ("node", &hello.node),
    ] {
        if value.len() > NAME_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "Hello.{field} is longer than {NAME_BYTES_MAX} bytes"
            )));
        }
    }
    if hello.region.is_empty() {
        return Err(Status::invalid_argument("Hello.region is empty"));
    }
    Ok(Identity {
        agent,
        region: hello.region.clone(),
        cluster: hello.cluster.clone(),
        node: hello.node.clone(),
    })
}

impl Session {
    fn welcome(&self, books: &[(Signal, Books)]) -> Welcome {
        let committed = self.progress.iter().map(|progress| Committed {
            signal: stream::Signal::from(progress.signal) as i32,
            lane: on_wire(progress.lane.lane),
            seq: progress.acked,
        });
        let window = u64::try_from(self.shared.budget.rows_bytes / 4).unwrap_or(WINDOW_BYTES);
        Welcome {
            protocol: PROTOCOL,
            committed: committed.collect(),
            window_bytes: window.min(WINDOW_BYTES),
            aggregator: self.shared.name.clone(),
            closed_ranges: books
                .iter()
                .flat_map(|(signal, books)| closed_ranges(*signal, books))
                .collect(),
        }
    }

    async fn send(&self, kind: aggregator_message::Kind) -> Result<(), Status> {
        let message = AggregatorMessage { kind: Some(kind) };
        let gone = |_| Status::cancelled("the agent is gone");
        self.answers.send(Ok(message)).await.map_err(gone)
    }

    async fn serve(&mut self, inbound: &mut Messages) -> Result<(), Status> {
        let mut commits = self.shared.store.commits();
        let shared = Arc::clone(&self.shared);
        let superseded = self.superseded.clone();
        loop {
            let message = tokio::select! {
                () = shared.stop.cancelled() => return self.drain().await,
                () = superseded.cancelled() => return Err(replaced()),
                changed = commits.changed() => {
                    changed.map_err(|_| Status::unavailable("the store has ended"))?;
                    self.acknowledge().await?;
                    continue;
                }
                message = inbound.next() => message?,
                () = tokio::time::sleep(HOLD_TICK) => {
                    if inbound.waits_for_memory() {
                        self.hold();
                    }
                    continue;
                }
            };
            let Some(received) = message else { return Ok(()) };
            if self.take(received).await? {
                return Ok(());
            }
        }
    }

    /// Handles one message; true if it was the last.
    async fn take(&mut self, received: Received) -> Result<bool, Status> {
        let now = self.shared.clock.now_unix_nanos();
        let agent = self.identity.agent;
        match received.message.kind {
            Some(agent_message::Kind::Batch(batch)) => self.batch(batch, received.reservation).await?,
            Some(agent_message::Kind::Heartbeat(heartbeat)) => {
                self.shared.coverage.heartbeat(agent, &heartbeat, now);
            }
            Some(agent_message::Kind::Flush(_)) => self.shared.store.flush(),
            Some(agent_message::Kind::Goodbye(goodbye)) => {
                self.shared.coverage.goodbye(agent, goodbye.pending_items, now);
                return Ok(true);
            }
            Some(agent_message::Kind::Hello(_)) => {
                return Err(Status::failed_precondition("Hello came twice on one stream"));
            }
            // A newer agent may say what is not known here.
            None => {}
        }
        Ok(false)
    }

    /// `compressed` is the memory of the message itself.
    async fn batch(
        &mut self,
        message: Batch,
        compressed: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Status> {
        let refused = |error: rows::BatchError| Status::invalid_argument(meridian_runtime::chain(&error));
        let (signal, lane) = rows::address(&message).map_err(refused)?;
        let label = signal.as_str();
        self.shared.metrics.batches.with_label_values(&[label]).inc();
        let reservation = self.reserve(signal, message.uncompressed_bytes).await?;
        let (watermark, last_seq) = (message.watermark_unix_nanos, message.last_seq);
        let (identity, bytes_max) = (self.identity.clone(), self.shared.budget.rows_bytes);
        let decoders = Arc::clone(&self.shared.budget.decoders);
        let permit = decoders.acquire_owned().await;
        let decoding = permit.map_err(|error| Status::unavailable(error.to_string()))?;
        let decode = move || {
            let (_compressed, _decoding) = (compressed, decoding);
            rows::incoming(&identity, &message, bytes_max)
        };
        let (_, mut incoming) = tasks::blocking("decode", decode)
            .await
            .map_err(|error| Status::internal(meridian_runtime::chain(&error)))?
            .map_err(refused)?;
        if self.superseded.is_cancelled() {
            return Err(replaced());
        }
        incoming.reservation = Some(Arc::new(reservation));
        let offered = self.shared.store.offer(signal, &incoming);
        let metrics = &self.shared.metrics;
        metrics
            .rows
            .with_label_values(&[label])
            .inc_by(offered.rows as u64);
        metrics
            .duplicate_rows
            .with_label_values(&[label])
            .inc_by(offered.duplicates as u64);
        self.shared.note_memory();
        let now = self.shared.clock.now_unix_nanos();
        self.shared.coverage.batch(
            self.identity.agent,
            signal,
            lane,
            last_seq,
            watermark,
            offered.rows,
            now,
        );
        let progress = self
            .progress
            .iter_mut()
            .find(|one| one.signal == signal && one.lane.lane == lane);
        let mut again = None;
        if let Some(progress) = progress {
            progress.received = progress.received.max(last_seq);
            again = (last_seq <= progress.acked).then_some(*progress);
        }
        if let Some(progress) = again {
            // It was committed before it came: without an answer the agent would wait for ever.
            self.ack(&progress, last_seq).await?;
        }
        self.acknowledge().await
    }

    /// Waits for memory. While it waits nothing more is read, which is what slows the agent;
    /// acknowledgements go on, and the agent does not count as silent for our own sake.
    async fn reserve(&mut self, signal: Signal, bytes: u32) -> Result<OwnedSemaphorePermit, Status> {
        let bytes_max = self.shared.budget.rows_bytes;
        if usize::try_from(bytes).unwrap_or(usize::MAX) > bytes_max {
            return Err(Status::invalid_argument(format!(
                "a batch of {bytes} bytes exceeds the memory for rows, {bytes_max} bytes of limits.ingest_memory"
            )));
        }
        let shared = Arc::clone(&self.shared);
        let mut commits = shared.store.commits();
        let bytes = bytes.saturating_add(rows::overhead_bytes(signal));
        let bytes = bytes.min(u32::try_from(bytes_max).unwrap_or(u32::MAX));
        let acquire = Arc::clone(&shared.budget.rows).acquire_many_owned(bytes);
        tokio::pin!(acquire);
        loop {
            tokio::select! {
                permit = &mut acquire => {
                    return permit.map_err(|_| Status::unavailable("ingest has ended"));
                }
                () = shared.stop.cancelled() => return Err(Status::unavailable("this aggregator is shutting down")),
                () = self.superseded.cancelled() => return Err(replaced()),
                _ = commits.changed() => self.acknowledge().await?,
                () = tokio::time::sleep(HOLD_TICK) => self.hold(),
            }
        }
    }

    /// What the agent has sent waits here, and not there: it is not silent.
    fn hold(&self) {
        self.shared.store.flush();
        let now = self.shared.clock.now_unix_nanos();
        self.shared.coverage.held(self.identity.agent, now);
    }

    /// Tells the agent what is committed of what it sent on this stream.
    async fn acknowledge(&mut self) -> Result<(), Status> {
        self.shared.note_memory();
        for index in 0..self.progress.len() {
            let progress = self.progress[index];
            let committed = self.shared.store.committed(progress.signal, &progress.lane);
            let seq = committed.min(progress.received);
            if seq > progress.acked {
                self.ack(&progress, seq).await?;
                self.progress[index].acked = seq;
            }
        }
        Ok(())
    }

    async fn ack(&self, progress: &Progress, seq: u64) -> Result<(), Status> {
        self.send(aggregator_message::Kind::Ack(Ack {
            signal: stream::Signal::from(progress.signal) as i32,
            lane: on_wire(progress.lane.lane),
            committed_seq: seq,
        }))
        .await
    }

    /// The process ends: reads no more, and waits for the last commit.
    async fn drain(&mut self) -> Result<(), Status> {
        let mut commits = self.shared.store.commits();
        let deadline = Instant::now() + DRAIN_WITHIN;
        self.shared.store.flush();
        loop {
            self.acknowledge().await?;
            let is_done = self
                .progress
                .iter()
                .all(|progress| progress.received <= progress.acked);
            if is_done
                || tokio::time::timeout_at(deadline, commits.changed())
                    .await
                    .is_err()
            {
                return Err(Status::unavailable("this aggregator is shutting down"));
            }
        }
    }
}

fn closed_ranges(signal: Signal, books: &Books) -> Vec<ClosedRange> {
    let ranges = books.open_ranges().into_iter().map(|range| ClosedRange {
        signal: stream::Signal::from(signal) as i32,
        after_seq: range.after,
        to_seq: range.to,
    });
    ranges.collect()
}

fn on_wire(lane: Lane) -> i32 {
    match lane {
        Lane::CatchUp => stream::Lane::CatchUp as i32,
        _ => stream::Lane::Live as i32,
    }
}

fn replaced() -> Status {
    Status::aborted("the agent opened a newer stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_does_not_look_slow_because_its_hello_waited_for_the_log() {
        let mut hello = Hello {
            now_unix_nanos: 5,
            ..Hello::default()
        };
        grown_old(&mut hello, Duration::from_nanos(7));
        assert_eq!(hello.now_unix_nanos, 12);
        let mut without_a_clock = Hello::default();
        grown_old(&mut without_a_clock, Duration::from_nanos(7));
        assert_eq!(without_a_clock.now_unix_nanos, 0);
    }
}
