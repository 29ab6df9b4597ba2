//! What a listener's connections may take, as configuration keys, and the metrics that count
//! how often each limit struck. It enforces nothing.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge, Registry};

use crate::config::Section;
use crate::metrics;
use crate::units::ByteSize;

/// The limits of one listener; each is a key of its process's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections served at once. When all are taken, the one that has been idle for longest
    /// is closed for the next that comes.
    pub max_connections: usize,
    /// Requests in flight on one connection of HTTP/2.
    pub max_connection_streams: u32,
    /// Names and values of a request's headers.
    pub max_header_bytes: u32,
    /// A connection without a request is closed after so long; a request's head, too, has so
    /// long to arrive. Longer than the idle timeout of a load balancer in front of us (60 s on
    /// AWS), so that it is never we who close a connection that it is about to use.
    pub idle_timeout: Duration,
    /// How long a request's body may take to arrive; without end for streams.
    pub body_timeout: Duration,
    /// What must arrive of a body per second, from its sixth second on.
    pub min_body_rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            max_connection_streams: 128,
            max_header_bytes: 16 << 10,
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            min_body_rate: 1 << 10,
        }
    }
}

impl Limits {
    /// Reads the keys of this name out of a section; `connections` names the first.
    pub fn read(section: &mut Section<'_>, connections: &str) -> Self {
        let default = Self::default();
        let header_bytes = ByteSize(u64::from(default.max_header_bytes));
        let header_bytes = section.optional("max_header_bytes", header_bytes).bytes();
        let limits = Self {
            max_connections: section.optional(connections, default.max_connections),
            max_connection_streams: section
                .optional("max_connection_streams", default.max_connection_streams),
            max_header_bytes: u32::try_from(header_bytes).unwrap_or(u32::MAX),
            idle_timeout: section.optional("idle_timeout", default.idle_timeout),
            body_timeout: section.optional("body_timeout", default.body_timeout),
            min_body_rate: section
                .optional("min_body_rate", ByteSize(default.min_body_rate))
                .bytes(),
        };
        if limits.max_connections == 0 {
            section.fault(connections, "must be at least 1");
        }
        if limits.max_connection_streams == 0 {
            section.fault("max_connection_streams", "must be at least 1");
        }
        if !(1 << 10..=1 << 20).contains(&limits.max_header_bytes) {
            section.fault("max_header_bytes", "must be from 1KiB to 1MiB");
        }
        for (key, time) in [
            ("idle_timeout", limits.idle_timeout),
            ("body_timeout", limits.body_timeout),
        ] {
            if time.is_zero() {
                section.fault(key, "must be longer than 0s");
            }
        }
        limits
    }
}

/// A limit that has struck; the value of the label `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All places were taken: an idle connection was closed for another.
    Connections,
    /// A connection was idle, or a request's head on its way, for too long.
    Idle,
    /// A connection had as many requests in flight as it may.
    Streams,
    /// A request's header list was too large.
    Headers,
    /// A body came too slowly.
    Body,
    /// A peer read nothing of its answer.
    Unread,
}

impl Limit {
    const ALL: [Self; 6] = [
        Self::Connections,
        Self::Idle,
        Self::Streams,
        Self::Headers,
        Self::Body,
        Self::Unread,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Idle => "idle",
            Self::Streams => "streams",
            Self::Headers => "headers",
            Self::Body => "body",
            Self::Unread => "unread",
        }
    }
}

/// How many connections are open and how often their limits struck; clones count together.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    open: metrics::IntGaugeVec,
    struck: IntCounterVec,
}

impl ConnectionMetrics {
    /// Registers `…_connections` and `…_connection_limits_total` under a process's prefix.
    pub fn new(registry: &Registry, prefix: &str) -> Result<Self, metrics::Error> {
        Ok(Self {
            open: metrics::gauge_vec(
                registry,
                &format!("{prefix}_connections"),
                "Connections that are open.",
                &["listener"],
            )?,
            struck: metrics::counter_vec(
                registry,
                &format!("{prefix}_connection_limits_total"),
                "How often a limit on connections struck.",
                &["listener", "limit"],
            )?,
        })
    }

    /// The metrics of one listener; all its limits are there from the start, with zero.
    pub fn listener(&self, listener: &'static str) -> ListenerMetrics {
        for limit in Limit::ALL {
            self.struck.with_label_values(&[listener, limit.as_str()]);
        }
        ListenerMetrics {
            listener,
            open: self.open.with_label_values(&[listener]),
            struck: self.struck.clone(),
        }
    }
}

/// The metrics of one listener.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    listener: &'static str,
    pub(super) open: IntGauge,
    struck: IntCounterVec,
}

impl ListenerMetrics {
    pub(super) fn strike(&self, limit: Limit) {
        let labels = [self.listener, limit.as_str()];
        self.struck.with_label_values(&labels).inc();
        tracing::debug!(
            listener = self.listener,
            limit = limit.as_str(),
            "a limit on connections struck"
        );
    }
}

/// Metrics that nobody reads.
impl Default for ListenerMetrics {
    fn default() -> Self {
        ConnectionMetrics::new(&Registry::new(), "unread")
            .expect("valid names in an empty registry")
            .listener("none")
    }
}
