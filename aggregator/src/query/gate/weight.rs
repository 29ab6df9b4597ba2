//! What columns weigh in memory, where several of them share it. What is too much is not
//! decided here.

use std::ptr::NonNull;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

/// The bytes of the rows themselves: a part of a batch weighs a part of it.
pub(super) fn of_rows(column: &dyn Array) -> usize {
    let below = |offsets: &[i32], items: &dyn Array| {
        let ends = offsets.first().zip(offsets.last());
        let ends = ends
            .and_then(|(first, last)| Some((usize::try_from(*first).ok()?, usize::try_from(*last).ok()?)));
        let (first, last) = ends.unwrap_or_default();
        of_rows(&items.slice(first, last.saturating_sub(first))).saturating_add(size_of_val(offsets))
    };
    match column.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let values = dictionary.values();
            let of_value = (of_rows(values) / values.len().max(1)).saturating_add(size_of::<i32>());
            column.len().saturating_mul(of_value)
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            below(list.value_offsets(), list.values())
        }
        DataType::Map(..) => {
            let map = column.as_map();
            below(map.value_offsets(), map.entries())
        }
        DataType::Struct(_) => {
            let fields = column.as_struct().columns().iter();
            fields.map(|field| of_rows(field)).fold(0, usize::saturating_add)
        }
        _ => column
            .to_data()
            .get_slice_memory_size()
            .unwrap_or_else(|_| column.get_array_memory_size()),
    }
}

/// The memory that a call is given, by its addresses.
pub(super) fn given(args: &[ColumnarValue]) -> Vec<NonNull<u8>> {
    let arrays = args.iter().filter_map(|arg| match arg {
        ColumnarValue::Array(array) => Some(array.to_data()),
        ColumnarValue::Scalar(_) => None,
    });
    arrays
        .flat_map(|data| {
            data.buffers()
                .iter()
                .map(|buffer| buffer.data_ptr())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// What a call has made beside what it was `given`: a part of a text may be a view of it.
pub(super) fn made(value: &ArrayRef, given: &[NonNull<u8>]) -> usize {
    let data = value.to_data();
    let views = data.buffers().iter();
    let shared = views.filter(|buffer| given.contains(&buffer.data_ptr()));
    let shared = shared
        .map(|buffer| buffer.capacity())
        .fold(0, usize::saturating_add);
    value.get_array_memory_size().saturating_sub(shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use datafusion::arrow::array::{DictionaryArray, Int64Array, ListArray, StringArray, StringViewArray};
    use datafusion::arrow::datatypes::{Int32Type, Int64Type};

    #[test]
    fn a_part_of_a_column_weighs_a_part_of_it() {
        let text = "a value that is not short";
        let names: Vec<String> = (0..1_000).map(|i| format!("{text} {i}")).collect();
        let names: DictionaryArray<Int32Type> = names.iter().map(String::as_str).collect();
        let lists = (0..1_000_i64).map(|i| Some(vec![Some(i); 10]));
        let columns: [ArrayRef; 3] = [
            Arc::new(names),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
            Arc::new(StringArray::from(vec![text; 1_000])),
        ];
        for column in columns {
            let (whole, part) = (of_rows(&column), of_rows(&column.slice(500, 10)));
            assert!(
                part >= whole / 100 && part <= whole / 100 + 64,
                "{part} of {whole}"
            );
        }
        let empty: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::from_iter([None::<&str>, None]));
        assert!(of_rows(&empty) < 64);
    }

    #[test]
    fn what_a_call_was_given_is_not_counted_as_made() {
        let texts = StringViewArray::from(vec!["a text of more than twelve bytes"; 1_000]);
        let whole: ArrayRef = Arc::new(texts);
        let part = whole.slice(0, 10);
        let given = given(&[ColumnarValue::Array(whole)]);
        assert!(made(&part, &given) < 1_000);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1; 1_000]));
        assert!(made(&numbers, &given) >= 8_000);
    }
}
