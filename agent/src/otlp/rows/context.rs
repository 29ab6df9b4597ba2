//! What all rows of a scope share: the resource and the scope, read once and appended for
//! all of them together.

use std::sync::Arc;

use meridian_proto::schema::promoted::RESOURCE as PROMOTED;
use xxhash_rust::xxh3::Xxh3;

use super::columns::{Dictionary, Named};
use crate::otlp::descriptors::{RESOURCE, SCOPE};
use crate::otlp::to_json;
use crate::otlp::values::{AnyValue, KeyValue};
use crate::otlp::wire::{Field, Fields, Malformed, Singular};

/// The resource of a `ResourceSpans` and its likes.
pub struct ResourceContext {
    promoted: [Option<String>; PROMOTED.len()],
    json: Option<String>,
    identity: u64,
}

impl ResourceContext {
    /// Reads it from the fields of the group.
    pub fn read(fields: Fields<'_>) -> Result<Self, Malformed> {
        let (resource, schema_url) = head(fields)?;
        let mut promoted = [const { None }; PROMOTED.len()];
        for field in resource.fields() {
            let field = field?;
            if field.number == 1 {
                promote(&mut promoted, &field)?;
            }
        }
        let mut hash = Xxh3::new();
        hash_sorted(&mut hash, resource.fields(), 1)?;
        let extra = [("schemaUrl", schema_url)];
        let extra = if schema_url.is_empty() { &[][..] } else { &extra };
        let present = resource.bytes().is_some() || !schema_url.is_empty();
        let json = present.then(|| to_json::object(&RESOURCE, &resource.fields(), extra));
        Ok(Self {
            promoted,
            json: json.transpose()?,
            identity: hash.digest(),
        })
    }
}

fn promote(promoted: &mut [Option<String>], field: &Field<'_>) -> Result<(), Malformed> {
    let entry = KeyValue::read(field)?;
    let index = PROMOTED.iter().position(|attribute| attribute.key == entry.key);
    let slot = index
        .and_then(|index| promoted.get_mut(index))
        .filter(|slot| slot.is_none());
    if let (Some(slot), AnyValue::String(text)) = (slot, entry.value()?) {
        *slot = Some(text.to_owned());
    }
    Ok(())
}

/// The resource or scope of a group (field 1) and its schema URL (field 3).
fn head(fields: Fields<'_>) -> Result<(Singular<'_>, &str), Malformed> {
    let mut whole = Singular::Absent;
    let mut schema_url = "";
    for field in fields {
        let field = field?;
        match field.number {
            1 => whole.add(&field)?,
            3 => schema_url = field.string()?,
            _ => {}
        }
    }
    Ok((whole, schema_url))
}

/// Hashes the `KeyValue`s in fields of this number by key, so that their order is no part of
/// a series' identity.
pub fn hash_sorted(hash: &mut Xxh3, fields: Fields<'_>, number: u32) -> Result<(), Malformed> {
    let mut entries = Vec::new();
    for field in fields {
        let field = field?;
        if field.number == number {
            entries.push((KeyValue::read(&field)?.key, field.bytes()?));
        }
    }
    entries.sort_unstable();
    hash.update(&entries.len().to_le_bytes());
    for (_, encoded) in entries {
        hash_part(hash, encoded);
    }
    Ok(())
}

/// Hashes bytes with their length, so that neighbours cannot be confused.
pub fn hash_part(hash: &mut Xxh3, bytes: &[u8]) {
    hash.update(&bytes.len().to_le_bytes());
    hash.update(bytes);
}

/// Resource and scope of a `ScopeSpans` and its likes.
pub struct Context<'a> {
    resource: &'a ResourceContext,
    name: String,
    version: String,
    json: Option<String>,
    identity: u64,
}

impl<'a> Context<'a> {
    /// Reads the scope from the fields of the group.
    pub fn read(resource: &'a ResourceContext, fields: Fields<'_>) -> Result<Self, Malformed> {
        let (scope, schema_url) = head(fields)?;
        let (mut name, mut version) = ("", "");
        for field in scope.fields() {
            let field = field?;
            match field.number {
                1 => name = field.string()?,
                2 => version = field.string()?,
                _ => {}
            }
        }
        let mut hash = Xxh3::new();
        hash.update(&resource.identity.to_le_bytes());
        hash_part(&mut hash, name.as_bytes());
        hash_part(&mut hash, version.as_bytes());
        hash_sorted(&mut hash, scope.fields(), 3)?;
        let extra = [("schemaUrl", schema_url)];
        let extra = if schema_url.is_empty() { &[][..] } else { &extra };
        let present = scope.bytes().is_some() || !schema_url.is_empty();
        let json = present.then(|| to_json::object(&SCOPE, &scope.fields(), extra));
        Ok(Self {
            resource,
            name: name.to_owned(),
            version: version.to_owned(),
            json: json.transpose()?,
            identity: hash.digest(),
        })
    }

    /// What resource and scope contribute to a series' identity.
    pub fn identity(&self) -> u64 {
        self.identity
    }
}

fn known(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The columns of resource and scope.
#[derive(Default)]
pub struct ContextColumns {
    promoted: [Dictionary; PROMOTED.len()],
    resource: Dictionary,
    scope_name: Dictionary,
    scope_version: Dictionary,
    scope: Dictionary,
}

impl ContextColumns {
    /// Appends the context for so many rows.
    pub fn append(&mut self, context: &Context<'_>, rows: usize) {
        // An append of no rows would still intern the values.
        if rows == 0 {
            return;
        }
        for (column, value) in self.promoted.iter_mut().zip(&context.resource.promoted) {
            column.append_options(value.as_deref(), rows);
        }
        self.resource
            .append_options(context.resource.json.as_deref(), rows);
        self.scope_name.append_options(known(&context.name), rows);
        self.scope_version.append_options(known(&context.version), rows);
        self.scope.append_options(context.json.as_deref(), rows);
    }

    /// The columns.
    pub fn finish(&mut self, named: &mut Named) {
        for (attribute, column) in PROMOTED.iter().zip(&mut self.promoted) {
            named.push((attribute.column, Arc::new(column.finish())));
        }
        named.push(("resource", Arc::new(self.resource.finish())));
        named.push(("scope_name", Arc::new(self.scope_name.finish())));
        named.push(("scope_version", Arc::new(self.scope_version.finish())));
        named.push(("scope", Arc::new(self.scope.finish())));
    }
}
