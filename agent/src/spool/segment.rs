//! A segment: a file named by the sequence of its first record, a header, then records.
//!
//! It makes, names and identifies segments; reading their records is [`super::scan`]'s, and
//! deciding when to begin or delete one is the writer's.

// Nothing that is read from a disk may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meridian_proto::ids::AgentId;

use super::disk::{Disk, DiskFile};
use super::record::{HEADER_BYTES, SEQ_MAX, field};

/// Bytes of a segment's header; the first record begins after it.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 64;
const MAGIC: [u8; 8] = *b"MerSpool";
/// Records as they were written.
const VERSION: u32 = 1;
/// Compressed, see [`super::cold`]. The newest version that this release knows.
pub(super) const COLD_VERSION: u32 = 2;
/// In a recycled segment each group of records is followed by this, which the next one
/// overwrites: so an unfinished write can be told from what the file held before.
pub(super) const END_MARK: [u8; HEADER_BYTES] = [0; HEADER_BYTES];
const EXTENSION: &str = ".seg";
const ZEROS_BYTES: usize = 64 << 10;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub identity: AgentId,
    pub first_seq: u64,
    /// Seeds the checksum of record headers, so that bytes of another segment, or bytes that
    /// a client put into a body, are not taken for a record.
    pub salt: u32,
    /// Where things are in a compressed segment.
    pub cold: Option<Cold>,
    /// The file held another segment before, whose bytes follow the last record and its
    /// [`END_MARK`].
    pub recycled: bool,
}

/// What only the header of a compressed segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cold {
    /// The length that it had.
    pub former_bytes: u64,
    pub tail_offset: u64,
}

/// Why a file is not a segment of this spool.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotASegment {
    #[error("it does not begin like a segment")]
    Magic,
    #[error("it has version {0}, this release reads versions up to {COLD_VERSION}")]
    Version(u32),
    #[error("its header is damaged")]
    Damaged,
    #[error("it belongs to spool {0}")]
    Foreign(AgentId),
    #[error("its name does not match its first sequence {0}")]
    Name(u64),
}

/// The name of the segment that begins with this sequence.
pub(super) fn file_name(first_seq: u64) -> String {
    format!("{first_seq:020}{EXTENSION}")
}

/// The sequence in the name of a segment; `None` for a name that no segment ever has.
pub(super) fn first_seq_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?;
    let is_padded = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let seq = is_padded.then(|| digits.parse().ok())??;
    (1..=SEQ_MAX).contains(&seq).then_some(seq)
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[0..8].copy_from_slice(&MAGIC);
        let version = if self.cold.is_some() {
            COLD_VERSION
        } else {
            VERSION
        };
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        if let Some(cold) = self.cold {
            bytes[40..48].copy_from_slice(&cold.former_bytes.to_le_bytes());
            bytes[48..56].copy_from_slice(&cold.tail_offset.to_le_bytes());
        } else {
            bytes[40] = u8::from(self.recycled);
        }
        bytes[12..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..32].copy_from_slice(self.identity.as_bytes());
        bytes[32..40].copy_from_slice(&self.first_seq.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; 64]) -> Result<SegmentHeader, NotASegment> {
        if bytes[0..8] != MAGIC {
            return Err(NotASegment::Magic);
        }
        // Every version keeps these two and the checksum where they are.
        if u32::from_le_bytes(field(bytes, 60)) != crc32c::crc32c(&bytes[..60]) {
            return Err(NotASegment::Damaged);
        }
        let version = u32::from_le_bytes(field(bytes, 8));
        let cold = match version {
            VERSION => None,
            COLD_VERSION => Some(Cold {
                former_bytes: u64::from_le_bytes(field(bytes, 40)),
                tail_offset: u64::from_le_bytes(field(bytes, 48)),
            }),
            0 => return Err(NotASegment::Damaged),
            later => return Err(NotASegment::Version(later)),
        };
        Ok(SegmentHeader {
            identity: AgentId::from_slice(&bytes[16..32]).ok_or(NotASegment::Damaged)?,
            first_seq: u64::from_le_bytes(field(bytes, 32)),
            salt: u32::from_le_bytes(field(bytes, 12)),
            cold,
            recycled: cold.is_none() && bytes[40] == 1,
        })
    }

    /// Reads the header of the file with this sequence in its name.
    pub fn read(file: &dyn DiskFile, named: u64) -> io::Result<Result<SegmentHeader, NotASegment>> {
        let mut bytes = [0; 64];
        file.read_at(&mut bytes, 0)?;
        Ok(SegmentHeader::decode(&bytes).and_then(|header| {
            if header.first_seq == named {
                Ok(header)
            } else {
                Err(NotASegment::Name(header.first_seq))
            }
        }))
    }
}

/// A file that was a segment. Its blocks are written already, so that records that overwrite
/// them leave a sync no metadata to write.
pub(super) struct Spare {
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub bytes: u64,
}

impl Spare {
    /// Whether it can become a segment of this capacity: nobody reads it any more, and little
    /// is missing.
    pub fn fits(&self, capacity_bytes: u64) -> bool {
        Arc::strong_count(&self.file) == 1
            && self.bytes <= capacity_bytes
            && self.bytes >= capacity_bytes - capacity_bytes / 4
    }
}

/// Makes a segment with its header, durable under its name, of a new file or of a spare one.
pub(super) fn create(
    disk: &dyn Disk,
    dir: &Path,
    header: &SegmentHeader,
    reserve_bytes: u64,
    spare: Option<Spare>,
) -> io::Result<(PathBuf, Arc<dyn DiskFile>)> {
    let path = dir.join(file_name(header.first_seq));
    let (unfinished, opened) = match spare {
        Some(spare) => {
            let filled = fill(&*spare.file, spare.bytes, reserve_bytes);
            (spare.path, filled.map(|()| spare.file))
        }
        None => {
            let unfinished = path.with_extension("tmp");
            let created = disk.create(&unfinished, reserve_bytes);
            (unfinished, created)
        }
    };
    let made = opened.and_then(|file| {
        let mark: &[u8] = if header.recycled { &END_MARK } else { &[] };
        file.write_at(&mut [IoSlice::new(&header.encode()), IoSlice::new(mark)], 0)?;
        file.sync()?;
        disk.rename(&unfinished, &path)?;
        disk.sync_dir(dir)?;
        Ok(file)
    });
    match made {
        Ok(file) => Ok((path, file)),
        Err(error) => {
            // Either name may be there; an empty segment that stays does no harm.
            disk.remove(&unfinished).ok();
            disk.remove(&path).ok();
            Err(error)
        }
    }
}

/// Writes zeros up to this length.
fn fill(file: &dyn DiskFile, mut bytes: u64, end: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    while bytes < end {
        let left = usize::try_from(end - bytes).unwrap_or(usize::MAX);
        let zeros = zeros.get(..left).unwrap_or(&zeros);
        file.write_at(&mut [IoSlice::new(zeros)], bytes)?;
        bytes += zeros.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_is_wrong_with_it() {
        let header = SegmentHeader {
            identity: AgentId::random(),
            first_seq: 12,
            salt: 5,
            cold: None,
            recycled: true,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes).expect("own header"), header);
        let cold = SegmentHeader {
            cold: Some(Cold {
                former_bytes: 1 << 40,
                tail_offset: 77,
            }),
            recycled: false,
            ..header
        };
        assert_eq!(SegmentHeader::decode(&cold.encode()).expect("own header"), cold);
        let mut newer = bytes;
        newer[8] = 3;
        let crc = crc32c::crc32c(&newer[..60]);
        newer[60..].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(
            SegmentHeader::decode(&newer),
            Err(NotASegment::Version(3))
        ));
        let mut damaged = bytes;
        damaged[33] ^= 1;
        assert!(matches!(
            SegmentHeader::decode(&damaged),
            Err(NotASegment::Damaged)
        ));
        assert!(matches!(SegmentHeader::decode(&[0; 64]), Err(NotASegment::Magic)));
    }

    #[test]
    fn names_sort_like_sequences() {
        assert_eq!(file_name(7), "00000000000000000007.seg");
        assert_eq!(first_seq_of(&file_name(SEQ_MAX)), Some(SEQ_MAX));
        for never in [0, SEQ_MAX + 1, u64::MAX] {
            assert_eq!(first_seq_of(&file_name(never)), None);
        }
        assert_eq!(first_seq_of("+0000000000000000007.seg"), None);
        assert_eq!(first_seq_of("7.seg"), None);
        assert_eq!(first_seq_of("00000000000000000007.seg.bad"), None);
    }
}
