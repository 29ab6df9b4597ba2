//! The configuration of the mapping, by the names that the OpenTelemetry Collector's exporter has
//! for the same. It reads; how documents are sent is configured elsewhere.

use meridian_runtime::config::Section;

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
