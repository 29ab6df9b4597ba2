//! Lists and maps, put together from the columns of their elements. No OTLP is read here.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder};
use arrow_array::{Array, ArrayRef, ListArray, StructArray};
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

/// A list of integers per row.
#[derive(Default)]
pub struct IntLists {
    /// The elements.
    pub values: Int64Builder,
    lists: Lists,
}

impl IntLists {
    /// Ends a row's list.
    pub fn end(&mut self, valid: bool) {
        let elements = arrow_array::builder::ArrayBuilder::len(&self.values);
        self.lists.end(elements, valid);
    }

    /// The column.
    pub fn finish(&mut self) -> ArrayRef {
        let values: ArrayRef = Arc::new(self.values.finish());
        self.lists.finish(values)
    }
}

/// A list of doubles per row.
#[derive(Default)]
pub struct DoubleLists {
    /// The elements.
    pub values: Float64Builder,
    lists: Lists,
}

impl DoubleLists {
    /// Ends a row's list.
    pub fn end(&mut self, valid: bool) {
        let elements = arrow_array::builder::ArrayBuilder::len(&self.values);
        self.lists.end(elements, valid);
    }

    /// The column.
    pub fn finish(&mut self) -> ArrayRef {
        let values: ArrayRef = Arc::new(self.values.finish());
        self.lists.finish(values)
    }
}
