//! The flow's rules, one by one, and against a naive model under any order of events.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const WINDOW: u64 = 100;

const SPANS: Track = Track {
    lane: Lane::Live,
    signal: Signal::Spans,
};

fn shipment(first_seq: u64, last_seq: u64, bytes: u64) -> Shipment {
    Shipment {
        track: SPANS,
        first_seq,
        last_seq,
        bytes,
        corrupt: Vec::new(),
    }
}

fn corrupt(mut shipment: Shipment, seq: u64, items: u32) -> Shipment {
    shipment.corrupt.push(CorruptRecord { seq, items });
    shipment
}

fn forward(seq: u64, corrupt_items: u64) -> Move {
    Move::Forward {
        track: SPANS,
        seq,
        corrupt_items,
    }
}

fn said(live: [u64; 3]) -> [Said; 3] {
    live.map(|live| Said {
        live,
        ..Said::default()
    })
}

fn spans(live: u64, catch_up: u64, ranges: &[(u64, u64)]) -> [Said; 3] {
    let ranges = ranges.iter().map(|&(after, to)| Range { after, to });
    let spans = Said {
        live,
        catch_up,
        ranges: ranges.collect(),
    };
    [spans, Said::default(), Said::default()]
}

/// What a Welcome does to the spans.
fn resumed(flow: &mut Flow, said: &[Said; 3]) -> (u64, Vec<(u64, u64)>, u64, bool) {
    match flow.welcome(said, WINDOW).swap_remove(0) {
        Move::Resume {
            seq,
            ranges,
            corrupt_items,
            has_lost,
            ..
        } => {
            let ranges = ranges.iter().map(|range| (range.after, range.to)).collect();
            (seq, ranges, corrupt_items, has_lost)
        }
        other => panic!("{other:?}"),
    }
}

fn flow() -> Flow {
    let mut flow = Flow::new([0; 3], WINDOW);
    flow.welcome(&said([0; 3]), 1_000);
    flow
}

#[test]
fn the_smaller_window_of_both_sides_holds() {
    let mut flow = Flow::new([0; 3], WINDOW);
    flow.welcome(&said([0; 3]), 10);
    flow.ship(shipment(1, 1, 6), Instant::now());
    assert!(flow.admits(Lane::Live, 4));
    assert!(!flow.admits(Lane::Live, 5));
}

#[test]
fn a_batch_larger_than_the_window_leaves_alone() {
    let mut flow = flow();
    let now = Instant::now();
    assert!(flow.admits(Lane::Live, WINDOW + 1));
    flow.ship(shipment(1, 1, 1), now);
    assert!(!flow.admits(Lane::Live, WINDOW + 1));
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_a_fault() {
    let mut flow = flow();
    let now = Instant::now();
    flow.ship(shipment(1, 5, 10), now);
    let fault = flow.ack(SPANS, 6, now).expect_err("six was not sent");
    insta::assert_snapshot!(fault, @"the aggregator acknowledged spans up to 6, but was sent only up to 5");
    assert!(
        flow.ack(Track::live(Signal::Logs), 1, now).is_err(),
        "no logs were sent"
    );
    assert_eq!(flow.ack(SPANS, 5, now), Ok(Some(forward(5, 0))));
}

#[test]
fn an_old_acknowledgement_moves_nothing() {
    let mut flow = flow();
    let now = Instant::now();
    flow.ship(shipment(1, 5, 10), now);
    flow.ack(SPANS, 5, now).expect("sent").expect("a move");
    assert_eq!(flow.ack(SPANS, 3, now), Ok(None));
    assert_eq!(flow.ack(SPANS, 5, now), Ok(None));
}

#[test]
fn an_acknowledgement_inside_a_batch_frees_the_window_only_with_its_end() {
    let mut flow = flow();
    let now = Instant::now();
    flow.ship(corrupt(shipment(1, 5, 60), 2, 7), now);
    assert_eq!(flow.ack(SPANS, 3, now), Ok(Some(forward(3, 7))));
    assert_eq!(flow.in_flight_bytes(), 60);
    assert_eq!(flow.ack(SPANS, 5, now), Ok(Some(forward(5, 0))));
    assert_eq!(flow.in_flight_bytes(), 0);
}

#[test]
fn skipped_records_are_passed_when_nothing_before_them_is_in_flight() {
    let mut flow = flow();
    let now = Instant::now();
    let skipped = |first, last| corrupt(shipment(first, last, 0), last, 1);
    assert_eq!(flow.ship(skipped(1, 2), now), Some(forward(2, 1)));
    assert_eq!(flow.ship(shipment(3, 4, 10), now), None);
    assert_eq!(flow.ship(skipped(5, 6), now), None);
    assert_eq!(flow.ack(SPANS, 4, now), Ok(Some(forward(6, 1))));
    assert_eq!(flow.waiting_since(), None);
}

#[test]
fn an_acknowledgement_is_owed_from_the_first_batch_or_the_last_progress() {
    let mut flow = flow();
    let start = Instant::now();
    let later = start + Duration::from_secs(5);
    assert_eq!(flow.waiting_since(), None);
    flow.ship(shipment(1, 1, 10), start);
    flow.ship(shipment(2, 2, 10), later);
    assert_eq!(flow.waiting_since(), Some(start));
    flow.ack(SPANS, 1, later).expect("sent");
    assert_eq!(flow.waiting_since(), Some(later));
    flow.ack(SPANS, 2, later).expect("sent");
    assert_eq!(flow.waiting_since(), None);
}

#[test]
fn a_new_stream_goes_on_where_the_aggregator_says() {
    let mut flow = flow();
    let now = Instant::now();
    flow.ship(corrupt(shipment(1, 5, 40), 4, 9), now);
    flow.ship(shipment(6, 8, 40), now);
    // The acknowledgement of the first batch was lost with the stream.
    assert_eq!(resumed(&mut flow, &said([5, 0, 0])), (5, vec![], 9, false));
    assert_eq!(flow.in_flight_bytes(), 0);
    assert_eq!(flow.sent(), [5, 0, 0], "the second batch is sent again");
}

#[test]
fn an_aggregator_that_has_lost_data_gets_it_again() {
    let mut flow = Flow::new([10, 0, 0], WINDOW);
    assert_eq!(resumed(&mut flow, &said([4, 0, 0])), (4, vec![], 0, true));
    assert_eq!(flow.sent(), [4, 0, 0]);
}

#[test]
fn skipped_records_are_not_taken_for_lost_ones() {
    let mut flow = flow();
    flow.ship(shipment(1, 2, 0), Instant::now());
    assert_eq!(resumed(&mut flow, &said([0; 3])), (2, vec![], 0, false));
    assert_eq!(flow.sent(), [2, 0, 0]);
}

#[test]
fn a_backlog_that_was_set_aside_is_caught_up_with_beside_the_live_lane() {
    let mut flow = flow();
    let now = Instant::now();
    let asked = spans(990, 100, &[(100, 990)]);
    assert_eq!(resumed(&mut flow, &asked), (990, vec![(100, 990)], 0, false));
    let catch_up = Track::catch_up(Signal::Spans);
    let late = Shipment {
        track: catch_up,
        ..shipment(101, 300, 10)
    };
    assert_eq!(flow.ship(late, now), None);
    flow.ship(shipment(991, 995, 10), now);
    assert_eq!(flow.ack(SPANS, 995, now), Ok(Some(forward(995, 0))));
    let moved = Move::Forward {
        track: catch_up,
        seq: 300,
        corrupt_items: 0,
    };
    assert_eq!(flow.ack(catch_up, 300, now), Ok(Some(moved)));
    let next = spans(995, 300, &[(300, 990)]);
    assert_eq!(resumed(&mut flow, &next), (995, vec![(300, 990)], 0, false));
}

#[test]
fn what_was_given_up_and_is_set_aside_is_counted_once() {
    let mut flow = flow();
    flow.ship(corrupt(shipment(1, 5, 40), 4, 9), Instant::now());
    let asked = spans(8, 2, &[(2, 8)]);
    assert_eq!(
        resumed(&mut flow, &asked),
        (8, vec![(2, 8)], 0, false),
        "it comes again"
    );
}

#[test]
fn the_catch_up_lane_leaves_room_for_fresh_data_and_yields_to_it() {
    let mut flow = Flow::new([0; 3], 1_600);
    flow.welcome(&spans(990, 0, &[(0, 990)]), 1_600);
    let now = Instant::now();
    let catch_up = Track::catch_up(Signal::Spans);
    let mut seq = 0;
    for _ in 0..50 {
        while flow.admits(Lane::CatchUp, 100) {
            seq += 1;
            let late = Shipment {
                track: catch_up,
                ..shipment(seq, seq, 100)
            };
            flow.ship(late, now);
        }
        assert!(flow.in_flight_bytes() <= 800, "half of the window");
        assert!(flow.admits(Lane::Live, 800));
        flow.ack(catch_up, seq - 1, now).expect("sent");
    }
    assert_eq!(flow.share_bytes, 800);
    flow.yield_share();
    assert_eq!(flow.share_bytes, 400);
}

#[derive(Debug, Clone)]
enum Step {
    Ship {
        signal: Signal,
        records: u64,
        bytes: u64,
    },
    Ack {
        signal: Signal,
        seq: u64,
    },
    Reconnect {
        lost: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let signal = || prop::sample::select(Signal::ALL.to_vec());
    prop_oneof![
        4 => (signal(), 1..5_u64, 0..80_u64)
            .prop_map(|(signal, records, bytes)| Step::Ship { signal, records, bytes }),
        4 => (signal(), 0..40_u64).prop_map(|(signal, seq)| Step::Ack { signal, seq }),
        1 => (0..3_u64).prop_map(|lost| Step::Reconnect { lost }),
    ]
}

/// Every batch by itself: no window arithmetic, no queue.
#[derive(Default)]
struct Model {
    sent: [u64; 3],
    cursor: [u64; 3],
    batches: BTreeMap<(usize, u64), u64>,
}

impl Model {
    fn in_flight_bytes(&self) -> u64 {
        let in_flight = |((signal, last), _): &(&(usize, u64), &u64)| *last > self.cursor[*signal];
        self.batches
            .iter()
            .filter(in_flight)
            .map(|(_, bytes)| bytes)
            .sum()
    }

    /// Skipped ranges at the cursor are passed by themselves.
    fn pass_skipped(&mut self, signal: usize) {
        for ((of, last), bytes) in &self.batches {
            if *of == signal && *last > self.cursor[signal] {
                if *bytes > 0 {
                    return;
                }
                self.cursor[signal] = *last;
            }
        }
    }
}

proptest! {
    #[test]
    fn cursors_and_the_window_agree_with_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let now = Instant::now();
        let mut flow = flow();
        let mut model = Model::default();
        let mut confirmed = [0_u64; 3];
        for step in steps {
            match step {
                Step::Ship { signal, records, bytes } => {
                    let index = signal.index();
                    if bytes > 0 && !flow.admits(Lane::Live, bytes) {
                        prop_assert!(model.in_flight_bytes() + bytes > WINDOW);
                        continue;
                    }
                    let last = model.sent[index] + records;
                    flow.ship(Shipment { track: Track::live(signal), ..shipment(model.sent[index] + 1, last, bytes) }, now);
                    model.sent[index] = last;
                    model.batches.insert((index, last), bytes);
                    model.pass_skipped(index);
                }
                Step::Ack { signal, seq } => {
                    let index = signal.index();
                    let answer = flow.ack(Track::live(signal), seq, now);
                    prop_assert_eq!(answer.is_err(), seq > model.sent[index]);
                    if answer.is_ok() && seq > model.cursor[index] {
                        confirmed[index] = confirmed[index].max(seq);
                        model.cursor[index] = seq;
                        model.pass_skipped(index);
                    }
                }
                Step::Reconnect { lost } => {
                    let committed = confirmed.map(|seq| seq.saturating_sub(lost));
                    flow.welcome(&said(committed), 1_000);
                    for index in 0..3 {
                        if committed[index] < confirmed[index] && committed[index] < model.cursor[index] {
                            model.cursor[index] = committed[index];
                        }
                        model.sent[index] = model.cursor[index];
                    }
                    confirmed = committed;
                    model.batches.clear();
                }
            }
            prop_assert_eq!(flow.sent(), model.sent);
            prop_assert_eq!(flow.in_flight_bytes(), model.in_flight_bytes());
            prop_assert_eq!([0, 1, 2].map(|lane: usize| flow.lanes[lane].cursor), model.cursor);
            prop_assert!(flow.in_flight_bytes() <= WINDOW, "no batch of this test exceeds the window");
            prop_assert_eq!(flow.waiting_since().is_some(), flow.in_flight_bytes() > 0);
        }
    }
}
