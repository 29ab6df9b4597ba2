//! How the streams to aggregators fare, as metrics. Items are the ledger's, not counted here.

use meridian_proto::signal::Signal;
use meridian_runtime::metrics::{Error, IntCounterVec, IntGaugeVec, Registry, counter_vec, gauge_vec};

/// The metrics of all aggregator exporters; clones count into the same ones.
#[derive(Debug, Clone)]
pub struct Metrics {
    connected: IntGaugeVec,
    failures: IntCounterVec,
    batches: IntCounterVec,
    payload_bytes: IntCounterVec,
    in_flight_bytes: IntGaugeVec,
    ignored_messages: IntCounterVec,
}

impl Metrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        Ok(Self {
            connected: gauge_vec(
                registry,
                "meridian_agent_exporter_connected",
                "1 while the exporter has a stream that its peer has welcomed.",
                &["exporter"],
            )?,
            failures: counter_vec(
                registry,
                "meridian_agent_exporter_stream_failures_total",
                "Streams that could not be opened, or ended before they should.",
                &["exporter", "reason"],
            )?,
            batches: counter_vec(
                registry,
                "meridian_agent_exporter_sent_batches_total",
                "Batches sent, including those that were sent again.",
                &["exporter", "signal"],
            )?,
            payload_bytes: counter_vec(
                registry,
                "meridian_agent_exporter_sent_bytes_total",
                "Compressed bytes of the batches sent.",
                &["exporter", "signal"],
            )?,
            in_flight_bytes: gauge_vec(
                registry,
                "meridian_agent_exporter_in_flight_bytes",
                "Uncompressed bytes that are sent and not acknowledged.",
                &["exporter"],
            )?,
            ignored_messages: counter_vec(
                registry,
                "meridian_agent_exporter_ignored_messages_total",
                "Messages of a kind that this release does not know.",
                &["exporter"],
            )?,
        })
    }

    pub(super) fn connected(&self, exporter: &str, is_connected: bool) {
        self.connected
            .with_label_values(&[exporter])
            .set(i64::from(is_connected));
    }

    pub(super) fn failed(&self, exporter: &str, reason: &str) {
        self.failures.with_label_values(&[exporter, reason]).inc();
    }

    pub(super) fn sent(&self, exporter: &str, signal: Signal, payload_bytes: usize) {
        let labels = [exporter, signal.as_str()];
        self.batches.with_label_values(&labels).inc();
        self.payload_bytes
            .with_label_values(&labels)
            .inc_by(payload_bytes as u64);
    }

    pub(super) fn in_flight(&self, exporter: &str, bytes: u64) {
        self.in_flight_bytes
            .with_label_values(&[exporter])
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn ignored(&self, exporter: &str) {
        self.ignored_messages.with_label_values(&[exporter]).inc();
    }
}
