//! The spool against a naive model, under random appends, deliveries, restarts, crashes and
//! disk errors.
//!
//! It proves that what was answered is there afterwards, once and in order, and that nothing
//! else is but what was in flight. It does not prove anything about bit rot, which cannot be
//! lossless; a second test only demands that it costs no more than what it hit.

use bytes::Bytes;
use meridian_proto::signal::Signal;
use proptest::prelude::*;

use super::bench::Bench;
use super::simulated::Operation;
use super::{AppendError, NewRecord};

#[derive(Debug, Clone)]
enum Step {
    /// Records of one group: signal, size of the body, hash.
    Append(Vec<(usize, usize, Option<u8>)>),
    /// Deliver the signal up to this share of what there is.
    Advance(usize, u8),
    Touch,
    Compress,
    Close,
    Kill,
    PowerLoss(usize),
    /// Fail the next group in one of its operations.
    Fault(usize, i32),
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..3_usize, 0..600_usize, proptest::option::of(any::<u8>()));
    prop_oneof![
        8 => proptest::collection::vec(record, 1..6).prop_map(Step::Append),
        3 => (0..3_usize, any::<u8>()).prop_map(|(signal, share)| Step::Advance(signal, share)),
        1 => Just(Step::Touch),
        3 => Just(Step::Compress),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        2 => (0..6000_usize).prop_map(Step::PowerLoss),
        2 => (0..4_usize, prop_oneof![Just(5), Just(28)]).prop_map(|(operation, errno)| Step::Fault(operation, errno)),
    ]
}

const FAULTY: [Operation; 4] = [
    Operation::Create,
    Operation::Write,
    Operation::Sync,
    Operation::SyncDir,
];

#[derive(Debug, Clone, PartialEq)]
struct Expected {
    seq: u64,
    body: Bytes,
}

/// What the spool must hold.
#[derive(Default)]
struct Model {
    /// Accepted records of each signal, in order.
    records: [Vec<Expected>; 3],
    cursors: [u64; 3],
    hashes: std::collections::HashMap<u128, u64>,
    appended: u64,
    last_seq: u64,
}

impl Model {
    fn record(&mut self, signal: usize, bytes: usize, hash: Option<u8>) -> NewRecord {
        self.appended += 1;
        let mut body = self.appended.to_le_bytes().to_vec();
        body.resize(8 + bytes, u8::try_from(bytes % 251).expect("small"));
        NewRecord {
            signal: Signal::ALL[signal],
            items: 1,
            hash: hash.map(u128::from),
            body: Bytes::from(body),
            overlay: Bytes::new(),
        }
    }

    fn append(&mut self, bench: &mut Bench, group: &[(usize, usize, Option<u8>)]) {
        let records: Vec<NewRecord> = group
            .iter()
            .map(|(signal, bytes, hash)| self.record(*signal, *bytes, *hash))
            .collect();
        let answers = bench.writer().commit(records.clone());
        for (record, answer) in records.into_iter().zip(answers) {
            match answer {
                Ok(appended) if appended.duplicate => {
                    let hash = record.hash.expect("only a hash makes a duplicate");
                    assert_eq!(self.hashes.get(&hash), Some(&appended.seq));
                }
                Ok(appended) => {
                    assert!(appended.seq > self.last_seq, "sequences ascend");
                    self.last_seq = appended.seq;
                    assert!(
                        record.hash.is_none_or(|hash| !self.hashes.contains_key(&hash)),
                        "stored twice"
                    );
                    self.hashes.extend(record.hash.map(|hash| (hash, appended.seq)));
                    self.records[record.signal.index()].push(Expected {
                        seq: appended.seq,
                        body: record.body,
                    });
                }
                Err(AppendError::Full { .. } | AppendError::Failed(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn advance(&mut self, bench: &mut Bench, signal: usize, share: u8) {
        let records = &self.records[signal];
        let Some(at) = (records.len() * usize::from(share) / 255).checked_sub(1) else {
            return;
        };
        let seq = records[at].seq;
        let before = self.undelivered(signal).len();
        self.cursors[signal] = self.cursors[signal].max(seq);
        let passed = bench.shared().index.lock().advance("a", Signal::ALL[signal], seq);
        assert_eq!(passed, (before - self.undelivered(signal).len()) as u64);
        bench.writer().reclaim();
    }

    fn undelivered(&self, signal: usize) -> Vec<Expected> {
        let records = self.records[signal].iter();
        records
            .filter(|record| record.seq > self.cursors[signal])
            .cloned()
            .collect()
    }

    fn check(&self, bench: &Bench) {
        let pending = bench.shared().index.lock().pending("a");
        for signal in Signal::ALL {
            let found: Vec<Expected> = bench
                .read_all(signal)
                .into_iter()
                .filter(|record| record.seq > self.cursors[signal.index()])
                .map(|record| Expected {
                    seq: record.seq,
                    body: record.body,
                })
                .collect();
            assert_eq!(found, self.undelivered(signal.index()), "{signal}");
            let cursor = cursor(bench, signal);
            let at_cursor = bench
                .read_all(signal)
                .iter()
                .filter(|record| record.seq > cursor)
                .count();
            assert_eq!(
                pending.items_by_signal[signal.index()],
                at_cursor as u64,
                "pending {signal}"
            );
        }
        let bytes = bench.shared().index.lock().bytes();
        assert!(bytes <= bench.config.max_bytes, "{bytes} bytes");
    }

    /// After a restart cursors may lag, never lead, and tell what the Welcome would correct.
    /// What was in flight and failed may have become durable: the client will repeat it.
    fn restarted(&mut self, bench: &Bench) {
        for signal in Signal::ALL {
            let index = signal.index();
            let cursor = cursor(bench, signal);
            let oldest = bench.shared().index.lock().oldest_seq();
            assert!(
                cursor <= self.cursors[index].max(oldest - 1),
                "the cursor of {signal} leads"
            );
            let known = self.records[index].last().map_or(0, |last| last.seq);
            for record in bench.read_all(signal) {
                if record.seq > known && record.seq > self.last_seq {
                    self.records[index].push(Expected {
                        seq: record.seq,
                        body: record.body,
                    });
                }
            }
            bench
                .shared()
                .index
                .lock()
                .advance("a", signal, self.cursors[index]);
        }
        self.last_seq = bench.shared().index.lock().durable_seq().max(self.last_seq);
    }
}

/// Where the spool's cursor is.
fn cursor(bench: &Bench, signal: Signal) -> u64 {
    let index = bench.shared().index.lock();
    let cursor = index.cursor("a").expect("configured");
    cursor.undelivered[signal.index()].cursor
}

fn run(steps: &[Step]) {
    let mut bench = Bench::new(|config| {
        config.segment_bytes = 2048;
        config.max_bytes = 24 << 10;
        config.compress_after = std::time::Duration::ZERO;
    });
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(group) => model.append(&mut bench, group),
            Step::Advance(signal, share) => model.advance(&mut bench, *signal, *share),
            Step::Compress => drop(bench.compress()),
            Step::Touch => bench.writer().touch(false),
            Step::Close => {
                bench.writer().close();
                bench.reopen();
                model.restarted(&bench);
            }
            Step::Kill => {
                bench.crash(None);
                model.restarted(&bench);
            }
            Step::PowerLoss(kept) => {
                bench.crash(Some(*kept));
                model.restarted(&bench);
            }
            Step::Fault(operation, errno) => {
                bench.disk.fail(FAULTY[*operation], 0, 1, *errno);
                model.append(&mut bench, &[(0, 100, None), (1, 300, None)]);
                bench.disk.heal();
            }
        }
        model.check(&bench);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_spool_behaves_like_its_model(steps in proptest::collection::vec(step(), 1..60)) {
        run(&steps);
    }

    #[test]
    fn flipped_bits_cost_no_more_than_the_records_they_hit(
        sizes in proptest::collection::vec(0..300_usize, 2..20),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
    ) {
        let mut bench = Bench::new(|config| config.segment_bytes = 2048);
        let mut model = Model::default();
        for size in &sizes {
            model.append(&mut bench, &[(0, *size, None)]);
        }
        let before = bench.read_all(Signal::Spans);
        for (place, bit) in &flips {
            let segments = bench.segments();
            let segment = &segments[place.index(segments.len())];
            bench.disk.damage(segment, |bytes| {
                let place = 64 + place.index(bytes.len() - 64);
                bytes[place] ^= 1 << bit;
            });
        }
        bench.crash(None);
        let after = bench.read_all(Signal::Spans);
        prop_assert!(after.len() + flips.len() >= before.len(), "{} of {} are left", after.len(), before.len());
        prop_assert!(after.iter().all(|record| before.contains(record)));
        let next = model.last_seq;
        model.append(&mut bench, &[(0, 10, None)]);
        prop_assert!(model.last_seq > next);
    }
}
