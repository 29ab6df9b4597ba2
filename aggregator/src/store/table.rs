//! One table: its log, its state, and the commits that move rows from memory into files.
//! The log is changed by one task at a time; the state is only swapped, so that readers
//! never wait for a commit.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::Add;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::tasks::TaskError;
use object_store::path::Path;
use parking_lot::RwLock;
use parquet::errors::ParquetError;
use tokio::sync::Mutex;

use super::commit;
use super::damage::DamagedFiles;
use super::hot::{LaneKey, TableState, last_seqs};
use super::location::{Location, LocationError};
use super::log::{self, Outcome, Reason, Replacement, TableLog};
use super::new_file::{Directory, NewFile};
use super::salvage::Salvage;
use super::view::{DataFile, View};

/// Attempts to put files in the place of others while others commit.
const REPLACE_ATTEMPTS_MAX: usize = 20;
/// Conflicts of one commit with other aggregators before it waits for the next occasion.
const CONFLICTS_MAX: usize = 8;

/// Why a table cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The place.
    #[error("the store's place cannot be used")]
    Location(#[from] LocationError),
    /// The log.
    #[error("the log of table {signal} cannot be used")]
    Log {
        /// Whose.
        signal: Signal,
        /// Why.
        source: Box<DeltaTableError>,
    },
    /// An entry of a log, as a full disk or a damaged one leaves it.
    #[error(
        "{path} is not an entry of a Delta log; put back a copy of it, or remove it if it is the newest and no reader has seen it"
    )]
    LogEntry {
        /// Its path.
        path: Path,
        /// Where it ends being JSON.
        source: serde_json::Error,
    },
    /// A data file.
    #[error("cannot write {path}")]
    Write {
        /// Its path.
        path: Path,
        /// Why.
        source: object_store::Error,
    },
    /// Rows.
    #[error("rows of {signal} cannot be arranged")]
    Arrange {
        /// Whose.
        signal: Signal,
        /// Why.
        source: ArrowError,
    },
    /// Rows.
    #[error("rows of {signal} cannot be encoded")]
    Encode {
        /// Whose.
        signal: Signal,
        /// Why.
        source: ParquetError,
    },
    /// A data file.
    #[error("cannot read {path} to merge it")]
    Read {
        /// Its path.
        path: Path,
        /// Why.
        source: ParquetError,
    },
    /// What is in the table's directory.
    #[error("cannot list or delete files of {signal}")]
    Sweep {
        /// Whose.
        signal: Signal,
        /// Why.
        source: object_store::Error,
    },
    /// A merge.
    #[error("{rows_in} rows of {signal} became {rows_out} in a merge, which is given up")]
    Miscounted {
        /// Whose.
        signal: Signal,
        /// Rows of the files that were merged.
        rows_in: u64,
        /// Rows that were written.
        rows_out: u64,
    },
    /// A thread.
    #[error("encoding was interrupted")]
    Interrupted(#[from] TaskError),
    /// Too many conflicts.
    #[error("other aggregators moved the same agents of {signal} in each of {attempts} attempts")]
    Contended {
        /// Whose.
        signal: Signal,
        /// How often.
        attempts: usize,
    },
}

/// What one commit moved; nothing where there was nothing to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Rows that are now in files.
    pub rows: usize,
}

/// One table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) signal: Signal,
    pub(crate) state: RwLock<TableState>,
    pub(super) log: Mutex<TableLog>,
    directory: Directory,
    pub(super) salvage: Arc<Salvage>,
    pub(super) damaged: DamagedFiles,
    /// A file that has been waiting for its commit for longer may have been vacuumed.
    commit_within: Duration,
}

/// Names the entry of the log that cannot be read, if that is why.
async fn why_not_open(
    signal: Signal,
    location: &Location,
    path: &Path,
    source: DeltaTableError,
) -> StoreError {
    match log::broken_entry(location.root().as_ref(), path).await {
        Some((path, source)) => StoreError::LogEntry { path, source },
        None => StoreError::Log {
            signal,
            source: Box::new(source),
        },
    }
}

impl Table {
    /// `commit_within` is how old an uncommitted file may become before it is written anew.
    pub(crate) async fn open(
        signal: Signal,
        location: &Location,
        clock: Clock,
        commit_within: Duration,
    ) -> Result<Self, StoreError> {
        let path = location.path(signal.as_str());
        let log_store = location.log_store(signal.as_str())?;
        let salvage = Arc::clone(&log_store.1);
        let log = match TableLog::open(signal, log_store, path.clone()).await {
            Ok(log) => log,
            Err(source) => return Err(why_not_open(signal, location, &path, source).await),
        };
        let table = Self {
            signal,
            state: RwLock::new(TableState::new(signal)),
            log: Mutex::new(log),
            directory: Directory {
                objects: Arc::clone(location.root()),
                path,
                signal,
                clock,
            },
            salvage,
            damaged: DamagedFiles::default(),
            commit_within,
        };
        table.adopt(&*table.log.lock().await, &[]).await?;
        Ok(table)
    }

    /// Where the files are.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What the table holds at this moment.
    pub(crate) fn view(&self) -> View {
        let damage = self.damage();
        let view = self.state.read().view();
        View { damage, ..view }
    }

    /// The files of the version that is known here.
    pub(crate) fn files(&self) -> Arc<Vec<Arc<DataFile>>> {
        Arc::clone(self.state.read().files())
    }

    /// A failure of the log, which is read anew next time.
    pub(super) fn failed(&self, log: &TableLog, source: DeltaTableError) -> StoreError {
        log.suspect();
        self.log_error(source)
    }

    pub(super) fn log_error(&self, source: DeltaTableError) -> StoreError {
        StoreError::Log {
            signal: self.signal,
            source: Box::new(source),
        }
    }

    /// Reads what other aggregators committed; their rows leave this one's memory.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        let mut log = self.log.lock().await;
        self.refresh_locked(&mut log).await
    }

    pub(super) async fn refresh_locked(&self, log: &mut TableLog) -> Result<(), StoreError> {
        log.refresh().await.map_err(|error| self.failed(log, error))?;
        if log.version() != self.state.read().version() {
            self.adopt(log, &[]).await?;
        }
        Ok(())
    }

    /// Reads the whole log anew.
    pub(crate) async fn reload(&self) -> Result<(), StoreError> {
        let mut log = self.log.lock().await;
        log.load().await.map_err(|error| self.failed(&log, error))?;
        self.adopt(&log, &[]).await
    }

    /// Takes over the log's version: its files, and the sequences of every lane known here.
    pub(super) async fn adopt(&self, log: &TableLog, more: &[LaneKey]) -> Result<(), StoreError> {
        let mut lanes = self.state.read().lanes();
        lanes.extend_from_slice(more);
        let committed = log
            .committed(&lanes)
            .await
            .map_err(|error| self.failed(log, error))?;
        let known = self.files();
        let files = log.files(&known).await.map_err(|error| self.failed(log, error))?;
        let removed_to = log.removed_to().await.map_err(|error| self.failed(log, error))?;
        let mut state = self.state.write();
        state.note_removed(removed_to);
        state.advance(log.version(), Arc::new(files), committed);
        Ok(())
    }

    /// Moves the oldest rows in memory, up to about `bytes_max`, into the table.
    pub(crate) async fn commit(&self, bytes_max: usize) -> Result<Moved, StoreError> {
        let mut log = self.log.lock().await;
        for _ in 0..CONFLICTS_MAX {
            // What another aggregator committed meanwhile is cut before it is written twice.
            self.refresh_locked(&mut log).await?;
            let batches = self.state.read().oldest(bytes_max);
            if batches.is_empty() {
                return Ok(Moved::default());
            }
            let files = commit::write(&self.directory, &batches).await?;
            if self.commit_files(&mut log, &files, &last_seqs(&batches)).await? {
                let rows = files.iter().map(|new| new.file.rows).sum::<u64>();
                return Ok(Moved {
                    rows: usize::try_from(rows).unwrap_or(usize::MAX),
                });
            }
        }
        Err(StoreError::Contended {
            signal: self.signal,
            attempts: CONFLICTS_MAX,
        })
    }

    /// Whether the files are in the log; if not, another aggregator was faster, or writing
    /// them took so long that they may be gone.
    async fn commit_files(
        &self,
        log: &mut TableLog,
        files: &[NewFile],
        lanes: &[(LaneKey, u64)],
    ) -> Result<bool, StoreError> {
        if !self.are_fresh(files) {
            self.directory.remove(files).await;
            return Ok(false);
        }
        let adds = files.iter().map(|new| new.add.clone()).collect();
        let before = self.state.read().version();
        let result = log.append(adds, lanes).await;
        let keys: Vec<LaneKey> = lanes.iter().map(|(lane, _)| *lane).collect();
        let Err(error) = result else {
            if log.version() == before + 1 {
                self.succeed(log.version(), &[], files, lanes);
            } else {
                self.adopt(log, &keys).await?;
            }
            return Ok(true);
        };
        if self.find(log, files, &keys).await? {
            return Ok(true);
        }
        match log::outcome(&error) {
            Outcome::Refused => {
                self.directory.remove(files).await;
                Ok(false)
            }
            Outcome::Unknown => Err(self.log_error(error)),
        }
    }

    fn are_fresh(&self, files: &[NewFile]) -> bool {
        files.iter().all(|new| new.written.elapsed() < self.commit_within)
    }

    /// Whether the log has these files after all: a put whose answer was lost may have
    /// succeeded, even where a retry of it was refused. The log itself is asked before
    /// anything is deleted.
    async fn find(
        &self,
        log: &mut TableLog,
        files: &[NewFile],
        lanes: &[LaneKey],
    ) -> Result<bool, StoreError> {
        log.refresh().await.map_err(|error| self.failed(log, error))?;
        self.adopt(log, lanes).await?;
        let known = self.files();
        let is_known = |new: &NewFile| known.iter().any(|one| one.path == new.file.path);
        Ok(!files.is_empty() && files.iter().all(is_known))
    }

    /// Takes over a commit of our own that directly follows the version we had.
    fn succeed(&self, version: i64, removed: &[Arc<DataFile>], added: &[NewFile], lanes: &[(LaneKey, u64)]) {
        let removed: HashSet<&Path> = removed.iter().map(|file| &file.path).collect();
        let mut state = self.state.write();
        let kept = state.files().iter().filter(|file| !removed.contains(&file.path));
        let mut all: Vec<Arc<DataFile>> = kept.cloned().collect();
        all.extend(added.iter().map(|new| Arc::clone(&new.file)));
        state.advance(version, Arc::new(all), lanes.iter().copied());
    }

    /// Puts files in the place of others. False, and the new ones are deleted again, if one
    /// of the others is no longer in the table: another aggregator was faster.
    pub(crate) async fn replace(
        &self,
        removed: &[Arc<DataFile>],
        added: Vec<NewFile>,
        reason: Reason,
    ) -> Result<bool, StoreError> {
        let adds: Vec<Add> = added.iter().map(|new| new.add.clone()).collect();
        let replacement = Replacement {
            removed,
            added: &adds,
            reason,
        };
        for _ in 0..REPLACE_ATTEMPTS_MAX {
            let mut log = self.log.lock().await;
            self.refresh_locked(&mut log).await?;
            if !self.are_fresh(&added) {
                break;
            }
            let before = self.state.read().version();
            let error = match log.replace(replacement).await {
                Ok(true) if log.version() == before + 1 => {
                    if let Reason::Retention { removed_to } = reason {
                        self.state.write().note_removed(Some(removed_to));
                    }
                    self.succeed(log.version(), removed, &added, &[]);
                    return Ok(true);
                }
                Ok(true) => {
                    self.adopt(&log, &[]).await?;
                    return Ok(true);
                }
                Ok(false) => break,
                Err(error) => error,
            };
            if self.find(&mut log, &added, &[]).await? {
                return Ok(true);
            }
            if log::outcome(&error) == Outcome::Unknown {
                // It may yet appear in the log: what was written must stay.
                return Err(self.log_error(error));
            }
        }
        self.directory.remove(&added).await;
        Ok(false)
    }

    /// Deletes entries of the log that a checkpoint has replaced; says how many.
    pub(crate) async fn clean(&self, keep: Duration) -> Result<usize, StoreError> {
        let now = self.directory.clock.now_unix_nanos();
        let mut log = self.log.lock().await;
        log.clean(keep, now)
            .await
            .map_err(|error| self.failed(&log, error))
    }
}
