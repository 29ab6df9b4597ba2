//! Finds the records of a segment after a restart, past damage of any kind.
//!
//! Sequences ascend by one within a segment, so a hole in them counts what damage took. It
//! changes no file: cutting and setting aside is [`super::recovery`]'s.

// Nothing that is read from a disk may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::io;

use bytes::Bytes;

use super::disk::DiskFile;
use super::record::{self, ALIGNMENT, HEADER_BYTES, Header};
use super::segment::{END_MARK, SEGMENT_HEADER_BYTES};

const CHUNK_BYTES: usize = 64 << 10;

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub salt: u32,
    pub first_seq: u64,
    /// The first sequence of the next segment: records from there on were abandoned when a
    /// write failed, and must not come back. `None` for the newest segment.
    pub end_seq: Option<u64>,
    /// Whether the file held another segment before.
    pub recycled: bool,
}

/// A record's header and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Located {
    pub offset: u64,
    pub header: Header,
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub records: Vec<Located>,
    /// Where the last record ends.
    pub end: u64,
    /// Bytes after the end that are not zero: an unfinished write, or what damage made of a record.
    pub torn_bytes: u64,
    /// Whether these are only what a recycled file held before.
    pub is_leftover: bool,
    /// Records that damage took, before and between those that are there.
    pub corrupt_records: u64,
}

/// Reads the headers of a segment. Data is checked in the newest segment only: older ones
/// were synced before the next was made, and a reader checks each record that it returns.
pub(super) fn scan(file: &dyn DiskFile, expected: Expected) -> io::Result<Scan> {
    let mut scanner = Scanner {
        file,
        file_bytes: file.bytes()?,
        expected,
    };
    let mut found = Scan {
        end: SEGMENT_HEADER_BYTES,
        ..Scan::default()
    };
    let mut at = SEGMENT_HEADER_BYTES;
    let mut abandoned = false;
    while let Some(located) = scanner.next_record(at)? {
        if expected.end_seq.is_some_and(|end| located.header.seq >= end) {
            abandoned = true;
            break;
        }
        let missing = located.header.seq - scanner.expected.first_seq;
        found.corrupt_records = found.corrupt_records.saturating_add(missing);
        scanner.expected.first_seq = located.header.seq + 1;
        at = located.offset + located.header.record_bytes();
        found.end = at;
        found.records.push(located);
    }
    found.torn_bytes = scanner.last_nonzero_after(found.end)?.saturating_sub(found.end);
    found.is_leftover = expected.recycled && scanner.ends_with_mark(found.end)?;
    let missing = expected
        .end_seq
        .is_some_and(|end| scanner.expected.first_seq < end);
    if missing && !abandoned && found.torn_bytes > 0 && !found.is_leftover {
        found.corrupt_records = found.corrupt_records.saturating_add(1);
    }
    Ok(found)
}

struct Scanner<'a> {
    file: &'a dyn DiskFile,
    file_bytes: u64,
    /// `first_seq` is the least sequence that the next record can have.
    expected: Expected,
}

impl Scanner<'_> {
    /// The first sound record at `at` or after.
    fn next_record(&mut self, mut at: u64) -> io::Result<Option<Located>> {
        loop {
            match self.header_at(at)? {
                Some(header) if self.data_is_sound(at, &header)? => {
                    return Ok(Some(Located { offset: at, header }));
                }
                // The header can be trusted, so its length leads to the next record.
                Some(header) => at += header.record_bytes(),
                None => match self.find_magic(at + ALIGNMENT as u64)? {
                    Some(found) => at = found,
                    None => return Ok(None),
                },
            }
        }
    }

    /// The header at this place, if there is a possible one and its data is within the file.
    fn header_at(&self, at: u64) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER_BYTES];
        if self.file.read_at(&mut bytes, at)? < HEADER_BYTES {
            return Ok(None);
        }
        let header = Header::decode(&bytes, self.expected.salt);
        Ok(header.filter(|header| {
            header.seq >= self.expected.first_seq && at + header.record_bytes() <= self.file_bytes
        }))
    }

    fn data_is_sound(&self, at: u64, header: &Header) -> io::Result<bool> {
        if self.expected.end_seq.is_some() {
            return Ok(true);
        }
        let length = usize::try_from(header.record_bytes()).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_at(&mut bytes, at)?;
        Ok(record::decode(&Bytes::from(bytes), self.expected.salt, header.seq).is_some())
    }

    /// The next place from `from` on where a record could begin.
    fn find_magic(&self, from: u64) -> io::Result<Option<u64>> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut at = from;
        while at < self.file_bytes {
            let read = self.file.read_at(&mut chunk, at)?;
            let mut places = chunk.get(..read).unwrap_or_default().chunks(ALIGNMENT);
            if let Some(place) = places.position(|place| place.starts_with(&record::MAGIC)) {
                return Ok(Some(at + (place * ALIGNMENT) as u64));
            }
            if read < chunk.len() {
                break;
            }
            at += read as u64;
        }
        Ok(None)
    }

    /// Whether the mark follows, or as much of it as fits.
    fn ends_with_mark(&self, end: u64) -> io::Result<bool> {
        let mut bytes = [0; END_MARK.len()];
        self.file.read_at(&mut bytes, end)?;
        Ok(bytes == END_MARK)
    }

    /// One past the last byte that is not zero, or `from`.
    fn last_nonzero_after(&self, from: u64) -> io::Result<u64> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut at, mut last) = (from, from);
        while at < self.file_bytes {
            let read = self.file.read_at(&mut chunk, at)?;
            if read == 0 {
                break;
            }
            let found = chunk.get(..read).unwrap_or_default();
            if let Some(place) = found.iter().rposition(|byte| *byte != 0) {
                last = at + place as u64 + 1;
            }
            at += read as u64;
        }
        Ok(last)
    }
}
