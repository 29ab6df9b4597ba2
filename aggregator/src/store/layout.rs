//! Which rows go into one file together, and in which order: grouped by day and region,
//! sorted by service and time. Nothing is written here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{
    SortColumn, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use chrono::{DateTime, Days, NaiveDate};
use meridian_proto::schema;
use meridian_proto::signal::Signal;

use super::stats::SERVICE;

/// Rows further back than this are kept under the day of their commit: hostile times must
/// not make a thousand partitions.
const DAYS_BACK_MAX: u64 = 7;
const DAYS_AHEAD_MAX: u64 = 1;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The rows of one file.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) date: NaiveDate,
    pub(crate) region: String,
    pub(crate) rows: RecordBatch,
}

/// The UTC day of a time.
pub(crate) fn day_of(unix_nanos: u64) -> NaiveDate {
    let nanos = i64::try_from(unix_nanos).unwrap_or(i64::MAX);
    DateTime::from_timestamp_nanos(nanos).date_naive()
}

/// Groups and sorts rows for a commit made at `now_unix_nanos`. Each batch comes with its
/// region and has the schema of `signal`.
pub(crate) fn groups<'a>(
    signal: Signal,
    batches: impl IntoIterator<Item = (&'a str, &'a RecordBatch)>,
    now_unix_nanos: u64,
) -> Result<Vec<Group>, ArrowError> {
    let today = day_of(now_unix_nanos);
    let mut parts: BTreeMap<(NaiveDate, &str), Vec<RecordBatch>> = BTreeMap::new();
    for (region, batch) in batches {
        for (date, rows) in by_day(signal, batch, today)? {
            parts.entry((date, region)).or_default().push(rows);
        }
    }
    parts
        .into_iter()
        .map(|((date, region), parts)| {
            let rows = concat_batches(schema::of(signal), &parts)?;
            Ok(Group {
                date,
                region: region.to_owned(),
                rows: sorted(signal, &rows)?,
            })
        })
        .collect()
}

fn by_day(
    signal: Signal,
    batch: &RecordBatch,
    today: NaiveDate,
) -> Result<Vec<(NaiveDate, RecordBatch)>, ArrowError> {
    let column = schema::time_column(signal);
    let times = batch
        .column_by_name(column)
        .and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| ArrowError::SchemaError(format!("rows without {column}")))?;
    let mut days: Vec<NaiveDate> = times
        .values()
        .iter()
        .map(|micros| partition_day(*micros, today))
        .collect();
    let per_row = days.clone();
    days.sort_unstable();
    days.dedup();
    if let [day] = days.as_slice() {
        return Ok(vec![(*day, batch.clone())]);
    }
    days.into_iter()
        .map(|day| {
            let mask: BooleanArray = per_row.iter().map(|of_row| Some(*of_row == day)).collect();
            Ok((day, filter_record_batch(batch, &mask)?))
        })
        .collect()
}

fn partition_day(micros: i64, today: NaiveDate) -> NaiveDate {
    let day = DateTime::from_timestamp(micros.div_euclid(MICROS_PER_DAY).saturating_mul(86_400), 0)
        .map(|time| time.date_naive());
    let first = today.checked_sub_days(Days::new(DAYS_BACK_MAX)).unwrap_or(today);
    let last = today.checked_add_days(Days::new(DAYS_AHEAD_MAX)).unwrap_or(today);
    day.filter(|day| (first..=last).contains(day)).unwrap_or(today)
}

fn sorted(signal: Signal, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let keys: Vec<SortColumn> = [SERVICE, schema::time_column(signal)]
        .into_iter()
        .filter_map(|name| rows.column_by_name(name))
        .map(|values| SortColumn {
            values: Arc::clone(values),
            options: None,
        })
        .collect();
    let order = lexsort_to_indices(&keys, None)?;
    debug_assert_eq!(order.len(), rows.num_rows());
    take_record_batch(rows, &order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn a_time_within_a_week_keeps_its_day_and_a_hostile_one_does_not() {
        let today = day("2026-11-23");
        let micros = |text: &str| {
            DateTime::parse_from_rfc3339(text)
                .expect("a time")
                .timestamp_micros()
        };
        assert_eq!(
            partition_day(micros("2026-11-16T00:00:00Z"), today),
            day("2026-11-16")
        );
        assert_eq!(
            partition_day(micros("2026-11-24T23:59:59Z"), today),
            day("2026-11-24")
        );
        assert_eq!(partition_day(micros("2026-11-15T23:59:59Z"), today), today);
        assert_eq!(partition_day(micros("2126-01-01T00:00:00Z"), today), today);
        assert_eq!(partition_day(0, today), today);
        assert_eq!(partition_day(i64::MAX, today), today);
        assert_eq!(partition_day(i64::MIN, today), today);
    }
}
