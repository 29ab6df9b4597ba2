//! Rows as JSON objects, in the order of their columns. Values are written straight from the
//! arrays; no tree of values is built.

use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;

use super::cell;

/// Appends rows until `text` is longer than `bytes_max`; returns how many were appended.
pub(super) fn rows(
    text: &mut String,
    columns: &[String],
    batch: &RecordBatch,
    first: bool,
    bytes_max: usize,
) -> Result<usize, ArrowError> {
    let keys: Vec<String> = columns.iter().map(|name| key(name)).collect();
    for row in 0..batch.num_rows() {
        if text.len() > bytes_max {
            return Ok(row);
        }
        text.push_str(if first && row == 0 { "{" } else { ",{" });
        for (index, (key, array)) in keys.iter().zip(batch.columns()).enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(key);
            cell::json(text, array.as_ref(), row)?;
        }
        text.push('}');
    }
    Ok(batch.num_rows())
}

fn key(name: &str) -> String {
    let mut text = String::new();
    cell::quoted(&mut text, name);
    text.push(':');
    text
}
