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
//! cursors/<exporter>          "MerCursr", delivered seq u64 of spans, logs, metrics, crc, 0 × 4;
//!                             other bytes of the name than letters, digits, - and _ as %XX
//! hashes                      blocks: "MHsh", crc of 8.., count u64, then per request
//!                             hash u128, seq u64, time u64
//! NNNNNNNNNNNNNNNNNNNN.seg    a segment, named by its first sequence, 20 digits
//! *.seg.bad                   a segment that could not be read; for people, never touched again.
//!                             One of a later version is not damage: the spool is not opened
//! *.tmp                       being made; removed when the spool is opened
//! ```
//!
//! A segment is a header of 64 bytes, then records without gaps, then zeros (space that is
//! reserved) until it is sealed:
//!
//! ```text
//!  0 "MerSpool"   8 version u32 = 1   12 salt u32   16 identity [16]   32 first seq u64
//! 40 zeros        60 crc of 0..60
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
//! - Cursors, `alive` and `hashes` may be old after a crash, never ahead. The hashes of a
//!   segment are durable before it is deleted.
//! - Memory: 24 bytes per record, up to 80 bytes per request of the retry window. Disk:
//!   `max_bytes`, beside the small files.

mod config;
pub mod disk;
mod error;
mod index;
mod marks;
mod queue;
mod reader;
mod record;
mod recovery;
mod scan;
mod segment;
pub mod simulated;
mod window;
mod writer;

use std::sync::Arc;

use meridian_proto::ids::AgentId;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::tasks::{self, Task};
use parking_lot::Mutex;
use tokio::sync::watch;

pub use config::{SpoolConfig, WhenFull};
pub use error::{AppendError, ReadError, SpoolError};
pub use index::{DropReason, Pending};
pub use reader::Reader;
pub use record::{NewRecord, Record};
pub use recovery::Recovery;

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
}

/// Closes the queue when the last handle is gone.
struct Handle {
    queue: Arc<Queue>,
    /// Its end is told by the queue, also that by a panic.
    _writer: Task<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
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
        let (shared, writer) = open_parts(disk, config, clock, exporters)?;
        let queue = Arc::new(Queue::new());
        let served = Arc::clone(&queue);
        let writer = tasks::blocking("spool writer", move || queue::serve(&served, writer, linger));
        Ok(Spool {
            shared,
            handle: Arc::new(Handle {
                queue,
                _writer: writer,
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
        self.handle.queue.append(record).await
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

    /// Notes that the exporter has delivered this signal up to `seq`; never moves back.
    /// Returns the items passed, less what was dropped: what the ledger counts as delivered.
    pub fn advance(&self, exporter: &str, signal: Signal, seq: u64) -> u64 {
        let mut index = self.shared.index.lock();
        let passed = index.advance(exporter, signal, seq);
        let reclaim = index.oldest_is_delivered();
        drop(index);
        if reclaim {
            self.handle.queue.reclaim();
        }
        passed
    }

    /// Moves the exporter's cursor back to `seq`, as far as records are still there: the other
    /// side has lost what it had confirmed. Returns the items that are pending again.
    pub fn rewind(&self, exporter: &str, signal: Signal, seq: u64) -> u64 {
        self.shared.index.lock().rewind(exporter, signal, seq)
    }

    /// Everything of this signal up to here is delivered by the exporter.
    pub fn cursor(&self, exporter: &str, signal: Signal) -> u64 {
        let index = self.shared.index.lock();
        index
            .cursor(exporter)
            .map_or(0, |cursor| cursor.seqs[signal.index()])
    }

    /// What the exporter has still to deliver.
    pub fn pending(&self, exporter: &str) -> Pending {
        self.shared.index.lock().pending(exporter)
    }

    /// The sequence of the oldest record, or of the next one if there is none.
    pub fn oldest_seq(&self) -> u64 {
        self.shared.index.lock().oldest_seq()
    }

    /// Bytes that the records take on the disk, delivered ones of undeleted segments included.
    pub fn bytes(&self) -> u64 {
        self.shared.index.lock().bytes()
    }

    /// Items dropped before this exporter delivered them, since this process started.
    pub fn dropped(&self, exporter: &str) -> u64 {
        let reasons = [DropReason::Full, DropReason::Corrupt];
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
    let durable = watch::Sender::new(opened.index.durable_seq());
    let shared = Arc::new(Shared {
        identity: opened.identity,
        recovery: opened.recovery,
        clock: clock.clone(),
        index: Mutex::new(opened.index),
        durable,
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
mod bench;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
