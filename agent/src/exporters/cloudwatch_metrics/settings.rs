//! The configuration of a CloudWatch metrics exporter. It reads and checks; nothing is asked.

use std::time::Duration;

use meridian_runtime::config::Section;
use meridian_runtime::units::format_duration;

use super::budget::{Budget, monthly_dollars};
use super::select::{Rule, dimension_set};
use super::series::{DIMENSIONS_MAX, is_dimension_name};
use crate::requests;
use crate::requests::aws::AwsSettings;
use crate::requests::compression::Compression;

/// Calls of PutMetricData per second and node: the quota of 500 per account and region, for a
/// hundred nodes.
const RATE: f64 = 5.0;
/// Each request costs, and CloudWatch's own period is a minute.
const LINGER: Duration = Duration::from_secs(30);

/// The section `exporters.cloudwatch_metrics`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `region`, `endpoint_url`, `assume_role`.
    pub aws: AwsSettings,
    /// `namespace: Meridian`.
    pub namespace: String,
    /// `metrics`: rate, errors and duration by service, and the meshes' golden metrics; what no
    /// rule fits is not sent.
    pub metrics: Vec<Rule>,
    /// `storage_resolution: 60s`: the period of which a datum is; or 1s, which CloudWatch keeps for
    /// three hours.
    pub storage_resolution: u32,
    /// `max_series: 500`: what goes beyond is sent as one overflow series for each metric.
    pub max_series: usize,
    /// `max_streams: 10000`: cumulative streams whose last value is known.
    pub max_streams: usize,
    /// `compression: gzip`, or none.
    pub compression: Compression,
    /// How requests are sent; `linger: 30s`.
    pub requests: requests::settings::Settings,
}

impl Settings {
    /// Reads the section; faults are recorded in its document.
    pub fn read(mut section: Section<'_>) -> Self {
        let resolutions = [("60s", 60), ("1s", 1)];
        let compressions = [("gzip", Compression::Gzip), ("none", Compression::None)];
        let requests = requests::settings::Settings {
            linger: LINGER,
            ..requests::settings::Settings::at_rate(RATE)
        };
        let settings = Self {
            aws: AwsSettings::read(&mut section),
            namespace: section.optional("namespace", "Meridian".to_owned()),
            metrics: read_rules(&mut section),
            storage_resolution: section.choice("storage_resolution", &resolutions, 60),
            max_series: section.optional("max_series", 500),
            max_streams: section.optional("max_streams", 10_000),
            compression: section.choice("compression", &compressions, Compression::Gzip),
            requests: requests::settings::Settings::read(&mut section, requests),
        };
        if section.has("namespace") && !is_namespace(&settings.namespace) {
            section.fault(
                "namespace",
                "is no namespace: up to 255 letters, digits, spaces and .-_/#:, the first no colon",
            );
        }
        if settings.namespace.starts_with("AWS/") {
            section.fault("namespace", "begins with AWS/, which AWS keeps for itself");
        }
        for (key, number) in [
            ("max_series", settings.max_series),
            ("max_streams", settings.max_streams),
        ] {
            if number == 0 {
                section.fault(key, "must be at least 1");
            }
        }
        section.finish();
        settings
    }

    /// What it may cost in a month.
    pub fn cost(&self) -> String {
        let linger = self.requests.linger.as_secs_f64();
        let requests_per_second = linger.recip().min(self.requests.rate);
        let most = Budget::new(self.max_series).most();
        format!(
            "costs up to ${:.2} a month for this node, by the prices of us-east-1: {most} metrics \
             (max_series, and room for those that overflow), and a request each {}; what several \
             nodes send alike is billed once",
            monthly_dollars(most, requests_per_second),
            format_duration(self.requests.linger),
        )
    }
}

fn is_namespace(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte);
    name.len() <= 255 && name.bytes().all(is_allowed) && !name.starts_with(':')
}

fn read_rules(section: &mut Section<'_>) -> Vec<Rule> {
    if !section.has("metrics") {
        return Rule::default_rules();
    }
    let mut rules = Vec::new();
    for (name, _, mut rule) in section.entries("metrics") {
        let sets: Vec<String> = rule.list("dimensions");
        let dimensions: Vec<_> = sets.iter().map(|set| dimension_set(set)).collect();
        for set in &dimensions {
            let is_twice = |(at, key)| set.iter().take(at).any(|before| before == key);
            if set.len() > DIMENSIONS_MAX {
                rule.fault("dimensions", "has a set of more than 30 dimensions");
            } else if !set.iter().all(|key| is_dimension_name(key)) {
                rule.fault("dimensions", "has a key that is no dimension's name: up to 255 printable ASCII characters, the first no colon");
            } else if set.iter().enumerate().any(is_twice) {
                rule.fault("dimensions", "has a set with the same key twice");
            }
        }
        if dimensions.is_empty() {
            rule.fault(
                "dimensions",
                "is required: sets of attributes like [\"service.name\", \"service.name, http.route\"]",
            );
        }
        rule.finish();
        rules.push(Rule { name, dimensions });
    }
    if rules.is_empty() {
        section.fault("metrics", "names no metric; write it like {http.server.request.duration: {dimensions: [service.name]}}, or leave it out for the default");
    }
    rules
}
