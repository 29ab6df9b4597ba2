//! What both processes share: configuration, named tasks, staged shutdown, the clock, the
//! network, the HTTP server loop with its limits, admin endpoints and self-metrics.
//!
//! This crate knows no telemetry: no signal, no OTLP and no table is named here.

pub mod admin;
pub mod allocator;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod log;
pub mod metrics;
pub mod net;
mod open_files;
pub mod shutdown;
pub mod tasks;
pub mod units;

/// An error of any kind, at the edges where only its text and its sources matter.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The error and its sources in one line, outermost first: `cannot open: permission denied`.
///
/// This is the one place where a chain is printed; `Display` of an error never repeats its source.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
