//! One Delta table's log: creation, refresh, committed sequences, commits. It decides nothing
//! about rows; exactly-once rests on two of its properties. A commit records the sequences
//! as application transactions, and the log refuses it if another writer moved one of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, LogicalFileView, Transaction};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError, checkpoints};
use futures::TryStreamExt;
use meridian_proto::signal::Signal;
use meridian_runtime::tasks::of_library;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::time::Instant;

use super::columns::{self, PARTITION_COLUMNS};
use super::hot::LaneKey;
use super::salvage::Salvage;
use super::stats::FileStats;
use super::view::DataFile;

/// Commits between checkpoints: a start reads at most so many small objects.
const CHECKPOINT_INTERVAL: &str = if cfg!(test) { "5" } else { "50" };
/// What other writers may delete of the log, and how long a checkpoint remembers removed files.
const LOG_RETENTION: &str = "interval 4 hours";
/// The application id under which the log keeps [`TableLog::removed_to`].
const REMOVED_TO: &str = "meridian/removed-to";
/// Attempts to add columns beside other writers.
const COLUMN_ATTEMPTS: usize = 5;
/// Attempts of one commit against other writers' versions, before the rows are looked at again.
const COMMIT_ATTEMPTS_MAX: usize = 15;

/// What a failed commit may have left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The log holds something else: the commit's files are orphans.
    Refused,
    /// Nobody knows; the log may yet show it.
    Unknown,
}

/// The log of one table.
#[derive(Debug)]
pub(crate) struct TableLog {
    signal: Signal,
    /// The table's directory as a path of the object store.
    directory: Path,
    salvage: Arc<Salvage>,
    table: DeltaTable,
    /// When the last refresh that succeeded began.
    refreshed: Option<Instant>,
    /// Something could not be read: another writer may have cleaned what this version rests on.
    is_suspect: AtomicBool,
}

impl TableLog {
    /// Opens the table, and makes it if it is not there.
    pub(crate) async fn open(
        signal: Signal,
        (log_store, salvage): (LogStoreRef, Arc<Salvage>),
        directory: Path,
    ) -> Result<Self, DeltaTableError> {
        let mut table = DeltaTable::new(log_store);
        if !of_library(table.verify_deltatable_existence()).await?
            && let Err(error) = of_library(create(signal, &table)).await
        {
            // Another aggregator may have made it at the same moment.
            of_library(table.load()).await.map_err(|_| error)?;
        }
        let mut log = Self {
            signal,
            directory,
            salvage,
            table,
            refreshed: None,
            is_suspect: AtomicBool::new(false),
        };
        log.load().await?;
        log.table = of_library(with_all_columns(signal, log.table)).await?;
        Ok(log)
    }

    pub(crate) fn version(&self) -> i64 {
        self.table
            .version()
            .and_then(|version| i64::try_from(version).ok())
            .unwrap_or(-1)
    }

    /// Reads what other writers committed.
    pub(crate) async fn refresh(&mut self) -> Result<(), DeltaTableError> {
        let began = Instant::now();
        if self.is_suspect.load(Ordering::Relaxed) {
            // A checkpoint may be loaded and its sequences yet be unreadable.
            self.salvage.look_at_checkpoints().await?;
            self.load().await?;
        } else {
            of_library(self.table.update_state()).await?;
        }
        self.refreshed = Some(began);
        Ok(())
    }

    /// Reads everything anew, around what is damaged.
    pub(crate) async fn load(&mut self) -> Result<(), DeltaTableError> {
        if let Err(error) = self.load_once().await {
            if !self.salvage.look_at_checkpoints().await? {
                return Err(error);
            }
            self.load_once().await?;
        }
        self.is_suspect.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn load_once(&mut self) -> Result<(), DeltaTableError> {
        self.table.state = None;
        self.salvage.forget_entries();
        of_library(self.table.load()).await
    }

    /// After a failure: the next refresh reads everything anew.
    pub(crate) fn suspect(&self) {
        self.is_suspect.store(true, Ordering::Relaxed);
    }

    /// Whether this version shows all that was committed before `moment`.
    pub(crate) fn shows(&self, moment: Instant) -> bool {
        self.refreshed.is_some_and(|began| began >= moment)
    }

    /// The files of this version; those that are `known` stay the same values, so that who
    /// still uses one can be told.
    pub(crate) async fn files(&self, known: &[Arc<DataFile>]) -> Result<Vec<Arc<DataFile>>, DeltaTableError> {
        let known: HashMap<&Path, &Arc<DataFile>> = known.iter().map(|file| (&file.path, file)).collect();
        let mut files = Vec::new();
        for view in self.views().await? {
            let path = self.full_path(&view.object_store_path());
            match known.get(&path) {
                Some(file) => files.push(Arc::clone(file)),
                None => files.extend(self.data_file(path, &view)),
            }
        }
        files.sort_unstable_by_key(|file| (file.date, file.time_min));
        Ok(files)
    }

    async fn views(&self) -> Result<Vec<LogicalFileView>, DeltaTableError> {
        of_library(async {
            let log_store = self.table.log_store();
            let state = self.table.snapshot()?.snapshot();
            state.file_views(log_store.as_ref(), None).try_collect().await
        })
        .await
    }

    fn data_file(&self, path: Path, view: &LogicalFileView) -> Option<Arc<DataFile>> {
        let partition = view.partition_values_map();
        let value = |column: &str| partition.get(column).cloned().flatten();
        let Some(date) = value("date").and_then(|date| date.parse().ok()) else {
            tracing::warn!(%path, "a file without a readable date in the table's log is left out of every answer");
            return None;
        };
        let region = value("region").unwrap_or_default();
        let stats = FileStats::from_json(self.signal, &view.stats().unwrap_or_default());
        let size = u64::try_from(view.size()).unwrap_or(0);
        Some(Arc::new(DataFile::with_stats(path, size, date, region, stats)))
    }

    pub(crate) fn full_path(&self, relative: &Path) -> Path {
        relative
            .parts()
            .fold(self.directory.clone(), |path, part| path.join(part))
    }

    /// The sequence that this version has committed for each lane; 0 where there is none.
    pub(crate) async fn committed(&self, lanes: &[LaneKey]) -> Result<Vec<(LaneKey, u64)>, DeltaTableError> {
        let log_store = self.table.log_store();
        let snapshot = self.table.snapshot()?.snapshot();
        let mut committed = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let version = snapshot.transaction_version(log_store.as_ref(), lane.app_id());
            let version = of_library(version).await?;
            let seq = version
                .and_then(|version| u64::try_from(version).ok())
                .unwrap_or(0);
            committed.push((*lane, seq));
        }
        Ok(committed)
    }

    /// Adds files and moves lanes, or neither. The lanes' sequences must have been read from
    /// this very version.
    pub(crate) async fn append(
        &mut self,
        files: Vec<Add>,
        lanes: &[(LaneKey, u64)],
    ) -> Result<(), DeltaTableError> {
        let transactions = lanes
            .iter()
            .map(|(lane, seq)| Transaction::new(lane.app_id(), i64::try_from(*seq).unwrap_or(i64::MAX)))
            .collect();
        let properties = CommitProperties::default()
            .with_application_transactions(transactions)
            .with_max_retries(COMMIT_ATTEMPTS_MAX);
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(PARTITION_COLUMNS.map(str::to_owned).to_vec()),
            predicate: None,
        };
        let actions = files.into_iter().map(Action::Add).collect();
        self.commit(actions, properties, operation).await
    }

    /// Takes files out of the table and puts others in their place. False, and nothing has
    /// changed, if one of the files is no longer there.
    ///
    /// The commit succeeds only as the successor of this very version: deltalake lets two
    /// writers replace the same file if neither changes data, which would double its rows.
    pub(crate) async fn replace(&mut self, replacement: Replacement<'_>) -> Result<bool, DeltaTableError> {
        let mut actions = self.removals(&replacement).await?;
        if actions.len() < replacement.removed.len() {
            return Ok(false);
        }
        actions.extend(replacement.added.iter().cloned().map(Action::Add));
        let operation = match replacement.reason {
            Reason::Merge { file_bytes } => DeltaOperation::Optimize {
                predicate: None,
                target_size: i64::try_from(file_bytes).unwrap_or(i64::MAX),
            },
            Reason::Retention { .. } => DeltaOperation::Delete { predicate: None },
        };
        let transactions = match replacement.reason {
            Reason::Merge { .. } => Vec::new(),
            Reason::Retention { removed_to } => vec![Transaction::new(REMOVED_TO, removed_to)],
        };
        let properties = CommitProperties::default()
            .with_application_transactions(transactions)
            .with_max_retries(0);
        self.commit(actions, properties, operation).await?;
        Ok(true)
    }

    async fn removals(&self, replacement: &Replacement<'_>) -> Result<Vec<Action>, DeltaTableError> {
        let wanted: HashSet<&Path> = replacement.removed.iter().map(|file| &file.path).collect();
        let is_data_changed = matches!(replacement.reason, Reason::Retention { .. });
        let mut actions = Vec::with_capacity(wanted.len() + replacement.added.len());
        for view in self.views().await? {
            if wanted.contains(&self.full_path(&view.object_store_path())) {
                actions.push(Action::Remove(view.remove_action(is_data_changed)));
            }
        }
        Ok(actions)
    }

    async fn commit(
        &mut self,
        actions: Vec<Action>,
        properties: CommitProperties,
        operation: DeltaOperation,
    ) -> Result<(), DeltaTableError> {
        let properties = properties
            // A checkpoint would make what a damaged entry did be missing for good.
            .with_create_checkpoint(!self.salvage.is_lossy())
            .with_cleanup_expired_logs(Some(false));
        let commit = CommitBuilder::from(properties).with_actions(actions).build(
            Some(self.table.snapshot()?),
            self.table.log_store(),
            operation,
        );
        let commit = of_library(async { commit.into_prepared_commit_future().await?.await }).await?;
        // From here on it is committed, whatever becomes of the checkpoint.
        match of_library(commit.into_future()).await {
            Ok(finalized) => self.table.state = Some(finalized.snapshot()),
            Err(error) => {
                tracing::warn!(signal = %self.signal, error = &error as &dyn std::error::Error, "work after a commit failed");
                self.refresh().await?;
            }
        }
        Ok(())
    }

    /// Up to which time retention may have removed rows, microseconds since the epoch.
    pub(crate) async fn removed_to(&self) -> Result<Option<i64>, DeltaTableError> {
        let log_store = self.table.log_store();
        let snapshot = self.table.snapshot()?.snapshot();
        of_library(snapshot.transaction_version(log_store.as_ref(), REMOVED_TO)).await
    }

    /// Deletes log entries that the last checkpoint but one has replaced and that are older than
    /// `keep`; says how many. So a damaged checkpoint costs nothing: the one before it and what
    /// followed it are there. After damage that does cost something nothing is deleted.
    pub(crate) async fn clean(
        &mut self,
        keep: Duration,
        now_unix_nanos: u64,
    ) -> Result<usize, DeltaTableError> {
        let Some(version) = self.last_checkpoint_but_one().await? else {
            return Ok(0);
        };
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let now = i64::try_from(now_unix_nanos / 1_000_000).unwrap_or(0);
        let log_store = self.table.log_store();
        let cutoff = now.saturating_sub(keep);
        let cleaned = checkpoints::cleanup_expired_logs_for(version, log_store.as_ref(), cutoff, None);
        let cleaned = of_library(cleaned).await;
        // The loaded version may rest on entries that are gone, deleted by whomever.
        self.load().await?;
        let cleaned = match cleaned {
            // Another aggregator cleans at the same time.
            Err(DeltaTableError::ObjectStore {
                source: object_store::Error::NotFound { .. },
            }) => 0,
            cleaned => cleaned?,
        };
        Ok(cleaned)
    }

    /// Its version; nothing if there is none, or something of the log is damaged.
    async fn last_checkpoint_but_one(&self) -> Result<Option<u64>, DeltaTableError> {
        if self.salvage.is_lossy() || !self.salvage.damaged_checkpoints().is_empty() {
            return Ok(None);
        }
        let log_store = self.table.log_store();
        let listed = log_store.object_store(None).list(Some(log_store.log_path()));
        let listed: Vec<ObjectMeta> = listed.try_collect().await?;
        let version = |object: &ObjectMeta| {
            let (version, _) = object.location.filename()?.split_once(".checkpoint.")?;
            version.parse().ok()
        };
        let mut versions: Vec<u64> = listed.iter().filter_map(version).collect();
        versions.sort_unstable();
        versions.dedup();
        Ok(versions.iter().rev().nth(1).copied())
    }
}

/// Files that take the place of others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replacement<'a> {
    pub(crate) removed: &'a [Arc<DataFile>],
    pub(crate) added: &'a [Add],
    pub(crate) reason: Reason,
}

/// Why files are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The same rows in larger files.
    Merge { file_bytes: u64 },
    /// Rows up to this time, microseconds since the epoch, are kept no longer.
    Retention { removed_to: i64 },
}

/// What the failure of [`TableLog::append`] or [`TableLog::replace`] says about the log.
pub(crate) fn outcome(error: &DeltaTableError) -> Outcome {
    match error {
        DeltaTableError::VersionAlreadyExists(_)
        | DeltaTableError::Transaction {
            source:
                TransactionError::CommitConflict(_)
                | TransactionError::MaxCommitAttempts(_)
                | TransactionError::VersionAlreadyExists(_),
        } => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

/// The newest entries of a log that are looked through for one that cannot be read.
const ENTRIES_LOOKED_AT: usize = 1000;

/// An entry of a table's log that is not JSON, such as one that a full disk cut off. The error
/// of a log that cannot be loaded does not name it.
pub(crate) async fn broken_entry(
    objects: &dyn ObjectStore,
    directory: &Path,
) -> Option<(Path, serde_json::Error)> {
    let log = directory.clone().join("_delta_log");
    let listed: Vec<ObjectMeta> = objects.list(Some(&log)).try_collect().await.ok()?;
    let mut entries: Vec<Path> = listed.into_iter().map(|object| object.location).collect();
    entries.retain(|path| path.extension() == Some("json"));
    entries.sort_unstable();
    for path in entries.into_iter().rev().take(ENTRIES_LOOKED_AT) {
        let bytes = objects.get(&path).await.ok()?.bytes().await.ok()?;
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<serde::de::IgnoredAny>();
        if let Some(error) = lines.filter_map(Result::err).next() {
            return Some((path, error));
        }
    }
    None
}

async fn create(signal: Signal, table: &DeltaTable) -> Result<(), DeltaTableError> {
    let statistics = format!(
        "{},{}",
        meridian_proto::schema::time_column(signal),
        super::stats::SERVICE
    );
    let properties: HashMap<&str, Option<&str>> = HashMap::from([
        ("delta.appendOnly", Some("false")),
        ("delta.checkpointInterval", Some(CHECKPOINT_INTERVAL)),
        ("delta.logRetentionDuration", Some(LOG_RETENTION)),
        ("delta.deletedFileRetentionDuration", Some(LOG_RETENTION)),
        ("delta.dataSkippingStatsColumns", Some(statistics.as_str())),
    ]);
    CreateBuilder::new()
        .with_log_store(table.log_store())
        .with_table_name(signal.as_str())
        .with_columns(columns::of_table(signal)?)
        .with_partition_columns(PARTITION_COLUMNS)
        .with_configuration(properties)
        .with_save_mode(SaveMode::Ignore)
        .await
        .map(|_| ())
}

/// The table, to which the columns have been added that it lacks: it was made by an earlier release.
async fn with_all_columns(signal: Signal, mut table: DeltaTable) -> Result<DeltaTable, DeltaTableError> {
    for attempts_left in (0..COLUMN_ATTEMPTS).rev() {
        let schema = table.snapshot()?.schema();
        let mut missing = columns::of_table(signal)?;
        missing.retain(|column| schema.field(column.name()).is_none());
        if missing.is_empty() {
            break;
        }
        let names: Vec<&str> = missing.iter().map(|column| column.name().as_str()).collect();
        tracing::info!(
            table = signal.as_str(),
            columns = names.join(", "),
            "adding the columns of this release"
        );
        match table.clone().add_columns().with_fields(missing).await {
            Ok(changed) => table = changed,
            // Another aggregator may have added them at the same moment.
            Err(error) if attempts_left == 0 => return Err(error),
            Err(_) => table.load().await?,
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests;
