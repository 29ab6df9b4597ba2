//! Merged files against one sort of all rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use arrow::error::ArrowError;
use meridian_proto::schema;
use meridian_proto::signal::Signal;
use proptest::prelude::*;

use super::Merge;
use crate::store::order;

type Row = (i64, u8, u8);

fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| row.0 * 20_000_000);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let texts = rows.iter().map(|row| format!("name {}", row.1));
    let texts = arrow::array::StringArray::from_iter_values(texts);
    let texts = cast(&texts, &schema::dictionary()).expect("text becomes a dictionary");
    let series = Int64Array::from_iter_values(rows.iter().map(|row| i64::from(row.2)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", Arc::new(times)),
        ("metric_name", texts),
        ("series_id", Arc::new(series)),
    ];
    let field = |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let columns = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(schema), columns).expect("three columns")
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
    let texts = cast(batch.column(1), &DataType::Utf8).expect("a dictionary of text");
    let texts = texts.as_string::<i32>();
    let series = batch.column(2).as_primitive::<Int64Type>();
    let number = |text: &str| text.rsplit(' ').next().and_then(|text| text.parse().ok());
    (0..batch.num_rows())
        .map(|row| {
            let name = number(texts.value(row)).expect("a name's number");
            (
                times.value(row) / 20_000_000,
                name,
                u8::try_from(series.value(row)).expect("small"),
            )
        })
        .collect()
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_unstable_by_key(|&(time, name, series)| (time.div_euclid(3), name, series, time));
    rows
}

fn merged(inputs: &[Vec<Row>], batch_rows: usize) -> Vec<RecordBatch> {
    let inputs = inputs.iter().map(|rows| {
        let batches: Vec<_> = rows.chunks(batch_rows).map(|rows| Ok(batch(rows))).collect();
        batches.into_iter()
    });
    let schema = batch(&[]).schema();
    let merge: Merge<std::vec::IntoIter<Result<RecordBatch, ArrowError>>> =
        Merge::new(Signal::Metrics, schema, inputs.collect());
    merge.collect::<Result<_, _>>().expect("nothing fails")
}

proptest! {
    #[test]
    fn a_merge_of_sorted_inputs_is_the_sort_of_all_rows(
        inputs in prop::collection::vec(prop::collection::vec((0i64..12, 0u8..4, 0u8..9), 0..60), 0..6),
        batch_rows in 1usize..20,
    ) {
        let all: Vec<Row> = inputs.iter().flatten().copied().collect();
        let inputs: Vec<Vec<Row>> = inputs.into_iter().map(sorted).collect();
        let found: Vec<Row> = merged(&inputs, batch_rows).iter().flat_map(rows).collect();
        prop_assert_eq!(found, sorted(all));
    }
}

#[test]
fn inputs_in_another_order_lose_no_row() {
    let inputs = [vec![(9, 0, 0), (1, 1, 1)], vec![(5, 0, 0)]];
    let mut found: Vec<Row> = merged(&inputs, 1).iter().flat_map(rows).collect();
    found.sort_unstable();
    assert_eq!(found, [(1, 1, 1), (5, 0, 0), (9, 0, 0)]);
}

#[test]
fn a_merge_of_many_rows_comes_in_batches() {
    let inputs: Vec<Vec<Row>> = (0..3).map(|name| vec![(1, name, 1); 5_000]).collect();
    let batches = merged(&inputs, 700);
    let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows, [super::BATCH_ROWS, 15_000 - super::BATCH_ROWS]);
    let mut names = order::Names::default();
    let keys: Vec<_> = batches
        .iter()
        .flat_map(|batch| order::keys(Signal::Metrics, batch, &mut names).expect("keys"))
        .collect();
    assert!(keys.is_sorted_by(|a, b| names.compare(a, b).is_le()));
}
