//! What keeps a store small and quick while it is used: merging small files, retention,
//! vacuum and short logs, one after the other in one task, table by table. It decides when;
//! what is merged, kept and deleted is decided elsewhere. Failures are told and tried again:
//! they endanger no row.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meridian_proto::signal::Signal;
use meridian_runtime::tasks;
use object_store::path::Path;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::compaction::{self, Merged, Outcome, plan};
use super::log::Reason;
use super::table::{StoreError, Table};
use super::vacuum::Vacuum;
use super::view::DataFile;
use super::{Store, durable, layout, retention};
use crate::config::MaintenanceConfig;

/// A file that could not be read is left out of merges for so long.
const UNREADABLE_FOR: Duration = Duration::from_secs(600);
/// Vacuum and log cleaning look at everything; they need not do so often.
const SWEEP_EVERY_MAX: Duration = Duration::from_secs(600);

/// The state of a store's maintenance.
pub struct Maintenance {
    store: Store,
    config: MaintenanceConfig,
    stop: CancellationToken,
    vacuums: [Vacuum; 3],
    unreadable: HashMap<Path, Instant>,
    swept: Option<Instant>,
}

impl Store {
    /// Keeps the tables in shape until `stop` is cancelled.
    pub async fn maintain(self, stop: CancellationToken) -> Result<(), StoreError> {
        let interval = self.0.maintenance.interval;
        let mut maintenance = Maintenance::new(self, stop.clone());
        loop {
            // Aggregators that share a store should not all begin at the same moment.
            let pause = interval.mul_f64(rand::random_range(0.5..1.0));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => maintenance.round().await,
            }
        }
    }
}

impl Maintenance {
    /// That of `store`; a merge ends soon after `stop` is cancelled.
    pub fn new(store: Store, stop: CancellationToken) -> Self {
        Self {
            config: store.0.maintenance.clone(),
            store,
            stop,
            vacuums: Default::default(),
            unreadable: HashMap::new(),
            swept: None,
        }
    }

    /// Does once what is due.
    pub async fn round(&mut self) {
        for signal in Signal::ALL {
            let result = self.merge(signal).await;
            self.note(signal, "merge files", result);
        }
        self.expire().await;
        self.shrink().await;
        let sweep_every = self.config.keep_removed.min(self.config.keep_log) / 4;
        let sweep_every = sweep_every.min(SWEEP_EVERY_MAX);
        if self.swept.is_none_or(|swept| swept.elapsed() >= sweep_every) {
            self.swept = Some(Instant::now());
            self.sweep().await;
        }
        self.store.note_files();
    }

    fn note(&self, signal: Signal, work: &'static str, result: Result<(), StoreError>) {
        if let Err(error) = result {
            self.store.0.metrics.maintenance.failures.inc();
            let reason = meridian_runtime::chain(&error);
            tracing::warn!(%signal, work, reason, "maintenance of a table failed and is tried again; no row is in danger");
        }
    }

    fn table(&self, signal: Signal) -> Option<&Table> {
        self.store.table(signal)
    }

    async fn merge(&mut self, signal: Signal) -> Result<(), StoreError> {
        self.unreadable
            .retain(|_, since| since.elapsed() < UNREADABLE_FOR);
        while !self.stop.is_cancelled() {
            let Some(table) = self.store.table(signal) else {
                return Ok(());
            };
            let mut files = table.files().as_ref().clone();
            let damaged = table.damage().files;
            files.retain(|file| {
                !self.unreadable.contains_key(&file.path) && !damaged.contains_key(&file.path)
            });
            let today = layout::day_of(table.directory().clock.now_unix_nanos());
            let Some(files) = plan::next(&files, today, self.config.merge) else {
                return Ok(());
            };
            match compaction::merge(table, files, self.config.merge, &self.stop).await {
                Ok(Outcome::Merged(merged)) => self.tell(signal, merged),
                Ok(Outcome::GivenUp) => {
                    self.store
                        .0
                        .metrics
                        .maintenance
                        .merges_given_up
                        .with_label_values(&[signal.as_str()])
                        .inc();
                    return Ok(());
                }
                Err(StoreError::Read { path, .. })
                    if self.store.inspect(std::slice::from_ref(&path)).await => {}
                Err(StoreError::Read { path, source }) => {
                    self.unreadable.insert(path.clone(), Instant::now());
                    return Err(StoreError::Read { path, source });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn tell(&self, signal: Signal, merged: Merged) {
        self.store.0.metrics.maintenance.merged(signal, &merged);
        let Merged {
            files_in,
            files_out,
            bytes_in,
            bytes_out,
            rows,
            took,
        } = merged;
        tracing::info!(%signal, files_in, files_out, bytes_in, bytes_out, rows, ?took, "merged files");
    }

    /// Removes what is too old.
    async fn expire(&self) {
        for signal in Signal::ALL {
            let (Some(table), Some(age)) = (self.table(signal), self.config.retention[signal.index()]) else {
                continue;
            };
            let now = table.directory().clock.now_unix_nanos();
            let cutoff = now.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)) / 1_000;
            let cutoff = i64::try_from(cutoff).unwrap_or(i64::MAX);
            let files = retention::expired(&table.files(), cutoff);
            let result = self.remove(table, files, "age").await;
            self.note(signal, "remove old files", result);
        }
    }

    /// Removes the oldest files while there is too much.
    async fn shrink(&self) {
        let Some(bytes_max) = self.config.bytes_max else {
            return;
        };
        let tables: Vec<_> = Signal::ALL
            .into_iter()
            .filter_map(|signal| self.table(signal))
            .collect();
        let files: Vec<_> = tables.iter().map(|table| table.files()).collect();
        for (table, files) in tables.iter().zip(retention::over_size(&files, bytes_max)) {
            let result = self.remove(table, files, "size").await;
            self.note(table.signal, "remove the oldest files", result);
        }
    }

    async fn remove(
        &self,
        table: &Table,
        files: Vec<Arc<DataFile>>,
        why: &'static str,
    ) -> Result<(), StoreError> {
        let Some(removed_to) = files.iter().map(|file| retention::newest(file)).max() else {
            return Ok(());
        };
        if !table
            .replace(&files, Vec::new(), Reason::Retention { removed_to })
            .await?
        {
            return Ok(());
        }
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        let metrics = &self.store.0.metrics.maintenance;
        metrics
            .rows_removed
            .with_label_values(&[table.signal.as_str(), why])
            .inc_by(rows);
        tracing::info!(signal = %table.signal, why, files = files.len(), rows, bytes, "removed files by retention");
        Ok(())
    }

    /// Deletes what nobody needs: files, entries of the logs, leftovers of killed processes.
    async fn sweep(&mut self) {
        for signal in Signal::ALL {
            let Some(table) = self.store.table(signal) else {
                continue;
            };
            let surveyed = self.store.survey(signal).await;
            self.note(signal, "survey", surveyed);
            if !table.damage().log_entries.is_empty() {
                // Files that only a damaged entry knows look as if nobody needed them.
                continue;
            }
            let swept = self.vacuums[signal.index()]
                .run(table, self.config.keep_removed)
                .await;
            let cleaned = table.clean(self.config.keep_log).await;
            match &swept {
                Ok(swept) if swept.files > 0 => {
                    let metrics = &self.store.0.metrics.maintenance;
                    metrics
                        .files_deleted
                        .with_label_values(&[signal.as_str()])
                        .inc_by(swept.files);
                    tracing::info!(%signal, files = swept.files, bytes = swept.bytes, "vacuumed files");
                }
                _ => {}
            }
            self.note(signal, "vacuum", swept.map(drop));
            self.note(signal, "clean the log", cleaned.map(drop));
        }
        self.sweep_leftovers().await;
    }

    async fn sweep_leftovers(&self) {
        let Some(directory) = self.store.local_directory() else {
            return;
        };
        let Some(table) = self.table(Signal::Spans) else {
            return;
        };
        let now = Duration::from_nanos(table.directory().clock.now_unix_nanos());
        let before = now.saturating_sub(self.config.keep_removed);
        match sweep_blocking(directory, before).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "removed what a killed process left half written"),
            Err(error) => tracing::warn!(%error, "the store's directory cannot be swept"),
        }
    }
}

async fn sweep_blocking(directory: PathBuf, before: Duration) -> std::io::Result<u64> {
    tasks::blocking("sweep", move || durable::sweep(&directory, before))
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
