//! The order of the rows in a file: by minute, so that files, row groups and pages are pruned
//! by time; then spans by trace, which makes their ids cheap to keep and to find, log records
//! by service, and data points by name and series; then by time. Rows are only compared here,
//! never moved.
//!
//! Measured with traces across four services (ARCHITECTURE.md): spans by service and trace cost
//! five bytes more each, and a trace is in as many places as it has services.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use meridian_proto::schema;
use meridian_proto::signal::Signal;

use super::stats::SERVICE;
use super::texts::Texts;

/// Microseconds of the first part of the order.
const BUCKET_MICROS: i64 = 60_000_000;

/// What a row is sorted by. The name is a number of [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    bucket: i64,
    name: u32,
    id: u128,
    time: i64,
}

/// The names that appear in keys.
#[derive(Debug, Default)]
pub(crate) struct Names(Texts);

impl Names {
    /// The place of each number among all names in order.
    fn ranks(&self) -> Vec<u32> {
        let texts = self.0.all();
        let mut sorted: Vec<usize> = (0..texts.len()).collect();
        sorted.sort_unstable_by_key(|number| &texts[*number]);
        let mut ranks = vec![0; sorted.len()];
        for (rank, number) in (0..).zip(sorted) {
            ranks[number] = rank;
        }
        ranks
    }

    /// The order of two rows whose names are numbers of these.
    pub(crate) fn compare(&self, a: &Key, b: &Key) -> Ordering {
        let names = || {
            if a.name == b.name {
                return Ordering::Equal;
            }
            self.text(a.name).cmp(self.text(b.name))
        };
        a.bucket
            .cmp(&b.bucket)
            .then_with(names)
            .then_with(|| (a.id, a.time).cmp(&(b.id, b.time)))
    }

    fn text(&self, number: u32) -> &str {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.0.all().get(index).map_or("", AsRef::as_ref)
    }
}

/// The key of every row of a batch of `signal`.
pub(crate) fn keys(signal: Signal, batch: &RecordBatch, names: &mut Names) -> Result<Vec<Key>, ArrowError> {
    let (name, id) = match signal {
        Signal::Spans => (None, Some("trace_id")),
        Signal::Logs => (Some(SERVICE), None),
        Signal::Metrics => (Some("metric_name"), Some("series_id")),
    };
    let time = schema::time_column(signal);
    let times = column(batch, time)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| mistyped(time))?;
    let name = name_reader(batch, name, names)?;
    let ids = id.map(|id| column(batch, id)).transpose()?;
    let id = id_reader(ids)?;
    let keys = times.values().iter().enumerate().map(|(row, &time)| Key {
        bucket: time.div_euclid(BUCKET_MICROS),
        name: name(row),
        id: id(row),
        time,
    });
    Ok(keys.collect())
}

/// Makes names comparable by number alone: for keys that are sorted with no others.
pub(crate) fn rank(keys: &mut [Key], names: &Names) {
    let ranks = names.ranks();
    for key in keys {
        let number = usize::try_from(key.name).unwrap_or(usize::MAX);
        key.name = ranks.get(number).copied().unwrap_or(key.name);
    }
}

fn name_reader<'a>(
    batch: &'a RecordBatch,
    name: Option<&str>,
    names: &mut Names,
) -> Result<Box<dyn Fn(usize) -> u32 + 'a>, ArrowError> {
    let none = names.0.number("");
    let Some(name) = name else {
        return Ok(Box::new(move |_| none));
    };
    let texts = column(batch, name)?
        .as_dictionary_opt::<Int32Type>()
        .ok_or_else(|| mistyped(name))?;
    let values = texts
        .values()
        .as_string_opt::<i32>()
        .ok_or_else(|| mistyped(name))?;
    let numbers: Vec<u32> = values
        .iter()
        .map(|text| names.0.number(text.unwrap_or_default()))
        .collect();
    Ok(Box::new(move |row| {
        let key = texts.key(row).and_then(|key| numbers.get(key));
        key.copied().unwrap_or(none)
    }))
}

fn id_reader(ids: Option<&ArrayRef>) -> Result<Box<dyn Fn(usize) -> u128 + '_>, ArrowError> {
    let Some(ids) = ids else {
        return Ok(Box::new(|_| 0));
    };
    if let Some(ids) = ids.as_binary_opt::<i32>() {
        return Ok(Box::new(|row| id_number(ids.value(row))));
    }
    let numbers = ids
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| mistyped("series_id"))?;
    Ok(Box::new(|row| u128::from(numbers.value(row).cast_unsigned())))
}

fn id_number(id: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(id) {
        *to = *from;
    }
    u128::from_be_bytes(bytes)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch
        .column_by_name(name)
        .ok_or_else(|| ArrowError::SchemaError(format!("rows without {name}")))
}

fn mistyped(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("column {name} has another type than its schema says"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bucket: i64, name: u32, id: u128, time: i64) -> Key {
        Key {
            bucket,
            name,
            id,
            time,
        }
    }

    #[test]
    fn a_rank_orders_as_the_names_do() {
        let mut names = Names::default();
        let (web, api) = (names.0.number("web"), names.0.number("api"));
        let mut keys = [key(1, web, 0, 0), key(1, api, 9, 9)];
        assert_eq!(names.compare(&keys[0], &keys[1]), Ordering::Greater);
        rank(&mut keys, &names);
        assert!(keys[0] > keys[1]);
    }

    #[test]
    fn the_minute_comes_before_the_name_and_the_trace_before_the_time() {
        let names = Names::default();
        assert_eq!(names.compare(&key(1, 9, 9, 9), &key(2, 0, 0, 0)), Ordering::Less);
        assert_eq!(names.compare(&key(1, 0, 1, 9), &key(1, 0, 2, 0)), Ordering::Less);
    }
}
