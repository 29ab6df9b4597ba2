//! What all rows of a scope share: the resource and the scope, read once and appended for
//! all of them together. Those that come again unchanged are not read again; who keeps the last
//! ones is the caller.

use std::sync::Arc;

use meridian_proto::schema::promoted::RESOURCE as PROMOTED;
use xxhash_rust::xxh3::Xxh3;

use super::columns::{Dictionary, Named};
use crate::otlp::descriptors::{Message, RESOURCE, SCOPE};
use crate::otlp::to_json;
use crate::otlp::values::{AnyValue, KeyValue};
use crate::otlp::wire::{Field, Fields, Malformed, Singular};

/// What a group says beside its scopes or items: its resource or scope (field 1) and the schema
/// URL (field 3).
#[derive(Default)]
pub struct Head<'a> {
    whole: Singular<'a>,
    schema_url: &'a str,
}

impl<'a> Head<'a> {
    /// Reads it from the fields of the group.
    pub fn read(fields: Fields<'a>) -> Result<Self, Malformed> {
        let mut head = Self::default();
        for field in fields {
            head.add(&field?)?;
        }
        Ok(head)
    }

    /// Takes a field of the group, if it is one of these.
    #[inline]
    pub fn add(&mut self, field: &Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.whole.add(field)?,
            3 => self.schema_url = field.string()?,
            _ => {}
        }
        Ok(())
    }

    /// All that it says, as JSON; nothing if it says nothing.
    fn json(&self, message: &'static Message) -> Result<Option<String>, Malformed> {
        let extra = [("schemaUrl", self.schema_url)];
        let extra = if self.schema_url.is_empty() {
            &[][..]
        } else {
            &extra
        };
        let is_present = self.whole.bytes().is_some() || !self.schema_url.is_empty();
        let json = is_present.then(|| to_json::object(message, &self.whole.fields(), extra));
        json.transpose()
    }
}

/// The bytes that a context was read from: a client sends the same ones again and again.
struct Source {
    whole: Option<Vec<u8>>,
    schema_url: String,
}

impl Source {
    fn of(head: &Head<'_>) -> Self {
        Self {
            whole: head.whole.bytes().map(<[u8]>::to_vec),
            schema_url: head.schema_url.to_owned(),
        }
    }

    fn is(&self, head: &Head<'_>) -> bool {
        self.whole.as_deref() == head.whole.bytes() && self.schema_url == head.schema_url
    }
}

/// The resource of a `ResourceSpans` and its likes.
pub struct ResourceContext {
    source: Source,
    promoted: [Option<String>; PROMOTED.len()],
    json: Option<String>,
    identity: u64,
}

impl ResourceContext {
    /// Reads it from the head of the group.
    pub fn read(head: &Head<'_>) -> Result<Self, Malformed> {
        let mut promoted = [const { None }; PROMOTED.len()];
        for field in head.whole.fields() {
            let field = field?;
            if field.number == 1 {
                promote(&mut promoted, &field)?;
            }
        }
        let mut hash = Xxh3::new();
        hash_sorted(&mut hash, head.whole.fields(), 1)?;
        Ok(Self {
            source: Source::of(head),
            promoted,
            json: head.json(&RESOURCE)?,
            identity: hash.digest(),
        })
    }

    /// Whether it was read from such a head.
    pub fn is_of(&self, head: &Head<'_>) -> bool {
        self.source.is(head)
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

/// The scope of a `ScopeSpans` and its likes, below a resource.
pub struct ScopeContext {
    source: Source,
    name: String,
    version: String,
    json: Option<String>,
    identity: u64,
}

impl ScopeContext {
    /// Reads it from the head of the group.
    pub fn read(resource: &ResourceContext, head: &Head<'_>) -> Result<Self, Malformed> {
        let (mut name, mut version) = ("", "");
        for field in head.whole.fields() {
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
        hash_sorted(&mut hash, head.whole.fields(), 3)?;
        Ok(Self {
            source: Source::of(head),
            name: name.to_owned(),
            version: version.to_owned(),
            json: head.json(&SCOPE)?,
            identity: hash.digest(),
        })
    }

    /// The one that was read before, below the same resource, if it is the same.
    pub fn read_or_take(
        known: &mut Option<Self>,
        resource: &ResourceContext,
        head: &Head<'_>,
    ) -> Result<Self, Malformed> {
        match known.take_if(|known| known.source.is(head)) {
            Some(same) => Ok(same),
            None => Self::read(resource, head),
        }
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
    pub fn append(&mut self, resource: &ResourceContext, scope: &ScopeContext, rows: usize) {
        // An append of no rows would still intern the values.
        if rows == 0 {
            return;
        }
        for (column, value) in self.promoted.iter_mut().zip(&resource.promoted) {
            column.append_options(value.as_deref(), rows);
        }
        self.resource.append_options(resource.json.as_deref(), rows);
        self.scope_name.append_options(known(&scope.name), rows);
        self.scope_version.append_options(known(&scope.version), rows);
        self.scope.append_options(scope.json.as_deref(), rows);
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
