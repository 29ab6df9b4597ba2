//! What has waited long, and up to where it was asked to be set aside. What an aggregator makes
//! of that is not tested here.

use std::time::Duration;

use super::bench::*;
use super::*;

#[test]
fn a_backlog_ends_with_the_last_record_that_was_received_before() {
    let mut bench = Bench::new(|_| {});
    // Several segments, a record of each signal per second.
    for _ in 0..20 {
        for signal in Signal::ALL {
            let record = NewRecord {
                signal,
                ..spans(&[7; 200])
            };
            bench.append(record).expect("room");
        }
        bench.hand.advance(Duration::from_secs(1));
    }
    assert!(bench.segments().len() > 2);
    let backlog = |bench: &Bench, seconds: u64| {
        let index = bench.shared().index.lock();
        index.backlog("a", START + seconds * SECOND)
    };
    for seconds in 0..=20 {
        assert_eq!(backlog(&bench, seconds).to_seq, 3 * seconds);
    }
    assert_eq!(backlog(&bench, 99).to_seq, 60);
    assert_eq!(backlog(&bench, 0).has_records, [false; 3]);
    assert_eq!(backlog(&bench, 1).has_records, [true; 3]);
    let all = backlog(&bench, 99).bytes;
    assert_eq!(backlog(&bench, 10).bytes, all / 2);
    // What the live lane has delivered is no part of it, also where that is beyond its end.
    bench.shared().index.lock().advance("a", Signal::Spans, 40);
    assert_eq!(backlog(&bench, 10).has_records, [false, true, true]);
    assert_eq!(backlog(&bench, 10).bytes, all / 3);
    bench.advance(60);
    assert_eq!(backlog(&bench, 99).bytes, 0);
}

#[test]
fn what_was_asked_survives_a_restart_until_it_is_answered() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..10 {
        bench.append(spans(b"1")).expect("room");
    }
    let ask = |bench: &mut Bench, seq: Option<u64>| {
        let mut index = bench.shared().index.lock();
        index.cursors[0].asked_seq = seq;
        index.cursors[0].moved = true;
        drop(index);
        bench.writer().touch(false);
        bench.crash(Some(0));
        bench.shared().index.lock().cursors[0].asked_seq
    };
    assert_eq!(ask(&mut bench, Some(7)), Some(7));
    assert_eq!(ask(&mut bench, None), None);
}
