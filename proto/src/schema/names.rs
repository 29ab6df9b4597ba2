//! The words that stand in columns for OTLP's enums, shared by who writes and who reads
//! them. A value without a word is written as its number.

/// `kind` of a span, by number.
pub const KINDS: [&str; 6] = [
    "UNSPECIFIED",
    "INTERNAL",
    "SERVER",
    "CLIENT",
    "PRODUCER",
    "CONSUMER",
];

/// `status_code` of a span, by number.
pub const STATUS: [&str; 3] = ["UNSET", "OK", "ERROR"];

/// `temporality` of a metric, by number; the first is written as null.
pub const TEMPORALITY: [&str; 3] = ["unspecified", "delta", "cumulative"];

/// `metric_type`: one number per point.
pub const GAUGE: &str = "gauge";
/// `metric_type`: one number per point, of a sum.
pub const SUM: &str = "sum";
/// `metric_type`: bounds and counts.
pub const HISTOGRAM: &str = "histogram";
/// `metric_type`: scale, offsets and counts.
pub const EXPONENTIAL_HISTOGRAM: &str = "exponential_histogram";
/// `metric_type`: quantiles.
pub const SUMMARY: &str = "summary";

/// `time_origin`: the time is the observed one.
pub const OBSERVED: &str = "observed";
/// `time_origin`: the time is when the agent received it.
pub const RECEIVED: &str = "received";

/// The number of a word of `names`, or of a number written as text.
pub fn number_of(text: &str, names: &[&str]) -> Option<i32> {
    match names.iter().position(|name| *name == text) {
        Some(index) => i32::try_from(index).ok(),
        None => text.parse().ok(),
    }
}
