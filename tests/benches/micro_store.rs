//! The store's hot path: rows offered, then sorted, encoded as Parquet and committed, in memory.
//! Compaction is measured by the whole benchmark, not here.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use meridian_agent::otlp::{Origin, RowBuilder};
use meridian_aggregator::config::Config;
use meridian_aggregator::store::{Incoming, Lane, LaneKey, Record, Store, StoreMetrics};
use meridian_proto::ids::AgentId;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::config::Document;
use meridian_runtime::metrics::Registry;
use system_tests::bench::content::{Generator, ITEMS};
use system_tests::bench::random::Random;
use system_tests::otlp::now_unix_nanos;

const REQUESTS: u64 = 400;

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

fn commit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = format!(
        "store: {{ url: \"file://{}\" }}\nregions: [eu-central-1]\n",
        folder.path().display()
    );
    let config = Document::parse("bench.yaml", &yaml, &|_| None).and_then(Config::read);
    let metrics = StoreMetrics::new(&Registry::new()).expect("a registry of its own");
    let store = config.expect("a sound configuration").store;
    let store = runtime
        .block_on(Store::open(&store, Clock::system(), metrics))
        .expect("opens");
    let generator = Generator::new(Signal::Spans).expect("a generator");
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

criterion_group!(micro_store, commit);
criterion_main!(micro_store);
