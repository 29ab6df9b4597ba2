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
    #[inline]
    pub fn end(&mut self, elements: usize) {
        // A batch is far smaller than 2^31 elements: its bytes are bounded by its reader.
        self.ends.push(i32::try_from(elements).unwrap_or(i32::MAX));
        self.validity.append_non_null();
    }

    /// Ends the list of the row with this number, if it has any element; the rows without one,
    /// also those passed over, are null.
    #[inline]
    pub fn end_some(&mut self, row: usize, elements: usize) {
        let before = self.ends.last().copied().unwrap_or(0);
        if i32::try_from(elements).unwrap_or(i32::MAX) > before {
            self.pad(row);
            self.end(elements);
        }
    }

    /// Ends rows without a list until there are `rows` rows.
    #[inline]
    pub fn pad(&mut self, rows: usize) {
        let missing = (rows + 1).saturating_sub(self.ends.len());
        if missing > 0 {
            let last = self.ends.last().copied().unwrap_or(0);
            self.ends.resize(rows + 1, last);
            self.validity.append_n_nulls(missing);
        }
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
    /// Ends the list of the row with this number; rows passed over are null.
    pub fn end(&mut self, row: usize) {
        self.lists.pad(row);
        self.lists.end(self.values.len());
    }

    /// The column of so many rows.
    pub fn finish(&mut self, rows: usize) -> ArrayRef {
        self.lists.pad(rows);
        let values: ArrayRef = Arc::new(self.values.finish());
        self.lists.finish(values)
    }
}
