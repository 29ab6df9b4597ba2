//! The spool's small files: who it is, when it was last alive, how far its exporters are.
//!
//! None of them is needed to read the records. A damaged one is reported and made anew.

// Nothing that is read from a disk may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use meridian_proto::ids::AgentId;

use super::disk::{Disk, DiskFile, read_file, replace_file};

use super::record::{SEQ_MAX, field, seal};
use super::undelivered::{Range, Undelivered};

const ALIVE_MAGIC: [u8; 4] = *b"MAlv";
const ALIVE_SLOT_BYTES: usize = 32;
const CURSOR_MAGIC: [u8; 8] = *b"MerCursr";
const CURSOR_BYTES: usize = 40;
const CURSOR_2_MAGIC: [u8; 8] = *b"MerCurs2";
/// Magic, crc, asked, counts of ranges.
const CURSOR_2_HEAD_BYTES: usize = 28;

/// What the file `identity` holds.
pub(super) enum Identity {
    Known(AgentId),
    Missing,
    Damaged,
}

/// Reads the file `identity`: the UUID as text.
pub(super) fn read_identity(disk: &dyn Disk, path: &Path) -> io::Result<Identity> {
    let Some(content) = read_file(disk, path)? else {
        return Ok(Identity::Missing);
    };
    let known = str::from_utf8(&content)
        .ok()
        .and_then(|text| AgentId::parse(text.trim()));
    Ok(known.map_or(Identity::Damaged, Identity::Known))
}

/// Writes the file `identity`.
pub(super) fn write_identity(disk: &dyn Disk, path: &Path, identity: AgentId) -> io::Result<()> {
    replace_file(disk, path, format!("{identity}\n").as_bytes()).map(drop)
}

/// A sign of life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sign {
    pub unix_nanos: u64,
    /// The next sequence then.
    pub next_seq: u64,
    /// Whether it is the last word of a process that closed the spool.
    pub clean: bool,
}

/// The file `alive`: two slots written in turn, so that one is always whole. It is not
/// synced: a sign that power loss took makes the gap that is reported longer, never shorter, and
/// where it took all of them the last record stands for them.
pub(super) struct Alive {
    file: Arc<dyn DiskFile>,
    /// How many signs were written: the slot is its parity, the greater is the newer.
    count: u32,
}

impl Alive {
    /// Opens or makes the file; returns the last sign that can be read.
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<(Alive, Sign)> {
        let file = match disk.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path, 0)?,
            opened => opened?,
        };
        let mut bytes = [0; 2 * ALIVE_SLOT_BYTES];
        file.read_at(&mut bytes, 0)?;
        let slots = bytes.chunks(ALIVE_SLOT_BYTES).filter_map(decode_sign);
        let (count, sign) = slots.max_by_key(|(count, _)| *count).unwrap_or_default();
        Ok((Alive { file, count }, sign))
    }

    /// Writes a sign of life over the older one.
    pub fn write(&mut self, sign: Sign) -> io::Result<()> {
        let count = self.count.wrapping_add(1);
        let slot = u64::from(count % 2) * ALIVE_SLOT_BYTES as u64;
        self.file
            .write_at(&mut [IoSlice::new(&encode_sign(count, sign))], slot)?;
        self.count = count;
        Ok(())
    }

    /// Whether the file is still in the directory.
    pub fn is_linked(&self) -> io::Result<bool> {
        self.file.is_linked()
    }

    /// Makes the signs durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

fn encode_sign(count: u32, sign: Sign) -> [u8; ALIVE_SLOT_BYTES] {
    let mut bytes = [0; ALIVE_SLOT_BYTES];
    bytes[0..4].copy_from_slice(&ALIVE_MAGIC);
    bytes[8..16].copy_from_slice(&sign.unix_nanos.to_le_bytes());
    bytes[16..24].copy_from_slice(&sign.next_seq.to_le_bytes());
    bytes[24] = u8::from(sign.clean);
    bytes[28..32].copy_from_slice(&count.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode_sign(bytes: &[u8]) -> Option<(u32, Sign)> {
    let bytes: &[u8; ALIVE_SLOT_BYTES] = bytes.first_chunk()?;
    let sound =
        bytes[0..4] == ALIVE_MAGIC && u32::from_le_bytes(field(bytes, 4)) == crc32c::crc32c(&bytes[8..]);
    let sign = Sign {
        unix_nanos: u64::from_le_bytes(field(bytes, 8)),
        next_seq: u64::from_le_bytes(field(bytes, 16)),
        clean: bytes[24] == 1,
    };
    (sound && sign.next_seq <= SEQ_MAX).then(|| (u32::from_le_bytes(field(bytes, 28)), sign))
}

/// Reads the cursors in the directory `cursors`, by exporter. Those of other exporters are
/// deleted, because they would hold segments for ever.
pub(super) fn read_cursors(
    disk: &dyn Disk,
    dir: &Path,
    exporters: &[String],
) -> io::Result<HashMap<String, SavedCursor>> {
    let mut cursors = HashMap::new();
    for name in disk.list(dir)? {
        let path = dir.join(&name);
        let exporter = exporters.iter().find(|exporter| file_name(exporter) == name);
        let Some(exporter) = exporter else {
            tracing::warn!(cursor = %path.display(), "deleting the spool's cursor of an exporter that is not configured");
            disk.remove(&path)?;
            continue;
        };
        let saved = read_file(disk, &path)?.as_deref().and_then(decode_cursor);
        match saved.filter(SavedCursor::is_possible) {
            Some(saved) => drop(cursors.insert(exporter.clone(), saved)),
            None => {
                tracing::warn!(cursor = %path.display(), "the cursor is damaged; the exporter starts at the oldest record")
            }
        }
    }
    Ok(cursors)
}

/// An exporter's cursor as its file holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SavedCursor {
    /// By [`meridian_proto::signal::Signal::index`].
    pub undelivered: [Undelivered; 3],
    /// A range was asked for, up to here at most, and no answer came.
    pub asked_seq: Option<u64>,
}

impl SavedCursor {
    /// Whether a spool can have had these sequences.
    fn is_possible(&self) -> bool {
        let mut cursors = self.undelivered.iter().map(|undelivered| undelivered.cursor);
        cursors.all(|cursor| cursor <= SEQ_MAX)
    }
}

/// Writes one exporter's cursor.
pub(super) fn write_cursor(
    disk: &dyn Disk,
    dir: &Path,
    exporter: &str,
    saved: &SavedCursor,
) -> io::Result<()> {
    replace_file(disk, &dir.join(file_name(exporter)), &encode_cursor(saved)).map(drop)
}

fn encode_cursor(saved: &SavedCursor) -> Vec<u8> {
    let mut bytes = CURSOR_2_MAGIC.to_vec();
    bytes.extend([0; 4]);
    bytes.extend(u32::from(saved.asked_seq.is_some()).to_le_bytes());
    for undelivered in &saved.undelivered {
        let ranges = u32::try_from(undelivered.ranges.len()).unwrap_or(u32::MAX);
        bytes.extend(ranges.to_le_bytes());
    }
    for undelivered in &saved.undelivered {
        bytes.extend(undelivered.cursor.to_le_bytes());
        for range in &undelivered.ranges {
            bytes.extend(range.after.to_le_bytes());
            bytes.extend(range.to.to_le_bytes());
        }
    }
    if let Some(seq) = saved.asked_seq {
        bytes.extend(seq.to_le_bytes());
    }
    seal(&mut bytes, 8, 12);
    bytes
}

fn decode_cursor(bytes: &[u8]) -> Option<SavedCursor> {
    if bytes.starts_with(&CURSOR_MAGIC) {
        return decode_cursor_1(bytes);
    }
    let head = bytes.get(..CURSOR_2_HEAD_BYTES)?;
    let is_sound = head.starts_with(&CURSOR_2_MAGIC)
        && u32::from_le_bytes(field(head, 8)) == crc32c::crc32c(bytes.get(12..)?);
    if !is_sound {
        return None;
    }
    let counts = [16, 20, 24].map(|at| u32::from_le_bytes(field(head, at)));
    let mut numbers = bytes
        .get(CURSOR_2_HEAD_BYTES..)?
        .chunks_exact(8)
        .map(|number| u64::from_le_bytes(field(number, 0)));
    let has_asked = u32::from_le_bytes(field(head, 12)) != 0;
    let mut saved = SavedCursor::default();
    for (undelivered, count) in saved.undelivered.iter_mut().zip(counts) {
        let cursor = numbers.next()?;
        let mut ranges = Vec::new();
        for _ in 0..count {
            let (after, to) = (numbers.next()?, numbers.next()?);
            ranges.push(Range { after, to });
        }
        *undelivered = Undelivered::new(cursor, ranges);
    }
    saved.asked_seq = has_asked.then(|| numbers.next().unwrap_or(u64::MAX));
    Some(saved)
}

/// As releases wrote it that knew no ranges.
fn decode_cursor_1(bytes: &[u8]) -> Option<SavedCursor> {
    let bytes: &[u8; CURSOR_BYTES] = bytes.first_chunk()?;
    let is_sound = u32::from_le_bytes(field(bytes, 32)) == crc32c::crc32c(&bytes[..32]);
    let seqs = [8, 16, 24].map(|at| u64::from_le_bytes(field(bytes, at)));
    is_sound.then(|| SavedCursor {
        undelivered: seqs.map(|seq| Undelivered::new(seq, [])),
        asked_seq: None,
    })
}

/// The exporter's name with everything but letters, digits, `-` and `_` as `%XX`, so that
/// `aggregator/second` is a file name, and none ends like an unfinished file.
pub(super) fn file_name(exporter: &str) -> String {
    let mut name = String::with_capacity(exporter.len());
    for byte in exporter.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporter_s_name_is_a_file_name() {
        assert_eq!(file_name("aggregator"), "aggregator");
        assert_eq!(file_name("aggregator/second.tmp"), "aggregator%2Fsecond%2Etmp");
    }

    fn saved() -> SavedCursor {
        let range = |after, to| Range { after, to };
        SavedCursor {
            undelivered: [
                Undelivered::new(1, []),
                Undelivered::new(u64::MAX, [range(5, 9), range(20, 30)]),
                Undelivered::new(3, [range(1, 2)]),
            ],
            asked_seq: Some(9),
        }
    }

    #[test]
    fn a_cursor_survives_its_bytes_and_every_flipped_bit_is_noticed() {
        let bytes = encode_cursor(&saved());
        assert_eq!(decode_cursor(&bytes), Some(saved()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_cursor(&damaged), None, "bit {bit}");
        }
        assert_eq!(decode_cursor(&bytes[..bytes.len() - 8]), None);
        assert_eq!(decode_cursor(&[]), None);
    }

    #[test]
    fn what_was_asked_without_its_end_may_have_been_anything() {
        let mut bytes = encode_cursor(&saved());
        bytes.truncate(bytes.len() - 8);
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        let read = decode_cursor(&bytes).expect("sound");
        assert_eq!(read.asked_seq, Some(u64::MAX));
    }

    #[test]
    fn a_cursor_of_the_first_layout_is_read() {
        let mut bytes = CURSOR_MAGIC.to_vec();
        for seq in [1_u64, 2, 3] {
            bytes.extend(seq.to_le_bytes());
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes.extend([0; 4]);
        let read = decode_cursor(&bytes).expect("sound");
        assert_eq!(read.undelivered.map(|undelivered| undelivered.cursor), [1, 2, 3]);
        bytes[9] ^= 4;
        assert_eq!(decode_cursor(&bytes), None);
    }

    #[test]
    fn a_damaged_sign_of_life_is_none() {
        let sign = Sign {
            unix_nanos: 5,
            next_seq: 9,
            clean: true,
        };
        let mut bytes = encode_sign(3, sign);
        assert_eq!(decode_sign(&bytes), Some((3, sign)));
        bytes[8] ^= 1;
        assert_eq!(decode_sign(&bytes), None);
        assert_eq!(decode_sign(&[0; ALIVE_SLOT_BYTES]), None);
    }
}
