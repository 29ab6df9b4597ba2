//! The spool that is full, whose disk fails, and whose clients retry.
//!
//! Restarts and damaged files are in [`super::tests`], crashes at arbitrary places in [`super::model`].

use std::path::Path;
use std::time::Duration;

use super::bench::*;
use super::disk::RealDisk;
use super::simulated::Operation;
use super::*;

#[test]
fn a_retry_is_answered_as_a_duplicate_within_the_window_only() {
    let mut bench = Bench::new(|config| config.retry_window = Duration::from_secs(600));
    assert_eq!(bench.append(hashed(7)).expect("room"), appended(1, false));
    assert_eq!(bench.append(hashed(7)).expect("room"), appended(1, true));
    assert_eq!(bench.append(hashed(8)).expect("room"), appended(2, false));
    assert_eq!(
        bench.append(spans(b"the body")).expect("room"),
        appended(3, false)
    );
    bench.hand.advance(Duration::from_secs(599));
    bench.crash(None);
    assert_eq!(bench.append(hashed(7)).expect("room"), appended(1, true));
    bench.busy_minutes(11);
    assert!(!bench.append(hashed(7)).expect("room").duplicate);
}

#[test]
fn a_retry_is_recognised_although_the_clock_was_set_by_an_hour() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.append(hashed(7)).expect("room"), appended(1, false));
    bench.hand.advance(Duration::from_secs(3_600));
    assert_eq!(bench.append(hashed(7)).expect("room"), appended(1, true));
    bench.crash(None);
    bench.hand.set(START);
    assert_eq!(bench.append(hashed(7)).expect("room"), appended(1, true));
    bench.crash(None);
    assert_eq!(bench.append(hashed(7)).expect("room"), appended(1, true));
}

#[test]
fn a_retry_is_recognised_after_its_segment_was_deleted_and_the_process_killed() {
    let mut bench = Bench::new(|_| {});
    for hash in 1..=500 {
        bench.append(hashed(hash)).expect("room");
        bench.advance(u64::try_from(hash).expect("small"));
    }
    assert_eq!(bench.segments().len(), 1);
    bench.crash(Some(usize::MAX));
    for hash in [1, 250, 499, 500] {
        assert!(bench.append(hashed(hash)).expect("room").duplicate, "{hash}");
    }
    bench.busy_minutes(11);
    bench.crash(None);
    assert!(!bench.append(hashed(1)).expect("room").duplicate);
}

#[test]
fn a_duplicate_in_the_same_group_shares_the_answer_also_when_it_fails() {
    let mut bench = Bench::new(|_| {});
    let answers = bench.writer().commit(vec![hashed(7), hashed(7), hashed(8)]);
    let answers: Vec<Appended> = answers.into_iter().map(|answer| answer.expect("room")).collect();
    assert_eq!(
        answers,
        [appended(1, false), appended(1, true), appended(2, false)]
    );
    bench.disk.fail(Operation::Sync, 0, 1, EIO);
    let answers = bench.writer().commit(vec![hashed(9), hashed(9)]);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Err(AppendError::Failed(_))))
    );
    assert_eq!(bench.append(hashed(9)).expect("healed"), appended(3, false));
    assert_eq!(bench.seqs(), [1, 2, 3]);
}

#[test]
fn after_a_failed_sync_the_segment_ends_and_what_failed_never_comes_back() {
    for truncate_fails in [false, true] {
        let mut bench = Bench::new(|_| {});
        bench.append(hashed(1)).expect("room");
        bench.disk.fail(Operation::Sync, 0, 1, EIO);
        if truncate_fails {
            bench.disk.fail(Operation::Truncate, 0, 1, EIO);
        }
        assert!(matches!(bench.append(hashed(2)), Err(AppendError::Failed(_))));
        assert_eq!(bench.seqs(), [1]);
        assert_eq!(
            bench.append(hashed(3)).expect("a new segment"),
            appended(2, false)
        );
        assert_eq!(bench.segments().len(), 2);
        bench.crash(None);
        let hashes: Vec<u64> = bench.seqs();
        assert_eq!(hashes, [1, 2]);
        assert_eq!(bench.shared().recovery.corrupt_records, 0);
        assert_eq!(bench.append(hashed(2)).expect("room"), appended(3, false));
    }
}

#[test]
fn a_disk_that_keeps_failing_refuses_and_recovers() {
    let mut bench = Bench::new(|_| {});
    bench.append(spans(b"durable")).expect("room");
    bench.disk.fail(Operation::Sync, 0, u32::MAX, EIO);
    for _ in 0..5 {
        assert!(matches!(
            bench.append(spans(b"lost")),
            Err(AppendError::Failed(_))
        ));
    }
    assert_eq!(bench.seqs(), [1]);
    bench.disk.heal();
    assert_eq!(bench.append(spans(b"durable")).expect("healed").seq, 2);
    bench.crash(Some(0));
    assert_eq!(bench.seqs(), [1, 2]);
}

#[test]
fn no_space_is_answered_as_full_wherever_it_is_met() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
        let mut bench = Bench::new(|_| {});
        bench.append(spans(b"durable")).expect("room");
        if operation == Operation::Create {
            bench.append(spans(&[1; 3900])).expect("room");
        }
        bench.disk.fail(operation, 0, 3, ENOSPC);
        for _ in 0..3 {
            assert!(is_full(&bench.append(spans(&[1; 300]))), "{operation:?}");
        }
        bench.append(spans(&[1; 300])).expect("room again");
        let seqs = bench.seqs();
        bench.crash(None);
        assert_eq!(bench.seqs(), seqs, "{operation:?}");
    }
}

#[test]
fn a_full_spool_refuses_until_something_is_delivered() {
    let mut bench = Bench::new(|config| config.max_bytes = 16 << 10);
    let mut accepted = 0;
    while bench.append(spans(&[1; 400])).is_ok() {
        accepted += 1;
        assert!(accepted < 1000, "never full");
    }
    assert!(is_full(&bench.append(spans(&[1; 400]))));
    assert!(accepted >= 30, "{accepted} records of 472 bytes in 16 KiB");
    bench.advance(accepted / 2);
    bench.append(spans(&[1; 400])).expect("room again");
    bench.advance(accepted + 1);
    bench
        .append(spans(&[1; 15_000]))
        .expect("all is delivered, the last segment too");
    let answer = bench.append(spans(&[1; 17_000]));
    assert!(matches!(answer, Err(AppendError::TooLarge { .. })));
}

#[test]
fn the_oldest_is_dropped_for_those_that_lag_and_counted() {
    let mut bench = Bench::new(|config| {
        config.max_bytes = 16 << 10;
        config.when_full = WhenFull::DropOldest;
    });
    bench.exporters.push("b".to_owned());
    bench.reopen();
    for seq in 1..=200 {
        assert_eq!(bench.append(spans(&[1; 400])).expect("dropping").seq, seq);
        bench.shared().index.lock().advance("b", Signal::Spans, seq);
    }
    let kept = bench.seqs().len() as u64;
    assert_eq!(bench.dropped(DropReason::Full) + 2 * kept, 400);
    assert_eq!(bench.pending().items, 2 * kept);
    let index = bench.shared().index.lock();
    assert_eq!(index.dropped("b", Signal::Spans, DropReason::Full), 0);
    assert!(index.bytes() <= 16 << 10);
}

#[test]
fn a_full_disk_does_not_keep_the_spool_from_opening() {
    let mut bench = Bench::new(|_| {});
    for hash in 1..=200 {
        bench.append(hashed(hash)).expect("room");
    }
    bench.advance(150);
    bench.open = None;
    bench.disk.fail(Operation::Create, 0, u32::MAX, ENOSPC);
    bench.reopen();
    assert_eq!(bench.pending().items_by_signal[0] % 2, 0);
    assert!(bench.pending().items >= 100);
    assert!(bench.append(hashed(1)).expect("known").duplicate);
}

#[test]
fn a_segment_that_cannot_be_read_now_is_not_set_aside() {
    const EMFILE: i32 = 24;
    let mut bench = Bench::new(|_| {});
    bench.append(spans(b"durable")).expect("room");
    bench.open = None;
    bench.disk.fail(Operation::Read, 2, u32::MAX, EMFILE);
    let disk = Arc::new(bench.disk.clone());
    let opened = open_parts(disk, bench.config.clone(), bench.clock.clone(), &bench.exporters);
    assert!(matches!(
        opened,
        Err(SpoolError::Io {
            action: "recover",
            ..
        })
    ));
    bench.disk.heal();
    bench.reopen();
    assert_eq!(bench.seqs(), [1]);
}

#[test]
fn a_sound_segment_whose_torn_end_cannot_be_cut_now_is_not_set_aside() {
    for operation in [Operation::Truncate, Operation::Sync] {
        let mut bench = Bench::new(|_| {});
        bench.append(spans(b"durable")).expect("room");
        bench.disk.fail(Operation::Write, 0, 1, EIO);
        bench.disk.fail(Operation::Truncate, 0, 1, EIO);
        assert!(bench.append(spans(b"torn")).is_err());
        bench.open = None;
        bench.disk.crash(None);
        bench.disk.fail(operation, 0, 1, EIO);
        let disk = Arc::new(bench.disk.clone());
        let opened = open_parts(disk, bench.config.clone(), bench.clock.clone(), &bench.exporters);
        assert!(
            matches!(opened, Err(SpoolError::Io { action: "cut", .. })),
            "{operation:?}"
        );
        bench.reopen();
        assert_eq!(bench.seqs(), [1], "{operation:?}");
    }
}

#[test]
fn what_is_deleted_under_the_spool_is_refused_and_what_was_answered_is_still_delivered() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = SpoolConfig::new(dir.path().join("spool"));
    let exporters = ["a".to_owned()];
    let (shared, mut writer) =
        open_parts(Arc::new(RealDisk), config.clone(), Clock::system(), &exporters).expect("opens");
    let mut append = |body: &[u8]| writer.commit(vec![spans(body)]).pop().expect("one answer");
    append(b"before").expect("room");
    let segment = shared.index.lock().segments[0].path.clone();
    std::fs::remove_file(&segment).expect("is there");
    append(b"into nowhere").expect_err("the segment is gone");
    assert!(
        append(b"after").is_ok(),
        "the directory is there, so a new segment is"
    );

    std::fs::remove_dir_all(&config.path).expect("is there");
    std::fs::create_dir(&config.path).expect("an empty one by its name");
    append(b"into nowhere").expect_err("the segment is gone");
    let answer = append(b"into another's").expect_err("the directory is another");
    let AppendError::Failed(error) = answer else {
        panic!("{answer}")
    };
    assert!(error.to_string().contains("restart the agent"), "{error}");

    let durable = shared.durable.subscribe();
    let reader = Reader {
        shared: Arc::clone(&shared),
        durable,
    };
    let records = reader.read(Signal::Spans, 0, u32::MAX, usize::MAX);
    let bodies: Vec<_> = records
        .expect("readable")
        .into_iter()
        .map(|record| record.body)
        .collect();
    assert_eq!(bodies, [&b"before"[..], b"after"]);
    for signal in Signal::ALL {
        shared.index.lock().advance("a", signal, 100);
    }
    writer.reclaim();
    assert_eq!(
        shared.index.lock().segments.len(),
        1,
        "delivered segments are let go"
    );
}

#[test]
fn a_spool_of_a_later_release_is_refused_and_left_as_it_is() {
    let mut bench = Bench::new(|_| {});
    bench.append(spans(b"accepted")).expect("room");
    bench.writer().close();
    let newest = bench.segments().pop().expect("a segment");
    bench.disk.damage(&newest, |bytes| {
        bytes[8] = 3;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    });
    bench.open = None;
    let disk = Arc::new(bench.disk.clone());
    let error = open_parts(disk, bench.config.clone(), bench.clock.clone(), &bench.exporters)
        .err()
        .expect("refused");
    assert!(
        matches!(
            error,
            SpoolError::Later {
                version: 3,
                version_known: 2,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(bench.segments(), [newest]);
}

#[test]
fn a_damaged_identity_that_still_is_one_costs_no_segment() {
    let mut bench = Bench::new(|_| {});
    bench.append(spans(b"kept")).expect("room");
    let identity = bench.shared().identity;
    bench.disk.damage(Path::new("/spool/identity"), |bytes| {
        bytes[0] = if bytes[0] == b'a' { b'b' } else { b'a' };
    });
    bench.crash(None);
    assert_eq!(bench.shared().identity, identity);
    assert_eq!(bench.seqs(), [1]);
    bench.crash(None);
    assert_eq!(bench.shared().recovery.segments_set_aside, 0);
}
