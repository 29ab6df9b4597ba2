//! The spool: the only durable copy of accepted telemetry.
//!
//! It deliberately knows nothing of OTLP: a record is bytes with a count of items.

mod clock;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use clock::Clock;
use meridian_proto::ids::AgentId;
use meridian_proto::signal::Signal;
use parking_lot::Mutex;
use tokio::sync::watch;

/// What happens to new records when the spool holds `max_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// New records are refused with a hint when to retry.
    Refuse,
    /// The oldest segment is dropped for the exporters that lag, counted in items.
    DropOldest,
}

/// Where the spool is and how much it may hold.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// The spool's directory, made if it is missing.
    pub path: PathBuf,
    /// The most bytes that all segments together may take.
    pub max_bytes: u64,
    /// What happens beyond that.
    pub when_full: WhenFull,
    /// Size of one segment; the unit in which disk space is released.
    pub segment_bytes: u64,
    /// How long the writer waits for company before it writes and syncs a group.
    pub linger: Duration,
    /// How long the hash of a record answers a retry as a duplicate.
    pub retry_window: Duration,
    /// Whether an append is on the disk (`true`) or in the page cache when it is answered.
    pub fsync: bool,
}

impl SpoolConfig {
    /// The defaults, in this directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: 4 << 30,
            when_full: WhenFull::Refuse,
            segment_bytes: 16 << 20,
            linger: Duration::from_millis(2),
            retry_window: Duration::from_secs(600),
            fsync: true,
        }
    }
}

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

/// The answer to an append, given when the record is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The record's sequence number, or that of the record it is a duplicate of.
    pub seq: u64,
    /// Whether a record with this hash was already accepted in the retry window.
    pub duplicate: bool,
}

/// Why a record was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The spool, or its disk, is full.
    #[error("the spool is full")]
    Full {
        /// When it is worth to try again.
        retry_after: Duration,
    },
    /// The record could never fit.
    #[error("a record of {bytes} bytes does not fit the spool, which takes {bytes_max}")]
    TooLarge {
        /// Size of the record.
        bytes: u64,
        /// The largest record this spool takes.
        bytes_max: u64,
    },
    /// The disk failed; the record is not stored as far as anybody can tell.
    #[error("writing to the spool failed")]
    Failed(#[source] Arc<io::Error>),
    /// The spool is closed.
    #[error("the spool is closed")]
    Closed,
}

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has the directory open.
    #[error("spool {path} is in use by another process; each agent needs a spool directory of its own")]
    Locked {
        /// The spool's directory.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Why records could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("cannot read records from {path}")]
pub struct ReadError {
    /// The segment.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
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

/// What an exporter has not delivered yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pending {
    /// Items of all signals.
    pub items: u64,
    /// Items of each signal, by [`Signal::index`].
    pub items_by_signal: [u64; 3],
    /// Bytes of the records on the disk.
    pub bytes: u64,
    /// When the oldest of them was accepted, to the millisecond below; 0 if there is none.
    pub oldest_unix_nanos: u64,
}

/// Why records were dropped before an exporter delivered them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The spool was full and its policy is to drop the oldest.
    Full,
    /// The record's bytes are damaged.
    Corrupt,
}

/// What was found when the spool was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last sign of life before this start; 0 for a new spool.
    pub last_alive_unix_nanos: u64,
    /// Whether the last process closed the spool.
    pub clean: bool,
    /// Records that are there.
    pub records: u64,
    /// Bytes of an unfinished write that were cut off.
    pub torn_bytes: u64,
    /// Records in the middle that are damaged and were skipped.
    pub corrupt_records: u64,
    /// Segments that could not be read or belong to another spool, renamed to `.bad`.
    pub segments_set_aside: u64,
}

/// A handle on the spool; clones share it.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

struct Shared {
    identity: AgentId,
    recovery: Recovery,
    clock: Clock,
    records: Mutex<Vec<Record>>,
    cursors: Mutex<std::collections::HashMap<String, [u64; 3]>>,
    durable: watch::Sender<u64>,
}

impl Spool {
    /// Opens the directory, recovers what is there and starts the writer. The exporters are
    /// those of the configuration; cursors of others are deleted.
    pub fn open(config: SpoolConfig, clock: Clock, exporters: &[String]) -> Result<Spool, SpoolError> {
        let _ = config;
        let shared = Shared {
            identity: AgentId::random(),
            recovery: Recovery::default(),
            clock,
            records: Mutex::default(),
            cursors: Mutex::new(exporters.iter().map(|name| (name.clone(), [0; 3])).collect()),
            durable: watch::Sender::new(0),
        };
        Ok(Spool {
            shared: Arc::new(shared),
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
        let mut records = self.shared.records.lock();
        let seq = records.last().map_or(0, |last| last.seq) + 1;
        records.push(Record {
            seq,
            signal: record.signal,
            items: record.items,
            received_unix_nanos: self.shared.clock.now_unix_nanos(),
            overlay: record.overlay,
            body: record.body,
        });
        drop(records);
        self.shared.durable.send_replace(seq);
        Ok(Appended {
            seq,
            duplicate: false,
        })
    }

    /// A reader of its own for this exporter.
    pub fn reader(&self, exporter: &str) -> Reader {
        let _ = exporter;
        Reader {
            shared: Arc::clone(&self.shared),
            durable: self.shared.durable.subscribe(),
        }
    }

    /// The time before which everything accepted has a sequence up to `sent` (per signal, by
    /// [`Signal::index`]).
    pub fn watermark(&self, sent: [u64; 3]) -> u64 {
        let now = self.shared.clock.now_unix_nanos();
        let records = self.shared.records.lock();
        let unsent = records
            .iter()
            .find(|record| record.seq > sent[record.signal.index()]);
        unsent.map_or(now, |record| record.received_unix_nanos)
    }

    /// Notes that the exporter has delivered this signal up to `seq`; never moves back.
    /// Returns the items passed, less what was dropped: what the ledger counts as delivered.
    pub fn advance(&self, exporter: &str, signal: Signal, seq: u64) -> u64 {
        let Some(old) = self.cursor_moved(exporter, signal, seq) else {
            return 0;
        };
        let records = self.shared.records.lock();
        let passed = records
            .iter()
            .filter(|record| record.signal == signal && record.seq > old && record.seq <= seq);
        passed.map(|record| u64::from(record.items)).sum()
    }

    /// Moves the exporter's cursor back to `seq`, as far as records are still there: the other
    /// side has lost what it had confirmed. Returns the items that are pending again.
    pub fn rewind(&self, exporter: &str, signal: Signal, seq: u64) -> u64 {
        let _ = (exporter, signal, seq);
        0
    }

    fn cursor_moved(&self, exporter: &str, signal: Signal, seq: u64) -> Option<u64> {
        let mut cursors = self.shared.cursors.lock();
        let cursor = &mut cursors.get_mut(exporter)?[signal.index()];
        (seq > *cursor).then(|| std::mem::replace(cursor, seq))
    }

    /// Everything of this signal up to here is delivered by the exporter.
    pub fn cursor(&self, exporter: &str, signal: Signal) -> u64 {
        self.shared
            .cursors
            .lock()
            .get(exporter)
            .map_or(0, |cursors| cursors[signal.index()])
    }

    /// What the exporter has still to deliver.
    pub fn pending(&self, exporter: &str) -> Pending {
        let cursors = self
            .shared
            .cursors
            .lock()
            .get(exporter)
            .copied()
            .unwrap_or_default();
        let mut pending = Pending::default();
        for record in self.shared.records.lock().iter() {
            let index = record.signal.index();
            if record.seq > cursors[index] {
                pending.items += u64::from(record.items);
                pending.items_by_signal[index] += u64::from(record.items);
                pending.bytes += record.body.len() as u64;
                if pending.oldest_unix_nanos == 0 {
                    pending.oldest_unix_nanos = record.received_unix_nanos;
                }
            }
        }
        pending
    }

    /// The sequence of the oldest record, or of the next one if there is none.
    pub fn oldest_seq(&self) -> u64 {
        1
    }

    /// Bytes that the segments take on the disk.
    pub fn bytes(&self) -> u64 {
        self.shared
            .records
            .lock()
            .iter()
            .map(|record| record.body.len() as u64)
            .sum()
    }

    /// Items dropped before this exporter delivered them, since this process started.
    pub fn dropped(&self, exporter: &str) -> u64 {
        let _ = exporter;
        0
    }

    /// The same, of one signal and for one reason.
    pub fn dropped_items(&self, exporter: &str, signal: Signal, reason: DropReason) -> u64 {
        let _ = (exporter, signal, reason);
        0
    }

    /// Asks the writer for a sign of life on the disk; call it every second.
    pub fn touch_alive(&self) {}

    /// Resolves when the writer has ended without being asked to: the process should end.
    pub async fn failed(&self) {
        std::future::pending::<()>().await;
    }

    /// Writes what is queued, marks the shutdown as clean and ends the writer.
    pub async fn close(&self) {}
}

/// Reads durable records for one exporter.
pub struct Reader {
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
}

impl Reader {
    /// Records of the signal after `after_seq` in order: at least one if there is any, and no
    /// more than both limits allow. Reads files: call it where blocking is allowed.
    pub fn read(
        &mut self,
        signal: Signal,
        after_seq: u64,
        max_items: u32,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let mut found: Vec<Record> = Vec::new();
        let (mut items, mut bytes) = (0_u32, 0_usize);
        for record in self.shared.records.lock().iter() {
            if record.signal != signal || record.seq <= after_seq {
                continue;
            }
            items = items.saturating_add(record.items);
            bytes += record.body.len();
            if !found.is_empty() && (items > max_items || bytes > max_bytes) {
                break;
            }
            found.push(record.clone());
        }
        Ok(found)
    }

    /// Resolves when records became durable since the last call; may resolve too often.
    pub async fn wait_for_more(&mut self) {
        if self.durable.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
