//! What agents may take, and what they are told when there is no more: memory, the size of a
//! message, streams, and a store that does not answer.

use std::net::SocketAddr;
use std::time::Duration;

use meridian_aggregator::config::CoverageConfig;
use meridian_aggregator::coverage::Coverage;
use meridian_aggregator::ingest::{Ingest, IngestMetrics, Limits};
use meridian_aggregator::store::Store;
use meridian_proto::signal::Signal;
use meridian_proto::stream::agent_message::Kind;
use meridian_proto::stream::{Batch, Flush};
use meridian_runtime::clock::Clock;
use meridian_runtime::metrics::Registry;
use meridian_runtime::tasks::{self, Task};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use url::Url;

use super::faults::{Fault, Faulty};
use super::ingest::{WITHIN, batch_of, connect_to, hello};
use super::rows::count;

/// Ingest and its store, without the rest of an aggregator.
struct Served {
    _directory: TempDir,
    faulty: std::sync::Arc<Faulty>,
    store: Store,
    registry: Registry,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<Task<()>>,
}

async fn serve(limits: Limits) -> Served {
    let directory = tempfile::tempdir().expect("a directory");
    let url = Url::from_directory_path(directory.path()).expect("an absolute path");
    let faulty = Faulty::new(directory.path().to_path_buf());
    let store = faulty.open(&url).await;
    let (registry, stop) = (Registry::new(), CancellationToken::new());
    let ingest = Ingest::new(
        store.clone(),
        Coverage::new(CoverageConfig::default(), vec!["eu-central-1".to_owned()]),
        Clock::system(),
        IngestMetrics::new(&registry).expect("a registry of its own"),
        limits,
        "test".to_owned(),
        stop.clone(),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    let (committing, until) = (store.clone(), stop.clone());
    let tasks = vec![
        tasks::spawn("ingest", async move {
            let serving = ingest.serve(listener.into(), Default::default(), Default::default());
            serving.await.unwrap_or_else(|never| match never {})
        }),
        tasks::spawn("commit", async move {
            committing.run(Signal::Spans, until).await.expect("runs");
        }),
    ];
    Served {
        _directory: directory,
        faulty,
        store,
        registry,
        address,
        stop,
        tasks,
    }
}

impl Served {
    /// The sum over a metric's labels; one that nothing was counted in is not there yet.
    fn gauge(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        metrics
            .iter()
            .map(|metric| metric.get_gauge().get_value() + metric.get_counter().get_value())
            .sum()
    }

    async fn stop(self) {
        self.faulty.set(Fault::Nothing);
        self.stop.cancel();
        for task in self.tasks {
            tokio::time::timeout(WITHIN, task)
                .await
                .expect("it ends")
                .expect("no panic");
        }
    }
}

/// Polls until it holds.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + WITHIN;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_not_read_while_memory_is_full_and_everything_lands_when_commits_work_again() {
    const BATCHES: u64 = 24;
    // Half of so little memory is for rows.
    let memory_bytes = 1 << 20;
    let served = serve(Limits {
        memory_bytes: 2 * memory_bytes,
        ..Limits::default()
    })
    .await;
    let mut agent = connect_to(served.address, hello(1)).await;
    agent.welcome().await;
    served.faulty.set(Fault::EntryRefused);
    let batches: Vec<Batch> = (0..BATCHES)
        .map(|n| batch_of(n * 200 + 1..=n * 200 + 200))
        .collect();
    let one = usize::try_from(batches[0].uncompressed_bytes).expect("small");
    let fit = memory_bytes / one;
    assert!(
        fit >= 2 && (fit as u64) + 2 < BATCHES,
        "{one} bytes make no sense here"
    );
    let mut heard = agent.from;
    let say = agent.to;
    let sender = tasks::spawn("agent", async move {
        for batch in batches {
            super::ingest::say(&say, Kind::Batch(batch)).await;
        }
        say
    });
    let read = || served.gauge("meridian_aggregator_batches_total");
    // Each batch takes a little more than it is announced with.
    eventually("memory fills", || read() >= fit as f64).await;
    served.faulty.met().await;
    // A second failed commit later nothing more has been read: what is read beyond memory is
    // the one batch that waits for it.
    let failed = served.faulty.entries();
    eventually("a commit fails again", || served.faulty.entries() > failed + 1).await;
    assert!(read() <= (fit + 1) as f64, "{} batches were read", read());
    let used = served.gauge("meridian_aggregator_ingest_memory_bytes");
    assert!(
        used <= memory_bytes as f64 && used >= ((fit - 2) * one) as f64,
        "{used}"
    );
    assert_eq!(count(&served.store, Signal::Spans).0, 0);
    served.faulty.set(Fault::Nothing);
    let say = tokio::time::timeout(WITHIN, sender)
        .await
        .expect("all is sent")
        .expect("no panic");
    super::ingest::say(&say, Kind::Flush(Flush {})).await;
    while super::ingest::acked(&mut heard).await < BATCHES * 200 {}
    assert_eq!(count(&served.store, Signal::Spans), (BATCHES * 400, 0));
    eventually("memory is given back", || {
        served.gauge("meridian_aggregator_ingest_memory_bytes") == 0.0
    })
    .await;
    drop((say, heard));
    served.stop().await;
}

/// A batch of two rows is hardly more than its arrays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_batches_stay_within_the_memory_too() {
    const BATCHES: u64 = 400;
    let memory_bytes = 2 << 20;
    let served = serve(Limits {
        memory_bytes,
        ..Limits::default()
    })
    .await;
    let mut agent = connect_to(served.address, hello(1)).await;
    agent.welcome().await;
    served.faulty.set(Fault::EntryRefused);
    let mut heard = agent.from;
    let say = agent.to;
    let sender = tasks::spawn("agent", async move {
        for seq in 1..=BATCHES {
            super::ingest::say(&say, Kind::Batch(batch_of(seq..=seq))).await;
        }
        say
    });
    served.faulty.met().await;
    let failed = served.faulty.entries();
    eventually("a commit fails again", || served.faulty.entries() > failed + 1).await;
    let held = served.store.view(Signal::Spans).hot;
    let bytes: usize = held.iter().map(|hot| hot.batch.get_array_memory_size()).sum();
    let batches = held.len();
    drop(held);
    served.faulty.set(Fault::Nothing);
    let say = tokio::time::timeout(WITHIN, sender)
        .await
        .expect("all is sent")
        .expect("no panic");
    super::ingest::say(&say, Kind::Flush(Flush {})).await;
    while super::ingest::acked(&mut heard).await < BATCHES {}
    drop((say, heard));
    served.stop().await;
    assert!(batches > 20, "{batches} batches");
    assert!(bytes <= memory_bytes / 2, "{bytes} bytes in {batches} batches");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_is_refused_with_the_limits_name() {
    let served = serve(Limits {
        message_bytes: 1 << 20,
        ..Limits::default()
    })
    .await;
    let mut agent = connect_to(served.address, hello(1)).await;
    agent.welcome().await;
    let large = Batch {
        payload: vec![0; 2 << 20].into(),
        ..batch_of(1..=1)
    };
    agent.say(Kind::Batch(large)).await;
    let refusal = agent.hear().await.expect_err("refused");
    assert_eq!(refusal.code(), Code::InvalidArgument);
    for part in ["1048576 bytes", "limits.message"] {
        assert!(refusal.message().contains(part), "{}", refusal.message());
    }
    drop(agent);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_too_many_is_refused_until_another_ends() {
    let served = serve(Limits {
        streams_max: 1,
        ..Limits::default()
    })
    .await;
    let mut first = connect_to(served.address, hello(1)).await;
    first.welcome().await;
    let refusal = super::ingest::try_connect(served.address, hello(2))
        .await
        .expect_err("there is one place");
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert!(
        refusal.message().contains("limits.streams"),
        "{}",
        refusal.message()
    );
    drop(first);
    let deadline = tokio::time::Instant::now() + WITHIN;
    let mut second = loop {
        match super::ingest::try_connect(served.address, hello(2)).await {
            Ok(agent) => break agent,
            Err(refusal) => assert!(tokio::time::Instant::now() < deadline, "{refusal}"),
        }
    };
    second.welcome().await;
    drop(second);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_told_that_the_store_does_not_answer_and_is_welcomed_when_it_does() {
    let served = serve(Limits::default()).await;
    served.faulty.set(Fault::Silence);
    let mut agent = connect_to(served.address, hello(1)).await;
    let refusal = agent.hear().await.expect_err("there is no answer to give");
    assert_eq!(refusal.code(), Code::Unavailable);
    assert!(
        refusal.message().contains("the store does not answer"),
        "{}",
        refusal.message()
    );
    served.faulty.set(Fault::Nothing);
    let mut agent = connect_to(served.address, hello(1)).await;
    assert!(agent.welcome().await.iter().all(|(_, seq)| *seq == 0));
    drop(agent);
    served.stop().await;
}
