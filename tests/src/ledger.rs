//! The agent's ledger, as its metrics tell it, and the rule that it must obey. The rule is
//! one pure function that every end-to-end test ends with.

use std::collections::BTreeSet;
use std::fmt;

use crate::metrics::Metrics;

/// What one exporter did with one signal's items since the agent started.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// The exporter's key in the configuration.
    pub exporter: String,
    /// `spans`, `logs` or `metrics`.
    pub signal: String,
    /// Taken from clients, by all receivers.
    pub accepted: f64,
    /// Found in the spool at start, undelivered.
    pub recovered: f64,
    /// Acknowledged by the other side.
    pub delivered: f64,
    /// In the spool.
    pub pending: f64,
    /// Given up, for whatever reason.
    pub dropped: f64,
}

impl Ledger {
    /// Whether every item that came in is accounted for.
    pub fn balances(&self) -> bool {
        self.accepted + self.recovered == self.delivered + self.pending + self.dropped
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: accepted {} + recovered {} against delivered {} + pending {} + dropped {}",
            self.exporter,
            self.signal,
            self.accepted,
            self.recovered,
            self.delivered,
            self.pending,
            self.dropped
        )
    }
}

/// The ledger of every exporter and signal that the metrics of an agent tell.
pub fn read(metrics: &Metrics) -> Vec<Ledger> {
    let keys: BTreeSet<(String, String)> = metrics
        .named("meridian_agent_pending_items")
        .map(|sample| {
            (
                sample.label("exporter").to_owned(),
                sample.label("signal").to_owned(),
            )
        })
        .collect();
    let ledger = |(exporter, signal): (String, String)| {
        let of = |name| {
            metrics.sum(
                name,
                &[("exporter", exporter.as_str()), ("signal", signal.as_str())],
            )
        };
        Ledger {
            accepted: metrics.sum(
                "meridian_agent_accepted_items_total",
                &[("signal", signal.as_str())],
            ),
            recovered: of("meridian_agent_recovered_items"),
            delivered: of("meridian_agent_delivered_items_total"),
            pending: of("meridian_agent_pending_items"),
            dropped: of("meridian_agent_dropped_items_total"),
            exporter: exporter.clone(),
            signal: signal.clone(),
        }
    };
    keys.into_iter().map(ledger).collect()
}

/// The rule: per exporter and signal, accepted = delivered + pending + Σ dropped{reason}.
/// The error names every ledger that does not balance; no ledger at all is an error too.
pub fn ledger_balances(metrics: &Metrics) -> Result<(), String> {
    let ledgers = read(metrics);
    if ledgers.is_empty() {
        return Err("the agent tells no ledger".to_owned());
    }
    let faults: Vec<String> = ledgers
        .iter()
        .filter(|ledger| !ledger.balances())
        .map(Ledger::to_string)
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(delivered: u32) -> Metrics {
        let text = format!(
            "meridian_agent_accepted_items_total{{receiver=\"otlp_grpc\",signal=\"spans\"}} 7\n\
             meridian_agent_accepted_items_total{{receiver=\"otlp_http\",signal=\"spans\"}} 3\n\
             meridian_agent_recovered_items{{exporter=\"aggregator\",signal=\"spans\"}} 1\n\
             meridian_agent_delivered_items_total{{exporter=\"aggregator\",signal=\"spans\"}} {delivered}\n\
             meridian_agent_pending_items{{exporter=\"aggregator\",signal=\"spans\"}} 2\n\
             meridian_agent_dropped_items_total{{exporter=\"aggregator\",signal=\"spans\",reason=\"corrupt\"}} 4\n"
        );
        Metrics::parse(&text).expect("parses")
    }

    #[test]
    fn a_ledger_balances_only_when_every_item_is_accounted_for() {
        assert_eq!(ledger_balances(&metrics(5)), Ok(()));
        let fault = ledger_balances(&metrics(4)).expect_err("one item is missing");
        assert!(fault.contains("aggregator spans"), "{fault}");
        assert!(ledger_balances(&Metrics::default()).is_err());
    }
}
