//! The agent's configuration: what was written becomes values that are valid.
//!
//! Every key with a default has it beside it, in `deploy/agent.example.yaml` and in the part
//! that reads the key. Each part reads its own section; this file reads what belongs to none,
//! and says what exists. It opens and binds nothing.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use meridian_proto::signal::Signal;
use meridian_runtime::config::{ConfigError, Document, Section};
use meridian_runtime::units::ByteSize;

use crate::exporters::cloudwatch_logs::CloudwatchLogs;
use crate::exporters::cloudwatch_metrics::CloudwatchMetrics;
use crate::exporters::otlp::Otlp;
use crate::exporters::xray::Xray;
use crate::exporters::{aggregator, aws_otlp, cloudwatch_logs, cloudwatch_metrics, otlp, xray};
use crate::receivers::otlp::OtlpConfig;
use crate::requests::sink::Sink;
use crate::spool::{SpoolConfig, WhenFull};

/// The types of exporters that this release has.
const EXPORTER_TYPES: [&str; 5] = [
    "aggregator",
    "cloudwatch_logs",
    "cloudwatch_metrics",
    "otlp",
    "xray",
];

/// A configuration without faults.
#[derive(Debug, Clone)]
pub struct Config {
    /// `region`: where this agent is, as every answer names it.
    pub region: String,
    /// `cluster`: the cluster or environment in that region.
    pub cluster: String,
    /// `node`: this machine; one agent runs on each.
    pub node: String,
    /// `receivers.otlp`.
    pub otlp: OtlpConfig,
    /// `spool`.
    pub spool: SpoolConfig,
    /// `exporters`, in the order of the file.
    pub exporters: Vec<Exporter>,
    /// `admin.listen: 0.0.0.0:9464`: `/livez`, `/readyz` and `/metrics`.
    pub admin: SocketAddr,
    /// `shutdown_timeout: 25s`: how long the end may take, below the 30 s that Kubernetes gives.
    pub shutdown_timeout: Duration,
}

/// An exporter: its key in the file, and what it is.
#[derive(Debug, Clone)]
pub struct Exporter {
    /// `type` or `type/name`; also the name of its cursor in the spool.
    pub name: String,
    /// What it is.
    pub kind: ExporterKind,
}

/// The exporters that there are.
#[derive(Debug, Clone)]
pub enum ExporterKind {
    /// To a Meridian aggregator.
    Aggregator(aggregator::Settings),
    /// To the OTLP endpoint of an AWS service.
    AwsOtlp(Box<aws_otlp::Settings>),
    /// To CloudWatch Logs.
    CloudwatchLogs(Box<cloudwatch_logs::Settings>),
    /// To CloudWatch metrics.
    CloudwatchMetrics(Box<cloudwatch_metrics::Settings>),
    /// To any OTLP backend.
    Otlp(Box<otlp::Settings>),
    /// To X-Ray.
    Xray(Box<xray::Settings>),
}

impl ExporterKind {
    /// Reads the section of an exporter of this type.
    fn read(kind: &str, mut section: Section<'_>) -> Self {
        if let Some(signal) = aws_signal(kind)
            && section.choice("protocol", &aws_otlp::PROTOCOLS, false)
        {
            return Self::AwsOtlp(Box::new(aws_otlp::Settings::read(signal, section)));
        }
        match kind {
            "cloudwatch_logs" => Self::CloudwatchLogs(Box::new(cloudwatch_logs::Settings::read(section))),
            "cloudwatch_metrics" => {
                Self::CloudwatchMetrics(Box::new(cloudwatch_metrics::Settings::read(section)))
            }
            "otlp" => Self::Otlp(Box::new(otlp::Settings::read(section))),
            "xray" => Self::Xray(Box::new(xray::Settings::read(section))),
            _ => Self::Aggregator(aggregator::Settings::read(section)),
        }
    }

    /// What it takes.
    pub fn signals(&self) -> &'static [Signal] {
        match self {
            Self::Aggregator(_) => &Signal::ALL,
            Self::AwsOtlp(settings) => settings.signals(),
            Self::CloudwatchLogs(_) => CloudwatchLogs::SIGNALS,
            Self::CloudwatchMetrics(_) => CloudwatchMetrics::SIGNALS,
            Self::Otlp(_) => Otlp::SIGNALS,
            Self::Xray(_) => Xray::SIGNALS,
        }
    }
}

/// What the AWS service of this exporter takes, if the service has an OTLP endpoint as well.
fn aws_signal(kind: &str) -> Option<Signal> {
    match kind {
        "cloudwatch_logs" => Some(Signal::Logs),
        "cloudwatch_metrics" => Some(Signal::Metrics),
        "xray" => Some(Signal::Spans),
        _ => None,
    }
}

impl Config {
    /// Reads the file's document; every fault is in the error.
    pub fn read(document: Document) -> Result<Self, ConfigError> {
        let mut root = document.root();
        let mut receivers = root.section("receivers");
        let mut admin = root.section("admin");
        let admin_default = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9464));
        let config = Self {
            region: root.required("region"),
            cluster: root.required("cluster"),
            node: root.required("node"),
            otlp: OtlpConfig::read(receivers.section("otlp")),
            spool: read_spool(root.section("spool")),
            exporters: read_exporters(&mut root),
            admin: admin.optional("listen", admin_default),
            shutdown_timeout: root.optional("shutdown_timeout", Duration::from_secs(25)),
        };
        if config.shutdown_timeout.is_zero() {
            root.fault("shutdown_timeout", "must be longer than 0s");
        }
        admin.finish();
        receivers.finish();
        root.finish();
        document.finish(config)
    }

    /// The names of the exporters: one cursor in the spool for each.
    pub fn exporter_names(&self) -> Vec<String> {
        self.exporters
            .iter()
            .map(|exporter| exporter.name.clone())
            .collect()
    }

    /// What `--check` says of a configuration without faults: what it costs.
    pub fn notes(&self) -> Vec<String> {
        let note = |exporter: &Exporter| match &exporter.kind {
            ExporterKind::CloudwatchMetrics(settings) => {
                Some(format!("exporters.{}: {}", exporter.name, settings.cost()))
            }
            _ => None,
        };
        self.exporters.iter().filter_map(note).collect()
    }
}

fn read_spool(mut section: Section<'_>) -> SpoolConfig {
    let default = SpoolConfig::new(section.required::<std::path::PathBuf>("path"));
    let policies = [
        ("refuse", WhenFull::Refuse),
        ("drop_oldest", WhenFull::DropOldest),
    ];
    let config = SpoolConfig {
        max_bytes: section.optional("max_bytes", ByteSize(default.max_bytes)).bytes(),
        when_full: section.choice("when_full", &policies, default.when_full),
        segment_bytes: section
            .optional("segment_bytes", ByteSize(default.segment_bytes))
            .bytes(),
        max_age: section.maybe("max_age"),
        compress_after: section.optional("compress_after", default.compress_after),
        linger: section.optional("linger", default.linger),
        retry_window: section.optional("retry_window", default.retry_window),
        fsync: section.optional("fsync", default.fsync),
        path: default.path,
    };
    if config.segment_bytes == 0 {
        section.fault("segment_bytes", "must be at least 1B");
    }
    if config.max_age.is_some_and(|age| age.is_zero()) {
        section.fault(
            "max_age",
            "must be longer than 0s; without it nothing is dropped for its age",
        );
    }
    if config.max_bytes / 2 < config.segment_bytes {
        section.fault(
            "max_bytes",
            "must be at least twice segment_bytes: space is released in whole segments",
        );
    }
    section.finish();
    config
}

fn read_exporters(root: &mut Section<'_>) -> Vec<Exporter> {
    let mut exporters = Vec::new();
    let mut names = HashSet::new();
    let entries = root.entries("exporters");
    if entries.is_empty() {
        root.fault(
            "exporters",
            "names no exporter; without one the spool only fills up",
        );
    }
    for (name, _, section) in entries {
        let kind = name.split('/').next().unwrap_or_default();
        if !EXPORTER_TYPES.contains(&kind) {
            let known = EXPORTER_TYPES.join(", ");
            section.refuse(format!(
                "is of type {kind:?}, which this release does not have; the types are: {known}"
            ));
        } else if name.ends_with('/') || name.matches('/').count() > 1 {
            section.refuse(format!("is not a name; write it like {kind} or {kind}/second"));
        } else if !names.insert(name.clone()) {
            section.refuse("is there twice; name one of them like aggregator/second");
        } else {
            let kind = ExporterKind::read(kind, section);
            exporters.push(Exporter { name, kind });
        }
    }
    exporters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        Document::parse("agent.yaml", text, &|name| {
            (name == "NODE_NAME").then(|| "node-7".to_owned())
        })
        .and_then(Config::read)
        .map_err(|error| error.to_string())
    }

    fn aggregator_of(config: &Config, index: usize) -> &aggregator::Settings {
        match &config.exporters[index].kind {
            ExporterKind::Aggregator(settings) => settings,
            other => panic!("{other:?}"),
        }
    }

    const SMALLEST: &str = "
region: eu-central-1
cluster: prod-eu
node: ${NODE_NAME}
spool: { path: /var/lib/meridian/spool }
exporters:
  aggregator: { endpoint: http://aggregator.eu:4319 }
";

    #[test]
    fn the_smallest_configuration_has_the_documented_defaults() {
        let config = read(SMALLEST).expect("no faults");
        assert_eq!(config.node, "node-7");
        assert_eq!(config.otlp, OtlpConfig::default());
        assert_eq!(config.spool.max_bytes, 4 << 30);
        assert_eq!(config.spool.when_full, WhenFull::Refuse);
        assert_eq!(config.admin.port(), 9464);
        assert_eq!(config.shutdown_timeout, Duration::from_secs(25));
        assert_eq!(config.exporter_names(), ["aggregator"]);
        let settings = aggregator_of(&config, 0);
        assert_eq!(settings.endpoints.len(), 1);
        assert_eq!(*settings, aggregator::Settings::new(settings.endpoints.clone()));
    }

    #[test]
    fn several_aggregators_have_a_name_and_a_list_of_endpoints_each() {
        let text = SMALLEST.to_owned()
            + "  aggregator/second: { endpoint: [http://a:1, https://b:2], batch_rows: 5, ack_timeout: 5s }\n";
        let config = read(&text).expect("no faults");
        assert_eq!(config.exporter_names(), ["aggregator", "aggregator/second"]);
        let settings = aggregator_of(&config, 1);
        assert_eq!(settings.endpoints[1].as_str(), "https://b:2");
        assert_eq!(settings.batch.rows, 5);
        assert_eq!(settings.ack_timeout, Duration::from_secs(5));
    }

    #[test]
    fn every_fault_is_reported_with_its_place() {
        let faults = read(
            "
cluster: prod-eu
node: n
recievers: { otlp: {} }
spool: { path: /s, max_bytes: 4GB, when_full: panic }
exporters:
  kinesis: { region: eu-central-1 }
  aggregator: { window_bytes: 1MiB }
  aggregator/: { endpoint: http://a:1 }
shutdown_timeout: 25
",
        )
        .expect_err("many faults");
        insta::assert_snapshot!(faults, @r#"
        agent.yaml:2:1: region: is required
        agent.yaml:4:1: recievers: is not a key that is known here; did you mean receivers?
        agent.yaml:5:31: spool.max_bytes: "4GB" is a size in decimal units; write it in binary ones, like 256MiB or 4GiB
        agent.yaml:5:47: spool.when_full: "panic" is not one of refuse, drop_oldest
        agent.yaml:7:3: exporters.kinesis: is of type "kinesis", which this release does not have; the types are: aggregator, cloudwatch_logs, cloudwatch_metrics, otlp, xray
        agent.yaml:8:3: exporters.aggregator.endpoint: is required
        agent.yaml:8:31: exporters.aggregator.window_bytes: must hold a batch: make it at least batch_bytes
        agent.yaml:9:3: exporters.aggregator/: is not a name; write it like aggregator or aggregator/second
        agent.yaml:10:19: shutdown_timeout: "25" is a duration without a unit; write it like 500ms, 5s, 10m, 6h or 30d
        "#);
    }

    #[test]
    fn an_agent_without_exporters_is_refused() {
        let faults = read("{region: r, cluster: c, node: n, spool: {path: /s}}").expect_err("no exporter");
        insta::assert_snapshot!(faults, @"agent.yaml:1:1: exporters: names no exporter; without one the spool only fills up");
    }

    #[test]
    fn what_cloudwatch_metrics_cost_is_noted_and_their_faults_are_named() {
        let metrics = |keys: &str| {
            read(&(SMALLEST.to_owned() + "  cloudwatch_metrics: { region: eu-central-1" + keys + " }\n"))
        };
        let config = metrics("").expect("no faults");
        insta::assert_snapshot!(config.notes().join("\n"), @"exporters.cloudwatch_metrics: costs up to $165.88 a month for this node, by the prices of us-east-1: 550 metrics (max_series, and room for those that overflow), and a request each 30s; what several nodes send alike is billed once");
        let faults = metrics(
            ", namespace: AWS/EC2, storage_resolution: 5s, max_series: 0, max_streams: 0,\n    metrics: { a: {}, b: { dimensions: [\"x, x\"] }, c: { dimensions: [\":x\"], dimension: y } }",
        )
        .expect_err("many faults");
        insta::assert_snapshot!(faults, @r#"
        agent.yaml:8:58: exporters.cloudwatch_metrics.namespace: begins with AWS/, which AWS keeps for itself
        agent.yaml:8:87: exporters.cloudwatch_metrics.storage_resolution: "5s" is not one of 60s, 1s; did you mean 1s?
        agent.yaml:8:103: exporters.cloudwatch_metrics.max_series: must be at least 1
        agent.yaml:8:119: exporters.cloudwatch_metrics.max_streams: must be at least 1
        agent.yaml:9:16: exporters.cloudwatch_metrics.metrics.a.dimensions: is required: sets of attributes like ["service.name", "service.name, http.route"]
        agent.yaml:9:40: exporters.cloudwatch_metrics.metrics.b.dimensions: has a set with the same key twice
        agent.yaml:9:69: exporters.cloudwatch_metrics.metrics.c.dimensions: has a key that is no dimension's name: up to 255 printable ASCII characters, the first no colon
        agent.yaml:9:77: exporters.cloudwatch_metrics.metrics.c.dimension: is not a key that is known here; did you mean dimensions?
        "#);
    }

    #[test]
    fn the_example_has_no_faults_and_is_written_with_the_defaults() {
        let config = read(include_str!("../../deploy/agent.example.yaml")).expect("no faults");
        assert_eq!(config.otlp, OtlpConfig::default());
        let spool = SpoolConfig::new(config.spool.path.clone());
        assert_eq!(format!("{:?}", config.spool), format!("{spool:?}"));
        let settings = aggregator_of(&config, 0);
        assert_eq!(*settings, aggregator::Settings::new(settings.endpoints.clone()));
        assert_eq!(config.shutdown_timeout, Duration::from_secs(25));
    }
}
