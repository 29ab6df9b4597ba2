//! Which rows of a commit go into one file together, and in which order: grouped by day and
//! region, sorted as [`order`] says. Nothing is moved or written here.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use chrono::{DateTime, Days, NaiveDate};
use meridian_proto::schema;
use meridian_proto::signal::Signal;

use super::gather::Pick;
use super::order::{self, Key, Names};

/// Rows further back than this are kept under the day of their commit: hostile times must
/// not make a thousand partitions.
const DAYS_BACK_MAX: u64 = 7;
const DAYS_AHEAD_MAX: u64 = 1;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The rows of one file, in their order.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) date: NaiveDate,
    pub(crate) region: String,
    pub(crate) picks: Vec<Pick>,
}

/// The UTC day of a time.
pub(crate) fn day_of(unix_nanos: u64) -> NaiveDate {
    let nanos = i64::try_from(unix_nanos).unwrap_or(i64::MAX);
    DateTime::from_timestamp_nanos(nanos).date_naive()
}

/// Groups and sorts rows for a commit made at `now_unix_nanos`; the batches of `regions` and
/// `sources` correspond.
pub(crate) fn groups(
    signal: Signal,
    regions: &[&str],
    sources: &[RecordBatch],
    now_unix_nanos: u64,
) -> Result<Vec<Group>, ArrowError> {
    let today = day_of(now_unix_nanos);
    let mut names = Names::default();
    let mut keys = Vec::with_capacity(sources.len());
    for source in sources {
        keys.push(order::keys(signal, source, &mut names)?);
    }
    let mut parts: BTreeMap<(NaiveDate, &str), Vec<(Key, Pick)>> = BTreeMap::new();
    for (index, (source, mut keys)) in sources.iter().zip(keys).enumerate() {
        order::rank(&mut keys, &names);
        let region = regions.get(index).copied().unwrap_or_default();
        for (date, rows) in by_day(signal, source, today)? {
            let part = parts.entry((date, region)).or_default();
            part.extend(rows.filter_map(|row| Some((*keys.get(row)?, (index, row)))));
        }
    }
    let sorted = |((date, region), mut rows): ((NaiveDate, &str), Vec<(Key, Pick)>)| {
        rows.sort_unstable();
        Group {
            date,
            region: region.to_owned(),
            picks: rows.into_iter().map(|(_, pick)| pick).collect(),
        }
    };
    Ok(parts.into_iter().map(sorted).collect())
}

type Rows = Box<dyn Iterator<Item = usize>>;

/// The rows of each day.
fn by_day(
    signal: Signal,
    batch: &RecordBatch,
    today: NaiveDate,
) -> Result<Vec<(NaiveDate, Rows)>, ArrowError> {
    let column = schema::time_column(signal);
    let times = batch
        .column_by_name(column)
        .and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| ArrowError::SchemaError(format!("rows without {column}")))?
        .values();
    let numbers = || times.iter().map(|micros| micros.div_euclid(MICROS_PER_DAY));
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else {
        return Ok(Vec::new());
    };
    if first == last {
        let day = partition_day(first.saturating_mul(MICROS_PER_DAY), today);
        return Ok(vec![(day, Box::new(0..times.len()))]);
    }
    let mut days: BTreeMap<NaiveDate, Vec<usize>> = BTreeMap::new();
    for (row, micros) in times.iter().enumerate() {
        days.entry(partition_day(*micros, today)).or_default().push(row);
    }
    let rows = |(day, rows): (NaiveDate, Vec<usize>)| (day, Box::new(rows.into_iter()) as Rows);
    Ok(days.into_iter().map(rows).collect())
}

fn partition_day(micros: i64, today: NaiveDate) -> NaiveDate {
    let day = DateTime::from_timestamp(micros.div_euclid(MICROS_PER_DAY).saturating_mul(86_400), 0)
        .map(|time| time.date_naive());
    let first = today.checked_sub_days(Days::new(DAYS_BACK_MAX)).unwrap_or(today);
    let last = today.checked_add_days(Days::new(DAYS_AHEAD_MAX)).unwrap_or(today);
    day.filter(|day| (first..=last).contains(day)).unwrap_or(today)
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
