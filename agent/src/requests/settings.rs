//! The configuration that all exporters have that deliver by requests: every limit is a key with
//! its default beside it. It reads and checks; what differs between exporters are the defaults.

use std::time::Duration;

use meridian_runtime::config::Section;
use meridian_runtime::units::ByteSize;

/// How requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// `rate`: requests per second at most, of this node: the account's quota divided by the
    /// nodes. It falls by itself when the other side throttles.
    pub rate: f64,
    /// `requests_at_once: 4`: on their way at the same time.
    pub requests_at_once: usize,
    /// `linger: 5s`: how long an item waits for a request to become full.
    pub linger: Duration,
    /// `window_bytes: 32MiB`: what was read from the spool and is not settled.
    pub window_bytes: usize,
    /// `request_timeout: 30s`: from a request's sending to the end of its answer.
    pub request_timeout: Duration,
    /// `retry_longest: 30s`: the longest wait before a request is sent again, and between
    /// attempts to reach an endpoint that does not answer; each wait is a random part of it.
    pub retry_longest: Duration,
}

impl Settings {
    /// The defaults at this rate.
    pub fn at_rate(rate: f64) -> Self {
        Self {
            rate,
            requests_at_once: 4,
            linger: Duration::from_secs(5),
            window_bytes: 32 << 20,
            request_timeout: Duration::from_secs(30),
            retry_longest: Duration::from_secs(30),
        }
    }

    /// Reads these keys of an exporter's section; its other keys are its own.
    pub fn read(section: &mut Section<'_>, default: Self) -> Self {
        let settings = Self {
            rate: section.optional("rate", default.rate),
            requests_at_once: section.optional("requests_at_once", default.requests_at_once),
            linger: section.optional("linger", default.linger),
            window_bytes: section
                .optional("window_bytes", ByteSize(default.window_bytes as u64))
                .as_usize(),
            request_timeout: section.optional("request_timeout", default.request_timeout),
            retry_longest: section.optional("retry_longest", default.retry_longest),
        };
        if !(settings.rate.is_finite() && settings.rate > 0.0) {
            section.fault("rate", "must be more than 0 requests per second");
        }
        if settings.requests_at_once == 0 {
            section.fault("requests_at_once", "must be at least 1");
        }
        for (key, duration) in [
            ("request_timeout", settings.request_timeout),
            ("retry_longest", settings.retry_longest),
        ] {
            if duration.is_zero() {
                section.fault(key, "must be longer than 0s");
            }
        }
        settings
    }
}
