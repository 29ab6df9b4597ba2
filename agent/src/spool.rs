//! The spool: the only durable copy of accepted telemetry, from the answer to the client
//! until every exporter has delivered it.
//!
//! It deliberately knows nothing of OTLP: a record is bytes with a count of items. It keeps
//! the order of acceptance, and leaves retrying, batching and encoding to the exporters.
//!
//! ```text
//!  tasks ── append ──► queue ──► writer (one thread) ──► segments ◄── pread ── readers
//!    ▲                            │ write, sync            │
//!    └──────── answer ◄───────────┴──► index ◄── cursors, watermark, pending
//! ```
//!
//! # Files
//!
//! All numbers are little-endian, all checksums CRC-32C.
//!
//! ```text
//! lock                        locked (flock) while a process has the spool open
//! identity                    the spool's UUID, as text
//! alive                       two slots of 32 bytes, written in turn, the greater count is newer:
//!                             "MAlv", crc of 8.., time u64, next seq u64, clean u8, 0 × 3, count u32
//! cursors/<exporter>          "MerCurs2", crc of 12.., asked u32, count of ranges u32 of spans, logs,
//!                             metrics, then of each its cursor u64 and its ranges (after u64, to u64),
//!                             then up to which sequence was asked u64 (not there: up to any);
//!                             other bytes of the name than letters, digits, - and _ as %XX.
//!                             Before: "MerCursr", the three cursors, crc, 0 × 4
//! kept/<exporter>             "MerKept1", crc of 12.., what the exporter keeps for its next start
//! hashes                      blocks: "MHsh", crc of 8.., count u64, then per request
//!                             hash u128, seq u64, time u64
//! NNNNNNNNNNNNNNNNNNNN.seg    a segment, named by its first sequence, 20 digits; of version 2 if it
//!                             was compressed, see [`cold`]
//! *.seg.bad                   a segment that could not be read; for people, never touched again.
//!                             One of a later version is not damage: the spool is not opened
//! *.tmp                       being made, or kept for the next segment; removed when the spool
//!                             is opened
//! ```
//!
//! A segment is a header of 64 bytes, then records without gaps, then zeros (space that is
//! reserved) until it is sealed. The file of a delivered segment is used again for the next, so
//! that its records overwrite blocks and a sync has no metadata to write; there 64 zeros follow
//! the last record, and after them what the file held before.
//!
//! ```text
//!  0 "MerSpool"      8 version u32 = 1   12 salt u32   16 identity [16]   32 first seq u64
//! 40 recycled u8    41 zeros             60 crc of 0..60
//! ```
//!
//! A record is a header of 64 bytes, the overlay, the body, zeros up to a multiple of 8:
//!
//! ```text
//!  0 "MRec"            4 crc of 8..64, seeded with the salt     8 crc of overlay and body
//! 12 body bytes u32   16 overlay bytes u32   20 items u32      24 seq u64
//! 32 time u64         40 hash u128           56 signal u8      57 flags u8: 1 = has a hash
//! 58 zeros
//! ```
//!
//! # What holds
//!
//! - An append is answered after its group is synced. Before that no reader sees it.
//! - Sequences and times are given by the writer and never descend, also not over a restart.
//!   Within a segment sequences are contiguous. A sequence that may have been seen by anybody
//!   is never given again; after a torn tail or a lost segment some are left out.
//! - A segment ends where the next one's name says: records beyond are of a failed write and
//!   never come back. The newest segment is therefore never deleted.
//! - After a write or sync has failed, that file is not written again. The group is answered
//!   with the error, or as full where there is no room, and the next group begins a segment.
//! - What is torn off the end is cut. What is damaged in the middle is skipped, by the
//!   length in a sound header, else by a search for the next sound one; the salt keeps bytes
//!   of a body from passing for a record. Sealed segments are checked when they are read.
//! - What an exporter has not delivered of a signal is everything after its cursor, and closed
//!   ranges before it: a backlog that was set aside. A segment is deleted when both are past it.
//! - Cursors, `alive` and `hashes` may be old after a crash, never ahead. The hashes of a
//!   segment are durable before it is deleted.
//! - A segment that is complete and still needed after `compress_after` is compressed under its
//!   own name, in one step, by a thread of its own. It takes what it then takes.
//! - Memory: 24 bytes per record, up to 80 bytes per request of the retry window, 2 MiB of
//!   decompressed frames. Disk: `max_bytes`, beside the small files and the one segment that is
//!   being compressed.

mod cold;
mod compress;
mod config;
mod delivery;
pub mod disk;
mod error;
mod index;
mod kept;
mod marks;
mod queue;
mod reader;
mod record;
mod recovery;
mod scan;
mod segment;
pub mod simulated;
mod undelivered;
mod window;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meridian_proto::ids::AgentId;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::tasks::{self, Task};
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::watch;

pub use compress::Compressed;
pub use config::{SpoolConfig, WhenFull};
pub use delivery::{Backlog, Resumed};
pub use error::{AppendError, ReadError, SpoolError};
pub use index::{Committed, DropReason, Pending};
pub use reader::Reader;
pub use record::{NewRecord, Record};
pub use recovery::Recovery;
pub use undelivered::Range;

use cold::FrameCache;
use compress::{Compressor, Ending};
use disk::{Disk, RealDisk};
use index::Index;
use queue::{Life, Queue};
use writer::{Writer, WriterParts};

/// The largest record, so that offsets in a segment fit `u32`.
const RECORD_BYTES_MAX: u64 = 1 << 30;
/// The largest segment, unless one record takes more.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The answer to an append, given when the record is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The record's sequence number, or that of the record it is a duplicate of.
    pub seq: u64,
    /// Whether a record with this hash was already accepted in the retry window.
    pub duplicate: bool,
}

/// A handle on the spool; clones share it. The writer ends when it is closed, or when the
/// last handle is gone.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
}

/// What handles, readers and the writer share.
struct Shared {
    identity: AgentId,
    recovery: Recovery,
    clock: Clock,
    index: Mutex<Index>,
    durable: watch::Sender<u64>,
    /// Held while a segment's file is deleted or replaced; false when none may be any more.
    files: Mutex<bool>,
    frames: FrameCache,
    disk: Arc<dyn Disk>,
    kept_dir: PathBuf,
}

/// Closes the queue when the last handle is gone.
struct Handle {
    queue: Arc<Queue>,
    /// Its end is told by the queue, also that by a panic.
    _writer: Task<()>,
    ending: Arc<Ending>,
    _compressor: Task<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.ending.end();
        self.queue.close();
    }
}

impl Spool {
    /// Opens the directory, recovers what is there and starts the writer. The exporters are
    /// those of the configuration; cursors of others are deleted. A new exporter starts at
    /// the oldest record there is. Must be called within the tokio runtime.
    pub fn open(config: SpoolConfig, clock: Clock, exporters: &[String]) -> Result<Spool, SpoolError> {
        Self::open_on(Arc::new(RealDisk), config, clock, exporters)
    }

    /// The same on another disk.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        config: SpoolConfig,
        clock: Clock,
        exporters: &[String],
    ) -> Result<Spool, SpoolError> {
        let linger = config.linger;
        let (shared, writer) = open_parts(Arc::clone(&disk), config.clone(), clock, exporters)?;
        let ending = Arc::new(Ending::default());
        let compressor = Compressor::new(disk, Arc::clone(&shared), config);
        let until = Arc::clone(&ending);
        let queue = Arc::new(Queue::new());
        let served = Arc::clone(&queue);
        let (compressor, writer) = if tasks::is_simulated() {
            (
                tasks::spawn("spool compressor", async move { compressor.run_as_task().await }),
                tasks::spawn("spool writer", queue::serve_as_task(served, writer, linger)),
            )
        } else {
            (
                tasks::blocking("spool compressor", move || compressor.run(&until)),
                tasks::blocking("spool writer", move || queue::serve(&served, writer, linger)),
            )
        };
        Ok(Spool {
            shared,
            handle: Arc::new(Handle {
                queue,
                _writer: writer,
                ending,
                _compressor: compressor,
            }),
        })
    }

    /// The identity made with the directory.
    pub fn identity(&self) -> AgentId {
        self.shared.identity
    }

    /// What was found when the spool was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.shared.recovery
    }

    /// Stores a record; resolves when it is durable. Dropping the future does not undo it.
    pub async fn append(&self, record: NewRecord) -> Result<Appended, AppendError> {
        self.handle.queue.append(record, None).await
    }

    /// The same, and counts its items, if they are new, also where nobody waits any more.
    pub async fn append_counted(
        &self,
        record: NewRecord,
        accepted: IntCounter,
    ) -> Result<Appended, AppendError> {
        self.handle.queue.append(record, Some(accepted)).await
    }

    /// The exporter takes these signals only: of the others nothing is kept for it. Said once,
    /// before it begins.
    pub fn takes_only(&self, exporter: &str, signals: &[Signal]) {
        self.deliver(|index| index.takes_only(exporter, signals));
    }

    /// Whether anything of the signal is kept for the exporter.
    pub fn takes(&self, exporter: &str, signal: Signal) -> bool {
        self.cursor(exporter, signal) != delivery::NOT_TAKEN
    }

    /// A reader for this exporter.
    pub fn reader(&self, _exporter: &str) -> Reader {
        Reader {
            shared: Arc::clone(&self.shared),
            durable: self.shared.durable.subscribe(),
        }
    }

    /// The time before which everything accepted has a sequence up to `sent` (per signal, by
    /// [`Signal::index`]).
    pub fn watermark(&self, sent: [u64; 3]) -> u64 {
        self.shared.watermark(sent)
    }

    /// Notes that the exporter's live lane has delivered this signal up to `seq`; never moves
    /// back. Returns the items passed, less what was dropped: what the ledger counts as delivered.
    pub fn advance(&self, exporter: &str, signal: Signal, seq: u64) -> u64 {
        self.deliver(|index| index.advance(exporter, signal, seq))
    }

    /// The same of the closed ranges: they are delivered up to `seq`.
    pub fn catch_up(&self, exporter: &str, signal: Signal, seq: u64) -> u64 {
        self.deliver(|index| index.catch_up(exporter, signal, seq))
    }

    /// Takes over what the exporter's peer has: everything up to `seq`, except these ranges, and
    /// nothing else. What it has lost is pending again, as far as records are still there.
    pub fn resume(&self, exporter: &str, signal: Signal, seq: u64, ranges: &[Range]) -> Resumed {
        self.deliver(|index| index.resume(exporter, signal, seq, ranges))
    }

    fn deliver<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        let mut index = self.shared.index.lock();
        let changed = change(&mut index);
        let reclaim = index.oldest_is_delivered();
        drop(index);
        if reclaim {
            self.handle.queue.reclaim();
        }
        changed
    }

    /// Everything of this signal up to here is delivered by the exporter's live lane, except the
    /// closed ranges.
    pub fn cursor(&self, exporter: &str, signal: Signal) -> u64 {
        let index = self.shared.index.lock();
        index
            .cursor(exporter)
            .map_or(0, |cursor| cursor.undelivered[signal.index()].cursor)
    }

    /// The closed ranges of this signal that the exporter has still to deliver, ascending.
    pub fn ranges(&self, exporter: &str, signal: Signal) -> Vec<Range> {
        let index = self.shared.index.lock();
        index
            .cursor(exporter)
            .map(|cursor| cursor.undelivered[signal.index()].ranges.clone())
            .unwrap_or_default()
    }

    /// The clock of the records: it goes on from the last of them, and is never set back. What
    /// is told of this spool's times must be told by this one.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// What has waited for the exporter's live lane for so long.
    pub fn backlog(&self, exporter: &str, waited: Duration) -> Backlog {
        let waited_nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        let now = self.shared.clock.now_unix_nanos();
        let index = self.shared.index.lock();
        // Records do not get younger by a clock that was set back.
        let received_before = now.max(index.last_time).saturating_sub(waited_nanos);
        index.backlog(exporter, received_before)
    }

    /// The times (from, to) of what the exporter's closed ranges hold, ascending and apart.
    pub fn late(&self, exporter: &str) -> Vec<(u64, u64)> {
        self.shared.index.lock().late(exporter)
    }

    /// Up to where the exporter has asked for a closed range at most, if it got no answer, here or
    /// in the life of an earlier process.
    pub fn asked_seq(&self, exporter: &str) -> Option<u64> {
        let index = self.shared.index.lock();
        let asked_seq = index.cursor(exporter)?.asked_seq?;
        Some(asked_seq.min(index.next_seq - 1))
    }

    /// Notes that the exporter asks for a closed range up to `seq`, which is not before what it
    /// has asked for without an answer; durable when it resolves.
    pub async fn ask(&self, exporter: &str, seq: u64) -> io::Result<()> {
        let before = self.note_asked(exporter, Some(seq));
        let saved = self.handle.queue.save_cursors().await;
        if saved.is_err() {
            self.note_asked(exporter, before);
        }
        saved
    }

    /// The exporter has its answer. To forget this costs one more question.
    pub fn answered(&self, exporter: &str) {
        self.note_asked(exporter, None);
    }

    /// Returns what was noted before.
    fn note_asked(&self, exporter: &str, seq: Option<u64>) -> Option<u64> {
        let mut index = self.shared.index.lock();
        let cursor = index.cursors.iter_mut().find(|one| one.exporter == exporter)?;
        cursor.moved |= cursor.asked_seq != seq;
        std::mem::replace(&mut cursor.asked_seq, seq)
    }

    /// What the exporter has still to deliver.
    pub fn pending(&self, exporter: &str) -> Pending {
        self.shared.index.lock().pending(exporter)
    }

    /// The sequence of the oldest record, or of the next one if there is none.
    pub fn oldest_seq(&self) -> u64 {
        self.shared.index.lock().oldest_seq()
    }

    /// What was written since the spool was opened, by whatever many exporters it is read.
    pub fn committed(&self) -> Committed {
        self.shared.index.lock().committed
    }

    /// What was compressed since the spool was opened.
    pub fn compressed(&self) -> Compressed {
        self.shared.index.lock().compressed
    }

    /// Bytes that the records take on the disk, delivered ones of undeleted segments included.
    pub fn bytes(&self) -> u64 {
        self.shared.index.lock().bytes()
    }

    /// Items dropped before this exporter delivered them, since this process started.
    pub fn dropped(&self, exporter: &str) -> u64 {
        let reasons = [DropReason::Full, DropReason::Corrupt, DropReason::Expired];
        let of = |signal| reasons.map(|reason| self.dropped_items(exporter, signal, reason));
        Signal::ALL.into_iter().flat_map(of).sum()
    }

    /// The same, of one signal and for one reason.
    pub fn dropped_items(&self, exporter: &str, signal: Signal, reason: DropReason) -> u64 {
        self.shared.index.lock().dropped(exporter, signal, reason)
    }

    /// Asks the writer for a sign of life on the disk; call it every second.
    pub fn touch_alive(&self) {
        self.handle.queue.touch();
    }

    /// Resolves when the writer has ended without being asked to: the process should end.
    pub async fn failed(&self) {
        let mut life = self.handle.queue.life();
        if life.wait_for(|life| *life == Life::Failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Writes what is queued, marks the shutdown as clean and ends the writer.
    pub async fn close(&self) {
        self.handle.ending.end();
        self.handle.queue.close();
        let mut life = self.handle.queue.life();
        // An error is impossible while this handle keeps the sender, and would mean ended.
        life.wait_for(|life| *life != Life::Running).await.ok();
    }
}

impl Shared {
    fn watermark(&self, sent: [u64; 3]) -> u64 {
        let now = self.clock.now_unix_nanos();
        self.index.lock().watermark(now, sent)
    }
}

/// Recovers a directory; returns what is shared and the writer, which needs a thread.
fn open_parts(
    disk: Arc<dyn Disk>,
    config: SpoolConfig,
    clock: Clock,
    exporters: &[String],
) -> Result<(Arc<Shared>, Writer), SpoolError> {
    let opened = recovery::open(&disk, &config, clock.now_unix_nanos(), exporters)?;
    let kept_dir = kept::dir_of(&config);
    kept::open(&*disk, &kept_dir, exporters).map_err(|source| SpoolError::Io {
        action: "open",
        path: kept_dir.clone(),
        source,
    })?;
    let clock = clock.forward_from(opened.index.last_time);
    let durable = watch::Sender::new(opened.index.durable_seq());
    let shared = Arc::new(Shared {
        identity: opened.identity,
        recovery: opened.recovery,
        clock: clock.clone(),
        index: Mutex::new(opened.index),
        durable,
        files: Mutex::new(true),
        frames: opened.frames,
        disk: Arc::clone(&disk),
        kept_dir,
    });
    let parts = WriterParts {
        window: opened.window,
        alive: opened.alive,
        empty: opened.empty,
        lock: opened.lock,
    };
    let mut writer = Writer::new(config, disk, clock, Arc::clone(&shared), parts);
    writer.reclaim();
    writer.touch(false);
    Ok((shared, writer))
}

#[cfg(test)]
mod backlog_tests;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod cold_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod recycle_tests;
#[cfg(test)]
mod tests;
