//! The store's hot path: rows offered, then sorted, encoded as Parquet and committed; and what
//! was committed merged into one file. Into the page cache; no process is started.

use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use meridian_agent::otlp::{Origin, RowBuilder};
use meridian_aggregator::config::Config;
use meridian_aggregator::store::{Incoming, Lane, LaneKey, Maintenance, Record, Store, StoreMetrics};
use meridian_proto::ids::AgentId;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::config::Document;
use meridian_runtime::metrics::Registry;
use system_tests::bench::content::{Detail, Generator, ITEMS};
use system_tests::bench::random::Random;
use system_tests::otlp::now_unix_nanos;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const REQUESTS: u64 = 400;
/// Commits that are merged into one file.
const MERGED: u64 = 4;

/// Forty thousand rows, about what a commit has.
fn incoming(generator: &Generator, first: u64) -> Incoming {
    let origin = Origin {
        region: "eu-central-1".to_owned(),
        cluster: "bench".to_owned(),
        node: "bench".to_owned(),
        agent_id: "00000000-0000-4000-8000-000000000000".to_owned(),
    };
    let mut builder = RowBuilder::new(Signal::Spans, &origin);
    let mut random = Random::new();
    let mut records = Vec::new();
    for number in first..first + REQUESTS {
        let body = generator.request(&mut random, number, now_unix_nanos());
        let rows = builder.push(&body, now_unix_nanos()).expect("sound");
        records.push(Record {
            seq: number + 1,
            rows: rows as usize,
        });
    }
    Incoming {
        lane: LaneKey {
            agent: AgentId::from_slice(&[7; 16]).expect("sixteen bytes"),
            lane: Lane::Live,
        },
        region: origin.region,
        records,
        batch: builder.finish(),
        reservation: None,
    }
}

fn open(runtime: &Runtime, folder: &Path) -> Store {
    let yaml = format!(
        "store: {{ url: \"file://{}\", maintenance: {{ merge_files: {MERGED} }} }}\nregions: [eu-central-1]\n",
        folder.display()
    );
    let config = Document::parse("bench.yaml", &yaml, &|_| None).and_then(Config::read);
    let metrics = StoreMetrics::new(&Registry::new()).expect("a registry of its own");
    let store = config.expect("a sound configuration").store;
    runtime
        .block_on(Store::open(&store, Clock::system(), metrics))
        .expect("opens")
}

fn commit(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&runtime, folder.path());
    let generator = Generator::new(Signal::Spans, Detail::Full).expect("a generator");
    let mut next = 0;
    let mut group = criterion.benchmark_group("spans");
    group.sample_size(20);
    group.throughput(Throughput::Elements(REQUESTS * u64::from(ITEMS)));
    group.bench_function("offer, sort, encode and commit", |bencher| {
        bencher.iter_batched(
            || {
                next += REQUESTS;
                Arc::new(incoming(&generator, next - REQUESTS))
            },
            |incoming| {
                store.offer(Signal::Spans, &incoming);
                runtime.block_on(store.commit_all()).expect("commits");
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// A round of maintenance over a new store, in which the merge is all there is to do.
fn merge(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let generator = Generator::new(Signal::Spans, Detail::Full).expect("a generator");
    let mut group = criterion.benchmark_group("spans");
    group.sample_size(10);
    group.throughput(Throughput::Elements(MERGED * REQUESTS * u64::from(ITEMS)));
    group.bench_function("merge", |bencher| {
        bencher.iter_batched(
            || {
                let folder = tempfile::tempdir().expect("a folder");
                let store = open(&runtime, folder.path());
                for number in 0..MERGED {
                    store.offer(Signal::Spans, &incoming(&generator, number * REQUESTS));
                    runtime.block_on(store.commit_all()).expect("commits");
                }
                (folder, store)
            },
            |(folder, store)| {
                let mut maintenance = Maintenance::new(store.clone(), CancellationToken::new());
                runtime.block_on(maintenance.round());
                assert_eq!(store.view(Signal::Spans).files.len(), 1, "merged");
                (folder, store)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(micro_store, commit, merge);
criterion_main!(micro_store);
