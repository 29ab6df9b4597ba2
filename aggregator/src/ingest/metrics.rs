//! What ingest counts of itself.

use meridian_runtime::metrics::{self, Error, IntCounterVec, IntGauge, Registry};

/// Ingest's self-metrics.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    pub(crate) rows: IntCounterVec,
    pub(crate) duplicate_rows: IntCounterVec,
    pub(crate) batches: IntCounterVec,
    pub(crate) refused_streams: IntCounterVec,
    pub(crate) streams: IntGauge,
    pub(crate) memory_bytes: IntGauge,
}

impl IngestMetrics {
    pub(crate) fn refused(&self, status: &tonic::Status) {
        let reason = status.code().to_string();
        self.refused_streams.with_label_values(&[reason.as_str()]).inc();
    }

    /// Registers ingest's metrics.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let per_signal = |name: &str, help: &str| metrics::counter_vec(registry, name, help, &["signal"]);
        Ok(Self {
            rows: per_signal(
                "meridian_aggregator_rows_ingested_total",
                "New rows taken from agents.",
            )?,
            duplicate_rows: per_signal(
                "meridian_aggregator_duplicate_rows_total",
                "Rows that were sent again and were there already.",
            )?,
            batches: per_signal("meridian_aggregator_batches_total", "Batches received.")?,
            refused_streams: metrics::counter_vec(
                registry,
                "meridian_aggregator_refused_streams_total",
                "Streams that were ended because of what the agent sent.",
                &["reason"],
            )?,
            streams: metrics::gauge(
                registry,
                "meridian_aggregator_streams",
                "Streams of agents that are open.",
            )?,
            memory_bytes: metrics::gauge(
                registry,
                "meridian_aggregator_ingest_memory_bytes",
                "Bytes reserved for received rows that are not yet committed.",
            )?,
        })
    }
}
