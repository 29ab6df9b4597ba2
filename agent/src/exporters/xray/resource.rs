//! What a resource says in every document of its spans, written once per resource. Only segments
//! have its attributes, as metadata or annotations.

use super::annotations::Annotations;
use super::facts::Facts;
use super::keys::Key;
use super::settings::Mapping;
use super::{aws, json};
use crate::otlp::Malformed;
use crate::otlp::view::{Attribute, Attributes, Resource};

/// What stands before the keys of a resource's attributes.
pub const PREFIX: &str = "otel.resource.";

/// The parts of documents that come from the resource.
pub struct ResourceParts<'r, 'a> {
    /// Its attributes.
    pub attributes: &'r Attributes<'a>,
    /// `service.name`
    pub service_name: Option<&'a str>,
    /// `telemetry.sdk.language`
    pub language: Option<&'a str>,
    /// `origin`
    pub origin: Option<&'static str>,
    /// `aws.account_id`, unless the span says another.
    pub account: Option<&'a str>,
    /// Members of `aws`.
    pub aws: String,
    /// The member `service`, empty if there is none.
    pub service: String,
    /// Members of `annotations`, as configured.
    pub annotations: Annotations,
    /// By place: whether the attribute is one of these.
    annotated: Vec<bool>,
    /// The others, as members of `metadata.default`.
    pub metadata: String,
}

impl<'r, 'a> ResourceParts<'r, 'a> {
    /// Reads the resource.
    pub fn of(resource: &'r Resource<'a>, settings: &Mapping) -> Result<Self, Malformed> {
        let mut facts = Facts::of(&resource.attributes);
        let mut parts = Self {
            attributes: &resource.attributes,
            service_name: facts.text(Key::ServiceName),
            language: facts.text(Key::TelemetrySdkLanguage),
            origin: aws::origin(&facts),
            account: aws::account(&facts),
            aws: String::new(),
            service: String::new(),
            annotations: Annotations::default(),
            annotated: Vec::new(),
            metadata: String::new(),
        };
        aws::platform(&mut parts.aws, &mut facts, &settings.aws_log_groups)?;
        json::object(&mut parts.service, "service", |out| {
            facts.write_text(out, "version", &[Key::ServiceVersion, Key::ContainerImageTag]);
        });
        parts.annotate(settings);
        let mut metadata = String::new();
        for attribute in parts.left() {
            json::entry_name(&mut metadata, PREFIX, attribute.key);
            json::value(&mut metadata, &attribute.value)?;
        }
        parts.metadata = metadata;
        Ok(parts)
    }

    fn annotate(&mut self, settings: &Mapping) {
        if !settings.index_all_attributes && settings.indexed_attributes.is_empty() {
            return;
        }
        for attribute in self.attributes.as_slice() {
            let is_wanted = settings.index_all_attributes || {
                let indexed = settings.indexed_attributes.iter();
                let mut keys = indexed.filter_map(|key| key.strip_prefix(PREFIX));
                keys.any(|key| key == attribute.key)
            };
            let is_whole = is_wanted && self.annotations.add(PREFIX, attribute.key, &attribute.value);
            self.annotated.push(is_whole);
        }
    }

    /// The attributes that are not annotations.
    pub fn left(&self) -> impl Iterator<Item = &'r Attribute<'a>> {
        let attributes: &'r [Attribute<'a>] = self.attributes.as_slice();
        let annotated = self.annotated.iter().copied().chain(std::iter::repeat(false));
        let left = attributes
            .iter()
            .zip(annotated)
            .filter(|(_, annotated)| !annotated);
        left.map(|(attribute, _)| attribute)
    }
}
