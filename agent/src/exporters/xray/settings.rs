//! The configuration of an X-Ray exporter; that of the mapping by the names that the OpenTelemetry
//! Collector's exporter has for the same. It reads and checks; nothing is asked.

use meridian_runtime::config::Section;

use crate::requests;
use crate::requests::aws::AwsSettings;
use crate::sampling::Sampling;

/// Calls of PutTraceSegments per second and node: the quota of 2,600 segments per account and
/// region, at 50 a call, for ten nodes.
const RATE: f64 = 5.2;

/// The section `exporters.xray`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `region`, `endpoint_url`, `assume_role`.
    pub aws: AwsSettings,
    /// What is in a document, and how.
    pub mapping: Mapping,
    /// `sampling`.
    pub sampling: Sampling,
    /// How requests are sent.
    pub requests: requests::settings::Settings,
}

impl Settings {
    /// Reads the section; faults are recorded in its document.
    pub fn read(mut section: Section<'_>) -> Self {
        let requests = requests::settings::Settings::at_rate(RATE);
        let settings = Self {
            aws: AwsSettings::read(&mut section),
            mapping: Mapping::read(&mut section),
            sampling: Sampling::read(&mut section),
            requests: requests::settings::Settings::read(&mut section, requests),
        };
        section.finish();
        settings
    }
}

/// Which attributes X-Ray indexes, and what it is told about log groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// `index_all_attributes: false`: every attribute with a scalar value that X-Ray has no field
    /// for becomes an annotation, up to 50 per document.
    pub index_all_attributes: bool,
    /// `indexed_attributes: []`: keys that become annotations; those of the resource are written
    /// `otel.resource.KEY`.
    pub indexed_attributes: Vec<String>,
    /// `aws_log_groups: []`: the log groups of what has no `aws.log.group.names` of its own.
    pub aws_log_groups: Vec<String>,
}

impl Mapping {
    /// Reads the mapping's keys of an exporter's section; the section is finished by its owner.
    pub fn read(section: &mut Section<'_>) -> Self {
        Self {
            index_all_attributes: section.optional("index_all_attributes", false),
            indexed_attributes: section.list("indexed_attributes"),
            aws_log_groups: section.list("aws_log_groups"),
        }
    }

    /// Whether this key is to be indexed.
    pub(super) fn indexes(&self, key: &str) -> bool {
        self.indexed_attributes.iter().any(|indexed| indexed == key)
    }
}
