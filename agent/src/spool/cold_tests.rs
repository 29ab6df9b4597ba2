//! Segments that are compressed: what they hold survives every crash and costs less room.
//!
//! Random orders of events with compression among them are in [`super::model`].

use std::time::Duration;

use super::bench::*;
use super::compress::Compressor;
use super::simulated::Operation;
use super::*;

const OPERATIONS: [Operation; 6] = [
    Operation::Create,
    Operation::Write,
    Operation::Read,
    Operation::Sync,
    Operation::Rename,
    Operation::SyncDir,
];

/// A spool with several complete segments, a minute later.
fn bench() -> Bench {
    let mut bench = Bench::new(|_| {});
    for hash in 1..=40 {
        let record = NewRecord {
            body: vec![7; 500].into(),
            ..hashed(hash)
        };
        bench.append(record).expect("room");
    }
    bench.hand.advance(Duration::from_secs(61));
    assert!(bench.segments().len() > 4);
    bench
}

fn compress_all(bench: &mut Bench) -> u64 {
    while bench.compress().expect("the disk works") {}
    bench.shared().index.lock().compressed.segments
}

#[test]
fn a_compressed_segment_is_read_like_before_also_after_a_restart() {
    let mut bench = bench();
    let (before, bytes) = (bench.read_all(Signal::Spans), bench.shared().index.lock().bytes());
    let segments = bench.segments().len() as u64;
    assert_eq!(
        compress_all(&mut bench),
        segments - 1,
        "the newest may still grow"
    );
    assert_eq!(bench.read_all(Signal::Spans), before);
    let pending = bench.pending();
    for kept in [None, Some(0), Some(usize::MAX)] {
        bench.crash(kept);
        assert_eq!(bench.read_all(Signal::Spans), before);
        assert_eq!(bench.pending(), pending);
        assert_eq!(bench.shared().recovery.records, 40);
        assert_eq!(bench.shared().recovery.corrupt_records, 0);
        assert!(bench.append(hashed(3)).expect("room").duplicate, "hashes survive");
    }
    let compressed = bench.shared().index.lock().bytes();
    assert!(compressed * 2 < bytes, "{bytes} bytes became {compressed}");
    let on_disk: usize = bench.segments().iter().map(|path| bench.disk.length(path)).sum();
    assert_eq!(compressed, on_disk as u64, "the limit counts what is there");
}

#[test]
fn a_segment_is_compressed_only_when_it_is_needed_for_long() {
    let mut bench = Bench::new(|_| {});
    while bench.segments().len() < 3 {
        bench.append(spans(&[7; 500])).expect("room");
    }
    assert!(!bench.compress().expect("nothing is due"));
    bench.hand.advance(Duration::from_secs(59));
    assert!(!bench.compress().expect("nothing is due"));
    bench.hand.advance(Duration::from_secs(1));
    assert!(bench.compress().expect("the oldest is due"));
    bench.advance(100);
    assert!(!bench.compress().expect("nobody needs the second one"));
}

#[test]
fn a_crash_at_any_step_of_compressing_leaves_one_whole_segment() {
    for operation in OPERATIONS {
        for skip in 0..6 {
            for kept in [None, Some(0), Some(100), Some(usize::MAX)] {
                let mut bench = bench();
                let before = bench.read_all(Signal::Spans);
                bench.disk.fail(operation, skip, u32::MAX, EIO);
                // Dies here, or had fewer such steps.
                bench.compress().ok();
                bench.crash(kept);
                let what = format!("{operation:?} after {skip}, {kept:?} kept");
                assert_eq!(bench.read_all(Signal::Spans), before, "{what}");
                assert!(
                    bench
                        .disk
                        .paths()
                        .iter()
                        .all(|path| path.extension().is_none_or(|end| end != "tmp")),
                    "{what}"
                );
                assert_eq!(bench.shared().recovery.segments_set_aside, 0, "{what}");
                compress_all(&mut bench);
                assert_eq!(bench.read_all(Signal::Spans), before, "{what}, then again");
            }
        }
    }
}

#[test]
fn a_damaged_frame_costs_its_records_and_is_counted() {
    let mut bench = bench();
    bench.compress().expect("the disk works");
    let oldest = bench.segments()[0].clone();
    bench.disk.damage(&oldest, |bytes| bytes[70] ^= 1);
    let left = bench.read_all(Signal::Spans);
    assert!(!left.is_empty() && left.len() < 40);
    let lost = 40 - left.len() as u64;
    assert_eq!(bench.dropped(DropReason::Corrupt), lost * 2, "two items each");
    assert_eq!(bench.pending().items, left.len() as u64 * 2);
    bench.crash(None);
    assert_eq!(bench.read_all(Signal::Spans), left);
}

#[test]
fn a_damaged_tail_costs_its_segment_and_is_set_aside() {
    let mut bench = bench();
    bench.compress().expect("the disk works");
    let oldest = bench.segments()[0].clone();
    bench.disk.damage(&oldest, |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let next_seq = bench.append(spans(b"1")).expect("room").seq + 1;
    bench.crash(None);
    assert_eq!(bench.shared().recovery.segments_set_aside, 1);
    assert!(bench.seqs()[0] > 1);
    assert_eq!(bench.append(spans(b"1")).expect("room").seq, next_seq);
}

#[test]
fn a_segment_that_is_delivered_while_it_is_compressed_does_not_come_back() {
    let mut bench = Bench::new(|config| {
        config.segment_bytes = 1 << 20;
        config.max_bytes = 8 << 20;
    });
    while bench.segments().len() < 2 {
        bench.append(spans(&[7; 20_000])).expect("room");
    }
    bench.hand.advance(Duration::from_secs(61));
    let disk = Arc::new(bench.disk.clone());
    let compressor = Compressor::new(disk, Arc::clone(bench.shared()), bench.config.clone());
    let oldest = bench.segments()[0].clone();
    let mut frames = 0;
    let mut deliver = |_| {
        frames += 1;
        bench.advance(1_000_000);
        false
    };
    compressor.step(&mut deliver).expect("the disk works");
    assert!(frames > 0);
    assert!(!bench.segments().contains(&oldest));
    assert_eq!(bench.shared().index.lock().compressed.segments, 0);
}

#[test]
fn what_cannot_be_made_smaller_stays_as_it_is() {
    let mut bench = Bench::new(|_| {});
    while bench.segments().len() < 2 {
        let noise: Vec<u8> = (0..600).map(|_| rand::random()).collect();
        bench.append(spans(&noise)).expect("room");
    }
    bench.hand.advance(Duration::from_secs(61));
    let bytes = bench.shared().index.lock().bytes();
    compress_all(&mut bench);
    assert_eq!(bench.shared().index.lock().bytes(), bytes);
    assert!(!bench.compress().expect("it is not tried again"));
}

#[test]
fn what_is_older_than_the_spool_keeps_is_dropped_and_counted() {
    let mut bench = Bench::new(|config| config.max_age = Some(Duration::from_secs(100)));
    bench.append(spans(b"1")).expect("room");
    bench.hand.advance(Duration::from_secs(100));
    bench.writer().touch(false);
    assert_eq!(bench.dropped(DropReason::Expired), 0);
    bench.hand.advance(Duration::from_secs(1));
    bench.writer().touch(false);
    assert_eq!(bench.dropped(DropReason::Expired), 2);
    assert_eq!(bench.pending().items, 0);
    assert_eq!(bench.append(spans(b"1")).expect("room").seq, 2);
    assert_eq!(bench.seqs(), [2]);
}
