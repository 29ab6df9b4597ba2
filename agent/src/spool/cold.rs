//! A cold segment: one that was rewritten compressed, under the same name. Read through
//! [`ColdFile`] it has the bytes and places of the segment that it was.
//!
//! ```text
//!  0 the segment's header of 64 bytes, with version 2, and at 40 its former length u64, at 48
//!    where the tail begins u64
//! 64 frames, one after another: zstd of whole records as they were, about 256 KiB each
//!  . tail: crc of 4.. u32, bytes of the heads u32, frames u32,
//!          heads: zstd of, per record, its former place u64 and its header [64],
//!          frames: former place u64, file offset u64, former bytes u32, bytes u32, crc of them u32
//! ```
//!
//! A damaged frame reads as bytes that are no record, and so costs the records in it; a damaged
//! tail costs the segment. It decides nothing and replaces no file: that is [`super::compress`]'s.

// Nothing that is read from a disk may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::disk::DiskFile;
use super::record::{HEADER_BYTES, Header, field, seal};
use super::scan::{Located, Scan};
use super::segment::{Cold, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::{RECORD_BYTES_MAX, SEGMENT_BYTES_MAX};

/// A frame is closed when it has so many bytes; a record is never split.
const FRAME_BYTES: usize = 256 << 10;
/// Decompressed frames that are kept for the next record, over all segments; one at least.
const CACHE_BYTES: usize = 2 << 20;
const HEAD_BYTES: usize = 8 + HEADER_BYTES;
const FRAME_ENTRY_BYTES: usize = 28;
const TAIL_HEAD_BYTES: usize = 12;
/// A segment, and one record that did not fit.
const FORMER_BYTES_MAX: u64 = SEGMENT_BYTES_MAX + 2 * RECORD_BYTES_MAX;
/// Fast, and within a tenth of what slower levels reach on telemetry.
const ZSTD_LEVEL: i32 = 1;
/// What is read where nothing sound is: neither the end of a segment nor the start of a record.
const FILL: u8 = 0xff;

/// Some records that were compressed together.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Where its first record was.
    place: u64,
    file_offset: u64,
    bytes: u32,
    file_bytes: u32,
    crc: u32,
}

/// Frames that were decompressed lately; clones share them.
#[derive(Clone, Default)]
pub(super) struct FrameCache(Arc<Mutex<VecDeque<Cached>>>);

struct Cached {
    segment: u64,
    place: u64,
    bytes: Bytes,
}

/// A cold segment, read as what it was.
pub(super) struct ColdFile {
    file: Arc<dyn DiskFile>,
    first_seq: u64,
    former_bytes: u64,
    frames: Vec<Frame>,
    cache: FrameCache,
}

/// Why a cold segment cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the tail of the compressed segment is damaged")]
struct DamagedTail;

impl ColdFile {
    /// Opens a file whose header says that it is cold. Also returns what it holds before the next
    /// segment's first sequence.
    pub fn open(
        file: Arc<dyn DiskFile>,
        header: &SegmentHeader,
        cold: Cold,
        end_seq: Option<u64>,
        cache: FrameCache,
    ) -> io::Result<(Self, Scan)> {
        let tail_bytes = file.bytes()?.saturating_sub(cold.tail_offset);
        let mut tail = vec![0; usize::try_from(tail_bytes).map_err(io::Error::other)?];
        let read = file.read_at(&mut tail, cold.tail_offset)?;
        tail.truncate(read);
        let (heads, frames) = parse_tail(&tail, cold).ok_or_else(|| io::Error::other(DamagedTail))?;
        let scan = scan_of(&heads, header, cold.former_bytes, end_seq);
        let opened = Self {
            file,
            first_seq: header.first_seq,
            former_bytes: cold.former_bytes,
            frames,
            cache,
        };
        Ok((opened, scan))
    }

    /// The frame that holds the byte at this former place, or begins next after it.
    fn frame_at(&self, place: u64) -> Option<&Frame> {
        let after = self
            .frames
            .partition_point(|frame| frame.place + u64::from(frame.bytes) <= place);
        self.frames.get(after)
    }

    /// A frame's bytes; [`FILL`] if it is damaged.
    fn frame(&self, frame: &Frame) -> io::Result<Bytes> {
        if let Some(bytes) = self.cache.get(self.first_seq, frame.place) {
            return Ok(bytes);
        }
        let mut compressed = vec![0; frame.file_bytes as usize];
        let read = self.file.read_at(&mut compressed, frame.file_offset)?;
        compressed.truncate(read);
        let bytes = decompress(&compressed, frame).unwrap_or_else(|| vec![FILL; frame.bytes as usize]);
        let bytes = Bytes::from(bytes);
        self.cache.put(self.first_seq, frame.place, bytes.clone());
        Ok(bytes)
    }
}

/// Copies as much as fits; returns how much that is.
fn copy(source: &[u8], target: &mut [u8]) -> usize {
    let count = source.len().min(target.len());
    if let (Some(source), Some(target)) = (source.get(..count), target.get_mut(..count)) {
        target.copy_from_slice(source);
    }
    count
}

fn decompress(compressed: &[u8], frame: &Frame) -> Option<Vec<u8>> {
    if crc32c::crc32c(compressed) != frame.crc {
        return None;
    }
    let bytes = zstd::bulk::decompress(compressed, frame.bytes as usize).ok()?;
    (bytes.len() == frame.bytes as usize).then_some(bytes)
}

/// The heads and the frames, if they can be of a segment of this length.
fn parse_tail(tail: &[u8], cold: Cold) -> Option<(Vec<u8>, Vec<Frame>)> {
    if cold.former_bytes > FORMER_BYTES_MAX {
        return None;
    }
    let crc = u32::from_le_bytes(field(tail, 0));
    if crc != crc32c::crc32c(tail.get(4..)?) {
        return None;
    }
    let heads_bytes = u32::from_le_bytes(field(tail, 4)) as usize;
    let count = u32::from_le_bytes(field(tail, 8)) as usize;
    let rest = tail.get(TAIL_HEAD_BYTES..)?;
    let (heads, entries) = rest.split_at_checked(heads_bytes)?;
    let frames: Vec<Frame> = entries.chunks_exact(FRAME_ENTRY_BYTES).map(parse_frame).collect();
    let records_max = usize::try_from(cold.former_bytes).ok()? / HEADER_BYTES;
    let heads = zstd::bulk::decompress(heads, records_max * HEAD_BYTES).ok()?;
    (frames.len() == count && are_in_order(&frames, cold)).then_some((heads, frames))
}

/// Whether no frame overlaps another, and all of them are where frames can be.
fn are_in_order(frames: &[Frame], cold: Cold) -> bool {
    let mut end = SEGMENT_HEADER_BYTES;
    frames.iter().all(|frame| {
        let is_next = frame.place >= end;
        end = frame.place.saturating_add(u64::from(frame.bytes));
        let file_end = frame.file_offset.saturating_add(u64::from(frame.file_bytes));
        is_next && end <= cold.former_bytes && file_end <= cold.tail_offset
    })
}

fn parse_frame(entry: &[u8]) -> Frame {
    Frame {
        place: u64::from_le_bytes(field(entry, 0)),
        file_offset: u64::from_le_bytes(field(entry, 8)),
        bytes: u32::from_le_bytes(field(entry, 16)),
        file_bytes: u32::from_le_bytes(field(entry, 20)),
        crc: u32::from_le_bytes(field(entry, 24)),
    }
}

/// The records by their heads. A head that was damaged before it was compressed is left out.
fn scan_of(heads: &[u8], header: &SegmentHeader, former_bytes: u64, end_seq: Option<u64>) -> Scan {
    let mut scan = Scan {
        end: former_bytes,
        ..Scan::default()
    };
    let mut next_seq = header.first_seq;
    for head in heads.chunks_exact(HEAD_BYTES) {
        let offset = u64::from_le_bytes(field(head, 0));
        let found = Header::decode(&field(head, 8), header.salt);
        let end_seq = end_seq.unwrap_or(u64::MAX);
        let is_inside = |found: &Header| {
            let end = offset.saturating_add(found.record_bytes());
            (next_seq..end_seq).contains(&found.seq) && end <= former_bytes
        };
        let Some(found) = found.filter(is_inside) else {
            continue;
        };
        scan.corrupt_records = scan.corrupt_records.saturating_add(found.seq - next_seq);
        next_seq = found.seq + 1;
        scan.records.push(Located {
            offset,
            header: found,
        });
    }
    scan
}

impl DiskFile for ColdFile {
    fn write_at(&self, _parts: &mut [IoSlice<'_>], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.former_bytes.saturating_sub(offset);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        buffer.fill(FILL);
        let mut filled = 0;
        while filled < wanted {
            let place = offset + filled as u64;
            let Some(frame) = self.frame_at(place) else { break };
            if place < frame.place {
                filled += usize::try_from(frame.place - place).unwrap_or(usize::MAX);
                continue;
            }
            let bytes = self.frame(frame)?;
            let from = usize::try_from(place - frame.place).map_err(io::Error::other)?;
            let (target, source) = (buffer.get_mut(filled..), bytes.get(from..));
            filled += copy(source.unwrap_or_default(), target.unwrap_or_default());
        }
        Ok(wanted)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The length that it had.
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.former_bytes)
    }

    fn is_linked(&self) -> io::Result<bool> {
        self.file.is_linked()
    }
}

impl FrameCache {
    fn get(&self, segment: u64, place: u64) -> Option<Bytes> {
        let cached = self.0.lock();
        let found = cached
            .iter()
            .find(|one| one.segment == segment && one.place == place);
        found.map(|one| one.bytes.clone())
    }

    fn put(&self, segment: u64, place: u64, bytes: Bytes) {
        let mut cached = self.0.lock();
        cached.push_back(Cached {
            segment,
            place,
            bytes,
        });
        let mut held: usize = cached.iter().map(|one| one.bytes.len()).sum();
        while held > CACHE_BYTES && cached.len() > 1 {
            held -= cached.pop_front().map_or(0, |one| one.bytes.len());
        }
    }
}

/// Writes a cold segment, record by record.
pub(super) struct ColdWriter<'a> {
    file: &'a dyn DiskFile,
    at: u64,
    frame: Vec<u8>,
    frame_place: u64,
    frames: Vec<Frame>,
    heads: Vec<u8>,
}

impl<'a> ColdWriter<'a> {
    /// Begins in an empty file.
    pub fn new(file: &'a dyn DiskFile) -> Self {
        Self {
            file,
            at: SEGMENT_HEADER_BYTES,
            frame: Vec::with_capacity(FRAME_BYTES),
            frame_place: 0,
            frames: Vec::new(),
            heads: Vec::new(),
        }
    }

    /// Adds a record that was at this place. Returns whether a frame was written.
    pub fn push(&mut self, place: u64, record: &[u8]) -> io::Result<bool> {
        let is_next = self.frame_place + self.frame.len() as u64 == place;
        let written = !self.frame.is_empty() && (!is_next || self.frame.len() >= FRAME_BYTES);
        if written {
            self.write_frame()?;
        }
        if self.frame.is_empty() {
            self.frame_place = place;
        }
        self.heads.extend(place.to_le_bytes());
        self.heads.extend(field::<HEADER_BYTES>(record, 0));
        self.frame.extend_from_slice(record);
        Ok(written)
    }

    fn write_frame(&mut self) -> io::Result<()> {
        let compressed = zstd::bulk::compress(&self.frame, ZSTD_LEVEL)?;
        self.file.write_at(&mut [IoSlice::new(&compressed)], self.at)?;
        self.frames.push(Frame {
            place: self.frame_place,
            file_offset: self.at,
            bytes: u32::try_from(self.frame.len()).map_err(io::Error::other)?,
            file_bytes: u32::try_from(compressed.len()).map_err(io::Error::other)?,
            crc: crc32c::crc32c(&compressed),
        });
        self.at += compressed.len() as u64;
        self.frame.clear();
        Ok(())
    }

    /// Writes what is left, the tail and the header, and makes all of it durable. Returns the
    /// bytes that the file takes.
    pub fn finish(mut self, header: &SegmentHeader, former_bytes: u64) -> io::Result<u64> {
        if !self.frame.is_empty() {
            self.write_frame()?;
        }
        let tail = self.tail()?;
        self.file.write_at(&mut [IoSlice::new(&tail)], self.at)?;
        let header = SegmentHeader {
            cold: Some(Cold {
                former_bytes,
                tail_offset: self.at,
            }),
            ..*header
        };
        self.file.write_at(&mut [IoSlice::new(&header.encode())], 0)?;
        self.file.sync()?;
        Ok(self.at + tail.len() as u64)
    }

    fn tail(&self) -> io::Result<Vec<u8>> {
        let heads = zstd::bulk::compress(&self.heads, ZSTD_LEVEL)?;
        let mut tail = vec![0; 4];
        tail.extend(
            u32::try_from(heads.len())
                .map_err(io::Error::other)?
                .to_le_bytes(),
        );
        let count = u32::try_from(self.frames.len()).map_err(io::Error::other)?;
        tail.extend(count.to_le_bytes());
        tail.extend(heads);
        for frame in &self.frames {
            tail.extend(frame.place.to_le_bytes());
            tail.extend(frame.file_offset.to_le_bytes());
            tail.extend(frame.bytes.to_le_bytes());
            tail.extend(frame.file_bytes.to_le_bytes());
            tail.extend(frame.crc.to_le_bytes());
        }
        seal(&mut tail, 0, 4);
        Ok(tail)
    }
}
