//! The core against a simulated spool, builder and aggregator, in any order of events.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::spool::Range;

const LIMITS: BatchLimits = BatchLimits {
    rows: 10,
    bytes: 1_000,
    linger: Duration::from_secs(1),
};
const WINDOW: u64 = 250;

fn record(seq: u64, signal: Signal, items: u32) -> Record {
    Record {
        seq,
        signal,
        items,
        received_unix_nanos: seq,
        overlay: Bytes::new(),
        body: Bytes::from(vec![0; 10]),
    }
}

/// A builder without rows: ten bytes per item, none for a record without items.
fn built(signal: Signal, records: &[Record]) -> Built {
    let items: u32 = records.iter().map(|record| record.items).sum();
    Built {
        signal,
        first_seq: records[0].seq,
        last_seq: records[records.len() - 1].seq,
        rows: items,
        payload: Bytes::new(),
        uncompressed_bytes: items * 10,
        record_seq_deltas: vec![],
        record_rows: vec![],
        corrupt: vec![],
    }
}

fn said(live: [u64; 3]) -> [Said; 3] {
    live.map(|live| Said {
        live,
        ..Said::default()
    })
}

/// Does the core's work at once, until it waits or ends.
struct World {
    core: Core,
    records: Vec<Record>,
    now: Instant,
    sent: Vec<(Signal, u64, u64)>,
    /// The same of the catch-up lane.
    caught_up: Vec<(Signal, u64, u64)>,
    flushes: usize,
    is_finished: bool,
    wait: Option<Instant>,
}

impl World {
    fn new(records: Vec<Record>) -> Self {
        let mut core = Core::new([0; 3], LIMITS, WINDOW);
        core.on_welcome(&said([0; 3]), u64::MAX);
        Self {
            core,
            records,
            now: Instant::now(),
            sent: vec![],
            caught_up: vec![],
            flushes: 0,
            is_finished: false,
            wait: None,
        }
    }

    fn read(&self, signal: Signal, wanted: Wanted) -> Vec<Record> {
        let mut items = 0;
        self.records
            .iter()
            .filter(|record| record.signal == signal && record.seq > wanted.after_seq)
            .take_while(|record| {
                let is_first = items == 0;
                items += record.items;
                is_first || items <= wanted.max_items
            })
            .cloned()
            .collect()
    }

    fn run(&mut self) {
        for _ in 0..10_000 {
            match self.core.next(self.now, true) {
                Action::Read(track, wanted) => {
                    let records = self.read(track.signal, wanted);
                    self.core.on_read(track, records, self.now);
                }
                Action::Build(track, records) => {
                    self.core.on_built(track.lane, built(track.signal, &records));
                }
                Action::Send(lane, batch) => {
                    let sent = (batch.signal, batch.first_seq, batch.last_seq);
                    match lane {
                        Lane::Live => self.sent.push(sent),
                        Lane::CatchUp => self.caught_up.push(sent),
                    }
                }
                Action::Skip(_) => {}
                Action::Flush => self.flushes += 1,
                Action::Finish => {
                    self.is_finished = true;
                    return;
                }
                Action::Wait(until) => {
                    self.wait = until;
                    return;
                }
            }
        }
        panic!("the core never waits");
    }

    fn ack_all(&mut self) {
        for (signal, sent) in Signal::ALL.into_iter().zip(self.core.flow().sent()) {
            self.core
                .on_ack(Track::live(signal), sent, self.now)
                .expect("it was sent");
        }
    }
}

#[test]
fn a_batch_lingers_for_company_and_then_leaves() {
    let mut world = World::new(vec![record(1, Signal::Logs, 1)]);
    world.run();
    assert_eq!(world.sent, []);
    assert_eq!(world.wait, Some(world.now + LIMITS.linger));
    world.now += LIMITS.linger;
    world.run();
    assert_eq!(world.sent, [(Signal::Logs, 1, 1)]);
    assert_eq!(world.wait, None);
}

#[test]
fn a_flood_of_one_signal_does_not_hold_up_the_others() {
    let mut records: Vec<Record> = (1..=50).map(|seq| record(seq, Signal::Spans, 10)).collect();
    records.push(record(51, Signal::Metrics, 10));
    let mut world = World::new(records);
    world.run();
    let place = world
        .sent
        .iter()
        .position(|(signal, ..)| *signal == Signal::Metrics);
    assert!(place.is_some_and(|place| place <= 1), "{:?}", world.sent);
}

#[test]
fn what_does_not_fit_the_window_waits_for_an_acknowledgement() {
    let records = (1..=5).map(|seq| record(seq, Signal::Spans, 10)).collect();
    let mut world = World::new(records);
    world.run();
    assert_eq!(world.sent, [(Signal::Spans, 1, 1), (Signal::Spans, 2, 2)]);
    world.ack_all();
    world.run();
    assert_eq!(world.sent.len(), 4);
}

#[test]
fn draining_hurries_flushes_once_and_finishes_when_all_is_confirmed() {
    let mut world = World::new(vec![record(1, Signal::Spans, 1), record(2, Signal::Logs, 1)]);
    world.core.on_stop();
    world.run();
    assert_eq!(world.sent.len(), 2, "nobody lingers");
    assert_eq!((world.flushes, world.is_finished), (1, false));
    world.run();
    assert_eq!(world.flushes, 1);
    world.ack_all();
    world.run();
    assert!(world.is_finished);
}

#[test]
fn an_exporter_with_nothing_to_deliver_finishes_at_once() {
    let mut world = World::new(vec![]);
    world.core.on_stop();
    world.run();
    assert_eq!((world.flushes, world.is_finished), (0, true));
}

#[test]
fn nothing_is_built_while_the_stream_takes_nothing() {
    let mut core = Core::new([0; 3], LIMITS, WINDOW);
    core.on_welcome(&said([0; 3]), u64::MAX);
    let now = Instant::now();
    core.on_built(Lane::Live, built(Signal::Spans, &[record(1, Signal::Spans, 1)]));
    for signal in Signal::ALL {
        let track = Track::live(signal);
        assert!(matches!(core.next(now, false), Action::Read(of, _) if of == track));
        core.on_read(track, vec![record(10, signal, 10)], now);
    }
    assert!(matches!(core.next(now, false), Action::Wait(None)));
    assert!(matches!(core.next(now, true), Action::Send(Lane::Live, _)));
}

#[test]
fn fresh_data_goes_before_the_backlog_and_the_backlog_goes_on() {
    let mut records: Vec<Record> = (1..=40).map(|seq| record(seq, Signal::Spans, 10)).collect();
    records.push(record(41, Signal::Spans, 10));
    let mut world = World::new(records);
    let mut set_aside = said([40, 0, 0]);
    set_aside[0].ranges = vec![Range { after: 0, to: 40 }];
    world.core.on_welcome(&set_aside, 1_600);
    world.run();
    assert_eq!(
        world.sent,
        [(Signal::Spans, 41, 41)],
        "sent while the backlog fills its share"
    );
    assert!(!world.caught_up.is_empty() && world.caught_up.len() < 40);
    assert_eq!(
        world.flushes, 1,
        "the backlog does not wait for an interval of commits"
    );
    for _ in 0..100 {
        let last = world.caught_up.last().expect("sent").2;
        let track = Track::catch_up(Signal::Spans);
        world.core.on_ack(track, last, world.now).expect("sent");
        world.run();
    }
    let seqs: Vec<u64> = world.caught_up.iter().map(|batch| batch.1).collect();
    assert_eq!(seqs, (1..=40).collect::<Vec<u64>>());
}

#[derive(Debug, Clone)]
enum Step {
    Arrive {
        signal: Signal,
        items: u32,
    },
    Tick,
    /// The aggregator commits a share of what it was sent.
    Commit {
        signal: Signal,
        share: f64,
    },
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let signal = || prop::sample::select(Signal::ALL.to_vec());
    prop_oneof![
        6 => (signal(), 0..15_u32).prop_map(|(signal, items)| Step::Arrive { signal, items }),
        3 => Just(Step::Tick),
        3 => (signal(), 0.0..=1.0).prop_map(|(signal, share)| Step::Commit { signal, share }),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    /// Whatever happens: batches of a signal are in order and miss nothing, the window holds,
    /// and after a stop everything is confirmed.
    #[test]
    fn everything_is_delivered_in_order(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new(vec![]);
        let mut committed = [0_u64; 3];
        let mut expected = [0_u64; 3];
        let mut checked = 0;
        for step in steps {
            match step {
                Step::Arrive { signal, items } => {
                    world.records.push(record(world.records.len() as u64 + 1, signal, items));
                    world.core.on_news();
                }
                Step::Tick => world.now += Duration::from_millis(600),
                Step::Commit { signal, share } => {
                    let index = signal.index();
                    let sent = world.core.flow().sent()[index];
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss,
                        clippy::cast_precision_loss, reason = "small numbers of a test")]
                    let seq = committed[index] + ((sent - committed[index]) as f64 * share) as u64;
                    committed[index] = seq;
                    world.core.on_ack(Track::live(signal), seq, world.now).expect("it was sent");
                }
                Step::Reconnect => {
                    let skipped = world.core.flow().sent();
                    world.core.on_welcome(&said(committed), u64::MAX);
                    let sent = world.core.flow().sent();
                    for index in 0..3 {
                        prop_assert!(sent[index] >= committed[index] && sent[index] <= skipped[index]);
                        expected[index] = sent[index];
                    }
                }
            }
            world.run();
            for (signal, first, last) in world.sent.drain(..) {
                let index = signal.index();
                let missed = world.records.iter().any(|record| record.signal == signal
                    && record.items > 0 && record.seq > expected[index] && record.seq < first);
                prop_assert!(first > expected[index] && first <= last && !missed);
                expected[index] = last;
                checked += 1;
            }
            prop_assert!(world.core.flow().in_flight_bytes() <= WINDOW);
        }
        world.core.on_stop();
        for _ in 0..1_000 {
            world.run();
            if world.is_finished { break; }
            world.ack_all();
        }
        prop_assert!(world.is_finished, "{checked} batches were checked before the stop");
        for signal in Signal::ALL {
            let last = world.records.iter().rfind(|record| record.signal == signal);
            prop_assert_eq!(world.core.flow().sent()[signal.index()].max(committed[signal.index()]),
                last.map_or(0, |record| record.seq));
        }
    }
}
