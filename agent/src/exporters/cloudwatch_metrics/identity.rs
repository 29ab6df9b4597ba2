//! What identifies a stream of data points: its resource, scope, metric and attributes, as one
//! hash. What a stream has counted is not known here.

use std::cell::OnceCell;

use xxhash_rust::xxh3::Xxh3;

use crate::otlp::Malformed;
use crate::otlp::view::metrics::{Metric, MetricKind};
use crate::otlp::view::{Attribute, Attributes, Resource, Scope};

/// Where metrics come from.
pub struct Source<'a> {
    /// What they are of.
    pub resource: &'a Resource<'a>,
    scope: Scope<'a>,
    identity: OnceCell<u128>,
}

impl<'a> Source<'a> {
    /// A scope of a resource. Nothing is hashed before it is asked for.
    pub fn new(resource: &'a Resource<'a>, scope: Scope<'a>) -> Self {
        Self {
            resource,
            scope,
            identity: OnceCell::new(),
        }
    }

    /// The stream of a metric's points with these attributes.
    pub fn stream(
        &self,
        metric: &Metric<'_>,
        kind: MetricKind,
        attributes: &Attributes<'_>,
    ) -> Result<u128, Malformed> {
        let mut hash = Xxh3::new();
        hash.update(&self.own()?.to_le_bytes());
        hash.update(&[kind as u8]);
        hash_text(&mut hash, metric.name);
        hash_text(&mut hash, metric.unit);
        hash_attributes(&mut hash, attributes)?;
        Ok(hash.digest128())
    }

    fn own(&self) -> Result<u128, Malformed> {
        if let Some(identity) = self.identity.get() {
            return Ok(*identity);
        }
        let mut hash = Xxh3::new();
        hash_attributes(&mut hash, &self.resource.attributes)?;
        hash_text(&mut hash, self.scope.name);
        hash_text(&mut hash, self.scope.version);
        hash_attributes(&mut hash, &self.scope.attributes)?;
        Ok(*self.identity.get_or_init(|| hash.digest128()))
    }
}

/// By key, so that their order is no part of it.
fn hash_attributes(hash: &mut Xxh3, attributes: &Attributes<'_>) -> Result<(), Malformed> {
    let mut sorted: Vec<&Attribute<'_>> = attributes.as_slice().iter().collect();
    sorted.sort_by_key(|attribute| attribute.key);
    hash.update(&sorted.len().to_le_bytes());
    let mut text = String::new();
    for attribute in sorted {
        hash_text(hash, attribute.key);
        hash.update(&[u8::try_from(attribute.value.letter()).unwrap_or_default()]);
        text.clear();
        attribute.value.push_text(&mut text)?;
        hash_text(hash, &text);
    }
    Ok(())
}

/// With its length, so that neighbours cannot be confused.
fn hash_text(hash: &mut Xxh3, text: &str) {
    hash.update(&text.len().to_le_bytes());
    hash.update(text.as_bytes());
}
