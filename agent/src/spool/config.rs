//! What a spool is told when it is opened. It reads no configuration file.

use std::path::PathBuf;
use std::time::Duration;

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
    /// What nobody has delivered for so long is dropped, counted in items; never if `None`.
    pub max_age: Option<Duration>,
    /// A segment that some exporter still needs after so long is compressed.
    pub compress_after: Duration,
    /// Size of one segment, the unit in which disk space is released; at least 1/256 and at most
    /// 1/4 of `max_bytes`.
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
            max_age: None,
            compress_after: Duration::from_secs(60),
            segment_bytes: 16 << 20,
            linger: Duration::from_millis(2),
            retry_window: Duration::from_secs(600),
            fsync: true,
        }
    }
}
