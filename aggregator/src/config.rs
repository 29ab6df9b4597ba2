//! The aggregator's configuration as validated values. Reading the file is done with
//! meridian_runtime::config; nothing here opens what it names.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

/// Everything that the process is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where agents connect (gRPC).
    pub listen_ingest: SocketAddr,
    /// Where people and dashboards ask (HTTP), and where the admin endpoints are.
    pub listen_http: SocketAddr,
    /// The tables.
    pub store: StoreConfig,
    /// The regions that are expected to report, in the order of the file.
    pub regions: Vec<String>,
    /// When an agent counts as late, silent and gone.
    pub coverage: CoverageConfig,
    /// Where the SLO files are.
    pub slo_dir: Option<PathBuf>,
    /// What may be spent.
    pub limits: Limits,
}

/// Where the tables are and how they are written.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `file:///path` or `s3://bucket/prefix`.
    pub url: Url,
    /// How long rows wait for company before they are committed.
    pub commit_interval: Duration,
    /// A table with so many bytes of uncommitted rows is committed at once.
    pub commit_bytes: usize,
    /// How long rows are kept.
    pub retention: Duration,
}

/// When silence counts.
#[derive(Debug, Clone)]
pub struct CoverageConfig {
    /// How far behind an agent's watermark answers are called complete.
    pub settling: Duration,
    /// An agent without a message for so long is silent.
    pub silent_after: Duration,
    /// A silent agent is reported as gone after so long.
    pub gone_after: Duration,
}

/// What may be spent; each has a default.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes that all queries together may hold.
    pub query_memory_bytes: usize,
    /// How long one query may run.
    pub query_timeout: Duration,
    /// Rows that one answer may have.
    pub query_rows_max: usize,
    /// Queries that run at the same time.
    pub queries_max: usize,
    /// Bytes of received rows that are not yet committed.
    pub ingest_memory_bytes: usize,
}
