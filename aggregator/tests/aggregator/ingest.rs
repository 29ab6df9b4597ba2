//! Agents' streams over real sockets: greeting, acknowledgement, refusal, and the end of the
//! process. The agent here is made by hand; the real one is in the package system-tests.

use std::net::SocketAddr;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use meridian_aggregator::app::{Addresses, Aggregator};
use meridian_aggregator::config::Config;
use meridian_aggregator::coverage::{AgentState, Coverage, Status, Window};
use meridian_aggregator::store::Store;
use meridian_proto::signal::Signal;
use meridian_proto::stream::aggregator_client::AggregatorClient;
use meridian_proto::stream::aggregator_message::Kind as Said;
use meridian_proto::stream::{
    AgentMessage, AggregatorMessage, Batch, Encoding, Flush, Goodbye, Heartbeat, Hello, agent_message::Kind,
};
use meridian_proto::{PROTOCOL, payload};
use meridian_runtime::clock::Clock;
use meridian_runtime::config::Document;
use meridian_runtime::shutdown::Shutdown;
use meridian_runtime::tasks::{self, Task};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tonic::transport::Endpoint;
use tonic::{Code, Status as Refusal, Streaming};

use super::rows::{agent, count, now, rows};

pub const WITHIN: Duration = Duration::from_secs(60);

/// An aggregator that runs until the shutdown is requested.
struct Running {
    addresses: Addresses,
    store: Store,
    coverage: Coverage,
    task: Task<anyhow::Result<()>>,
    shutdown: std::sync::Arc<Shutdown>,
}

async fn run(directory: &TempDir) -> Running {
    let text = format!(
        "listen: {{ ingest: 127.0.0.1:0, http: 127.0.0.1:0 }}\n\
         store: {{ url: \"file://{}\", commit_interval: 1h }}\n\
         regions: [eu-central-1, us-east-1]\n\
         limits: {{ ingest_memory: 8MiB }}\n",
        directory.path().display()
    );
    let config = Document::parse("aggregator.yaml", &text, &|_| None)
        .and_then(Config::read)
        .expect("valid");
    let aggregator = Aggregator::start(config, Clock::system()).await.expect("starts");
    let (addresses, store, coverage) = (
        aggregator.addresses(),
        aggregator.store().clone(),
        aggregator.coverage().clone(),
    );
    let shutdown = std::sync::Arc::new(Shutdown::manual());
    let until = std::sync::Arc::clone(&shutdown);
    let task = tasks::spawn("aggregator", async move { aggregator.run(&until).await });
    // It is opened while the aggregator runs, and then it is known who is expected.
    while store.outage().is_some() {
        tokio::task::yield_now().await;
    }
    Running {
        addresses,
        store,
        coverage,
        task,
        shutdown,
    }
}

impl Running {
    async fn stop(self) {
        self.shutdown.request();
        self.task.await.expect("no panic").expect("a clean end");
    }
}

/// One stream, from the agent's side.
#[derive(Debug)]
pub struct Agent {
    pub to: mpsc::Sender<AgentMessage>,
    pub from: Streaming<AggregatorMessage>,
}

pub fn hello(number: u8) -> Hello {
    Hello {
        protocol: PROTOCOL,
        agent_id: agent(number).as_bytes().to_vec().into(),
        region: "eu-central-1".into(),
        cluster: "test".into(),
        node: format!("node-{number}"),
        started_unix_nanos: now(),
        now_unix_nanos: now(),
        ..Hello::default()
    }
}

async fn connect(running: &Running, hello: Hello) -> Agent {
    connect_to(running.addresses.ingest, hello).await
}

pub async fn connect_to(address: SocketAddr, hello: Hello) -> Agent {
    try_connect(address, hello).await.expect("it answers")
}

pub async fn try_connect(address: SocketAddr, hello: Hello) -> Result<Agent, Refusal> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URL");
    let mut client = AggregatorClient::new(endpoint.connect().await.expect("it listens"));
    let (to, messages) = mpsc::channel(16);
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let first = AgentMessage {
        kind: Some(Kind::Hello(hello)),
    };
    to.send(first).await.expect("there is room");
    let from = client.deliver(messages).await?.into_inner();
    Ok(Agent { to, from })
}

impl Agent {
    pub async fn say(&self, kind: Kind) {
        say(&self.to, kind).await;
    }

    pub async fn hear(&mut self) -> Result<Said, Refusal> {
        hear(&mut self.from).await
    }

    pub async fn welcome(&mut self) -> Vec<(i32, u64)> {
        match self.hear().await.expect("welcome") {
            Said::Welcome(welcome) => welcome
                .committed
                .iter()
                .map(|one| (one.signal, one.seq))
                .collect(),
            Said::Ack(ack) => panic!("no welcome: {ack:?}"),
        }
    }

    async fn acked(&mut self) -> u64 {
        acked(&mut self.from).await
    }
}

pub async fn say(to: &mpsc::Sender<AgentMessage>, kind: Kind) {
    to.send(AgentMessage { kind: Some(kind) })
        .await
        .expect("the stream is open");
}

async fn hear(from: &mut Streaming<AggregatorMessage>) -> Result<Said, Refusal> {
    let message = tokio::time::timeout(WITHIN, from.message())
        .await
        .expect("an answer in time")?;
    Ok(message
        .and_then(|message| message.kind)
        .expect("the stream goes on"))
}

pub async fn acked(from: &mut Streaming<AggregatorMessage>) -> u64 {
    match hear(from).await.expect("an acknowledgement") {
        Said::Ack(ack) => ack.committed_seq,
        Said::Welcome(welcome) => panic!("welcome twice: {welcome:?}"),
    }
}

pub fn batch_of(seqs: std::ops::RangeInclusive<u64>) -> Batch {
    let records = usize::try_from(seqs.end() - seqs.start() + 1).expect("few");
    let rows: RecordBatch = rows(Signal::Spans, seqs.start() * 2, records * 2, now());
    let encoded = payload::encode(&rows, 1).expect("encodes");
    Batch {
        signal: Signal::Spans as i32,
        first_seq: *seqs.start(),
        last_seq: *seqs.end(),
        rows: u32::try_from(rows.num_rows()).expect("few"),
        watermark_unix_nanos: now(),
        encoding: Encoding::Columns as i32,
        payload: encoded.bytes.into(),
        uncompressed_bytes: encoded.uncompressed_bytes,
        record_seq_deltas: (0..records).map(|index| u32::from(index > 0)).collect(),
        record_rows: vec![2; records],
        ..Batch::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_acknowledged_when_they_are_committed_and_stored_once_when_sent_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = run(&directory).await;
    let mut agent = connect(&running, hello(1)).await;
    assert!(agent.welcome().await.iter().all(|(_, seq)| *seq == 0));
    agent.say(Kind::Batch(batch_of(1..=3))).await;
    agent.say(Kind::Flush(Flush {})).await;
    assert_eq!(agent.acked().await, 3);
    assert_eq!(count(&running.store, Signal::Spans), (6, 0));
    agent.say(Kind::Batch(batch_of(2..=3))).await;
    assert_eq!(agent.acked().await, 3, "what came again is acknowledged again");
    agent.say(Kind::Batch(batch_of(3..=5))).await;
    agent.say(Kind::Flush(Flush {})).await;
    assert_eq!(agent.acked().await, 5);
    assert_eq!(count(&running.store, Signal::Spans), (10, 0));
    drop(agent);
    let mut again = connect(&running, hello(1)).await;
    assert!(again.welcome().await.contains(&(Signal::Spans as i32, 5)));
    drop(again);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_process_commits_and_acknowledges_what_is_in_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = run(&directory).await;
    let mut agent = connect(&running, hello(1)).await;
    agent.welcome().await;
    agent.say(Kind::Batch(batch_of(1..=3))).await;
    while count(&running.store, Signal::Spans) != (0, 6) {
        tokio::task::yield_now().await;
    }
    let store = running.store.clone();
    running.shutdown.request();
    assert_eq!(agent.acked().await, 3);
    assert_eq!(agent.hear().await.expect_err("the end").code(), Code::Unavailable);
    drop(agent);
    running.task.await.expect("no panic").expect("a clean end");
    assert_eq!(count(&store, Signal::Spans), (6, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_batch_costs_its_own_stream_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = run(&directory).await;
    let (mut good, mut bad) = (
        connect(&running, hello(1)).await,
        connect(&running, hello(2)).await,
    );
    good.welcome().await;
    bad.welcome().await;
    let corrupt = Batch {
        payload: b"not zstd".to_vec().into(),
        ..batch_of(1..=3)
    };
    bad.say(Kind::Batch(corrupt)).await;
    let refusal = bad.hear().await.expect_err("refused");
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().contains("spans"), "{}", refusal.message());
    let bomb = Batch {
        uncompressed_bytes: u32::MAX,
        ..batch_of(1..=3)
    };
    let mut bad = connect(&running, hello(2)).await;
    bad.welcome().await;
    bad.say(Kind::Batch(bomb)).await;
    assert_eq!(
        bad.hear().await.expect_err("refused").code(),
        Code::InvalidArgument
    );
    good.say(Kind::Batch(batch_of(1..=3))).await;
    good.say(Kind::Flush(Flush {})).await;
    assert_eq!(good.acked().await, 3);
    drop((good, bad));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_speaks_another_version_is_told_which_one_is_served() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = run(&directory).await;
    let mut agent = connect(
        &running,
        Hello {
            protocol: 99,
            ..hello(1)
        },
    )
    .await;
    let refusal = agent.hear().await.expect_err("refused");
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(
        refusal.message().contains("revision 1") && refusal.message().contains("99"),
        "{}",
        refusal.message()
    );
    let mut agent = connect(
        &running,
        Hello {
            agent_id: b"short".to_vec().into(),
            ..hello(1)
        },
    )
    .await;
    assert_eq!(
        agent.hear().await.expect_err("refused").code(),
        Code::InvalidArgument
    );
    drop(agent);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_of_two_streams_of_one_agent_wins() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = run(&directory).await;
    let mut older = connect(&running, hello(1)).await;
    older.welcome().await;
    let mut newer = connect(&running, hello(1)).await;
    newer.welcome().await;
    assert_eq!(older.hear().await.expect_err("replaced").code(), Code::Aborted);
    newer.say(Kind::Batch(batch_of(1..=1))).await;
    newer.say(Kind::Flush(Flush {})).await;
    assert_eq!(newer.acked().await, 1);
    drop((older, newer));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_aggregator_still_knows_whom_it_expects() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = run(&directory).await;
    let (mut stays, mut leaves) = (
        connect(&running, hello(1)).await,
        connect(&running, hello(2)).await,
    );
    stays.welcome().await;
    leaves.welcome().await;
    let watermark = now();
    let heartbeat = Heartbeat {
        watermark_unix_nanos: watermark,
        now_unix_nanos: watermark,
        ..Heartbeat::default()
    };
    stays.say(Kind::Heartbeat(heartbeat)).await;
    leaves.say(Kind::Goodbye(Goodbye { pending_items: 0 })).await;
    let stopped = |coverage: &Coverage| {
        coverage
            .agents(now())
            .iter()
            .any(|one| one.state == AgentState::Stopped)
    };
    let has_watermark = |coverage: &Coverage| {
        coverage
            .agents(now())
            .iter()
            .any(|one| one.agent_id == agent(1) && one.watermark == Some(watermark))
    };
    while !stopped(&running.coverage) || !has_watermark(&running.coverage) {
        tokio::task::yield_now().await;
    }
    drop((stays, leaves));
    running.stop().await;
    let running = run(&directory).await;
    let report = running.coverage.report(now(), None, Window::default());
    assert_eq!(report.status, Status::Partial);
    assert_eq!(report.regions[0].agents_expected, 1);
    assert!(report.regions[0].complete_to.is_some_and(|to| to <= watermark));
    assert_eq!(running.coverage.agents(now()).len(), 2);
    running.stop().await;
}
