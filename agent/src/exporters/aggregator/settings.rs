//! The configuration of an aggregator exporter: every limit is a key with its default beside it.
//!
//! It reads and checks; it connects to nothing.

use std::time::Duration;

use meridian_runtime::config::{HttpUrl, Section};
use meridian_runtime::units::ByteSize;

use super::gather::BatchLimits;

/// What an outage's backlog is to the data that is accepted after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// It is delivered first: everything in the order of acceptance.
    Oldest,
    /// It is delivered beside fresh data, with what that leaves of the stream.
    Newest,
}

/// The section `exporters.aggregator`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `endpoint`: one URL or a list of them, tried in turn. `https://` means TLS with the
    /// system's roots.
    pub endpoints: Vec<HttpUrl>,
    /// `batch_rows: 10000`, `batch_bytes: 8MiB` and `batch_linger: 1s`: a batch leaves when it
    /// is as large as one of the first two says, or as old as the last.
    pub batch: BatchLimits,
    /// `window_bytes: 32MiB`: how much may be sent and not yet acknowledged, uncompressed. The
    /// aggregator may ask for less.
    pub window_bytes: u64,
    /// `connect_timeout: 10s`: from the first packet to the aggregator's Welcome.
    pub connect_timeout: Duration,
    /// `ack_timeout: 60s`: an aggregator that acknowledges nothing for so long, although it
    /// should, is left. Its commits must be more frequent.
    pub ack_timeout: Duration,
    /// `catch_up: newest`: on call wants to see what happens now, and the answers say which times
    /// are yet to come; `oldest` delivers in the order of acceptance.
    pub catch_up: CatchUp,
    /// `catch_up_after: 5s`: with `newest`, what has waited longer than this when a stream opens is
    /// set aside, if it does not fit one batch. What is younger comes first, in order.
    pub catch_up_after: Duration,
    /// `reconnect_max: 3s`: the longest wait between attempts, of which each is a random part. An
    /// aggregator that is back is missed for so long.
    pub reconnect_max: Duration,
}

const CATCH_UP: [(&str, CatchUp); 2] = [("oldest", CatchUp::Oldest), ("newest", CatchUp::Newest)];

impl Settings {
    /// The defaults for these endpoints, of which there is at least one.
    pub fn new(endpoints: Vec<HttpUrl>) -> Self {
        Self {
            endpoints,
            batch: BatchLimits {
                rows: 10_000,
                bytes: 8 << 20,
                linger: Duration::from_secs(1),
            },
            window_bytes: 32 << 20,
            connect_timeout: Duration::from_secs(10),
            ack_timeout: Duration::from_secs(60),
            catch_up: CatchUp::Newest,
            catch_up_after: Duration::from_secs(5),
            reconnect_max: Duration::from_secs(3),
        }
    }

    /// Reads the section; faults are recorded in its document.
    pub fn read(mut section: Section<'_>) -> Self {
        let default = Self::new(section.list("endpoint"));
        let batch_bytes = ByteSize(default.batch.bytes as u64);
        let settings = Self {
            batch: BatchLimits {
                rows: section.optional("batch_rows", default.batch.rows),
                bytes: section.optional("batch_bytes", batch_bytes).as_usize(),
                linger: section.optional("batch_linger", default.batch.linger),
            },
            window_bytes: section
                .optional("window_bytes", ByteSize(default.window_bytes))
                .bytes(),
            connect_timeout: section.optional("connect_timeout", default.connect_timeout),
            ack_timeout: section.optional("ack_timeout", default.ack_timeout),
            catch_up: section.choice("catch_up", &CATCH_UP, default.catch_up),
            catch_up_after: section.optional("catch_up_after", default.catch_up_after),
            reconnect_max: section.optional("reconnect_max", default.reconnect_max),
            endpoints: default.endpoints,
        };
        settings.validate(&section);
        section.finish();
        settings
    }

    fn validate(&self, section: &Section<'_>) {
        if !section.has("endpoint") {
            section.fault("endpoint", "is required");
        } else if self.endpoints.is_empty() {
            section.fault(
                "endpoint",
                "names no aggregator; write it like http://aggregator:4319",
            );
        }
        if self.batch.rows == 0 {
            section.fault("batch_rows", "must be at least 1");
        }
        if self.batch.bytes == 0 {
            section.fault("batch_bytes", "must be at least 1B");
        }
        if self.window_bytes < self.batch.bytes as u64 {
            section.fault("window_bytes", "must hold a batch: make it at least batch_bytes");
        }
        for (key, duration) in [
            ("connect_timeout", self.connect_timeout),
            ("ack_timeout", self.ack_timeout),
            ("reconnect_max", self.reconnect_max),
        ] {
            if duration.is_zero() {
                section.fault(key, "must be longer than 0s");
            }
        }
    }
}
