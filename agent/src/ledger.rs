//! The agent's books: what was accepted, refused, rejected, delivered and dropped, as
//! Prometheus counters that balance for every exporter and every life of the process:
//!
//! ```text
//! accepted + recovered = delivered + pending + Σ dropped{reason}
//! ```
//!
//! All in items (spans, log records, data points). This file counts what receivers and exporters
//! report; `spooled` exposes what only the spool knows. Neither decides anything.

pub mod spooled;

use meridian_proto::signal::Signal;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Why items were dropped for an exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The record cannot be read as rows.
    Corrupt,
    /// The spool was full and its policy is to drop the oldest.
    SpoolFull,
    /// The spool's `max_age` was over.
    SpoolAge,
    /// It fits no request of the other side.
    TooLarge,
    /// The other side will not have it; its words are in the log.
    Refused,
    /// The other side takes nothing that is so old.
    TooOld,
    /// The other side takes nothing that is so far in the future.
    TooNew,
    /// Where it belongs nothing may be written, while elsewhere it may.
    Denied,
    /// The other side cannot hold such a value.
    Invalid,
    /// The exporter's sampling left it out.
    Sampled,
    /// The exporter's configuration does not select it.
    NotSelected,
    /// It is only where the counting of a cumulative stream begins.
    Baseline,
    /// A later point of its cumulative stream was there before, and holds what it held.
    Superseded,
    /// It has no value: nothing was observed.
    Empty,
    /// The exporter's budget has no place for it.
    OverBudget,
}

impl DropReason {
    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Corrupt => "corrupt",
            DropReason::SpoolFull => "spool_full",
            DropReason::SpoolAge => "spool_age",
            DropReason::TooLarge => "too_large",
            DropReason::Refused => "refused",
            DropReason::TooOld => "too_old",
            DropReason::TooNew => "too_new",
            DropReason::Denied => "denied",
            DropReason::Invalid => "invalid",
            DropReason::Sampled => "sampled",
            DropReason::NotSelected => "not_selected",
            DropReason::Baseline => "baseline",
            DropReason::Superseded => "superseded",
            DropReason::Empty => "empty",
            DropReason::OverBudget => "over_budget",
        }
    }
}

impl DropReason {
    /// The same for people.
    pub fn meaning(self) -> &'static str {
        match self {
            DropReason::Corrupt => "it cannot be read",
            DropReason::SpoolFull => "the spool is full",
            DropReason::SpoolAge => "the spool's max_age is over",
            DropReason::TooLarge => "it fits no request of the other side",
            DropReason::Refused => "the other side will not have it",
            DropReason::TooOld => "the other side takes nothing so old",
            DropReason::TooNew => "the other side takes nothing so far in the future",
            DropReason::Denied => "nothing may be written where it belongs",
            DropReason::Invalid => "the other side has no place for such an item",
            DropReason::Sampled => "the exporter's sampling leaves it out",
            DropReason::NotSelected => "the exporter's configuration does not select it",
            DropReason::Baseline => "it is only where the counting of its cumulative stream begins",
            DropReason::Superseded => "a later point of its stream was there before; nothing is missing",
            DropReason::Empty => "nothing was observed in its time",
            DropReason::OverBudget => "the exporter's budget has no place for it",
        }
    }
}

/// The counters; clones count into the same ones.
#[derive(Debug, Clone)]
pub struct Ledger {
    accepted_items: IntCounterVec,
    refused_items: IntCounterVec,
    refused_requests: IntCounterVec,
    rejected_items: IntCounterVec,
    duplicate_requests: IntCounterVec,
    delivered_items: IntCounterVec,
    dropped_items: IntCounterVec,
    recovered_items: IntGaugeVec,
}

impl Ledger {
    /// Registers the counters, except what is dropped: the spool drops too, and
    /// [`spooled::register`] exposes both.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            accepted_items: counter(
                registry,
                "accepted_items_total",
                "Items that are in the spool and were answered as accepted.",
                &["receiver", "signal"],
            )?,
            refused_items: counter(
                registry,
                "refused_items_total",
                "Items of requests that were refused as a whole, where their number is known.",
                &["receiver", "signal", "reason"],
            )?,
            refused_requests: counter(
                registry,
                "refused_requests_total",
                "Requests that were refused as a whole.",
                &["receiver", "signal", "reason"],
            )?,
            rejected_items: counter(
                registry,
                "rejected_items_total",
                "Items that OTLP or this agent cannot hold, out of requests that were accepted.",
                &["signal", "reason"],
            )?,
            duplicate_requests: counter(
                registry,
                "duplicate_requests_total",
                "Requests that were already in the spool and were answered as accepted.",
                &["receiver", "signal"],
            )?,
            delivered_items: counter(
                registry,
                "delivered_items_total",
                "Items that the exporter's peer has confirmed.",
                &["exporter", "signal"],
            )?,
            dropped_items: IntCounterVec::new(
                Opts::new(
                    "meridian_agent_dropped_items_total",
                    "Items that an exporter will never deliver.",
                ),
                &["exporter", "signal", "reason"],
            )?,
            recovered_items: recovered(registry)?,
        })
    }

    /// Counts items that entered the spool.
    pub fn accepted(&self, receiver: &str, signal: Signal) -> IntCounter {
        self.accepted_items
            .with_label_values(&[receiver, signal.as_str()])
    }

    /// A request was refused as a whole; `items` where the request got far enough to count.
    pub fn refused(&self, receiver: &str, signal: Signal, reason: &'static str, items: Option<u64>) {
        let labels = [receiver, signal.as_str(), reason];
        self.refused_requests.with_label_values(&labels).inc();
        if let Some(items) = items {
            self.refused_items.with_label_values(&labels).inc_by(items);
        }
    }

    /// Items were rejected out of a request whose rest was accepted.
    pub fn rejected(&self, signal: Signal, reason: &'static str, items: u64) {
        self.rejected_items
            .with_label_values(&[signal.as_str(), reason])
            .inc_by(items);
    }

    /// A request came twice within the retry window.
    pub fn duplicate(&self, receiver: &str, signal: Signal) {
        self.duplicate_requests
            .with_label_values(&[receiver, signal.as_str()])
            .inc();
    }

    /// The exporter's peer confirmed items.
    pub fn delivered(&self, exporter: &str, signal: Signal, items: u64) {
        self.delivered_items
            .with_label_values(&[exporter, signal.as_str()])
            .inc_by(items);
    }

    /// The exporter gave items up.
    pub fn dropped(&self, exporter: &str, signal: Signal, reason: DropReason, items: u64) {
        self.dropped_items
            .with_label_values(&[exporter, signal.as_str(), reason.as_str()])
            .inc_by(items);
    }

    /// What was pending for the exporter when this process opened the spool.
    pub fn recovered(&self, exporter: &str, signal: Signal, items: u64) {
        self.recovered_items
            .with_label_values(&[exporter, signal.as_str()])
            .set(i64::try_from(items).unwrap_or(i64::MAX));
    }

    /// Items that were delivered are pending once more, because the peer has lost them.
    pub fn pending_again(&self, exporter: &str, signal: Signal, items: u64) {
        self.recovered_items
            .with_label_values(&[exporter, signal.as_str()])
            .add(i64::try_from(items).unwrap_or(i64::MAX));
    }
}

fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let vec = IntCounterVec::new(Opts::new(format!("meridian_agent_{name}"), help), labels)?;
    registry.register(Box::new(vec.clone()))?;
    Ok(vec)
}

fn recovered(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let opts = Opts::new(
        "meridian_agent_recovered_items",
        "Items that were pending when this process opened the spool, or became so again.",
    );
    let vec = IntGaugeVec::new(opts, &["exporter", "signal"])?;
    registry.register(Box::new(vec.clone()))?;
    Ok(vec)
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;

    #[test]
    fn what_happened_is_counted_under_its_labels() {
        let registry = Registry::new();
        let ledger = Ledger::new(&registry).expect("names are valid and new");
        registry
            .register(Box::new(ledger.dropped_items.clone()))
            .expect("a new name");
        ledger.accepted("otlp", Signal::Spans).inc_by(10);
        ledger.refused("otlp", Signal::Logs, "spool_full", Some(3));
        ledger.refused("otlp", Signal::Logs, "malformed", None);
        ledger.rejected(Signal::Spans, "trace_id", 2);
        ledger.duplicate("otlp", Signal::Metrics);
        ledger.delivered("aggregator", Signal::Spans, 7);
        ledger.dropped("aggregator", Signal::Spans, DropReason::Corrupt, 3);
        ledger.recovered("aggregator", Signal::Spans, 0);

        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&registry.gather(), &mut text)
            .expect("text");
        let text = String::from_utf8(text).expect("UTF-8");
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"meridian_agent_accepted_items_total{receiver="otlp",signal="spans"} 10"#,
                r#"meridian_agent_delivered_items_total{exporter="aggregator",signal="spans"} 7"#,
                r#"meridian_agent_dropped_items_total{exporter="aggregator",reason="corrupt",signal="spans"} 3"#,
                r#"meridian_agent_duplicate_requests_total{receiver="otlp",signal="metrics"} 1"#,
                r#"meridian_agent_recovered_items{exporter="aggregator",signal="spans"} 0"#,
                r#"meridian_agent_refused_items_total{reason="spool_full",receiver="otlp",signal="logs"} 3"#,
                r#"meridian_agent_refused_requests_total{reason="malformed",receiver="otlp",signal="logs"} 1"#,
                r#"meridian_agent_refused_requests_total{reason="spool_full",receiver="otlp",signal="logs"} 1"#,
                r#"meridian_agent_rejected_items_total{reason="trace_id",signal="spans"} 2"#,
            ]
        );
    }

    #[test]
    fn a_second_ledger_on_one_registry_is_refused() {
        let registry = Registry::new();
        assert!(Ledger::new(&registry).is_ok());
        assert!(Ledger::new(&registry).is_err());
    }
}
