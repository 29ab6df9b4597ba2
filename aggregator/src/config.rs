//! The aggregator's configuration: reads the file's keys into validated values, each with its
//! default beside it. Nothing that a value names is opened here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use meridian_proto::signal::Signal;
use meridian_runtime::config::{ConfigError, Document, HttpUrl, Section};
use meridian_runtime::http;
use meridian_runtime::units::ByteSize;
use url::Url;

use crate::store::MergeLimits;
use crate::{ingest, query};

const MIB: usize = 1 << 20;
const MERGE_MEMORY_MIN: usize = 64 * MIB;

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
    /// How long the end of the process may take.
    pub shutdown_timeout: Duration,
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
    /// How the tables are kept small and quick.
    pub maintenance: MaintenanceConfig,
    /// How a bucket is reached.
    pub s3: S3Config,
}

/// How a bucket is reached. What is not said here is taken from the variables and files that
/// AWS's own tools read; credentials come from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket's region.
    pub region: Option<String>,
    /// A server that is not AWS's.
    pub endpoint: Option<String>,
    /// The bucket's name in the path (true) or in the host's name.
    pub path_style: bool,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long one request may take to its last byte.
    pub request_timeout: Duration,
    /// How long a request that failed is repeated before its work counts as failed.
    pub retry_timeout: Duration,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            path_style: true,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            retry_timeout: Duration::from_secs(10),
        }
    }
}

/// What happens to rows after their commit.
#[derive(Debug, Clone)]
pub struct MaintenanceConfig {
    /// How often there is a look at what is due.
    pub interval: Duration,
    /// When small files become a large one.
    pub merge: MergeLimits,
    /// How long rows are kept, in the order of `Signal::index`; `None` is for ever.
    pub retention: [Option<Duration>; 3],
    /// How large all tables together may be; the oldest files go first.
    pub bytes_max: Option<u64>,
    /// How long files that no longer belong to a table stay for those who read an older
    /// version; an uncommitted file is an orphan after as long.
    pub keep_removed: Duration,
    /// How long entries of the logs stay that a checkpoint has replaced.
    pub keep_log: Duration,
}

impl Default for MaintenanceConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            merge: MergeLimits {
                merge_files: 32,
                file_bytes: 128 * MIB as u64,
                memory_bytes: 256 * MIB as u64,
            },
            retention: [Some(Duration::from_secs(30 * 86_400)); 3],
            bytes_max: None,
            keep_removed: Duration::from_secs(3_600),
            keep_log: Duration::from_secs(4 * 3_600),
        }
    }
}

/// When silence counts.
#[derive(Debug, Clone)]
pub struct CoverageConfig {
    /// How far behind an agent's watermark answers are called complete.
    pub settling: Duration,
    /// An agent whose data is behind by so much is late.
    pub late_after: Duration,
    /// An agent without a message for so long is silent.
    pub silent_after: Duration,
    /// A silent agent is reported as gone after so long.
    pub gone_after: Duration,
}

impl Default for CoverageConfig {
    fn default() -> Self {
        Self {
            settling: Duration::from_secs(10),
            late_after: Duration::from_secs(30),
            silent_after: Duration::from_secs(15),
            gone_after: Duration::from_secs(600),
        }
    }
}

/// What may be spent; each has a default.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What queries may cost.
    pub query: query::Limits,
    /// For agents.
    pub ingest: ingest::Limits,
    /// Connections, of HTTP; those of agents have the same, but for how many they are.
    pub connections: http::Limits,
}

impl Config {
    /// Reads the whole file; every fault of it is reported at once.
    pub fn read(document: Document) -> Result<Self, ConfigError> {
        let mut root = document.root();
        let mut listen = root.section("listen");
        let config = Self {
            listen_ingest: listen.optional("ingest", SocketAddr::from(([0, 0, 0, 0], 4319))),
            listen_http: listen.optional("http", SocketAddr::from(([0, 0, 0, 0], 8080))),
            store: store(root.section("store")),
            regions: regions(&mut root),
            coverage: coverage(root.section("coverage")),
            slo_dir: root.maybe("slo_dir"),
            limits: limits(root.section("limits")),
            shutdown_timeout: root.optional("shutdown_timeout", Duration::from_secs(30)),
        };
        listen.finish();
        root.finish();
        document.finish(config)
    }
}

fn regions(root: &mut Section<'_>) -> Vec<String> {
    let regions: Vec<String> = root.list("regions");
    if regions.is_empty() {
        root.fault(
            "regions",
            "is empty; name the regions that are expected to report, so that a silent one is seen",
        );
    }
    for (index, region) in regions.iter().enumerate() {
        if regions.iter().take(index).any(|earlier| earlier == region) {
            root.fault("regions", format!("names {region} twice"));
        }
    }
    regions
}

fn store(mut section: Section<'_>) -> StoreConfig {
    let text: String = section.required("url");
    let placeholder = Url::from_directory_path("/").expect("the root directory has a URL");
    let url = match Url::parse(&text) {
        Ok(url) if ["file", "s3"].contains(&url.scheme()) => url,
        _ => {
            section.fault(
                "url",
                "is not a store; write file:///directory or s3://bucket/prefix",
            );
            placeholder
        }
    };
    let config = StoreConfig {
        url,
        commit_interval: positive(&mut section, "commit_interval", Duration::from_secs(5)),
        commit_bytes: bytes(&mut section, "commit_bytes", 64 * MIB),
        maintenance: maintenance(&mut section),
        s3: s3(section.section("s3")),
    };
    section.finish();
    config
}

fn s3(mut section: Section<'_>) -> S3Config {
    let default = S3Config::default();
    let endpoint: Option<HttpUrl> = section.maybe("endpoint");
    let config = S3Config {
        region: section.maybe("region"),
        endpoint: endpoint.map(|url| url.as_str().to_owned()),
        path_style: section.optional("path_style", default.path_style),
        connect_timeout: positive(&mut section, "connect_timeout", default.connect_timeout),
        request_timeout: positive(&mut section, "request_timeout", default.request_timeout),
        retry_timeout: positive(&mut section, "retry_timeout", default.retry_timeout),
    };
    section.finish();
    config
}

fn maintenance(store: &mut Section<'_>) -> MaintenanceConfig {
    let default = MaintenanceConfig::default();
    let retention = store.optional("retention", Duration::from_secs(30 * 86_400));
    let bytes_max = store.maybe("max_bytes").map(|ByteSize(bytes)| bytes);
    let mut by_table = store.section("retention_by_table");
    let retention = Signal::ALL.map(|signal| Some(positive(&mut by_table, signal.as_str(), retention)));
    by_table.finish();
    let mut section = store.section("maintenance");
    let file_bytes = bytes(&mut section, "file_bytes", 128 * MIB);
    let memory_bytes = bytes(&mut section, "memory", 256 * MIB);
    let config = MaintenanceConfig {
        interval: positive(&mut section, "interval", default.interval),
        merge: MergeLimits {
            merge_files: section.optional("merge_files", default.merge.merge_files),
            file_bytes: file_bytes as u64,
            memory_bytes: memory_bytes as u64,
        },
        retention,
        bytes_max,
        keep_removed: positive(&mut section, "keep_removed", default.keep_removed),
        keep_log: positive(&mut section, "keep_log", default.keep_log),
    };
    if config.merge.merge_files < 2 {
        section.fault("merge_files", "is less than 2");
    }
    if memory_bytes < MERGE_MEMORY_MIN {
        section.fault(
            "memory",
            "is less than 64MiB, which a merge of two files may take",
        );
    }
    section.finish();
    config
}

fn coverage(mut section: Section<'_>) -> CoverageConfig {
    let default = CoverageConfig::default();
    let config = CoverageConfig {
        settling: section.optional("settling", default.settling),
        late_after: positive(&mut section, "late_after", default.late_after),
        silent_after: positive(&mut section, "silent_after", default.silent_after),
        gone_after: positive(&mut section, "gone_after", default.gone_after),
    };
    if config.gone_after < config.silent_after {
        section.fault("gone_after", "is shorter than silent_after");
    }
    section.finish();
    config
}

fn limits(mut section: Section<'_>) -> Limits {
    let ingest = ingest_limits(&mut section);
    let default = query::Limits::default();
    let mut limits = Limits {
        query: query::Limits {
            query_memory_bytes: bytes(&mut section, "query_memory", default.query_memory_bytes),
            file_cache_bytes: bytes(&mut section, "query_file_cache", default.file_cache_bytes),
            query_timeout: positive(&mut section, "query_timeout", default.query_timeout),
            query_rows_max: section.optional("query_rows", default.query_rows_max),
            queries_max: section.optional("queries", default.queries_max),
            answer_bytes_max: bytes(&mut section, "answer_bytes", default.answer_bytes_max),
            answers_memory_bytes: bytes(&mut section, "answers_memory", default.answers_memory_bytes),
            statement_bytes_max: size(
                &mut section,
                "statement_bytes",
                default.statement_bytes_max,
                1 << 10,
            ),
            multiplied_batch_rows: section.optional("multiplied_batch_rows", default.multiplied_batch_rows),
            statement: statement(section.section("statement")),
            ..default
        },
        ingest,
        connections: http::Limits::read(&mut section, "connections"),
    };
    limits.query.process_memory_bytes = bytes(&mut section, "process_memory", process_memory(&limits));
    if limits.query.multiplied_batch_rows == 0 {
        section.fault("multiplied_batch_rows", "is zero");
    }
    if limits.query.answers_memory_bytes < limits.query.answer_bytes_max {
        section.fault("answers_memory", "is less than answer_bytes");
    }
    section.finish();
    limits
}

/// All that has a limit of its own, twice what was received for commits on their way, and room.
fn process_memory(limits: &Limits) -> usize {
    const ROOM: usize = 1536 * MIB;
    let query = &limits.query;
    let ingest = limits.ingest.memory_bytes.saturating_mul(2);
    [
        query.query_memory_bytes,
        query.file_cache_bytes,
        query.answers_memory_bytes,
        ingest,
    ]
    .into_iter()
    .fold(ROOM, usize::saturating_add)
}

/// The memory has parts: what does not fit into one is a fault, and defaults are made to fit.
fn ingest_limits(section: &mut Section<'_>) -> ingest::Limits {
    let default = ingest::Limits::default();
    let memory_bytes = bytes(section, "ingest_memory", default.memory_bytes);
    let message_max = ingest::Limits::message_within(memory_bytes);
    let streams_max = ingest::Limits::streams_within(memory_bytes).max(1);
    let limits = ingest::Limits {
        memory_bytes,
        message_bytes: bytes(
            section,
            "message",
            default.message_bytes.min(message_max).max(MIB),
        ),
        streams_max: section.optional("streams", default.streams_max.min(streams_max)),
    };
    if limits.streams_max == 0 {
        section.fault("streams", "is zero");
    }
    if limits.streams_max > streams_max {
        section.fault(
            "streams",
            format!(
                "is more than the {streams_max} for which ingest_memory has room: each needs 256KiB of it"
            ),
        );
    }
    if limits.message_bytes > message_max.max(MIB) {
        section.fault("message", "is more than a quarter of ingest_memory");
    }
    limits
}

fn positive(section: &mut Section<'_>, key: &str, default: Duration) -> Duration {
    let duration = section.optional(key, default);
    if duration.is_zero() {
        section.fault(key, "is zero");
    }
    duration
}

fn bytes(section: &mut Section<'_>, key: &str, default: usize) -> usize {
    size(section, key, default, MIB)
}

fn size(section: &mut Section<'_>, key: &str, default: usize, least: usize) -> usize {
    let ByteSize(bytes) = section.optional(key, ByteSize(default as u64));
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if bytes < least {
        section.fault(key, format!("is less than {}", ByteSize(least as u64)));
    }
    bytes
}

/// The limits of a statement, each by the key of its row in the table.
fn statement(mut section: Section<'_>) -> query::Caps {
    let mut caps = query::Caps::default();
    for row in &query::caps::TABLE {
        let value = match row.is_bytes {
            true => size(&mut section, row.key, row.default, 1),
            false => section.optional(row.key, row.default),
        };
        if value == 0 {
            section.fault(row.key, "is zero");
        }
        caps = caps.with(row.cap, value);
    }
    section.finish();
    caps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Document::parse("aggregator.yaml", text, &|_| None).and_then(Config::read)
    }

    #[test]
    fn the_example_is_valid() {
        let config = read(include_str!("../../deploy/aggregator.example.yaml")).expect("no faults");
        assert_eq!(config.regions, ["eu-central-1", "us-east-1"]);
        assert_eq!(config.store.commit_interval, Duration::from_secs(5));
        assert_eq!(config.limits.ingest, ingest::Limits::default());
        assert_eq!(config.limits.query.statement, query::Caps::default());
        let example = include_str!("../../deploy/aggregator.example.yaml");
        for row in &query::caps::TABLE {
            assert!(
                example.contains(&format!("    {}: ", row.key)),
                "{} is not described",
                row.key
            );
        }
        assert_eq!(config.limits.ingest.message_bytes, 24 * MIB);
    }

    #[test]
    fn only_the_store_and_the_regions_have_no_default() {
        let config = read("store: { url: \"file:///tmp/store\" }\nregions: [eu]\n").expect("no faults");
        assert_eq!(config.listen_ingest.port(), 4319);
        assert_eq!(config.coverage.silent_after, Duration::from_secs(15));
    }

    #[test]
    fn every_fault_of_a_file_is_reported_at_once() {
        let text = "store: { url: ftp://x, commit_interval: 0s, keep: 30d, maintenance: { merge_files: 1 } }\nregions: [eu, eu]\nlimits: { ingest_memory: 4GB }\nlisten: { grpc: 0.0.0.0:1 }\n";
        let faults = read(text).expect_err("seven faults").to_string();
        for part in [
            "store.url",
            "commit_interval",
            "store.keep",
            "merge_files",
            "eu twice",
            "ingest_memory",
            "listen.grpc",
        ] {
            assert!(faults.contains(part), "{part} is missing in:\n{faults}");
        }
    }
}
