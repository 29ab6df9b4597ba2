//! What an exporter to CloudWatch tells of itself beside requests and items: how many series it
//! pays for, what that costs, and what its limits have struck.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use meridian_runtime::metrics::{
    Error, GaugeVec, IntCounterVec, IntGaugeVec, Registry, counter_vec, float_gauge_vec, gauge_vec,
};

use super::budget::monthly_dollars;
use super::translate::Account;

/// The rate of requests is told of this long at least.
const SECONDS_LEAST: f64 = 60.0;

/// The metrics of all exporters to CloudWatch; clones count into the same ones.
#[derive(Debug, Clone)]
pub struct Metrics {
    series: IntGaugeVec,
    dollars: GaugeVec,
    overflowed: IntCounterVec,
    forgotten: IntCounterVec,
    kept_bytes: IntGaugeVec,
}

/// Those of one exporter.
#[derive(Debug)]
pub struct Counted {
    metrics: Metrics,
    exporter: String,
    begun: u64,
    requests: AtomicU64,
    billed: AtomicUsize,
    keeps: AtomicBool,
}

impl Metrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let name = |what: &str| format!("meridian_agent_cloudwatch_{what}");
        let labels = ["exporter"];
        Ok(Self {
            series: gauge_vec(
                registry,
                &name("billed_series"),
                "Metrics of CloudWatch, each with its dimensions, that were sent within the hour.",
                &labels,
            )?,
            dollars: float_gauge_vec(
                registry,
                &name("estimated_monthly_dollars"),
                "What a month costs by the prices of us-east-1, if it goes on so; what other nodes send alike is billed once.",
                &labels,
            )?,
            overflowed: counter_vec(
                registry,
                &name("overflowed_points_total"),
                "Data points that were sent in an overflow series, because of max_series.",
                &labels,
            )?,
            forgotten: counter_vec(
                registry,
                &name("forgotten_streams_total"),
                "Cumulative streams that were forgotten for others, because of max_streams.",
                &labels,
            )?,
            kept_bytes: gauge_vec(
                registry,
                &name("kept_bytes"),
                "What the last values of cumulative streams take on the disk.",
                &labels,
            )?,
        })
    }

    /// Those of this exporter, which begins now.
    pub fn of(&self, exporter: &str, now_unix_nanos: u64) -> Counted {
        Counted {
            metrics: self.clone(),
            exporter: exporter.to_owned(),
            begun: now_unix_nanos,
            requests: AtomicU64::new(0),
            billed: AtomicUsize::new(0),
            keeps: AtomicBool::new(true),
        }
    }
}

impl Counted {
    /// A record was translated.
    pub fn translated(&self, account: Account, now_unix_nanos: u64) {
        let labels = [self.exporter.as_str()];
        let metrics = &self.metrics;
        let billed = i64::try_from(account.billed).unwrap_or(i64::MAX);
        metrics.series.with_label_values(&labels).set(billed);
        metrics
            .overflowed
            .with_label_values(&labels)
            .inc_by(account.overflowed);
        metrics
            .forgotten
            .with_label_values(&labels)
            .inc_by(account.forgotten);
        self.billed.store(account.billed, Ordering::Relaxed);
        self.estimate(now_unix_nanos);
    }

    /// A request was answered, and so is billed.
    pub fn sent(&self, now_unix_nanos: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.estimate(now_unix_nanos);
    }

    /// The state was kept, or could not be. Whether that is news that somebody must know.
    pub fn kept(&self, bytes: usize, is_kept: bool) -> bool {
        let could = self.keeps.swap(is_kept, Ordering::Relaxed);
        if is_kept {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.metrics
                .kept_bytes
                .with_label_values(&[&self.exporter])
                .set(bytes);
        }
        could && !is_kept
    }

    fn estimate(&self, now_unix_nanos: u64) {
        let seconds = now_unix_nanos.saturating_sub(self.begun) as f64 / 1e9;
        let requests = self.requests.load(Ordering::Relaxed) as f64;
        let billed = self.billed.load(Ordering::Relaxed);
        let dollars = monthly_dollars(billed, requests / seconds.max(SECONDS_LEAST));
        self.metrics
            .dollars
            .with_label_values(&[&self.exporter])
            .set(dollars);
    }
}
