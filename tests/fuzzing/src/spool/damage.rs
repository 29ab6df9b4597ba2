//! A sound spool, damaged where the input says: what is read is what was written, and whatever
//! was not touched is read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use meridian_agent::spool::{NewRecord, Record, Spool};
use meridian_proto::signal::Signal;

use super::opened::{
    self, EXPORTER, Files, clock, disk_of, is_cold, is_segment, read_all, sound, with_spool,
};
use crate::choices::Choices;

/// The body of what is appended.
const NEW: &[u8] = b"new";
const DAMAGES_MAX: usize = 24;
const SEGMENT_HEADER_BYTES: usize = 64;
const RECORD_HEADER_BYTES: usize = 64;

pub(crate) fn run(mut choices: Choices<'_>) {
    let sound = sound();
    let mut files = sound.files.clone();
    let mut touched: BTreeMap<PathBuf, Vec<Range<usize>>> = BTreeMap::new();
    for _ in 0..DAMAGES_MAX {
        if choices.is_over() {
            break;
        }
        let Some((path, bytes)) = pick(&mut files, &mut choices) else {
            break;
        };
        let range = damage(bytes, &mut choices);
        let is_gone = range.is_none();
        touched
            .entry(path.clone())
            .or_default()
            .push(range.unwrap_or(0..usize::MAX));
        if is_gone {
            files.remove(&path);
        }
    }
    let safe = untouched(&sound.files, &touched);
    let disk = disk_of(&files);
    let found = with_spool(&disk, &clock(), async |spool| read_all(spool));
    let found = found.expect("damage stops no spool");
    only_what_was_written(&found, &sound.records);
    for record in sound.records.iter().filter(|record| safe.contains(&record.seq)) {
        assert!(
            found.contains(record),
            "record {} was not touched, and is lost",
            record.seq
        );
    }
    is_the_same_again(&disk, &found);
}

/// The same is there when it is opened again, and a new record comes after all of it. What was
/// delivered may be deleted then.
pub(super) fn is_the_same_again(disk: &meridian_agent::spool::simulated::SimulatedDisk, found: &[Record]) {
    let again = with_spool(disk, &clock(), async |spool| {
        let records = read_all(spool);
        assert_eq!(spool.recovery().torn_bytes, 0, "what was torn off is off");
        assert_eq!(
            spool.recovery().segments_set_aside,
            0,
            "what was set aside is aside"
        );
        append(spool, found).await;
        let pending = records.iter().filter(|record| is_pending(spool, record));
        (pending.cloned().collect::<Vec<_>>(), records)
    });
    let (pending, records) = again.expect("it opens again");
    assert_eq!(records, found, "the same is there");
    let last = with_spool(disk, &clock(), async |spool| read_all(spool));
    let last = last.expect("it opens once more");
    assert!(
        last.iter().any(|record| record.body == NEW),
        "what was appended is there"
    );
    for record in &pending {
        assert!(last.contains(record), "record {} is lost", record.seq);
    }
}

fn is_pending(spool: &Spool, record: &Record) -> bool {
    let ranges = spool.ranges(EXPORTER, record.signal);
    let mut ranges = ranges.iter();
    record.seq > spool.cursor(EXPORTER, record.signal)
        || ranges.any(|range| range.after < record.seq && record.seq <= range.to)
}

async fn append(spool: &Spool, found: &[Record]) {
    let record = NewRecord {
        signal: Signal::Spans,
        items: 1,
        hash: None,
        body: Bytes::from_static(NEW),
        overlay: Bytes::new(),
    };
    let appended = spool.append(record).await.expect("a disk in memory takes it");
    let newest = found.iter().map(|record| record.seq).max().unwrap_or_default();
    assert!(appended.seq > newest, "no sequence is given twice");
}

fn only_what_was_written(found: &[Record], written: &[Record]) {
    for record in found {
        assert!(
            written.contains(record),
            "record {} was never written so",
            record.seq
        );
    }
    assert!(found.is_sorted_by_key(|record| record.seq));
}

/// Segments more often than the small files.
fn pick<'a>(files: &'a mut Files, choices: &mut Choices<'_>) -> Option<(PathBuf, &'a mut Vec<u8>)> {
    let wants_segment = choices.below(8) > 0;
    let count = files
        .keys()
        .filter(|path| is_segment(path) == wants_segment)
        .count();
    let position = choices.below(count.max(1));
    let mut of_kind = files
        .iter_mut()
        .filter(|(path, _)| is_segment(path) == wants_segment);
    let (path, bytes) = of_kind.nth(position)?;
    Some((path.clone(), bytes))
}

/// Changes some bytes and says which; `None` if the file is to be gone.
fn damage(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) -> Option<Range<usize>> {
    let at = choices.below(bytes.len().max(1));
    match choices.byte() {
        0 => None,
        1..8 => {
            bytes.truncate(at);
            Some(at..usize::MAX)
        }
        8..16 => {
            let end = bytes.len();
            bytes.extend_from_slice(choices.part());
            Some(end..usize::MAX)
        }
        16..96 => {
            let flipped = choices.byte().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= flipped;
            }
            Some(at..at + 1)
        }
        96..160 => {
            let length = usize::from(choices.u16() % 700);
            let fill = choices.byte();
            Some(overwrite(bytes, at, &vec![fill; length]))
        }
        160..208 => Some(overwrite(bytes, at & !7, &choices.u64().to_le_bytes())),
        _ => Some(overwrite(bytes, at, choices.part())),
    }
}

/// The file does not grow.
fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) -> Range<usize> {
    let end = bytes.len().min(at + new.len());
    if let Some(old) = bytes.get_mut(at..end) {
        old.copy_from_slice(&new[..end - at]);
    }
    at..end
}

/// The sequences of records that must be there.
fn untouched(files: &Files, touched: &BTreeMap<PathBuf, Vec<Range<usize>>>) -> Vec<u64> {
    let mut seqs = Vec::new();
    for (path, bytes) in files.iter().filter(|(path, _)| is_segment(path)) {
        let ranges = touched.get(path).map(Vec::as_slice).unwrap_or_default();
        let is_touched = |place: Range<usize>| {
            let mut ranges = ranges.iter();
            ranges.any(|range| range.start < place.end && place.start < range.end)
        };
        if is_touched(0..SEGMENT_HEADER_BYTES) || (is_cold(bytes) && !ranges.is_empty()) {
            continue;
        }
        let records = if is_cold(bytes) {
            seqs_of_cold(path)
        } else {
            records_in(bytes)
        };
        seqs.extend(
            records
                .into_iter()
                .filter(|(_, place)| !is_touched(place.clone()))
                .map(|(seq, _)| seq),
        );
    }
    seqs
}

/// Where the records of a segment are, by the layout that the spool documents.
fn records_in(segment: &[u8]) -> Vec<(u64, Range<usize>)> {
    let u32_at = |at: usize| {
        segment
            .get(at..at + 4)
            .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("4")))
    };
    let u64_at = |at: usize| {
        segment
            .get(at..at + 8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8")))
    };
    let mut records = Vec::new();
    let mut at = SEGMENT_HEADER_BYTES;
    while segment.get(at..at + 4) == Some(b"MRec") {
        let (Some(body), Some(overlay), Some(seq)) = (u32_at(at + 12), u32_at(at + 16), u64_at(at + 24))
        else {
            break;
        };
        let data = usize::try_from(body + overlay).expect("small");
        let end = (at + RECORD_HEADER_BYTES + data).next_multiple_of(8);
        records.push((seq, at..end));
        at = end;
    }
    // What a recycled file held before is not of this segment: its sequences are older.
    let first = records.first().map_or(0, |(seq, _)| *seq);
    records.retain(|(seq, _)| *seq >= first);
    records
}

/// The records between this segment's name and the next one's.
fn seqs_of_cold(path: &Path) -> Vec<(u64, Range<usize>)> {
    let segments = &opened::sound().files;
    let first = first_seq(path);
    let next = segments
        .keys()
        .filter(|path| is_segment(path))
        .map(|path| first_seq(path));
    let end = next.filter(|seq| *seq > first).min().unwrap_or(u64::MAX);
    let seqs = opened::sound().records.iter().map(|record| record.seq);
    seqs.filter(|seq| (first..end).contains(seq))
        .map(|seq| (seq, 0..0))
        .collect()
}

fn first_seq(path: &Path) -> u64 {
    let name = path.file_stem().and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok())
        .expect("a segment's name is a number")
}
