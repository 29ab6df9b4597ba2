//! What the store counts of itself.

use meridian_proto::signal::Signal;
use meridian_runtime::metrics::{self, Error, Histogram, IntCounter, IntCounterVec, IntGaugeVec, Registry};

/// The store's self-metrics.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    pub(crate) rows_committed: IntCounterVec,
    pub(crate) hot_rows: IntGaugeVec,
    pub(crate) hot_bytes: IntGaugeVec,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_failures: IntCounter,
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
        })
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
