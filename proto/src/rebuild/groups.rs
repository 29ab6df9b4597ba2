//! Groups what was rebuilt by resource and scope, in the order of first appearance.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::RebuildError;
use super::columns::{Columns, Object};
use crate::attributes::{VALUE_DEPTH_MAX, otlp_double};
use crate::json::{Fault, Kind, Reader};

/// How OTLP calls the parts of a signal's request.
pub struct Names {
    /// `resourceSpans`
    pub request: &'static str,
    /// `scopeSpans`
    pub scopes: &'static str,
    /// `spans`
    pub items: &'static str,
}

type Key = (Option<String>, Option<String>);

/// Items by resource and scope.
#[derive(Default)]
pub struct Groups {
    order: Vec<(Key, Vec<Value>)>,
    index: HashMap<Key, usize>,
}

impl Groups {
    /// The number of the group of this row.
    pub fn of(&mut self, columns: &Columns, row: usize) -> usize {
        let owned = |column| columns.text(column, row).map(str::to_owned);
        let key = (owned("resource"), owned("scope"));
        if let Some(index) = self.index.get(&key) {
            return *index;
        }
        let index = self.order.len();
        self.index.insert(key.clone(), index);
        self.order.push((key, Vec::new()));
        index
    }

    /// The items of a group.
    pub fn items(&mut self, index: usize) -> Option<&mut Vec<Value>> {
        self.order.get_mut(index).map(|(_, items)| items)
    }

    /// The request.
    pub fn finish(self, names: &Names) -> Result<Value, RebuildError> {
        let mut resources: Vec<(Option<String>, Vec<Value>)> = Vec::new();
        for ((resource, scope), items) in self.order {
            let mut group = head("scope", scope.as_deref())?;
            group.insert(names.items.to_owned(), Value::Array(items));
            match resources.iter_mut().find(|(known, _)| *known == resource) {
                Some((_, scopes)) => scopes.push(Value::Object(group)),
                None => resources.push((resource, vec![Value::Object(group)])),
            }
        }
        let mut groups = Vec::with_capacity(resources.len());
        for (resource, scopes) in resources {
            let mut group = head("resource", resource.as_deref())?;
            group.insert(names.scopes.to_owned(), Value::Array(scopes));
            groups.push(Value::Object(group));
        }
        Ok(json!({ names.request: groups }))
    }
}

/// Takes the schema URL out of the kept JSON: OTLP has it beside the resource or scope.
fn head(name: &'static str, kept: Option<&str>) -> Result<Object, RebuildError> {
    let mut group = Map::new();
    let Some(kept) = kept else {
        return Ok(group);
    };
    let mut value = parse(kept).map_err(|source| RebuildError::Value { column: name, source })?;
    if let Some(url) = value
        .as_object_mut()
        .and_then(|fields| fields.remove("schemaUrl"))
    {
        group.insert("schemaUrl".to_owned(), url);
    }
    group.insert(name.to_owned(), value);
    Ok(group)
}

/// Parses JSON that an agent wrote: doubles exactly, and as deep as values may nest.
pub fn parse(text: &str) -> Result<Value, Fault> {
    let mut reader = Reader::new(text.as_bytes(), VALUE_DEPTH_MAX * 4 + 16);
    let value = read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

fn read(reader: &mut Reader<'_>) -> Result<Value, Fault> {
    let mut first = true;
    Ok(match reader.peek()? {
        Kind::Null => {
            reader.null()?;
            Value::Null
        }
        Kind::Bool => Value::Bool(reader.bool()?),
        Kind::String => Value::String(reader.string()?.into_owned()),
        Kind::Number => {
            let text = reader.number()?;
            match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(whole), _) => json!(whole),
                (_, Ok(double)) => otlp_double(double),
                _ => return Err(reader.fault("a number that cannot be read")),
            }
        }
        Kind::Array => {
            reader.begin_array()?;
            let mut values = Vec::new();
            while reader.next_element(&mut first)? {
                values.push(read(reader)?);
            }
            Value::Array(values)
        }
        Kind::Object => {
            reader.begin_object()?;
            let mut fields = Map::new();
            while let Some(key) = reader.next_key(&mut first)? {
                fields.insert(key.into_owned(), read(reader)?);
            }
            Value::Object(fields)
        }
    })
}
