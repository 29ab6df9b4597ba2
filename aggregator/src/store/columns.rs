//! The columns of a Delta table and of its files, derived from the one schema of a signal.
//!
//! A table has the columns of `schema::of` with plain strings for dictionaries, and `date`.
//! Its files lack the partition columns `date` and `region`, as the Delta protocol has it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::{StructField, StructType};
use meridian_proto::schema;
use meridian_proto::signal::Signal;

/// The columns by which a table is partitioned, in the order of the directories.
pub(crate) const PARTITION_COLUMNS: [&str; 2] = ["date", "region"];

/// The columns of a signal's Delta table.
pub(crate) fn of_table(signal: Signal) -> Result<Vec<StructField>, DeltaTableError> {
    let date = Arc::new(Field::new("date", DataType::Date32, true));
    let mut fields: Vec<FieldRef> = schema::of(signal).fields().iter().map(plain).collect();
    fields.push(date);
    let schema = Schema::new(fields);
    let table: StructType = (&schema)
        .try_into_kernel()
        .map_err(|source| DeltaTableError::Arrow { source })?;
    Ok(table.fields().cloned().collect())
}

/// The schema of the rows as they are handed to the Parquet writer.
pub(crate) fn of_file(signal: Signal) -> SchemaRef {
    let fields: Vec<FieldRef> = schema::of(signal)
        .fields()
        .iter()
        .filter(|field| !PARTITION_COLUMNS.contains(&field.name().as_str()))
        .cloned()
        .collect();
    Arc::new(Schema::new(fields))
}

/// The columns of a batch of `signal` that are in its files.
pub(crate) fn without_partition(signal: Signal, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let fields = schema::of(signal).fields().iter().enumerate();
    let indices: Vec<usize> = fields
        .filter(|(_, field)| !PARTITION_COLUMNS.contains(&field.name().as_str()))
        .map(|(index, _)| index)
        .collect();
    rows.project(&indices)
}

fn plain(field: &FieldRef) -> FieldRef {
    match field.data_type() {
        DataType::Dictionary(_, values) => {
            Arc::new(field.as_ref().clone().with_data_type(values.as_ref().clone()))
        }
        _ => Arc::clone(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_partition_columns_and_its_files_do_not() {
        for signal in Signal::ALL {
            let table = of_table(signal).expect("every type has one in Delta");
            let names: Vec<&str> = table.iter().map(|field| field.name().as_str()).collect();
            for column in PARTITION_COLUMNS {
                assert!(names.contains(&column), "{signal} lacks {column}");
                assert!(of_file(signal).field_with_name(column).is_err());
            }
            assert_eq!(
                names.len(),
                of_file(signal).fields().len() + PARTITION_COLUMNS.len()
            );
        }
    }
}
