//! The configuration of an exporter to one of AWS's OTLP endpoints: `protocol: otlp` of the
//! exporter to the same service. It reads and checks; nothing is asked.

use meridian_proto::signal::Signal;
use meridian_runtime::config::Section;

use crate::requests;
use crate::requests::aws::AwsSettings;
use crate::sampling::Sampling;

/// The values of `protocol`, and whether each is this exporter.
pub const PROTOCOLS: [(&str, bool); 2] = [("api", false), ("otlp", true)];

/// Requests per second and node. AWS names no quota of requests; it throttles when it must.
const RATE: f64 = 20.0;

/// The section of the exporter to the service.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Which service it is.
    pub signal: Signal,
    /// `region`, `endpoint_url`, `assume_role`.
    pub aws: AwsSettings,
    /// Of CloudWatch Logs.
    pub log: Option<LogNames>,
    /// `sampling`: of spans.
    pub sampling: Sampling,
    /// How requests are sent.
    pub requests: requests::settings::Settings,
}

/// Where log records go: AWS creates neither. `{region}`, `{cluster}` and `{node}` are the agent's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogNames {
    /// `log_group: /meridian/{cluster}`.
    pub group: String,
    /// `log_stream: "{node}"`.
    pub stream: String,
}

impl Settings {
    /// Reads the section, whose `protocol` has been read; faults are recorded in its document.
    pub fn read(signal: Signal, mut section: Section<'_>) -> Self {
        let settings = Self {
            signal,
            aws: AwsSettings::read(&mut section),
            log: (signal == Signal::Logs).then(|| LogNames {
                group: name(&mut section, "log_group", "/meridian/{cluster}"),
                stream: name(&mut section, "log_stream", "{node}"),
            }),
            sampling: match signal {
                Signal::Spans => Sampling::read(&mut section),
                Signal::Logs | Signal::Metrics => Sampling::default(),
            },
            requests: requests::settings::Settings::read(
                &mut section,
                requests::settings::Settings::at_rate(RATE),
            ),
        };
        section.finish();
        settings
    }

    /// What it takes.
    pub fn signals(&self) -> &'static [Signal] {
        signals(self.signal)
    }
}

fn name(section: &mut Section<'_>, key: &str, default: &str) -> String {
    let name: String = section.optional(key, default.to_owned());
    let known = ["{region}", "{cluster}", "{node}"];
    let rest = known
        .iter()
        .fold(name.clone(), |rest, known| rest.replace(known, ""));
    if name.is_empty() || rest.contains(['{', '}']) {
        section.fault(
            key,
            "is one name for all records with protocol otlp: it may have {region}, {cluster} and {node}",
        );
    }
    name
}

/// A signal alone.
pub fn signals(signal: Signal) -> &'static [Signal] {
    match signal {
        Signal::Spans => &[Signal::Spans],
        Signal::Logs => &[Signal::Logs],
        Signal::Metrics => &[Signal::Metrics],
    }
}
