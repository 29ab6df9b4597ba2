//! Reads columns by name and row, whatever engine they came from, and puts values into JSON
//! objects unless they are absent. It knows no signal.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray, new_null_array};
use arrow_cast::cast;
use arrow_schema::{DataType, Fields};
use serde_json::{Map, Value};

use super::RebuildError;
use crate::attributes::{key_value, otlp_double, to_otlp};
use crate::ids::to_hex;
use crate::json::Fault;
use crate::schema;
use crate::schema::promoted::{Promoted, PromotedType};
use crate::signal::Signal;
use crate::time::SplitTime;

/// A JSON object being filled.
pub type Object = Map<String, Value>;

/// Puts a value under a key unless there is none.
pub fn put(object: &mut Object, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}

/// Named columns of the same length.
pub struct Columns {
    by_name: HashMap<&'static str, ArrayRef>,
}

impl Columns {
    /// The columns of a signal's schema.
    pub fn of(signal: Signal, batch: &RecordBatch) -> Result<Self, RebuildError> {
        let mut by_name = HashMap::new();
        for field in schema::of(signal).fields() {
            let column = field.name().as_str();
            // Dictionaries are only a way to store text.
            let target = match field.data_type() {
                DataType::Dictionary(_, _) => &DataType::Utf8,
                other => other,
            };
            let array = match batch.column_by_name(column) {
                Some(array) if array.data_type() == target => Arc::clone(array),
                Some(array) => {
                    cast(array, target).map_err(|source| RebuildError::Column { column, source })?
                }
                None if field.is_nullable() => new_null_array(target, batch.num_rows()),
                None if schema::ORIGIN_COLUMNS.contains(&column) || column == "received_time" => continue,
                None => return Err(RebuildError::Missing { column }),
            };
            by_name.insert(column, array);
        }
        Ok(Self { by_name })
    }

    fn at(&self, column: &str, row: usize) -> Option<&ArrayRef> {
        self.by_name.get(column).filter(|array| array.is_valid(row))
    }

    /// A string.
    pub fn text(&self, column: &str, row: usize) -> Option<&str> {
        Some(self.at(column, row)?.as_string_opt::<i32>()?.value(row))
    }

    /// A 64-bit integer.
    pub fn int(&self, column: &str, row: usize) -> Option<i64> {
        Some(self.at(column, row)?.as_primitive_opt::<Int64Type>()?.value(row))
    }

    /// A 32-bit integer.
    pub fn int32(&self, column: &str, row: usize) -> Option<i32> {
        Some(self.at(column, row)?.as_primitive_opt::<Int32Type>()?.value(row))
    }

    /// A flag word: the bits of a 32-bit integer.
    pub fn flags(&self, row: usize) -> Option<u32> {
        self.int32("flags", row).map(i32::cast_unsigned)
    }

    /// A bool.
    pub fn bool(&self, column: &str, row: usize) -> Option<bool> {
        Some(self.at(column, row)?.as_boolean_opt()?.value(row))
    }

    /// A double, as OTLP JSON writes it.
    pub fn double(&self, column: &str, row: usize) -> Option<Value> {
        let value = self
            .at(column, row)?
            .as_primitive_opt::<Float64Type>()?
            .value(row);
        Some(otlp_double(value))
    }

    /// An id in hex.
    pub fn id(&self, column: &str, row: usize) -> Option<String> {
        Some(to_hex(self.at(column, row)?.as_binary_opt::<i32>()?.value(row)))
    }

    /// A count, as a string.
    pub fn count(&self, column: &str, row: usize) -> Option<String> {
        self.int(column, row).map(|value| value.to_string())
    }

    /// Nanoseconds since the epoch from a column of microseconds and the one beside it.
    pub fn time(&self, column: &str, row: usize) -> Option<u64> {
        let micros = self
            .at(column, row)?
            .as_primitive_opt::<TimestampMicrosecondType>()?
            .value(row);
        let rest = self.at(&format!("{column}_ns"), row);
        let nanos = rest.and_then(|array| Some(array.as_primitive_opt::<Int16Type>()?.value(row)));
        let split = SplitTime {
            micros,
            nanos: nanos.unwrap_or(0),
        };
        Some(split.to_unix_nanos())
    }

    /// Puts a time, unless it is 0 or absent.
    pub fn put_time(&self, object: &mut Object, key: &str, column: &str, row: usize) {
        let time = self.time(column, row).filter(|time| *time != 0);
        put(object, key, time.map(|time| time.to_string()));
    }

    /// The elements of a list of numbers, written by `write`.
    pub fn list(&self, column: &str, row: usize) -> Option<ArrayRef> {
        Some(self.at(column, row)?.as_list_opt::<i32>()?.value(row))
    }

    /// The counts of a list, as strings.
    pub fn counts(&self, column: &str, row: usize) -> Option<Vec<Value>> {
        let list = self.list(column, row)?;
        let counts = list.as_primitive_opt::<Int64Type>()?;
        Some(
            counts
                .values()
                .iter()
                .map(|count| Value::String(count.to_string()))
                .collect(),
        )
    }

    /// The doubles of a list.
    pub fn doubles(&self, column: &str, row: usize) -> Option<Vec<Value>> {
        let list = self.list(column, row)?;
        let doubles = list.as_primitive_opt::<Float64Type>()?;
        Some(doubles.values().iter().copied().map(otlp_double).collect())
    }

    /// Turns each struct of a list into JSON.
    pub fn structs(
        &self,
        column: &str,
        fields: &Fields,
        row: usize,
        rebuild: impl Fn(&Columns, usize) -> Result<Value, RebuildError>,
    ) -> Result<Option<Vec<Value>>, RebuildError> {
        let Some(list) = self.list(column, row) else {
            return Ok(None);
        };
        let Some(structs) = list.as_struct_opt() else {
            return Ok(None);
        };
        let elements = Self::of_struct(structs, fields);
        let values = (0..structs.len()).map(|element| rebuild(&elements, element));
        values.collect::<Result<Vec<Value>, RebuildError>>().map(Some)
    }

    /// The fields of a struct are told apart by their place: engines may rename them.
    fn of_struct(structs: &StructArray, fields: &Fields) -> Self {
        const NAMES: [&str; 13] = [
            "time",
            "time_ns",
            "name",
            "attributes",
            "attribute_types",
            "dropped_attributes_count",
            "trace_id",
            "span_id",
            "trace_state",
            "flags",
            "value",
            "value_int",
            "quantile",
        ];
        let mut by_name = HashMap::new();
        for (field, array) in fields.iter().zip(structs.columns()) {
            if let Some(name) = NAMES.into_iter().find(|name| name == field.name()) {
                by_name.insert(name, Arc::clone(array));
            }
        }
        Self { by_name }
    }

    /// The attributes of a row as OTLP's list of `KeyValue`, promoted ones last.
    pub fn attributes(&self, row: usize, promoted: &[Promoted]) -> Result<Option<Vec<Value>>, RebuildError> {
        let mut entries = self.map_entries(row)?;
        for attribute in promoted {
            let value = match attribute.kind {
                PromotedType::String | PromotedType::Text => self
                    .text(attribute.column, row)
                    .map(|text| serde_json::json!({ "stringValue": text })),
                PromotedType::Int => self
                    .count(attribute.column, row)
                    .map(|text| serde_json::json!({ "intValue": text })),
            };
            entries.extend(value.map(|value| key_value(attribute.key, value)));
        }
        Ok((!entries.is_empty()).then_some(entries))
    }

    fn map_entries(&self, row: usize) -> Result<Vec<Value>, RebuildError> {
        let unreadable = |what| RebuildError::Value {
            column: "attribute_types",
            source: Fault { offset: 0, what },
        };
        let Some(map) = self.at("attributes", row).and_then(|array| array.as_map_opt()) else {
            return Ok(Vec::new());
        };
        let entries = map.value(row);
        let mut letters = self.text("attribute_types", row).unwrap_or_default().chars();
        let (Some(keys), Some(values)) = (
            entries.column(0).as_string_opt::<i32>(),
            entries.column(1).as_string_opt::<i32>(),
        ) else {
            return Err(unreadable("attributes that are not text"));
        };
        let mut rebuilt = Vec::with_capacity(entries.len());
        for entry in 0..entries.len() {
            let letter = letters
                .next()
                .ok_or_else(|| unreadable("fewer letters than entries"))?;
            let text = values.is_valid(entry).then(|| values.value(entry));
            let value = to_otlp(letter, text).map_err(|source| RebuildError::Value {
                column: "attributes",
                source,
            })?;
            rebuilt.push(key_value(keys.value(entry), value));
        }
        Ok(rebuilt)
    }
}
