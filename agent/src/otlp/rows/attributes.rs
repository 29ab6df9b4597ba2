//! Attributes as a map of texts and the letters of their types; promoted ones as columns.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, MapArray, StructArray};
use meridian_proto::schema;
use meridian_proto::schema::promoted::{Promoted, PromotedType};

use super::columns::{Dictionary, Named};
use super::nested::Lists;
use crate::otlp::values::{AnyValue, KeyValue};
use crate::otlp::wire::{Field, Malformed};

/// The map of each row. The letters are handed to whoever keeps them, row by row.
#[derive(Default)]
pub struct Maps {
    keys: StringBuilder,
    values: StringBuilder,
    entries: usize,
    lists: Lists,
    letters: String,
    text: String,
}

impl Maps {
    /// Adds an entry to the current row.
    pub fn entry(&mut self, key: &str, value: &AnyValue<'_>) -> Result<(), Malformed> {
        match value {
            AnyValue::None => self.values.append_null(),
            AnyValue::String(text) => self.values.append_value(text),
            other => {
                self.text.clear();
                other.push_text(&mut self.text)?;
                self.values.append_value(&self.text);
            }
        }
        self.keys.append_value(key);
        self.letters.push(value.letter());
        self.entries += 1;
        Ok(())
    }

    /// Adds the `KeyValue` in this field.
    pub fn key_value(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        let entry = KeyValue::read(field)?;
        self.entry(entry.key, &entry.value()?)
    }

    /// Ends the row and gives the letters of its entries to `keep`.
    pub fn end(&mut self, keep: impl FnOnce(&str)) {
        self.lists.end(self.entries, true);
        keep(&self.letters);
        self.letters.clear();
    }

    /// The column.
    pub fn finish(&mut self) -> ArrayRef {
        self.entries = 0;
        let columns: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let entries = StructArray::new(schema::map_entry_fields(), columns, None);
        let field = Arc::new(schema::map_entries_field());
        Arc::new(MapArray::new(
            field,
            self.lists.take_offsets(),
            entries,
            None,
            false,
        ))
    }
}

/// The attributes of an item: the map, its letters, and the promoted columns if it has any.
pub struct Attributes {
    maps: Maps,
    letters: Dictionary,
    promoted: &'static [Promoted],
    columns: Vec<PromotedColumn>,
}

struct PromotedColumn {
    filled: bool,
    values: PromotedValues,
}

enum PromotedValues {
    String(Dictionary),
    Int(Int64Builder),
}

impl Attributes {
    /// Columns that promote these attributes.
    pub fn new(promoted: &'static [Promoted]) -> Self {
        let column = |attribute: &Promoted| PromotedColumn {
            filled: false,
            values: match attribute.kind {
                PromotedType::String => PromotedValues::String(Dictionary::new()),
                PromotedType::Int => PromotedValues::Int(Int64Builder::new()),
            },
        };
        Self {
            maps: Maps::default(),
            letters: Dictionary::new(),
            promoted,
            columns: promoted.iter().map(column).collect(),
        }
    }

    /// Adds the `KeyValue` in this field to the current row.
    pub fn add(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        let entry = KeyValue::read(field)?;
        let value = entry.value()?;
        if !self.promote(entry.key, &value) {
            self.maps.entry(entry.key, &value)?;
        }
        Ok(())
    }

    /// Takes the value out of the map if its key has a column of its type. Only the first
    /// of several is promoted; the others stay in the map.
    fn promote(&mut self, key: &str, value: &AnyValue<'_>) -> bool {
        let Some(index) = self.promoted.iter().position(|attribute| attribute.key == key) else {
            return false;
        };
        let Some(column) = self.columns.get_mut(index).filter(|column| !column.filled) else {
            return false;
        };
        match (&mut column.values, value) {
            (PromotedValues::String(values), AnyValue::String(text)) => values.append_value(text),
            (PromotedValues::Int(values), AnyValue::Int(number)) => values.append_value(*number),
            _ => return false,
        }
        column.filled = true;
        true
    }

    /// Ends the row.
    pub fn end(&mut self) {
        let letters = &mut self.letters;
        self.maps.end(|row| letters.append_value(row));
        for column in &mut self.columns {
            if !std::mem::take(&mut column.filled) {
                match &mut column.values {
                    PromotedValues::String(values) => values.append_null(),
                    PromotedValues::Int(values) => values.append_null(),
                }
            }
        }
    }

    /// The columns.
    pub fn finish(&mut self, named: &mut Named) {
        named.push(("attributes", self.maps.finish()));
        named.push(("attribute_types", Arc::new(self.letters.finish())));
        for (attribute, column) in self.promoted.iter().zip(&mut self.columns) {
            let array: ArrayRef = match &mut column.values {
                PromotedValues::String(values) => Arc::new(values.finish()),
                PromotedValues::Int(values) => Arc::new(values.finish()),
            };
            named.push((attribute.column, array));
        }
    }
}
