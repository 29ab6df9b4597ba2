//! Rewrites segments compressed that some exporter still needs after a while, so that the same
//! disk holds several times the outage.
//!
//! It works beside the writer, one segment at a time and at a low rate: it writes aside, syncs,
//! and renames over the segment, so that a crash leaves the one or the other, and never both. It
//! takes no segment that may still grow, and deletes none.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Shared;
use super::SpoolConfig;
use super::cold::{ColdFile, ColdWriter};
use super::disk::{Disk, DiskFile};
use super::recovery::nanos;
use super::segment::SegmentHeader;

/// How often it looks for work.
const LOOK: Duration = Duration::from_secs(1);
/// After a failure the disk is left alone for so long.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// For each frame it rests so many times as long as that took.
const REST: u32 = 4;
/// What does not get smaller than this share of its size, in percent, stays as it is.
const WORTH_PERCENT: u64 = 90;

/// What was compressed since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compressed {
    /// Segments.
    pub segments: u64,
    /// What they took.
    pub bytes_before: u64,
    /// What they take.
    pub bytes_after: u64,
}

/// A segment that is to be compressed.
pub(super) struct Candidate {
    pub file: Arc<dyn DiskFile>,
    pub path: PathBuf,
    pub salt: u32,
    pub first_seq: u64,
    pub bytes: u64,
    /// Place and bytes of each record, ascending.
    pub records: Vec<(u64, u64)>,
}

/// Tells the thread to end, also while it rests.
#[derive(Default)]
pub(super) struct Ending {
    ended: Mutex<bool>,
    wake: Condvar,
}

impl Ending {
    pub fn end(&self) {
        *self.ended.lock() = true;
        self.wake.notify_all();
    }

    /// Waits for so long; true when it is time to end.
    fn wait(&self, duration: Duration) -> bool {
        let mut ended = self.ended.lock();
        let deadline = Instant::now() + duration;
        while !*ended && !self.wake.wait_until(&mut ended, deadline).timed_out() {}
        *ended
    }
}

/// Compresses the segments of one spool.
pub(super) struct Compressor {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    config: SpoolConfig,
}

/// What became of one segment.
enum Made {
    Cold(u64),
    /// It does not get smaller.
    NotWorthIt,
    Interrupted,
}

impl Compressor {
    pub fn new(disk: Arc<dyn Disk>, shared: Arc<Shared>, config: SpoolConfig) -> Self {
        Self { disk, shared, config }
    }

    /// The thread's work.
    pub fn run(&self, ending: &Ending) {
        let mut pause = LOOK;
        while !ending.wait(pause) {
            pause = LOOK;
            let mut rest = |worked: Duration| ending.wait(worked * REST);
            match self.step(&mut rest) {
                Ok(true) => pause = Duration::ZERO,
                Ok(false) => {}
                Err(error) => {
                    pause = AFTER_FAILURE;
                    tracing::warn!(%error, path = %self.config.path.display(),
                        "cannot compress a segment of the spool; it stays as it is for now");
                }
            }
        }
    }

    /// The same for a simulation, which has no threads.
    pub async fn run_as_task(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            while matches!(self.step(&mut |_| false), Ok(true)) {}
        }
    }

    /// Compresses the oldest segment that is due; false if there is none. `rest` is told how long
    /// a frame took, and says whether to stop.
    pub fn step(&self, rest: &mut dyn FnMut(Duration) -> bool) -> io::Result<bool> {
        let now = self.shared.clock.now_unix_nanos();
        let before = now.saturating_sub(nanos(self.config.compress_after));
        let candidate = self.shared.index.lock().cold_candidate(before);
        let Some(candidate) = candidate else {
            return Ok(false);
        };
        let aside = candidate.path.with_extension("cold.tmp");
        let file = self.disk.create(&aside, 0)?;
        let made = self.compress(&candidate, &*file, rest);
        let outcome = match made {
            Ok(Made::Cold(bytes)) => self.replace(&candidate, &aside, file, bytes),
            Ok(Made::NotWorthIt) => {
                self.shared.index.lock().keep_hot(candidate.first_seq);
                Ok(false)
            }
            Ok(Made::Interrupted) => Ok(false),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(true) => self.disk.sync_dir(&self.config.path)?,
            _ => {
                // What is left over is removed when the spool is opened next.
                self.disk.remove(&aside).ok();
            }
        }
        outcome.map(|_| true)
    }

    fn compress(
        &self,
        candidate: &Candidate,
        file: &dyn DiskFile,
        rest: &mut dyn FnMut(Duration) -> bool,
    ) -> io::Result<Made> {
        let mut writer = ColdWriter::new(file);
        let mut record = Vec::new();
        let mut began = Instant::now();
        for &(place, bytes) in &candidate.records {
            record.resize(usize::try_from(bytes).map_err(io::Error::other)?, 0);
            candidate.file.read_at(&mut record, place)?;
            if writer.push(place, &record)? {
                if rest(began.elapsed()) {
                    return Ok(Made::Interrupted);
                }
                began = Instant::now();
            }
        }
        let header = self.header(candidate);
        let bytes = writer.finish(&header, candidate.bytes)?;
        Ok(if bytes * 100 > candidate.bytes * WORTH_PERCENT {
            Made::NotWorthIt
        } else {
            Made::Cold(bytes)
        })
    }

    fn header(&self, candidate: &Candidate) -> SegmentHeader {
        SegmentHeader {
            identity: self.shared.identity,
            first_seq: candidate.first_seq,
            salt: candidate.salt,
            cold: None,
            recycled: false,
        }
    }

    /// Puts the file in the segment's place, unless that was deleted meanwhile.
    fn replace(
        &self,
        candidate: &Candidate,
        aside: &std::path::Path,
        file: Arc<dyn DiskFile>,
        bytes: u64,
    ) -> io::Result<bool> {
        let header = SegmentHeader::read(&*file, candidate.first_seq)?.map_err(io::Error::other)?;
        let cold = header.cold.ok_or(io::ErrorKind::InvalidData)?;
        let (opened, _) = ColdFile::open(file, &header, cold, None, self.shared.frames.clone())?;
        // Nobody deletes a segment meanwhile.
        let is_open = self.shared.files.lock();
        if !*is_open || !self.shared.index.lock().has_segment(candidate.first_seq) {
            return Ok(false);
        }
        self.disk.rename(aside, &candidate.path)?;
        let mut index = self.shared.index.lock();
        index.set_cold(candidate.first_seq, Arc::new(opened), bytes);
        index.compressed.segments += 1;
        index.compressed.bytes_before += candidate.bytes;
        index.compressed.bytes_after += bytes;
        Ok(true)
    }
}
