//! The agent's hot functions, one request of a hundred spans at a time: check, spool append,
//! rows; and the payload of ten thousand rows, encoded and decoded. Divide by the spans for
//! what one costs. No process is started, and no network is in it.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use meridian_agent::otlp::{CheckLimits, Origin, RowBuilder, check};
use meridian_agent::spool::{NewRecord, Spool, SpoolConfig};
use meridian_proto::payload;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use system_tests::bench::content::{Detail, Generator, ITEMS};
use system_tests::bench::random::Random;
use system_tests::otlp::now_unix_nanos;

const REQUESTS: u64 = 100;
const PAYLOAD_BYTES_MAX: usize = 64 << 20;

fn requests(signal: Signal) -> Vec<Bytes> {
    let generator = Generator::new(signal, Detail::Full).expect("a generator");
    let mut random = Random::new();
    let one = |number| generator.request(&mut random, number, now_unix_nanos());
    (0..REQUESTS).map(one).collect()
}

fn origin() -> Origin {
    Origin {
        region: "eu-central-1".to_owned(),
        cluster: "bench".to_owned(),
        node: "bench".to_owned(),
        agent_id: "00000000-0000-4000-8000-000000000000".to_owned(),
    }
}

fn walks(criterion: &mut Criterion) {
    for signal in Signal::ALL {
        let bodies = requests(signal);
        let mut group = criterion.benchmark_group(signal.as_str());
        group.throughput(Throughput::Elements(u64::from(ITEMS)));
        group.bench_function("check", |bencher| {
            let mut bodies = bodies.iter().cycle();
            let limits = CheckLimits::default();
            bencher.iter(|| {
                let body = bodies.next().expect("a cycle").clone();
                check(signal, black_box(body), &limits).expect("sound")
            });
        });
        group.throughput(Throughput::Elements(REQUESTS * u64::from(ITEMS)));
        group.bench_function("rows", |bencher| {
            let mut builder = RowBuilder::new(signal, &origin());
            bencher.iter(|| {
                for body in &bodies {
                    builder.push_accepted(black_box(body), 1).expect("sound");
                }
                builder.finish()
            });
        });
        group.finish();
    }
}

fn payloads(criterion: &mut Criterion) {
    for signal in Signal::ALL {
        let mut builder = RowBuilder::new(signal, &origin());
        for body in requests(signal) {
            builder.push(&body, 1).expect("sound");
        }
        let rows = builder.finish();
        let encoded = payload::encode(&rows, 1).expect("encodes");
        let mut group = criterion.benchmark_group(signal.as_str());
        group.throughput(Throughput::Elements(rows.num_rows() as u64));
        group.bench_function("payload encode", |bencher| {
            bencher.iter(|| payload::encode(black_box(&rows), 1).expect("encodes"));
        });
        group.bench_function("payload decode", |bencher| {
            bencher.iter(|| {
                let bytes = black_box(&encoded.bytes);
                payload::decode(signal, bytes, encoded.uncompressed_bytes, PAYLOAD_BYTES_MAX)
                    .expect("decodes")
            });
        });
        group.finish();
    }
}

/// Into the page cache: what the disk takes is not the function's.
fn spool(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = SpoolConfig::new(folder.path().join("spool"));
    config.linger = Duration::ZERO;
    config.fsync = false;
    let _entered = runtime.enter();
    let spool = Spool::open(config, Clock::system(), &[]).expect("opens");
    let bodies = requests(Signal::Spans);
    let mut bodies = bodies.iter().cycle();
    let mut group = criterion.benchmark_group("spans");
    group.throughput(Throughput::Elements(u64::from(ITEMS)));
    group.bench_function("spool append", |bencher| {
        bencher.iter_batched(
            || NewRecord {
                signal: Signal::Spans,
                items: ITEMS,
                hash: None,
                body: bodies.next().expect("a cycle").clone(),
                overlay: Bytes::new(),
            },
            |record| runtime.block_on(spool.append(record)).expect("room"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    runtime.block_on(spool.close());
}

criterion_group!(micro, walks, payloads, spool);
criterion_main!(micro);
