//! The bytes of a record in a segment: a header of 64 bytes, the overlay, the body, zeros up
//! to a multiple of 8. The layout is in the documentation of [`super`].
//!
//! It reads and writes no files.

// Nothing that is read from a disk may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use bytes::Bytes;
use meridian_proto::signal::Signal;

/// Bytes of a record's header.
pub(super) const HEADER_BYTES: usize = 64;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
/// The first four bytes of a record.
pub(super) const MAGIC: [u8; 4] = *b"MRec";

/// Sequences beyond are nonsense, and must not use up the numbers there are.
pub(super) const SEQ_MAX: u64 = 1 << 62;

const FLAG_HASH: u8 = 1;

/// A record to append: an accepted request as it was received.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The signal of the body.
    pub signal: Signal,
    /// Spans, log records or data points in the body.
    pub items: u32,
    /// The request's hash if it takes part in the retry window.
    pub hash: Option<u128>,
    /// The OTLP protobuf.
    pub body: Bytes,
    /// What enrichment adds; opaque to the spool.
    pub overlay: Bytes,
}

/// A durable record, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Unique in the spool, ascending over all signals.
    pub seq: u64,
    /// The signal of the body.
    pub signal: Signal,
    /// Spans, log records or data points in the body.
    pub items: u32,
    /// When it was accepted; never descends with `seq`.
    pub received_unix_nanos: u64,
    /// What enrichment adds.
    pub overlay: Bytes,
    /// The OTLP protobuf.
    pub body: Bytes,
}

/// A record's header, without what is derived from the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub data_crc: u32,
    pub body_bytes: u32,
    pub overlay_bytes: u32,
    pub items: u32,
    pub seq: u64,
    pub received_unix_nanos: u64,
    pub hash: Option<u128>,
    pub signal: Signal,
}

/// Bytes that a record takes in its segment.
pub(super) fn record_bytes(overlay_bytes: usize, body_bytes: usize) -> u64 {
    let unpadded = HEADER_BYTES as u64 + overlay_bytes as u64 + body_bytes as u64;
    unpadded.next_multiple_of(ALIGNMENT as u64)
}

impl Header {
    /// The header of a record that is about to be written; `None` if a length is over `u32`.
    pub fn of(record: &NewRecord, seq: u64, received_unix_nanos: u64) -> Option<Header> {
        Some(Header {
            data_crc: data_crc(&record.overlay, &record.body),
            body_bytes: u32::try_from(record.body.len()).ok()?,
            overlay_bytes: u32::try_from(record.overlay.len()).ok()?,
            items: record.items,
            seq,
            received_unix_nanos,
            hash: record.hash,
            signal: record.signal,
        })
    }

    /// Bytes that the whole record takes.
    pub fn record_bytes(&self) -> u64 {
        record_bytes(self.overlay_bytes as usize, self.body_bytes as usize)
    }

    /// The header's bytes in a segment with this salt.
    pub fn encode(&self, salt: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.data_crc.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.overlay_bytes.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.items.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.received_unix_nanos.to_le_bytes());
        bytes[40..56].copy_from_slice(&self.hash.unwrap_or_default().to_le_bytes());
        bytes[56] = self.signal as u8;
        bytes[57] = if self.hash.is_some() { FLAG_HASH } else { 0 };
        let crc = crc32c::crc32c_append(salt, &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header in these bytes, if they are one of a segment with this salt.
    pub fn decode(bytes: &[u8; HEADER_BYTES], salt: u32) -> Option<Header> {
        let crc = u32::from_le_bytes(field(bytes, 4));
        if bytes[0..4] != MAGIC || crc != crc32c::crc32c_append(salt, &bytes[8..]) {
            return None;
        }
        let seq = u64::from_le_bytes(field(bytes, 24));
        if !(1..=SEQ_MAX).contains(&seq) {
            return None;
        }
        let hash = u128::from_le_bytes(field(bytes, 40));
        Some(Header {
            data_crc: u32::from_le_bytes(field(bytes, 8)),
            body_bytes: u32::from_le_bytes(field(bytes, 12)),
            overlay_bytes: u32::from_le_bytes(field(bytes, 16)),
            items: u32::from_le_bytes(field(bytes, 20)),
            seq,
            received_unix_nanos: u64::from_le_bytes(field(bytes, 32)),
            hash: (bytes[57] & FLAG_HASH != 0).then_some(hash),
            signal: Signal::from_u8(bytes[56])?,
        })
    }
}

/// Reads a whole record; `None` if it is damaged or not the one that is looked for.
pub(super) fn decode(bytes: &Bytes, salt: u32, seq: u64) -> Option<Record> {
    let header = Header::decode(bytes.first_chunk()?, salt)?;
    let overlay_end = HEADER_BYTES + header.overlay_bytes as usize;
    let body_end = overlay_end + header.body_bytes as usize;
    if header.seq != seq || bytes.len() < body_end {
        return None;
    }
    let overlay = bytes.slice(HEADER_BYTES..overlay_end);
    let body = bytes.slice(overlay_end..body_end);
    (header.data_crc == data_crc(&overlay, &body)).then_some(Record {
        seq,
        signal: header.signal,
        items: header.items,
        received_unix_nanos: header.received_unix_nanos,
        overlay,
        body,
    })
}

/// The checksum of a record's data.
pub(super) fn data_crc(overlay: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(overlay), body)
}

/// Writes at `at` the checksum of all bytes from `from` on; both are inside of `bytes` by the layout.
pub(super) fn seal(bytes: &mut [u8], at: usize, from: usize) {
    let crc = crc32c::crc32c(bytes.get(from..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = crc.to_le_bytes();
    }
}

/// The bytes of a field at a place that is inside of `bytes` by the layout.
pub(super) fn field<const WIDTH: usize>(bytes: &[u8], at: usize) -> [u8; WIDTH] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; WIDTH])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let record = NewRecord {
            signal: Signal::Logs,
            items: 7,
            hash: Some(0x0123_4567_89ab_cdef_0011_2233_4455_6677),
            body: Bytes::from_static(b"body"),
            overlay: Bytes::from_static(b"pod"),
        };
        Header::of(&record, 42, 1_700_000_000_000_000_001).expect("small")
    }

    #[test]
    fn a_header_survives_its_bytes_and_every_flipped_bit_is_noticed() {
        let bytes = header().encode(9);
        assert_eq!(Header::decode(&bytes, 9), Some(header()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&damaged, 9), None, "bit {bit}");
        }
    }

    #[test]
    fn a_header_of_another_segment_is_not_one_of_this() {
        assert_eq!(Header::decode(&header().encode(9), 10), None);
    }

    #[test]
    fn the_layout_of_version_1_does_not_change() {
        let bytes = header().encode(0);
        assert_eq!(&bytes[0..4], b"MRec");
        assert_eq!(bytes[12..16], [4, 0, 0, 0]);
        assert_eq!(bytes[16..20], [3, 0, 0, 0]);
        assert_eq!(bytes[24], 42);
        assert_eq!(bytes[40], 0x77);
        assert_eq!(bytes[56..64], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(record_bytes(3, 4), 72);
    }
}
