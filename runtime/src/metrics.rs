//! Self-metrics: constructors over one `prometheus::Registry` that the application owns, the
//! text exposition, and the metrics that every process has.
//!
//! There is no global registry: who counts is handed its counters.

use prometheus::core::Collector;
pub use prometheus::{
    Error, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry,
};
use prometheus::{HistogramOpts, Opts, TextEncoder};

mod process;

pub use process::register as register_process;

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Every metric in the Prometheus text format, sorted by name.
pub fn text(registry: &Registry) -> Result<String, Error> {
    TextEncoder::new().encode_to_string(&registry.gather())
}

pub fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, Error> {
    register(registry, IntCounter::with_opts(Opts::new(name, help))?)
}

pub fn counter_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

pub fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, Error> {
    register(registry, IntGauge::with_opts(Opts::new(name, help))?)
}

pub fn gauge_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

/// A gauge of seconds or ratios.
pub fn float_gauge_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, Error> {
    register(registry, GaugeVec::new(Opts::new(name, help), labels)?)
}

pub fn histogram(registry: &Registry, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram, Error> {
    register(
        registry,
        Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec()))?,
    )
}

pub fn histogram_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    bounds: &[f64],
    labels: &[&str],
) -> Result<HistogramVec, Error> {
    register(
        registry,
        HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels)?,
    )
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_lists_every_kind_of_metric() {
        let registry = Registry::new();
        counter(&registry, "commits_total", "Commits.")
            .expect("new")
            .inc();
        gauge_vec(&registry, "pending_items", "Items.", &["exporter"])
            .expect("new")
            .with_label_values(&["a"])
            .set(-2);
        histogram(&registry, "commit_seconds", "Time.", &[0.1, 1.0])
            .expect("new")
            .observe(0.5);
        insta::assert_snapshot!(text(&registry).expect("text"), @r#"
        # HELP commit_seconds Time.
        # TYPE commit_seconds histogram
        commit_seconds_bucket{le="0.1"} 0
        commit_seconds_bucket{le="1"} 1
        commit_seconds_bucket{le="+Inf"} 1
        commit_seconds_sum 0.5
        commit_seconds_count 1
        # HELP commits_total Commits.
        # TYPE commits_total counter
        commits_total 1
        # HELP pending_items Items.
        # TYPE pending_items gauge
        pending_items{exporter="a"} -2
        "#);
    }

    #[test]
    fn a_name_is_registered_once() {
        let registry = Registry::new();
        gauge(&registry, "open", "Open.").expect("new");
        gauge(&registry, "open", "Open.").expect_err("taken");
    }
}
