//! The retry window: hashes of the requests that were accepted lately, so that a client that
//! repeats one whose answer it did not get makes no second copy.
//!
//! Hashes live in the headers of records; this file only keeps those of deleted segments, in
//! `hashes`. It judges nothing by content: whether a request takes part is the intake's
//! choice.

// Nothing that is read from a disk may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, is_full, read_file, replace_file};
use super::record::{field, seal};

/// The most hashes that are kept: about 80 MB, 1,700 requests a second for ten minutes.
/// Beyond it the window is shorter than configured.
const HASHES_MAX: usize = 1 << 20;
const MAGIC: [u8; 4] = *b"MHsh";
const BLOCK_HEADER_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// The file is rewritten when it has at least so many hashes, half of them expired.
const REWRITE_HASHES_MIN: usize = 1024;

/// The time between two requests counts for so much at most: in a longer one the clock may have
/// been set. A window after quiet times is therefore longer than configured, and no larger.
const STEP_NANOS_MAX: u64 = 60_000_000_000;

/// One accepted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    pub hash: u128,
    pub seq: u64,
    pub received_unix_nanos: u64,
}

/// The hashes of the window, in order of sequence, with the file of those whose segment is
/// deleted.
pub(super) struct Window {
    seqs: HashMap<u128, u64>,
    order: VecDeque<Accepted>,
    /// When each of them came, by `passed_nanos`.
    came: VecDeque<u64>,
    /// The time that has passed, as far as requests tell.
    passed_nanos: u64,
    now_unix_nanos: u64,
    window_nanos: u64,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    file_bytes: u64,
    file_hashes: usize,
    /// Hashes with sequences up to this are in the file or were never needed there.
    saved_seq: u64,
}

impl Window {
    /// An empty window over the file `hashes` in this directory.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, window_nanos: u64) -> Self {
        Self {
            seqs: HashMap::new(),
            order: VecDeque::new(),
            came: VecDeque::new(),
            passed_nanos: 0,
            now_unix_nanos: 0,
            window_nanos,
            disk,
            path: dir.join("hashes"),
            file: None,
            file_bytes: 0,
            file_hashes: 0,
            saved_seq: 0,
        }
    }

    /// Fills the window with the file's hashes and those of the records that are there,
    /// and rewrites the file with what still counts of it.
    pub fn load(&mut self, mut of_records: Vec<Accepted>) -> io::Result<()> {
        let content = read_file(&*self.disk, &self.path)?.unwrap_or_default();
        let mut saved = decode_blocks(&content);
        let first_record = of_records.first().map_or(u64::MAX, |accepted| accepted.seq);
        saved.retain(|accepted| accepted.seq < first_record);
        saved.sort_by_key(|accepted| accepted.seq);
        self.saved_seq = saved.last().map_or(0, |accepted| accepted.seq);
        saved.append(&mut of_records);
        for accepted in saved {
            self.expire(accepted.received_unix_nanos);
            self.insert(accepted);
        }
        if content.is_empty() {
            return Ok(());
        }
        match self.rewrite() {
            // The old file stays, and the backlog can be delivered.
            Err(error) if is_full(&error) => Ok(()),
            rewritten => rewritten,
        }
    }

    /// The sequence of the accepted request with this hash.
    pub fn find(&self, hash: u128) -> Option<u64> {
        self.seqs.get(&hash).copied()
    }

    /// Remembers a durable record.
    pub fn insert(&mut self, accepted: Accepted) {
        if self.order.len() >= HASHES_MAX {
            self.forget_oldest();
        }
        self.seqs.insert(accepted.hash, accepted.seq);
        self.order.push_back(accepted);
        self.came.push_back(self.passed_nanos);
    }

    /// Time goes on: forgets what is older than the window.
    pub fn expire(&mut self, now_unix_nanos: u64) {
        let step = now_unix_nanos.saturating_sub(self.now_unix_nanos);
        self.passed_nanos = self.passed_nanos.saturating_add(step.min(STEP_NANOS_MAX));
        self.now_unix_nanos = now_unix_nanos;
        let from = self.passed_nanos.saturating_sub(self.window_nanos);
        while self.came.front().is_some_and(|came| *came < from) {
            self.forget_oldest();
        }
    }

    /// Makes the hashes of records up to `last_seq` durable outside of their segments, which
    /// are about to be deleted.
    pub fn save_up_to(&mut self, last_seq: u64) -> io::Result<()> {
        let unsaved: Vec<Accepted> = self
            .order
            .range(
                self.order
                    .partition_point(|accepted| accepted.seq <= self.saved_seq)..,
            )
            .take_while(|accepted| accepted.seq <= last_seq)
            .copied()
            .collect();
        if !unsaved.is_empty() {
            self.append(&unsaved)?;
        }
        self.saved_seq = self.saved_seq.max(last_seq);
        let saved = self
            .order
            .partition_point(|accepted| accepted.seq <= self.saved_seq);
        if self.file_hashes >= REWRITE_HASHES_MIN && self.file_hashes > 2 * saved {
            self.rewrite()?;
        }
        Ok(())
    }

    fn forget_oldest(&mut self) {
        self.came.pop_front();
        if let Some(oldest) = self.order.pop_front()
            && self.seqs.get(&oldest.hash) == Some(&oldest.seq)
        {
            self.seqs.remove(&oldest.hash);
        }
    }

    fn append(&mut self, accepted: &[Accepted]) -> io::Result<()> {
        let block = encode_block(accepted);
        match &self.file {
            Some(file) => {
                file.write_at(&mut [IoSlice::new(&block)], self.file_bytes)?;
                if let Err(error) = file.sync() {
                    // A second sync would not tell; the next save makes a new file.
                    self.file = None;
                    return Err(error);
                }
                self.file_bytes += block.len() as u64;
                self.file_hashes += accepted.len();
                Ok(())
            }
            None => {
                let saved = self.saved_seq;
                self.saved_seq = accepted.last().map_or(saved, |last| last.seq);
                self.rewrite().inspect_err(|_| self.saved_seq = saved)
            }
        }
    }

    /// Replaces the file by one with the saved hashes that still count.
    fn rewrite(&mut self) -> io::Result<()> {
        let saved = self
            .order
            .partition_point(|accepted| accepted.seq <= self.saved_seq);
        let saved: Vec<Accepted> = self.order.range(..saved).copied().collect();
        let block = if saved.is_empty() {
            Vec::new()
        } else {
            encode_block(&saved)
        };
        self.file = Some(replace_file(&*self.disk, &self.path, &block)?);
        self.file_bytes = block.len() as u64;
        self.file_hashes = saved.len();
        Ok(())
    }
}

fn encode_block(accepted: &[Accepted]) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_HEADER_BYTES + accepted.len() * HASH_BYTES);
    block.extend_from_slice(&MAGIC);
    block.extend_from_slice(&[0; 4]);
    block.extend_from_slice(&(accepted.len() as u64).to_le_bytes());
    for one in accepted {
        block.extend_from_slice(&one.hash.to_le_bytes());
        block.extend_from_slice(&one.seq.to_le_bytes());
        block.extend_from_slice(&one.received_unix_nanos.to_le_bytes());
    }
    seal(&mut block, 4, 8);
    block
}

/// The hashes of all whole blocks; a torn one ends the file.
fn decode_blocks(mut bytes: &[u8]) -> Vec<Accepted> {
    let mut accepted = Vec::new();
    while bytes.starts_with(&MAGIC) {
        let count = usize::try_from(u64::from_le_bytes(field(bytes, 8))).unwrap_or(usize::MAX);
        let length = count
            .saturating_mul(HASH_BYTES)
            .saturating_add(BLOCK_HEADER_BYTES);
        let Some((block, rest)) = bytes.split_at_checked(length) else {
            break;
        };
        if u32::from_le_bytes(field(block, 4)) != crc32c::crc32c(block.get(8..).unwrap_or_default()) {
            break;
        }
        let hashes = block.get(BLOCK_HEADER_BYTES..).unwrap_or_default();
        accepted.extend(hashes.chunks_exact(HASH_BYTES).map(|bytes| Accepted {
            hash: u128::from_le_bytes(field(bytes, 0)),
            seq: u64::from_le_bytes(field(bytes, 16)),
            received_unix_nanos: u64::from_le_bytes(field(bytes, 24)),
        }));
        bytes = rest;
    }
    accepted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(seq: u64) -> Accepted {
        Accepted {
            hash: u128::from(seq) << 70,
            seq,
            received_unix_nanos: seq * 10,
        }
    }

    #[test]
    fn blocks_survive_a_torn_end() {
        let mut bytes = encode_block(&[accepted(1), accepted(2)]);
        bytes.extend(encode_block(&[accepted(3)]));
        assert_eq!(decode_blocks(&bytes), [accepted(1), accepted(2), accepted(3)]);
        for end in 80..bytes.len() {
            assert_eq!(
                decode_blocks(&bytes[..end]),
                [accepted(1), accepted(2)],
                "cut at {end}"
            );
        }
        bytes[20] ^= 1;
        assert_eq!(decode_blocks(&bytes), []);
    }

    #[test]
    fn a_hash_that_was_accepted_again_is_not_forgotten_with_its_first_time() {
        let disk = super::super::simulated::SimulatedDisk::default();
        let mut window = Window::new(Arc::new(disk), Path::new("/spool"), 100);
        window.insert(Accepted {
            hash: 7,
            seq: 1,
            received_unix_nanos: 0,
        });
        window.expire(101);
        window.insert(Accepted {
            hash: 7,
            seq: 2,
            received_unix_nanos: 101,
        });
        window.expire(150);
        assert_eq!(window.find(7), Some(2));
        window.expire(202);
        assert_eq!(window.find(7), None);
    }

    #[test]
    fn a_clock_that_is_set_expires_nothing() {
        const SECOND: u64 = 1_000_000_000;
        let disk: Arc<dyn Disk> = Arc::new(super::super::simulated::SimulatedDisk::default());
        let new = || Window::new(Arc::clone(&disk), Path::new("/spool"), 600 * SECOND);
        let mut window = new();
        let records = [10_000, 10_001, 13_602, 6_403].map(|seconds| Accepted {
            hash: u128::from(seconds),
            seq: seconds,
            received_unix_nanos: seconds * SECOND,
        });
        for record in records {
            window.expire(record.received_unix_nanos);
            window.insert(record);
        }
        window.expire(20_000 * SECOND);
        assert_eq!(window.find(10_000), Some(10_000));
        let mut restarted = new();
        restarted.load(records.to_vec()).expect("no file");
        assert_eq!(restarted.find(10_000), Some(10_000));
        // Time that passes in small steps is time.
        (20_000..20_500).for_each(|seconds| window.expire(seconds * SECOND));
        assert_eq!(window.find(10_000), None);
    }
}
