//! One table: its log, its state, and the commits that move rows from memory into files.
//! The log is changed by one task at a time; the state is only swapped, so that readers
//! never wait for a commit.

use std::sync::Arc;

use arrow::error::ArrowError;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::Add;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::tasks::{self, TaskError};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::RwLock;
use parquet::errors::ParquetError;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::hot::{Held, LaneKey, TableState, last_seqs};
use super::location::{Location, LocationError};
use super::log::{self, Outcome, TableLog};
use super::stats::FileStats;
use super::{layout, parquet_file};

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
    objects: Arc<dyn ObjectStore>,
    directory: Path,
    clock: Clock,
}

/// A file that is in the object store and not yet in the log.
#[derive(Debug)]
struct Written {
    add: Add,
    full_path: Path,
    rows: usize,
}

struct Encoded {
    group: layout::Group,
    stats: FileStats,
    bytes: Vec<u8>,
}

impl Table {
    pub(crate) async fn open(signal: Signal, location: &Location, clock: Clock) -> Result<Self, StoreError> {
        let directory = location.path(signal.as_str());
        let log_store = location.log_store(signal.as_str())?;
        let log = TableLog::open(signal, log_store, directory.clone())
            .await
            .map_err(|source| StoreError::Log {
                signal,
                source: Box::new(source),
            })?;
        let table = Self {
            signal,
            state: RwLock::new(TableState::new(signal)),
            log: Mutex::new(log),
            objects: Arc::clone(location.root()),
            directory,
            clock,
        };
        table.adopt(&*table.log.lock().await, &[]).await?;
        Ok(table)
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
        log.refresh().await.map_err(|error| self.log_error(error))?;
        if log.version() != self.state.read().version() {
            self.adopt(log, &[]).await?;
        }
        Ok(())
    }

    /// Takes over the log's version: its files, and the sequences of every lane known here.
    pub(super) async fn adopt(&self, log: &TableLog, more: &[LaneKey]) -> Result<(), StoreError> {
        let mut lanes = self.state.read().lanes();
        lanes.extend_from_slice(more);
        let committed = log
            .committed(&lanes)
            .await
            .map_err(|error| self.log_error(error))?;
        let files = log.files().await.map_err(|error| self.log_error(error))?;
        self.state
            .write()
            .advance(log.version(), Arc::new(files), committed);
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
            let files = self.write_files(&batches).await?;
            let rows = files.iter().map(|file| file.rows).sum();
            if self.commit_files(&mut log, files, &last_seqs(&batches)).await? {
                return Ok(Moved { rows });
            }
        }
        Err(StoreError::Contended {
            signal: self.signal,
            attempts: CONFLICTS_MAX,
        })
    }

    /// Whether the files are in the log; if not, another aggregator was faster.
    async fn commit_files(
        &self,
        log: &mut TableLog,
        files: Vec<Written>,
        lanes: &[(LaneKey, u64)],
    ) -> Result<bool, StoreError> {
        let adds = files.iter().map(|file| file.add.clone()).collect();
        let before = self.state.read().version();
        let result = log.commit(adds, lanes).await;
        if result.is_ok() && log.version() == before + 1 {
            self.append(log.version(), &files, lanes);
            return Ok(true);
        }
        let keys: Vec<LaneKey> = lanes.iter().map(|(lane, _)| *lane).collect();
        let Err(error) = result else {
            self.adopt(log, &keys).await?;
            return Ok(true);
        };
        // A put whose answer was lost may have succeeded, even where a retry of it was
        // refused: the log itself is asked before anything is deleted.
        log.refresh().await.map_err(|error| self.log_error(error))?;
        self.adopt(log, &keys).await?;
        let known = Arc::clone(self.state.read().files());
        if files
            .iter()
            .all(|file| known.iter().any(|one| one.path == file.full_path))
        {
            return Ok(true);
        }
        match log::outcome(&error) {
            Outcome::Refused => {
                self.remove(&files).await;
                Ok(false)
            }
            Outcome::Unknown => Err(self.log_error(error)),
        }
    }

    /// Takes over a commit of our own that directly follows the version we had.
    fn append(&self, version: i64, files: &[Written], lanes: &[(LaneKey, u64)]) {
        let mut state = self.state.write();
        let mut all = state.files().as_ref().clone();
        all.extend(files.iter().map(|file| Arc::new(file.data_file(self.signal))));
        state.advance(version, Arc::new(all), lanes.iter().copied());
    }

    async fn write_files(&self, batches: &[Arc<Held>]) -> Result<Vec<Written>, StoreError> {
        let encoded = self.encode(batches.to_vec()).await?;
        let mut written = Vec::with_capacity(encoded.len());
        for file in encoded {
            match self.write(file).await {
                Ok(file) => written.push(file),
                Err(error) => {
                    self.remove(&written).await;
                    return Err(error);
                }
            }
        }
        Ok(written)
    }

    async fn encode(&self, batches: Vec<Arc<Held>>) -> Result<Vec<Encoded>, StoreError> {
        let (signal, now) = (self.signal, self.clock.now_unix_nanos());
        tasks::blocking("encode", move || {
            let rows = batches
                .iter()
                .map(|held| (held.hot.region.as_str(), &held.hot.batch));
            let arrange = |source| StoreError::Arrange { signal, source };
            layout::groups(signal, rows, now)
                .map_err(arrange)?
                .into_iter()
                .map(|group| {
                    let stats = FileStats::of(signal, &group.rows).map_err(arrange)?;
                    let bytes = parquet_file::encode(signal, &group.rows)
                        .map_err(|source| StoreError::Encode { signal, source })?;
                    Ok(Encoded { group, stats, bytes })
                })
                .collect()
        })
        .await?
    }

    async fn write(&self, file: Encoded) -> Result<Written, StoreError> {
        let Encoded { group, stats, bytes } = file;
        let relative = format!(
            "date={}/region={}/part-{}.zstd.parquet",
            group.date,
            directory_name(&group.region),
            Uuid::new_v4()
        );
        let full_path = relative
            .split('/')
            .fold(self.directory.clone(), |path, part| path.join(part));
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        self.objects
            .put(&full_path, bytes.into())
            .await
            .map_err(|source| StoreError::Write {
                path: full_path.clone(),
                source,
            })?;
        let partition_values = [("date", group.date.to_string()), ("region", group.region)]
            .map(|(column, value)| (column.to_owned(), Some(value)))
            .into();
        let add = Add {
            path: relative,
            partition_values,
            size,
            modification_time: i64::try_from(self.clock.now_unix_nanos() / 1_000_000).unwrap_or(0),
            data_change: true,
            stats: Some(stats.to_json(self.signal)),
            ..Add::default()
        };
        Ok(Written {
            add,
            full_path,
            rows: group.rows.num_rows(),
        })
    }

    /// Best effort: what stays behind is not in the log, and no reader sees it.
    async fn remove(&self, files: &[Written]) {
        for file in files {
            if let Err(error) = self.objects.delete(&file.full_path).await {
                tracing::debug!(path = %file.full_path, %error, "an orphaned file stays behind");
            }
        }
    }

    /// Deletes what the log no longer needs.
    pub(crate) async fn clean(&self) -> Result<(), StoreError> {
        self.log
            .lock()
            .await
            .clean()
            .await
            .map_err(|error| self.log_error(error))
    }
}

impl Written {
    fn data_file(&self, signal: Signal) -> super::view::DataFile {
        let stats = FileStats::from_json(signal, self.add.stats.as_deref().unwrap_or_default());
        let value = |column: &str| self.add.partition_values.get(column).cloned().flatten();
        super::view::DataFile {
            path: self.full_path.clone(),
            size: u64::try_from(self.add.size).unwrap_or(0),
            date: value("date")
                .and_then(|date| date.parse().ok())
                .unwrap_or_default(),
            region: value("region").unwrap_or_default(),
            rows: stats.rows,
            time_min: stats.time_min,
            time_max: stats.time_max,
            service_min: stats.service_min,
            service_max: stats.service_max,
        }
    }
}

/// A region as a directory. The log holds the true name; a directory is for people.
fn directory_name(region: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    region.chars().map(plain).collect()
}
