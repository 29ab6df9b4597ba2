//! Lists and maps, put together from the columns of their elements. No OTLP is read here.

use std::sync::Arc;

use arrow_array::builder::{ArrayBuilder, PrimitiveBuilder};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, ListArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::Fields;
use meridian_proto::schema;

/// Where each row's elements end, and whether the row has a list at all.
pub struct Lists {
    ends: Vec<i32>,
    validity: NullBufferBuilder,
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            ends: vec![0],
            validity: NullBufferBuilder::new(0),
        }
    }
}

impl Lists {
    /// Ends a row's list, when so many elements are there in all.
    pub fn end(&mut self, elements: usize, valid: bool) {
        // A batch is far smaller than 2^31 elements: its bytes are bounded by its reader.
        self.ends.push(i32::try_from(elements).unwrap_or(i32::MAX));
        self.validity.append(valid);
    }

    /// Ends a row's list of elements that are null if there are none.
    pub fn end_some(&mut self, elements: usize) {
        let before = self.ends.last().copied().unwrap_or(0);
        let some = i32::try_from(elements).unwrap_or(i32::MAX) > before;
        self.end(elements, some);
    }

    /// The offsets, for a map.
    pub fn take_offsets(&mut self) -> OffsetBuffer<i32> {
        self.validity = NullBufferBuilder::new(0);
        OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.ends, vec![0])))
    }

    /// The list column.
    pub fn finish(&mut self, elements: ArrayRef) -> ArrayRef {
        let nulls = self.validity.finish();
        let offsets = self.take_offsets();
        let field = schema::list_element(elements.data_type().clone());
        Arc::new(ListArray::new(Arc::new(field), offsets, elements, nulls))
    }

    /// The list column of structs with these fields.
    pub fn finish_structs(&mut self, fields: Fields, columns: Vec<ArrayRef>) -> ArrayRef {
        self.finish(Arc::new(StructArray::new(fields, columns, None)))
    }
}

/// A list of numbers per row.
pub struct NumberLists<T: ArrowPrimitiveType> {
    /// The elements.
    pub values: PrimitiveBuilder<T>,
    lists: Lists,
}

impl<T: ArrowPrimitiveType> Default for NumberLists<T> {
    fn default() -> Self {
        Self {
            values: PrimitiveBuilder::new(),
            lists: Lists::default(),
        }
    }
}

impl<T: ArrowPrimitiveType> NumberLists<T> {
    /// Ends a row's list.
    pub fn end(&mut self, valid: bool) {
        self.lists.end(self.values.len(), valid);
    }

    /// The column.
    pub fn finish(&mut self) -> ArrayRef {
        let values: ArrayRef = Arc::new(self.values.finish());
        self.lists.finish(values)
    }
}
