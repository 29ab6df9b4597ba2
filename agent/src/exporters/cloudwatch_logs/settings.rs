//! The configuration of a CloudWatch Logs exporter. It reads and checks; nothing is asked.

use std::time::Duration;

use meridian_runtime::config::Section;

use super::template::{Rules, Template};
use crate::requests;
use crate::requests::aws::AwsSettings;

/// Calls of PutLogEvents per second and node: the quota of 5,000 per account and region, for a
/// hundred nodes.
const RATE: f64 = 50.0;
const CREATE_SPREAD: Duration = Duration::from_millis(1500);
const DENIED_WAIT: Duration = Duration::from_secs(60);
/// What CloudWatch keeps events for, in days.
const RETENTIONS: [u32; 23] = [
    0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288,
    3653,
];

/// What an event's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON object with the body, severity, ids and attributes, as Logs Insights finds them.
    Json,
    /// The body alone.
    Body,
}

/// The section `exporters.cloudwatch_logs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `region`, `endpoint_url`, `assume_role`.
    pub aws: AwsSettings,
    /// `log_group: /meridian/{cluster}`.
    pub log_group: Template,
    /// `log_stream: "{node}"`: one per node needs the fewest calls.
    pub log_stream: Template,
    /// `create: true`: groups and streams that do not exist are created.
    pub create: bool,
    /// `create_spread: 1500ms`: each creation waits a random part of this, and they go one by one.
    pub create_spread: Duration,
    /// `denied_wait: 1m`: a group that may not be written to, or created, is waited for so long while
    /// others are written to; then its events are dropped, and it is tried as often.
    pub denied_wait: Duration,
    /// `retention_days`: of groups that are created; 0 keeps for ever, as without the key.
    pub retention_days: u32,
    /// `format: json`.
    pub format: Format,
    /// `resource_attributes`: those of the resource that are in an event.
    pub resource_attributes: Vec<String>,
    /// How requests are sent.
    pub requests: requests::settings::Settings,
}

impl Settings {
    /// Reads the section; faults are recorded in its document.
    pub fn read(mut section: Section<'_>) -> Self {
        let formats = [("json", Format::Json), ("body", Format::Body)];
        let mut resource_attributes: Vec<String> = section.list("resource_attributes");
        if !section.has("resource_attributes") {
            resource_attributes = ["service.name", "k8s.namespace.name", "k8s.pod.name"]
                .map(str::to_owned)
                .to_vec();
        }
        let settings = Self {
            aws: AwsSettings::read(&mut section),
            log_group: template(&mut section, "log_group", "/meridian/{cluster}", Rules::Group),
            log_stream: template(&mut section, "log_stream", "{node}", Rules::Stream),
            create: section.optional("create", true),
            create_spread: section.optional("create_spread", CREATE_SPREAD),
            denied_wait: section.optional("denied_wait", DENIED_WAIT),
            retention_days: section.optional("retention_days", 0),
            format: section.choice("format", &formats, Format::Json),
            resource_attributes,
            requests: requests::settings::Settings::read(
                &mut section,
                requests::settings::Settings::at_rate(RATE),
            ),
        };
        if !RETENTIONS.contains(&settings.retention_days) {
            section.fault(
                "retention_days",
                "is not a retention that CloudWatch Logs has: 1, 3, 5, 7, 14, 30, 60, 90, … 3653, or 0 for ever",
            );
        }
        section.finish();
        settings
    }
}

fn template(section: &mut Section<'_>, key: &str, default: &str, rules: Rules) -> Template {
    let text: String = section.optional(key, default.to_owned());
    Template::parse(&text, rules).unwrap_or_else(|fault| {
        section.fault(key, fault);
        Template::parse(default, rules).expect("the default is a template")
    })
}
