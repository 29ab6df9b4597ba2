//! What can go wrong at the spool's edge. Damage is not among it: it is counted, not an error.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
    /// A later release has left records in a format that this one does not know.
    #[error(
        "{path} was written by a later release: it has version {version}, this release reads version \
         {version_known}; run that release until it has delivered the spool, or move the file away"
    )]
    Later {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The version that this release writes.
        version_known: u32,
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
