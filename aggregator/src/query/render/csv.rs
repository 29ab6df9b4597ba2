//! Rows as CSV after RFC 4180. Null is an empty field, an empty string is `""`; lists, maps
//! and structs are JSON within a field.

use datafusion::arrow::array::Array;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;

use super::cell;

/// Appends the line with the columns' names.
pub(super) fn header(text: &mut String, columns: &[String]) {
    for (index, name) in columns.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        field(text, name);
    }
    text.push_str("\r\n");
}

/// Appends rows until `text` is longer than `bytes_max`; returns how many were appended.
pub(super) fn rows(text: &mut String, batch: &RecordBatch, bytes_max: usize) -> Result<usize, ArrowError> {
    let mut scratch = String::new();
    for row in 0..batch.num_rows() {
        if text.len() > bytes_max {
            return Ok(row);
        }
        for (index, array) in batch.columns().iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            if array.logical_nulls().is_none_or(|nulls| nulls.is_valid(row)) {
                scratch.clear();
                cell::plain(&mut scratch, array.as_ref(), row)?;
                field(text, &scratch);
            }
        }
        text.push_str("\r\n");
    }
    Ok(batch.num_rows())
}

fn field(text: &mut String, value: &str) {
    let plain = !value.is_empty() && !value.contains([',', '"', '\r', '\n']);
    if plain {
        text.push_str(value);
        return;
    }
    text.push('"');
    text.push_str(&value.replace('"', "\"\""));
    text.push('"');
}
