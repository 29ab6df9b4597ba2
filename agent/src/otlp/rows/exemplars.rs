//! The exemplars of data points.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, Int64Builder};
use meridian_proto::ids::{SPAN_ID_BYTES, TRACE_ID_BYTES};
use meridian_proto::schema;

use super::attributes::Maps;
use super::columns::{Bytes, Column, TimeColumns, set_id};
use super::nested::Lists;
use crate::otlp::values::Number;
use crate::otlp::wire::{Fields, Malformed};

/// A list of exemplars per row.
#[derive(Default)]
pub struct Exemplars {
    time: TimeColumns,
    value: Float64Builder,
    value_int: Int64Builder,
    trace_id: Bytes,
    span_id: Bytes,
    attributes: Maps,
    letters: Bytes,
    count: usize,
    lists: Lists,
}

impl Exemplars {
    /// Adds one to the current row.
    pub fn add(&mut self, fields: Fields<'_>) -> Result<(), Malformed> {
        let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
        let (mut time, mut number) = (0, Number::None);
        for field in fields {
            let field = field?;
            match field.number {
                2 => time = field.fixed64()?,
                3 => number = Number::Double(field.double()?),
                4 => span_id = field.bytes()?,
                5 => trace_id = field.bytes()?,
                6 => number = Number::Int(field.fixed64()?.cast_signed()),
                7 => self.attributes.key_value(&field)?,
                _ => {}
            }
        }
        self.time.append_known(time);
        self.value.append_option(number.double());
        self.value_int.append_option(number.int());
        set_id(&mut self.trace_id, self.count, trace_id, TRACE_ID_BYTES);
        set_id(&mut self.span_id, self.count, span_id, SPAN_ID_BYTES);
        let letters = &mut self.letters;
        self.attributes.end(|row| letters.append_value(row));
        self.count += 1;
        Ok(())
    }

    /// Ends the row with this number.
    pub fn end(&mut self, row: usize) {
        self.lists.end_some(row, self.count);
    }

    /// The column of so many rows.
    pub fn finish(&mut self, rows: usize) -> ArrayRef {
        let count = std::mem::take(&mut self.count);
        self.trace_id.pad(count);
        self.span_id.pad(count);
        self.lists.pad(rows);
        let (time, time_ns) = self.time.finish();
        let columns: Vec<ArrayRef> = vec![
            time,
            time_ns,
            Arc::new(self.value.finish()),
            Arc::new(self.value_int.finish()),
            Arc::new(self.trace_id.finish_binary()),
            Arc::new(self.span_id.finish_binary()),
            self.attributes.finish(),
            Arc::new(self.letters.finish_text()),
        ];
        self.lists.finish_structs(schema::exemplar_fields(), columns)
    }
}
