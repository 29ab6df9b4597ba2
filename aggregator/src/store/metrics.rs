//! What the store counts of itself.

use meridian_proto::signal::Signal;
use meridian_runtime::metrics::{self, Error, Histogram, IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::compaction::Merged;

/// The store's self-metrics.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    pub(crate) rows_committed: IntCounterVec,
    pub(crate) hot_rows: IntGaugeVec,
    pub(crate) hot_bytes: IntGaugeVec,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_failures: IntCounter,
    pub(crate) maintenance: MaintenanceMetrics,
    damaged_files: IntGaugeVec,
    damaged_log_entries: IntGaugeVec,
}

/// What happens to files after their commit.
#[derive(Debug, Clone)]
pub(crate) struct MaintenanceMetrics {
    pub(crate) failures: IntCounter,
    pub(crate) merges_given_up: IntCounterVec,
    pub(crate) rows_removed: IntCounterVec,
    pub(crate) files_deleted: IntCounterVec,
    merges: IntCounterVec,
    merged_bytes: IntCounterVec,
    merge_seconds: Histogram,
    files: IntGaugeVec,
    file_bytes: IntGaugeVec,
}

const SECONDS: [f64; 9] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

impl StoreMetrics {
    /// Registers the store's metrics.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        Ok(Self {
            rows_committed: metrics::counter_vec(
                registry,
                "meridian_aggregator_rows_committed_total",
                "Rows that were moved into the tables.",
                &["signal"],
            )?,
            hot_rows: metrics::gauge_vec(
                registry,
                "meridian_aggregator_hot_rows",
                "Rows in memory that are not yet committed.",
                &["signal"],
            )?,
            hot_bytes: metrics::gauge_vec(
                registry,
                "meridian_aggregator_hot_bytes",
                "Bytes of the rows in memory that are not yet committed.",
                &["signal"],
            )?,
            commit_seconds: metrics::histogram(
                registry,
                "meridian_aggregator_commit_seconds",
                "How long a commit takes, from the rows in memory to the table's log.",
                &SECONDS,
            )?,
            commit_failures: metrics::counter(
                registry,
                "meridian_aggregator_commit_failures_total",
                "Commits that failed and will be tried again.",
            )?,
            maintenance: MaintenanceMetrics::new(registry)?,
            damaged_files: metrics::gauge_vec(
                registry,
                "meridian_aggregator_damaged_files",
                "Data files that are missing, truncated or corrupt, and left out of answers and merges.",
                &["signal"],
            )?,
            damaged_log_entries: metrics::gauge_vec(
                registry,
                "meridian_aggregator_damaged_log_entries",
                "Entries and checkpoints of a table's log that cannot be read, and are left out.",
                &["signal"],
            )?,
        })
    }

    pub(crate) fn damaged(&self, signal: Signal, files: usize, log_entries: usize) {
        for (gauge, count) in [
            (&self.damaged_files, files),
            (&self.damaged_log_entries, log_entries),
        ] {
            let gauge = gauge.with_label_values(&[signal.as_str()]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn hot(&self, signal: Signal, rows: usize, bytes: usize) {
        let value = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.hot_rows
            .with_label_values(&[signal.as_str()])
            .set(value(rows));
        self.hot_bytes
            .with_label_values(&[signal.as_str()])
            .set(value(bytes));
    }
}

impl MaintenanceMetrics {
    fn new(registry: &Registry) -> Result<Self, Error> {
        let by_signal = |name, help| metrics::counter_vec(registry, name, help, &["signal"]);
        let gauge_by_signal = |name, help| metrics::gauge_vec(registry, name, help, &["signal"]);
        Ok(Self {
            failures: metrics::counter(
                registry,
                "meridian_aggregator_maintenance_failures_total",
                "Merges, removals and deletions of files that failed and will be tried again.",
            )?,
            merges_given_up: by_signal(
                "meridian_aggregator_merges_given_up_total",
                "Merges whose files another aggregator had replaced before they were done.",
            )?,
            rows_removed: metrics::counter_vec(
                registry,
                "meridian_aggregator_rows_removed_total",
                "Rows that retention removed from the tables, by what it went by: age or size.",
                &["signal", "reason"],
            )?,
            files_deleted: by_signal(
                "meridian_aggregator_files_deleted_total",
                "Files that no version of a table needed any more.",
            )?,
            merges: by_signal(
                "meridian_aggregator_merges_total",
                "Times that small files became a large one.",
            )?,
            merged_bytes: by_signal(
                "meridian_aggregator_merged_bytes_total",
                "Bytes of the files that were merged.",
            )?,
            merge_seconds: metrics::histogram(
                registry,
                "meridian_aggregator_merge_seconds",
                "How long a merge takes, commit included.",
                &SECONDS,
            )?,
            files: gauge_by_signal("meridian_aggregator_table_files", "Files of a table.")?,
            file_bytes: gauge_by_signal(
                "meridian_aggregator_table_bytes",
                "Bytes of a table's files, without those that are only kept for older readers.",
            )?,
        })
    }

    pub(crate) fn merged(&self, signal: Signal, merged: &Merged) {
        self.merges.with_label_values(&[signal.as_str()]).inc();
        let bytes = self.merged_bytes.with_label_values(&[signal.as_str()]);
        bytes.inc_by(merged.bytes_in);
        self.merge_seconds.observe(merged.took.as_secs_f64());
    }

    pub(crate) fn table(&self, signal: Signal, files: usize, bytes: u64) {
        let gauge = self.files.with_label_values(&[signal.as_str()]);
        gauge.set(i64::try_from(files).unwrap_or(i64::MAX));
        let gauge = self.file_bytes.with_label_values(&[signal.as_str()]);
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
