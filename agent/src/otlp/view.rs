//! Borrowed views of accepted requests, for those who read items one by one: spans, log records
//! and data points with their attributes, resource and scope. Nothing is copied out of the body,
//! but the buckets of histograms.
//!
//! ```text
//! for group in resource_groups(body)        resource: once per group
//!     for scope_group in group.scopes()     scope: once per group
//!         for item in scope_group.items()   span.read(item), record.read(item), Metric::read(item)
//! ```
//! One [`Span`] (or [`LogRecord`]) is read again and again, so that its lists are allocated once
//! per request. Bodies have passed the check; what is wrong in spite of it is an error and never a
//! panic. What attributes mean is not known here.

mod items;
pub mod metrics;

pub use items::{Event, Link, LogRecord, Span};

use super::values::AnyValue;
use super::wire::{Field, Fields, Malformed, Singular};

/// The groups of a request with one resource each.
pub fn resource_groups(body: &[u8]) -> impl Iterator<Item = Result<ResourceGroup<'_>, Malformed>> {
    messages(Fields::new(body, 0), 1).map(|fields| Ok(ResourceGroup { fields: fields? }))
}

/// The messages in the fields of this number.
fn messages(fields: Fields<'_>, number: u32) -> impl Iterator<Item = Result<Fields<'_>, Malformed>> {
    fields.filter_map(move |field| match field {
        Ok(field) => (field.number == number).then(|| field.message()),
        Err(fault) => Some(Err(fault)),
    })
}

/// A `ResourceSpans` or its likes.
#[derive(Debug, Clone)]
pub struct ResourceGroup<'a> {
    fields: Fields<'a>,
}

impl<'a> ResourceGroup<'a> {
    /// What the items of the group come from.
    pub fn resource(&self) -> Result<Resource<'a>, Malformed> {
        let mut resource = Resource::default();
        // Parts of a message that stand apart are read one after the other: that is how protobuf
        // merges them. So it is with all messages here.
        for part in messages(self.fields.clone(), 1) {
            for field in part? {
                let field = field?;
                match field.number {
                    1 => resource.attributes.add(&field)?,
                    2 => resource.dropped_attributes_count = field.uint32()?,
                    _ => {}
                }
            }
        }
        Ok(resource)
    }

    /// Its parts with one scope each.
    pub fn scopes(&self) -> impl Iterator<Item = Result<ScopeGroup<'a>, Malformed>> + use<'a> {
        messages(self.fields.clone(), 2).map(|fields| Ok(ScopeGroup { fields: fields? }))
    }
}

/// A `ScopeSpans` or its likes.
#[derive(Debug, Clone)]
pub struct ScopeGroup<'a> {
    fields: Fields<'a>,
}

impl<'a> ScopeGroup<'a> {
    /// What produced the items of the group.
    pub fn scope(&self) -> Result<Scope<'a>, Malformed> {
        let mut scope = Scope::default();
        for part in messages(self.fields.clone(), 1) {
            for field in part? {
                let field = field?;
                match field.number {
                    1 => scope.name = field.string()?,
                    2 => scope.version = field.string()?,
                    3 => scope.attributes.add(&field)?,
                    _ => {}
                }
            }
        }
        Ok(scope)
    }

    /// Its items, for [`Span::read`] or [`LogRecord::read`]; its metrics, for
    /// [`metrics::Metric::read`].
    pub fn items(&self) -> impl Iterator<Item = Result<Fields<'a>, Malformed>> + use<'a> {
        messages(self.fields.clone(), 2)
    }
}

/// A resource.
#[derive(Debug, Default)]
pub struct Resource<'a> {
    /// Its attributes.
    pub attributes: Attributes<'a>,
    /// How many more it had.
    pub dropped_attributes_count: u32,
}

/// An instrumentation scope.
#[derive(Debug, Default)]
pub struct Scope<'a> {
    /// Its name, empty if it has none.
    pub name: &'a str,
    /// Its version, empty if it has none.
    pub version: &'a str,
    /// Its attributes.
    pub attributes: Attributes<'a>,
}

/// One attribute, or one entry of a map.
#[derive(Debug)]
pub struct Attribute<'a> {
    /// The key.
    pub key: &'a str,
    /// The value.
    pub value: AnyValue<'a>,
}

impl<'a> Attribute<'a> {
    /// Reads the `KeyValue` in this field.
    #[inline]
    pub fn read(field: &Field<'a>) -> Result<Self, Malformed> {
        let (mut key, mut value) = ("", AnyValue::None);
        for field in field.message()? {
            let field = field?;
            match field.number {
                1 => key = field.string()?,
                2 => value = value.and(field.message()?)?,
                _ => {}
            }
        }
        Ok(Self { key, value })
    }
}

/// Attributes in their order, as a list that can be filled again.
#[derive(Debug, Default)]
pub struct Attributes<'a> {
    list: Vec<Attribute<'a>>,
}

impl<'a> Attributes<'a> {
    /// Takes one more.
    #[inline]
    pub fn add(&mut self, field: &Field<'a>) -> Result<(), Malformed> {
        self.list.push(Attribute::read(field)?);
        Ok(())
    }

    /// Empties the list and keeps its memory.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// All of them, in their order.
    pub fn as_slice(&self) -> &[Attribute<'a>] {
        &self.list
    }

    /// The value of a key; of several the first.
    pub fn get(&self, key: &str) -> Option<&AnyValue<'a>> {
        let found = self.list.iter().find(|attribute| attribute.key == key);
        found.map(|attribute| &attribute.value)
    }

    /// The text of a key, unless it is empty or no string.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key) {
            Some(AnyValue::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// The elements of an array.
pub fn elements<'s>(values: &'s Singular<'_>) -> impl Iterator<Item = Result<AnyValue<'s>, Malformed>> {
    messages(values.fields(), 1).map(|fields| AnyValue::read(fields?))
}

/// The entries of a map.
pub fn entries<'s>(map: &'s Singular<'_>) -> impl Iterator<Item = Result<Attribute<'s>, Malformed>> {
    let fields = map.fields().filter_map(|field| match field {
        Ok(field) => (field.number == 1).then_some(Ok(field)),
        Err(fault) => Some(Err(fault)),
    });
    fields.map(|field| Attribute::read(&field?))
}

#[cfg(test)]
mod tests;
