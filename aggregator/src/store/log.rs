//! One Delta table's log: creation, refresh, committed sequences, commits. It decides nothing
//! about rows; exactly-once rests on two of its properties. A commit records the sequences
//! as application transactions, and the log refuses it if another writer moved one of them.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::NaiveDate;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, LogicalFileView, Transaction};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError, checkpoints};
use futures::TryStreamExt;
use meridian_proto::signal::Signal;
use object_store::path::Path;
use tokio::time::Instant;

use super::columns::{self, PARTITION_COLUMNS};
use super::hot::LaneKey;
use super::stats::FileStats;
use super::view::DataFile;

/// Commits between checkpoints: a start reads at most so many small objects.
const CHECKPOINT_INTERVAL: &str = "50";
/// The transactions of a thousand agents cost 75 kB of log per commit.
const LOG_RETENTION: &str = "interval 4 hours";
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
    table: DeltaTable,
    /// When the last refresh that succeeded began.
    refreshed: Option<Instant>,
}

impl TableLog {
    /// Opens the table, and makes it if it is not there.
    pub(crate) async fn open(
        signal: Signal,
        log_store: LogStoreRef,
        directory: Path,
    ) -> Result<Self, DeltaTableError> {
        let mut table = DeltaTable::new(log_store);
        if !table.verify_deltatable_existence().await?
            && let Err(error) = create(signal, &table).await
        {
            // Another aggregator may have made it at the same moment.
            table.load().await.map_err(|_| error)?;
        }
        table.load().await?;
        Ok(Self {
            signal,
            directory,
            table,
            refreshed: None,
        })
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
        self.table.update_state().await?;
        self.refreshed = Some(began);
        Ok(())
    }

    /// Whether this version shows all that was committed before `moment`.
    pub(crate) fn shows(&self, moment: Instant) -> bool {
        self.refreshed.is_some_and(|began| began >= moment)
    }

    /// The files of this version.
    pub(crate) async fn files(&self) -> Result<Vec<Arc<DataFile>>, DeltaTableError> {
        let log_store = self.table.log_store();
        let state = self.table.snapshot()?;
        let mut files: Vec<Arc<DataFile>> = state
            .snapshot()
            .file_views(log_store.as_ref(), None)
            .try_filter_map(|view| std::future::ready(Ok(self.data_file(&view))))
            .try_collect()
            .await?;
        files.sort_unstable_by_key(|file| (file.date, file.time_min));
        Ok(files)
    }

    fn data_file(&self, view: &LogicalFileView) -> Option<Arc<DataFile>> {
        let partition = view.partition_values_map();
        let value = |column: &str| partition.get(column).cloned().flatten();
        let stats = FileStats::from_json(self.signal, &view.stats().unwrap_or_default());
        let date: Option<NaiveDate> = value("date").and_then(|date| date.parse().ok());
        if date.is_none() {
            tracing::warn!(path = %view.path(), "file without a readable date in the table's log is skipped");
        }
        Some(Arc::new(DataFile {
            path: self.full_path(&view.object_store_path()),
            size: u64::try_from(view.size()).unwrap_or(0),
            date: date?,
            region: value("region").unwrap_or_default(),
            rows: stats.rows,
            time_min: stats.time_min,
            time_max: stats.time_max,
            service_min: stats.service_min,
            service_max: stats.service_max,
        }))
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
            let version = snapshot
                .transaction_version(log_store.as_ref(), lane.app_id())
                .await?;
            let seq = version
                .and_then(|version| u64::try_from(version).ok())
                .unwrap_or(0);
            committed.push((*lane, seq));
        }
        Ok(committed)
    }

    /// Adds files and moves lanes, or neither. The lanes' sequences must have been read from
    /// this very version.
    pub(crate) async fn commit(
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
            .with_max_retries(COMMIT_ATTEMPTS_MAX)
            .with_create_checkpoint(true)
            .with_cleanup_expired_logs(Some(false));
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(PARTITION_COLUMNS.map(str::to_owned).to_vec()),
            predicate: None,
        };
        let commit = CommitBuilder::from(properties)
            .with_actions(files.into_iter().map(Action::Add).collect())
            .build(Some(self.table.snapshot()?), self.table.log_store(), operation)
            .into_prepared_commit_future()
            .await?
            .await?;
        // From here on the rows are committed, whatever becomes of the checkpoint.
        match commit.await {
            Ok(finalized) => self.table.state = Some(finalized.snapshot()),
            Err(error) => {
                tracing::warn!(signal = %self.signal, error = &error as &dyn std::error::Error, "work after a commit failed");
                self.refresh().await?;
            }
        }
        Ok(())
    }

    /// Deletes log entries that a checkpoint has replaced and that are past their retention.
    pub(crate) async fn clean(&mut self) -> Result<(), DeltaTableError> {
        if checkpoints::cleanup_metadata(&self.table, None).await? > 0 {
            // The loaded version may rest on entries that are gone.
            self.table.state = None;
            self.table.load().await?;
        }
        Ok(())
    }
}

/// What the failure of [`TableLog::commit`] says about the log.
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
