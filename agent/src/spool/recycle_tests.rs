//! Segments in the files of delivered ones: what was there before is never taken for something
//! else. What holds of every segment is in [`super::tests`].

use std::path::PathBuf;

use super::bench::{Bench, spans};

/// A spool whose newest segment is in the file of a delivered one, with the records 49 to 80.
fn recycled() -> (Bench, PathBuf) {
    let mut bench = Bench::new(|_| {});
    for _ in 0..60 {
        bench.append(spans(&[7; 100])).expect("room");
    }
    bench.advance(48);
    for _ in 0..20 {
        bench.append(spans(&[8; 100])).expect("room");
    }
    let newest = bench.segments().pop().expect("a segment");
    (bench, newest)
}

#[test]
fn a_file_that_is_used_again_shows_nothing_of_what_it_held() {
    let (mut bench, newest) = recycled();
    bench.disk.damage(&newest, |bytes| {
        assert_eq!(bytes[40], 1, "the file was used before");
        assert!(
            bytes.windows(100).any(|body| body == [7; 100]),
            "its old records are there"
        );
    });
    for kept_bytes in [None, Some(0)] {
        bench.crash(kept_bytes);
        assert_eq!(bench.shared().recovery.torn_bytes, 0);
        assert_eq!(bench.shared().recovery.corrupt_records, 0);
        assert_eq!(bench.seqs(), (49..=80).collect::<Vec<_>>());
    }
    let next = bench.append(spans(b"after")).expect("room").seq;
    assert!(next > 80);
}

#[test]
fn an_unfinished_write_into_a_file_that_is_used_again_is_noticed() {
    let (mut bench, newest) = recycled();
    bench.disk.damage(&newest, |bytes| {
        let end = bytes.windows(64).rposition(|window| window == [0; 64]);
        bytes[end.expect("the mark")..][..4].copy_from_slice(b"MRec");
    });
    bench.crash(None);
    assert!(bench.shared().recovery.torn_bytes > 0);
    assert_eq!(bench.seqs(), (49..=80).collect::<Vec<_>>());
}

#[test]
fn a_clean_end_leaves_no_file_behind_for_the_next_segment() {
    let (mut bench, _) = recycled();
    bench.advance(70);
    bench.writer().close();
    let left = bench.disk.paths();
    assert!(
        !left
            .iter()
            .any(|path| path.extension().is_some_and(|extension| extension == "tmp"))
    );
}
