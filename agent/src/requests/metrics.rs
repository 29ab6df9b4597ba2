//! How requests fare, as metrics. Items are the ledger's, not counted here.

use std::time::{Duration, Instant};

use meridian_runtime::metrics::{
    Error, GaugeVec, HistogramVec, IntCounterVec, Registry, counter_vec, float_gauge_vec, histogram_vec,
};

use super::sink::Verdict;

/// A refusal of data is told this often at most; its items are counted one by one.
const REFUSAL_TOLD: Duration = Duration::from_secs(60);

/// Bounds of what requests take.
const SECONDS: [f64; 8] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// The metrics of all exporters that deliver by requests; clones count into the same ones.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    rate: GaugeVec,
}

/// Those of one exporter.
#[derive(Debug)]
pub struct Counted {
    metrics: Metrics,
    exporter: String,
    refusal_told: Option<Instant>,
}

impl Metrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        Ok(Self {
            requests: counter_vec(
                registry,
                "meridian_agent_exporter_requests_total",
                "Requests by what became of them: taken, partly (some items were not), throttled, unavailable, denied, refused.",
                &["exporter", "outcome"],
            )?,
            seconds: histogram_vec(
                registry,
                "meridian_agent_exporter_request_seconds",
                "How long the exporter's requests took, from their sending to the end of their answer.",
                &SECONDS,
                &["exporter"],
            )?,
            rate: float_gauge_vec(
                registry,
                "meridian_agent_exporter_request_rate",
                "Requests per second that the exporter allows itself: it falls when the other side throttles.",
                &["exporter"],
            )?,
        })
    }

    /// Those of this exporter.
    pub fn of(&self, exporter: &str) -> Counted {
        Counted {
            metrics: self.clone(),
            exporter: exporter.to_owned(),
            refusal_told: None,
        }
    }
}

impl Counted {
    /// A request has come back.
    pub fn answered(&self, verdict: &Verdict, took: Duration) {
        let outcome = match verdict {
            Verdict::Taken(exceptions) if exceptions.is_empty() => "taken",
            Verdict::Taken(_) => "partly",
            Verdict::Later(trouble) => trouble.kind.as_str(),
            Verdict::Refused(_) => "refused",
        };
        let exporter = self.exporter.as_str();
        self.metrics
            .requests
            .with_label_values(&[exporter, outcome])
            .inc();
        self.metrics
            .seconds
            .with_label_values(&[exporter])
            .observe(took.as_secs_f64());
    }

    /// The rate that the exporter allows itself.
    pub fn rate(&self, rate: f64) {
        self.metrics.rate.with_label_values(&[&self.exporter]).set(rate);
    }

    /// An item is dropped because the other side will not have it.
    pub fn refused(&mut self, now: Instant, message: &str) {
        let is_told = self
            .refusal_told
            .is_some_and(|told| now.saturating_duration_since(told) < REFUSAL_TOLD);
        if !is_told {
            tracing::warn!(exporter = self.exporter, "an item is dropped: {message}");
            self.refusal_told = Some(now);
        }
    }
}
