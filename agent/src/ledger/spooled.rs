//! What only the spool knows, at the moment of every scrape: what is pending, and what it
//! dropped. Without it the books do not balance.
//!
//! It asks and exposes; it counts nothing itself.

use meridian_proto::signal::Signal;
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{DropReason, Ledger};
use crate::spool::{self, Spool};

/// What the spool drops, and what the ledger calls it.
const DROPS: [(spool::DropReason, DropReason); 3] = [
    (spool::DropReason::Full, DropReason::SpoolFull),
    (spool::DropReason::Corrupt, DropReason::Corrupt),
    (spool::DropReason::Expired, DropReason::SpoolAge),
];

/// The spool's part of the books.
struct Spooled {
    spool: Spool,
    exporters: Vec<String>,
    pending_items: IntGaugeVec,
    catch_up_items: IntGaugeVec,
    pending_bytes: IntGaugeVec,
    oldest_seconds: IntGaugeVec,
    spool_bytes: IntGauge,
    committed: [IntCounter; 2],
    compressed: [IntCounter; 3],
    dropped: IntCounterVec,
    /// How much of the spool's own counts is in `dropped` already, in the order of asking.
    seen: Mutex<Vec<u64>>,
}

/// Exposes the spool's part of the books on every scrape. Also notes what is pending now, at
/// the start, as recovered.
pub fn register(
    registry: &Registry,
    ledger: &Ledger,
    spool: &Spool,
    exporters: &[String],
) -> Result<(), prometheus::Error> {
    for exporter in exporters {
        let pending = spool.pending(exporter);
        for signal in taken(spool, exporter) {
            ledger.recovered(exporter, signal, pending.items_by_signal[signal.index()]);
        }
    }
    let labels = ["exporter"];
    registry.register(Box::new(Spooled {
        pending_items: gauge(
            "pending_items",
            "Items in the spool that the exporter has not delivered.",
            &["exporter", "signal"],
        )?,
        catch_up_items: gauge(
            "catch_up_items",
            "Those of them that are a backlog set aside, delivered beside fresh data.",
            &labels,
        )?,
        pending_bytes: gauge(
            "pending_bytes",
            "What they take on the disk, not compressed.",
            &labels,
        )?,
        oldest_seconds: gauge(
            "oldest_pending_timestamp_seconds",
            "When the oldest of them was accepted; 0 if there is none.",
            &labels,
        )?,
        spool_bytes: IntGauge::new("meridian_agent_spool_bytes", "What the spool takes on the disk.")?,
        committed: [
            counter(
                "committed_records_total",
                "Records that were written, once for all exporters.",
            )?,
            counter(
                "commits_total",
                "Writes, each with one fsync: records that arrive together share one.",
            )?,
        ],
        compressed: [
            counter("compressed_segments_total", "Segments that were compressed.")?,
            counter("compressed_bytes_before_total", "What they took before.")?,
            counter("compressed_bytes_after_total", "What they took then.")?,
        ],
        dropped: ledger.dropped_items.clone(),
        seen: Mutex::new(vec![0; exporters.len() * Signal::ALL.len() * DROPS.len()]),
        spool: spool.clone(),
        exporters: exporters.to_vec(),
    }))
}

impl Collector for Spooled {
    fn desc(&self) -> Vec<&Desc> {
        let gauges: [&dyn Collector; 5] = [
            &self.pending_items,
            &self.catch_up_items,
            &self.pending_bytes,
            &self.oldest_seconds,
            &self.spool_bytes,
        ];
        let dropped: &dyn Collector = &self.dropped;
        gauges
            .into_iter()
            .chain([dropped])
            .chain(self.committed.iter().map(|counter| counter as &dyn Collector))
            .chain(self.compressed.iter().map(|counter| counter as &dyn Collector))
            .flat_map(Collector::desc)
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh_dropped();
        for exporter in &self.exporters {
            self.refresh_pending(exporter);
        }
        self.spool_bytes.set(signed(self.spool.bytes()));
        let mut families = self.pending_items.collect();
        families.extend(self.catch_up_items.collect());
        families.extend(self.pending_bytes.collect());
        families.extend(self.oldest_seconds.collect());
        families.extend(self.spool_bytes.collect());
        families.extend(self.dropped.collect());
        families.extend(self.refresh_counters());
        families
    }
}

impl Spooled {
    fn refresh_counters(&self) -> Vec<MetricFamily> {
        let (committed, compressed) = (self.spool.committed(), self.spool.compressed());
        let counters = self.committed.iter().chain(&self.compressed);
        let counts = [
            committed.records,
            committed.groups,
            compressed.segments,
            compressed.bytes_before,
            compressed.bytes_after,
        ];
        for (counter, count) in counters.clone().zip(counts) {
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        counters.flat_map(Collector::collect).collect()
    }

    fn refresh_pending(&self, exporter: &str) {
        let pending = self.spool.pending(exporter);
        for signal in taken(&self.spool, exporter) {
            self.pending_items
                .with_label_values(&[exporter, signal.as_str()])
                .set(signed(pending.items_by_signal[signal.index()]));
        }
        self.catch_up_items
            .with_label_values(&[exporter])
            .set(signed(pending.catch_up_items));
        self.pending_bytes
            .with_label_values(&[exporter])
            .set(signed(pending.bytes));
        self.oldest_seconds
            .with_label_values(&[exporter])
            .set(signed(pending.oldest_unix_nanos / 1_000_000_000));
    }

    fn refresh_dropped(&self) {
        let mut seen = self.seen.lock();
        let mut seen = seen.iter_mut();
        for exporter in &self.exporters {
            for signal in taken(&self.spool, exporter) {
                for (in_spool, in_ledger) in DROPS {
                    let Some(seen) = seen.next() else { return };
                    let dropped = self.spool.dropped_items(exporter, signal, in_spool);
                    let labels = [exporter.as_str(), signal.as_str(), in_ledger.as_str()];
                    self.dropped
                        .with_label_values(&labels)
                        .inc_by(dropped.saturating_sub(*seen));
                    *seen = dropped.max(*seen);
                }
            }
        }
    }
}

/// What the exporter takes: of other signals it has no books, and there is nothing to balance.
fn taken(spool: &Spool, exporter: &str) -> impl Iterator<Item = Signal> {
    Signal::ALL
        .into_iter()
        .filter(move |signal| spool.takes(exporter, *signal))
}

fn gauge(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(format!("meridian_agent_{name}"), help), labels)
}

fn counter(name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    IntCounter::new(format!("meridian_agent_spool_{name}"), help)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
