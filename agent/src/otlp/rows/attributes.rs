//! Attributes as a map of texts and the letters of their types; promoted ones as columns.
//!
//! Clients send the same keys in the same order, row after row, encoded in the shortest way: that
//! is what this is quick at. Everything else takes the long way, with the same result.

use std::sync::Arc;

use arrow_array::builder::Int64Builder;
use arrow_array::{ArrayRef, MapArray, StructArray};
use meridian_proto::attributes::{letter, push_int};
use meridian_proto::schema;
use meridian_proto::schema::promoted::{Promoted, PromotedType};

use super::columns::{Bytes, Column, Dictionary, Named, is_same, set};
use super::nested::Lists;
use crate::otlp::values::{AnyValue, KeyValue};
use crate::otlp::wire::{Field, Malformed};

/// So many keys of the row before are compared with; further ones are searched for.
const ORDER_MAX: usize = 128;

/// The map of each row. The letters are handed to whoever keeps them, row by row.
#[derive(Default)]
pub struct Maps {
    keys: Bytes,
    values: Bytes,
    entries: usize,
    lists: Lists,
    letters: String,
    text: String,
}

impl Maps {
    /// Adds an entry to the current row.
    fn entry(&mut self, key: &[u8], value: &AnyValue<'_>) -> Result<(), Malformed> {
        match value {
            AnyValue::None => self.values.append_null(),
            AnyValue::String(text) => self.values.append_value(text),
            other => {
                self.text.clear();
                other.push_text(&mut self.text)?;
                self.values.append_value(&self.text);
            }
        }
        self.end_entry(key, value.letter());
        Ok(())
    }

    fn quick_entry(&mut self, key: &[u8], value: &Quick<'_>) {
        let letter = match value {
            Quick::Text(text) => {
                self.values.append_value(text);
                letter::STRING
            }
            Quick::Int(number) => {
                self.text.clear();
                push_int(&mut self.text, *number);
                self.values.append_value(&self.text);
                letter::INT
            }
        };
        self.end_entry(key, letter);
    }

    fn end_entry(&mut self, key: &[u8], letter: char) {
        self.keys.append_value(key);
        self.letters.push(letter);
        self.entries += 1;
    }

    /// Adds the `KeyValue` in this field.
    pub fn key_value(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        if let Some((key, value)) = quick(field.bytes()?) {
            self.quick_entry(key, &value);
            return Ok(());
        }
        let entry = KeyValue::read(field)?;
        self.entry(entry.key.as_bytes(), &entry.value()?)
    }

    /// Ends the row and gives the letters of its entries to `keep`.
    pub fn end(&mut self, keep: impl FnOnce(&str)) {
        self.lists.end(self.entries);
        keep(&self.letters);
        self.letters.clear();
    }

    /// The column.
    pub fn finish(&mut self) -> ArrayRef {
        self.entries = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.keys.finish_text()),
            Arc::new(self.values.finish_text()),
        ];
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

/// The values that nearly all attributes have.
enum Quick<'a> {
    Text(&'a [u8]),
    Int(i64),
}

/// Key and value of a `KeyValue` of these, encoded in the shortest way and below 128 bytes.
#[inline]
fn quick(entry: &[u8]) -> Option<(&[u8], Quick<'_>)> {
    let [0x0a, length @ 0..0x80, rest @ ..] = entry else {
        return None;
    };
    let (key, rest) = rest.split_at_checked(usize::from(*length))?;
    let [0x12, length @ 0..0x80, value @ ..] = rest else {
        return None;
    };
    if value.len() != usize::from(*length) {
        return None;
    }
    match value {
        [0x0a, length @ 0..0x80, text @ ..] if text.len() == usize::from(*length) => {
            Some((key, Quick::Text(text)))
        }
        [0x18, low @ 0..0x80] => Some((key, Quick::Int(i64::from(*low)))),
        [0x18, low @ 0x80..=0xff, high @ 0..0x80] => {
            Some((key, Quick::Int(i64::from(low & 0x7f) | i64::from(*high) << 7)))
        }
        _ => None,
    }
}

/// The attributes of an item: the map, its letters, and the promoted columns if it has any.
pub struct Attributes {
    maps: Maps,
    letters: Dictionary,
    promoted: &'static [Promoted],
    columns: Vec<PromotedValues>,
    rows: usize,
    /// The keys of the row before, and their columns if they are promoted.
    order: Vec<(Vec<u8>, Option<usize>)>,
    place: usize,
}

enum PromotedValues {
    String(Dictionary),
    Text(Bytes),
    Int(Int64Builder),
}

impl PromotedValues {
    fn rows(&self) -> usize {
        match self {
            PromotedValues::String(values) => values.rows(),
            PromotedValues::Text(values) => values.rows(),
            PromotedValues::Int(values) => values.rows(),
        }
    }
}

impl Attributes {
    /// Columns that promote these attributes.
    pub fn new(promoted: &'static [Promoted]) -> Self {
        let column = |attribute: &Promoted| match attribute.kind {
            PromotedType::String => PromotedValues::String(Dictionary::default()),
            PromotedType::Text => PromotedValues::Text(Bytes::default()),
            PromotedType::Int => PromotedValues::Int(Int64Builder::new()),
        };
        Self {
            maps: Maps::default(),
            letters: Dictionary::default(),
            promoted,
            columns: promoted.iter().map(column).collect(),
            rows: 0,
            order: Vec::new(),
            place: 0,
        }
    }

    /// Adds the `KeyValue` in this field to the current row.
    #[inline]
    pub fn add(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        if let Some((key, value)) = quick(field.bytes()?) {
            let column = self.column(key);
            let is_promoted = match value {
                Quick::Text(text) => self.promote_text(column, text),
                Quick::Int(number) => self.promote_int(column, number),
            };
            if !is_promoted {
                self.maps.quick_entry(key, &value);
            }
            return Ok(());
        }
        let entry = KeyValue::read(field)?;
        let value = entry.value()?;
        let column = self.column(entry.key.as_bytes());
        let is_promoted = match value {
            AnyValue::String(text) => self.promote_text(column, text.as_bytes()),
            AnyValue::Int(number) => self.promote_int(column, number),
            _ => false,
        };
        if !is_promoted {
            self.maps.entry(entry.key.as_bytes(), &value)?;
        }
        Ok(())
    }

    /// The column of a promoted key.
    #[inline]
    fn column(&mut self, key: &[u8]) -> Option<usize> {
        let place = self.place;
        self.place += 1;
        match self.order.get(place) {
            Some((known, column)) if is_same(known, key) => *column,
            _ => self.search(place, key),
        }
    }

    #[inline(never)]
    fn search(&mut self, place: usize, key: &[u8]) -> Option<usize> {
        let column = self
            .promoted
            .iter()
            .position(|attribute| attribute.key.as_bytes() == key);
        if let Some((known, known_column)) = self.order.get_mut(place) {
            known.clear();
            known.extend_from_slice(key);
            *known_column = column;
        } else if place < ORDER_MAX {
            self.order.push((key.to_vec(), column));
        }
        column
    }

    /// Takes the value out of the map if its key has a column of its type. Only the first
    /// of several is promoted; the others stay in the map.
    #[inline]
    fn promote_text(&mut self, column: Option<usize>, text: &[u8]) -> bool {
        let column = column.and_then(|column| self.columns.get_mut(column));
        match column.filter(|column| column.rows() <= self.rows) {
            Some(PromotedValues::String(values)) => {
                values.pad(self.rows);
                values.append_value(text);
                true
            }
            Some(PromotedValues::Text(values)) => {
                values.pad(self.rows);
                values.append_value(text);
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn promote_int(&mut self, column: Option<usize>, number: i64) -> bool {
        let column = column.and_then(|column| self.columns.get_mut(column));
        match column.filter(|column| column.rows() <= self.rows) {
            Some(PromotedValues::Int(values)) => {
                set(values, self.rows, number);
                true
            }
            _ => false,
        }
    }

    /// Ends the row.
    #[inline]
    pub fn end(&mut self) {
        let letters = &mut self.letters;
        self.maps.end(|row| letters.append_value(row));
        self.rows += 1;
        self.place = 0;
    }

    /// The columns.
    pub fn finish(&mut self, named: &mut Named) {
        named.push(("attributes", self.maps.finish()));
        named.push(("attribute_types", Arc::new(self.letters.finish())));
        for (attribute, column) in self.promoted.iter().zip(&mut self.columns) {
            let array: ArrayRef = match column {
                PromotedValues::String(values) => {
                    values.pad(self.rows);
                    Arc::new(values.finish())
                }
                PromotedValues::Text(values) => {
                    values.pad(self.rows);
                    Arc::new(values.finish_text())
                }
                PromotedValues::Int(values) => {
                    values.pad(self.rows);
                    Arc::new(values.finish())
                }
            };
            named.push((attribute.column, array));
        }
        self.rows = 0;
    }
}
