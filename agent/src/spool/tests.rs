//! The spool over restarts, damaged files and concurrency, one scenario per test.
//!
//! Failing disks are in [`super::fault_tests`], crashes at arbitrary places in [`super::model`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bench::*;
use super::record::Header;
use super::simulated::{Operation, SimulatedDisk};
use super::*;

#[test]
fn what_was_appended_is_read_back_in_order_and_after_a_restart() {
    let mut bench = Bench::new(|_| {});
    for seq in 1..=100_u64 {
        assert_eq!(
            bench
                .append(spans(format!("body {seq}").as_bytes()))
                .expect("room")
                .seq,
            seq
        );
        bench.hand.advance(Duration::from_secs(1));
    }
    let before = bench.read_all(Signal::Spans);
    assert_eq!(before.len(), 100);
    assert_eq!(before[41].body, "body 42");
    assert_eq!(before[41].overlay, "pod");
    assert_eq!(before[41].received_unix_nanos, START + 41 * SECOND);
    let pending = bench.pending();
    assert_eq!((pending.items, pending.oldest_unix_nanos), (200, START));
    bench.crash(None);
    assert_eq!(bench.read_all(Signal::Spans), before);
    assert_eq!(bench.pending(), pending);
    assert_eq!(bench.shared().recovery.records, 100);
    assert_eq!(bench.shared().recovery.last_alive_unix_nanos, START);
    assert_eq!(bench.append(spans(b"")).expect("room").seq, 101);
}

#[test]
fn a_read_keeps_its_limits_and_returns_one_record_at_least() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..10 {
        bench.append(spans(b"12345678")).expect("room");
    }
    let reader = Reader {
        shared: Arc::clone(bench.shared()),
        durable: bench.shared().durable.subscribe(),
    };
    let count = |after, items, bytes| {
        reader
            .read(Signal::Spans, after, items, bytes)
            .expect("read")
            .len()
    };
    assert_eq!(count(0, 1, usize::MAX), 1);
    assert_eq!(count(0, 7, usize::MAX), 3);
    assert_eq!(count(0, u32::MAX, 1), 1);
    assert_eq!(count(0, u32::MAX, 160), 2);
    assert_eq!(count(8, u32::MAX, usize::MAX), 2);
    assert_eq!(count(10, u32::MAX, usize::MAX), 0);
    assert!(reader.read(Signal::Logs, 0, 1, 1).expect("read").is_empty());
}

#[test]
fn a_delivered_segment_is_deleted_and_its_sequences_are_not_used_again() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..200 {
        bench.append(spans(&[7; 100])).expect("room");
    }
    let segments = bench.segments().len();
    assert!(segments > 3, "{segments}");
    bench.advance(100);
    assert!(bench.segments().len() < segments);
    assert_eq!(bench.pending().items, 200);
    bench.advance(200);
    assert_eq!(bench.segments().len(), 1);
    bench.writer().touch(false);
    bench.crash(Some(usize::MAX));
    assert_eq!(bench.pending(), Pending::default());
    assert_eq!(bench.append(spans(b"")).expect("room").seq, 201);
}

#[test]
fn each_exporter_holds_what_it_lacks_and_an_unknown_cursor_holds_nothing() {
    let mut bench = Bench::new(|_| {});
    bench.exporters = vec!["a".to_owned(), "b/second".to_owned()];
    bench.reopen();
    for _ in 0..200 {
        bench.append(spans(&[7; 100])).expect("room");
    }
    bench.advance(200);
    assert_eq!(bench.seqs().len(), 200);
    bench.writer().touch(false);
    bench.exporters.pop();
    bench.reopen();
    assert!(
        !bench
            .disk
            .paths()
            .contains(&PathBuf::from("/spool/cursors/b%2Fsecond"))
    );
    assert_eq!(bench.segments().len(), 1, "only the missing exporter held them");
    assert_eq!(bench.pending(), Pending::default());
}

#[test]
fn a_torn_tail_is_cut_and_counted() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..3 {
        bench.append(spans(b"durable")).expect("room");
    }
    let newest = bench.segments().pop().expect("a segment");
    bench.disk.damage(&newest, |bytes| {
        let end = 64 + 3 * 80;
        let record = bytes[64..144].to_vec();
        bytes[end..end + 70].copy_from_slice(&record[..70]);
    });
    bench.crash(None);
    assert_eq!(bench.shared().recovery.torn_bytes, 70);
    assert_eq!(bench.shared().recovery.corrupt_records, 0);
    assert_eq!(bench.seqs(), [1, 2, 3]);
    let next = bench.append(spans(b"after")).expect("room").seq;
    assert!(next > 4, "the torn record's sequence is not used again: {next}");
    bench.crash(None);
    assert_eq!(bench.seqs(), [1, 2, 3, next]);
    assert_eq!(bench.shared().recovery.torn_bytes, 0);
}

#[test]
fn a_corrupt_record_in_the_middle_costs_only_itself() {
    for (place, what) in [(3, "magic"), (12, "length"), (30, "sequence"), (66, "body")] {
        let mut bench = Bench::new(|_| {});
        for _ in 0..5 {
            bench.append(spans(b"durable")).expect("room");
        }
        let newest = bench.segments().pop().expect("a segment");
        bench
            .disk
            .damage(&newest, |bytes| bytes[64 + 2 * 80 + place] ^= 0x55);
        bench.crash(None);
        assert_eq!(bench.seqs(), [1, 2, 4, 5], "{what}");
        assert_eq!(bench.shared().recovery.corrupt_records, 1, "{what}");
        assert_eq!(bench.shared().recovery.torn_bytes, 0, "{what}");
        assert_eq!(bench.pending().items, 8, "{what}");
    }
}

#[test]
fn a_record_that_rots_while_the_spool_is_open_is_dropped_and_counted() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..5 {
        bench.append(spans(b"durable")).expect("room");
    }
    let newest = bench.segments().pop().expect("a segment");
    bench.disk.damage(&newest, |bytes| bytes[64 + 2 * 80 + 66] ^= 1);
    assert_eq!(bench.seqs(), [1, 2, 4, 5]);
    assert_eq!(bench.pending().items, 8);
    assert_eq!(bench.dropped(DropReason::Corrupt), 2);
    assert_eq!(bench.shared().index.lock().advance("a", Signal::Spans, 5), 8);
    assert_eq!(bench.pending(), Pending::default());
}

#[test]
fn bytes_of_a_body_do_not_pass_for_a_record() {
    let mut bench = Bench::new(|_| {});
    let mut body = Header::of(&spans(b""), 3, START)
        .expect("small")
        .encode(0)
        .to_vec();
    body.resize(200, 0);
    for _ in 0..3 {
        bench.append(spans(&body)).expect("room");
    }
    let newest = bench.segments().pop().expect("a segment");
    bench.disk.damage(&newest, |bytes| bytes[64] ^= 1);
    bench.crash(None);
    assert_eq!(bench.seqs(), [2, 3]);
}

#[test]
fn a_foreign_or_unreadable_segment_is_set_aside() {
    let mut bench = Bench::new(|_| {});
    bench.append(spans(b"durable")).expect("room");
    let newest = bench.segments().pop().expect("a segment");
    bench.disk.damage(&newest, |bytes| bytes[20] ^= 1);
    bench.crash(None);
    assert_eq!(bench.shared().recovery.segments_set_aside, 1);
    assert!(bench.disk.paths().contains(&newest.with_extension("seg.bad")));
    assert!(bench.seqs().is_empty());
    let next = bench.append(spans(b"")).expect("room").seq;
    assert!(next > 1, "the sequences of the lost segment are not used again");
}

#[test]
fn a_lost_identity_is_taken_from_the_segments() {
    let mut bench = Bench::new(|_| {});
    bench.append(spans(b"durable")).expect("room");
    let identity = bench.shared().identity;
    bench
        .disk
        .damage(Path::new("/spool/identity"), |bytes| bytes.truncate(9));
    bench.crash(None);
    assert_eq!(bench.shared().identity, identity);
    assert_eq!(bench.seqs(), [1]);
}

#[test]
fn the_watermark_stops_at_the_first_record_that_is_not_sent() {
    let mut bench = Bench::new(|_| {});
    let watermark = |bench: &Bench, sent| bench.shared().watermark(sent);
    assert_eq!(watermark(&bench, [0; 3]), START);
    bench.hand.advance(Duration::from_secs(1));
    bench.append(spans(b"1")).expect("room");
    bench.hand.advance(Duration::from_secs(1));
    bench
        .append(NewRecord {
            signal: Signal::Logs,
            ..spans(b"2")
        })
        .expect("room");
    bench.hand.advance(Duration::from_secs(1));
    assert_eq!(watermark(&bench, [0, 0, 0]), START + SECOND);
    assert_eq!(watermark(&bench, [1, 0, 0]), START + 2 * SECOND);
    assert_eq!(watermark(&bench, [0, 2, 0]), START + SECOND);
    assert_eq!(watermark(&bench, [1, 2, 0]), START + 3 * SECOND);
}

#[test]
fn no_record_is_given_a_time_before_a_watermark_that_was_told() {
    let mut bench = Bench::new(|_| {});
    bench.append(spans(b"1")).expect("room");
    bench.hand.set(START + 10 * SECOND);
    let told = bench.shared().watermark([1, 0, 0]);
    bench.hand.set(START + 5 * SECOND);
    bench.append(spans(b"2")).expect("room");
    assert!(bench.read_all(Signal::Spans)[1].received_unix_nanos >= told);
    assert_eq!(bench.shared().watermark([1, 0, 0]), told);
    let in_flight = bench.shared().index.lock().begin_group(START + 20 * SECOND);
    bench.hand.set(START + 30 * SECOND);
    assert_eq!(bench.shared().watermark([2, 0, 0]), in_flight);
}

#[test]
fn no_watermark_passes_a_group_that_is_being_written_to_two_segments() {
    let mut bench = Bench::new(|_| {});
    bench.append(spans(b"1")).expect("room");
    let shared = Arc::clone(bench.shared());
    let hand = bench.hand.clone();
    let seen = Arc::new(AtomicU64::new(0));
    let highest = Arc::clone(&seen);
    bench.disk.observe(move |_| {
        hand.advance(Duration::from_secs(1));
        highest.fetch_max(shared.watermark([u64::MAX; 3]), Ordering::SeqCst);
    });
    let answers = bench.writer().commit(vec![spans(&[1; 3000]); 3]);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(bench.segments().len(), 3);
    assert_eq!(seen.load(Ordering::SeqCst), START);
}

#[test]
fn a_sequence_that_no_spool_can_have_is_ignored() {
    let mut bench = Bench::new(|_| {});
    bench.advance(u64::MAX);
    assert_eq!(bench.append(spans(b"1")).expect("room").seq, 1);
    assert_eq!(bench.pending().items, 2);
}

#[test]
fn sequences_go_on_after_what_an_aggregator_knows() {
    let mut bench = Bench::new(|_| {});
    bench.append(spans(b"1")).expect("room");
    bench.advance(50);
    assert_eq!(bench.append(spans(b"2")).expect("room").seq, 51);
    bench.crash(None);
    assert_eq!(bench.append(spans(b"3")).expect("room").seq, 52);
}

#[test]
fn a_cursor_goes_back_as_far_as_records_are_there() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..4 {
        bench.append(spans(b"1")).expect("room");
    }
    bench.advance(4);
    let resumed = bench.shared().index.lock().resume("a", Signal::Spans, 1, &[]);
    assert_eq!((resumed.passed_items, resumed.pending_again_items), (0, 6));
    assert_eq!(bench.pending().items, 6);
}

#[test]
fn a_closed_range_is_pending_beside_what_is_new_and_survives_a_restart() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..10 {
        bench.append(spans(b"1")).expect("room");
    }
    let range = Range { after: 2, to: 8 };
    let resumed = bench
        .shared()
        .index
        .lock()
        .resume("a", Signal::Spans, 8, &[range]);
    assert_eq!((resumed.passed_items, resumed.pending_again_items), (4, 0));
    assert_eq!((bench.pending().items, bench.pending().catch_up_items), (16, 12));
    assert_eq!(bench.shared().index.lock().catch_up("a", Signal::Spans, 5), 6);
    assert_eq!(bench.shared().index.lock().advance("a", Signal::Spans, 9), 2);
    bench.writer().touch(false);
    bench.crash(Some(0));
    assert_eq!((bench.pending().items, bench.pending().catch_up_items), (8, 6));
    let backlog = bench.shared().index.lock().backlog("a", u64::MAX);
    assert_eq!((backlog.to_seq, backlog.caught_up_seqs[0]), (10, 5));
    assert_eq!(bench.shared().index.lock().catch_up("a", Signal::Spans, 8), 6);
    assert_eq!(
        bench.shared().index.lock().backlog("a", u64::MAX).caught_up_seqs[0],
        9
    );
}

#[test]
fn a_segment_is_deleted_only_when_both_lanes_are_past_it() {
    let mut bench = Bench::new(|_| {});
    let mut seq = 0;
    while bench.segments().len() < 3 {
        seq = bench.append(spans(&[7; 500])).expect("room").seq;
    }
    let range = Range { after: 1, to: 3 };
    for signal in Signal::ALL {
        bench.shared().index.lock().resume("a", signal, seq, &[range]);
    }
    bench.writer().reclaim();
    assert_eq!(bench.segments().len(), 3);
    bench.shared().index.lock().catch_up("a", Signal::Spans, 2);
    bench.writer().reclaim();
    assert_eq!(bench.segments().len(), 3);
    bench.shared().index.lock().catch_up("a", Signal::Spans, 3);
    bench.writer().reclaim();
    assert_eq!(bench.segments().len(), 1);
}

#[test]
fn what_is_dropped_out_of_a_closed_range_is_counted_and_not_pending() {
    let mut bench = Bench::new(|config| {
        config.max_bytes = 16 << 10;
        config.when_full = WhenFull::DropOldest;
    });
    bench.append(spans(&[7; 500])).expect("room");
    let range = Range { after: 0, to: 1 };
    bench
        .shared()
        .index
        .lock()
        .resume("a", Signal::Spans, 1, &[range]);
    while bench.dropped(DropReason::Full) == 0 {
        bench.append(spans(&[7; 500])).expect("room");
    }
    assert_eq!(bench.pending().catch_up_items, 0);
    assert!(bench.shared().index.lock().late("a").is_empty());
}

#[test]
fn what_is_late_is_told_by_its_times() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..6 {
        bench.append(spans(b"1")).expect("room");
        bench.hand.advance(Duration::from_secs(10));
    }
    let ranges = [Range { after: 0, to: 2 }, Range { after: 3, to: 5 }];
    bench.shared().index.lock().resume("a", Signal::Spans, 6, &ranges);
    let at = |seconds: u64| START + seconds * SECOND;
    let late = bench.shared().index.lock().late("a");
    assert_eq!(late, [(at(0), at(10)), (at(30), at(40))]);
}

#[test]
fn a_clean_end_is_told_from_a_crash() {
    let mut bench = Bench::new(|_| {});
    assert!(!bench.shared().recovery.clean);
    bench.hand.advance(Duration::from_secs(9));
    bench.writer().close();
    bench.reopen();
    assert!(bench.shared().recovery.clean);
    assert_eq!(bench.shared().recovery.last_alive_unix_nanos, START + 9 * SECOND);
    bench.crash(None);
    assert!(!bench.shared().recovery.clean);
}

#[test]
fn a_spool_whose_signs_of_life_were_lost_is_not_a_new_one_while_it_has_records() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.shared().recovery.last_alive_unix_nanos, 0);
    bench.append(spans(b"1")).expect("room");
    bench.hand.advance(Duration::from_secs(9));
    bench.append(spans(b"2")).expect("room");
    bench.crash(Some(0));
    assert_eq!(bench.seqs(), [1, 2]);
    assert_eq!(bench.shared().recovery.last_alive_unix_nanos, START + 9 * SECOND);
}

fn real(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        linger: Duration::from_millis(1),
        ..SpoolConfig::new(dir.join("spool"))
    }
}

#[tokio::test]
async fn a_second_process_gets_an_error_that_names_the_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(real(dir.path()), Clock::system(), &[]).expect("opens");
    let error = Spool::open(real(dir.path()), Clock::system(), &[])
        .err()
        .expect("locked");
    assert!(
        error
            .to_string()
            .contains(&dir.path().join("spool").display().to_string()),
        "{error}"
    );
    let identity = spool.identity();
    spool.close().await;
    let again = Spool::open(real(dir.path()), Clock::system(), &[]).expect("free again");
    assert_eq!(again.identity(), identity);
    assert!(again.recovery().clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_share_syncs_and_wake_readers() {
    let disk = SimulatedDisk::default();
    let config = SpoolConfig {
        linger: Duration::from_millis(20),
        ..SpoolConfig::new(DIR)
    };
    let exporters = ["a".to_owned()];
    let spool = Spool::open_on(Arc::new(disk.clone()), config, Clock::system(), &exporters).expect("opens");
    let mut reader = spool.reader("a");
    let before = disk.count(Operation::Sync);
    let appends = (0..100).map(|_| spool.append(spans(b"one of many")));
    let answers = futures::future::join_all(appends).await;
    let mut seqs: Vec<u64> = answers
        .into_iter()
        .map(|answer| answer.expect("room").seq)
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=100).collect::<Vec<u64>>());
    let syncs = disk.count(Operation::Sync) - before;
    assert!(syncs < 20, "{syncs} syncs for 100 appends");
    reader.wait_for_more().await;
    assert_eq!(
        reader
            .read(Signal::Spans, 0, u32::MAX, usize::MAX)
            .expect("read")
            .len(),
        100
    );
    spool.close().await;
    assert!(matches!(
        spool.append(spans(b"late")).await,
        Err(AppendError::Closed)
    ));
}

#[tokio::test]
async fn the_real_disk_keeps_what_was_answered() {
    let dir = tempfile::tempdir().expect("a directory");
    let exporters = ["a".to_owned()];
    let config = SpoolConfig {
        segment_bytes: 64 << 10,
        ..real(dir.path())
    };
    let spool = Spool::open(config.clone(), Clock::system(), &exporters).expect("opens");
    for body in 0..50_u8 {
        spool.append(spans(&vec![body; 5000])).await.expect("room");
    }
    spool.touch_alive();
    spool.close().await;
    let spool = Spool::open(config, Clock::system(), &exporters).expect("opens");
    let records = spool
        .reader("a")
        .read(Signal::Spans, 0, u32::MAX, usize::MAX)
        .expect("read");
    assert_eq!(records.len(), 50);
    assert!(
        records
            .iter()
            .enumerate()
            .all(|(at, record)| record.body.iter().all(|byte| usize::from(*byte) == at))
    );
    assert_eq!(spool.advance("a", Signal::Spans, 50), 100);
    spool.close().await;
    let left = std::fs::read_dir(dir.path().join("spool")).expect("list");
    let segments = left.filter(|entry| {
        let name = entry.as_ref().expect("entry").file_name();
        name.to_string_lossy().ends_with(".seg")
    });
    assert_eq!(segments.count(), 1);
}
