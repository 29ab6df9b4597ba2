//! How many bytes and steps a call of a function would take, from its arguments and before it
//! is made. The figures are upper bounds; nothing is evaluated here.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;

/// A number and the list that holds it cost this much at least.
const ITEM_BYTES: usize = 16;

/// What a call makes of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// The first, as often as the second says.
    Repeat,
    /// As many characters as the second says.
    Pad,
    /// The first with each place replaced by the third.
    Replace,
    /// All arguments together.
    Sum,
    /// All arguments, with the first between them.
    Joined,
    /// A list of as many items as the second says.
    Resize,
    /// From the first to the second, by the third.
    Series,
    /// The items of a list with the second between them.
    ListText,
    /// A list of all parts of a text.
    Split,
    /// The second for each row, expanded.
    Format,
    /// The first, several times as long.
    Times(usize),
}

/// The lengths of an argument's values, or of its only value.
enum Lengths {
    One(usize),
    Many(Vec<usize>),
}

impl Lengths {
    fn at(&self, row: usize) -> usize {
        match self {
            Lengths::One(length) => *length,
            Lengths::Many(lengths) => lengths.get(row).copied().unwrap_or(0),
        }
    }
}

/// The bytes of the largest value, and of all.
pub(super) fn made(growth: Growth, args: &[ColumnarValue], rows: usize) -> Result<(usize, usize)> {
    let bytes = args.iter().map(bytes).collect::<Result<Vec<_>>>()?;
    let len = |index: usize, row: usize| bytes.get(index).map_or(0, |lengths| lengths.at(row));
    let count = match growth {
        Growth::Repeat | Growth::Pad | Growth::Resize => args.get(1).map(numbers).transpose()?,
        Growth::Series => Some(series(args)?),
        _ => None,
    };
    let count = count.unwrap_or(Lengths::One(0));
    let sum = |row: usize| (0..args.len()).fold(0, |sum: usize, index| sum.saturating_add(len(index, row)));
    let of_row = |row: usize| match growth {
        Growth::Repeat => len(0, row)
            .saturating_add(ITEM_BYTES / 2)
            .saturating_mul(count.at(row)),
        Growth::Pad => count.at(row).saturating_mul(4),
        Growth::Resize => {
            let item = len(2, row).max(ITEM_BYTES);
            sum(row).saturating_add(count.at(row).saturating_mul(item))
        }
        Growth::Series => count.at(row).saturating_mul(ITEM_BYTES / 2),
        Growth::Replace => {
            let places = (len(0, row) / len(1, row).max(1)).saturating_add(1);
            len(0, row).saturating_add(places.saturating_mul(len(2, row)))
        }
        Growth::Sum => sum(row),
        Growth::Joined => sum(row).saturating_add(len(0, row).saturating_mul(args.len())),
        Growth::ListText => {
            let between = len(1, row).saturating_add(len(2, row)).saturating_add(ITEM_BYTES);
            len(0, row).saturating_mul(between / 4 + 2)
        }
        Growth::Split => len(0, row).saturating_mul(8).saturating_add(sum(row)),
        Growth::Format => len(1, row).saturating_mul(32),
        Growth::Times(factor) => len(0, row).saturating_mul(factor),
    };
    Ok(fold(rows, of_row))
}

/// The product of two texts' lengths, over all rows.
pub(super) fn steps(args: &[ColumnarValue], rows: usize) -> Result<usize> {
    let [left, right, ..] = args else { return Ok(0) };
    let (left, right) = (bytes(left)?, bytes(right)?);
    Ok(fold(rows, |row| left.at(row).saturating_mul(right.at(row))).1)
}

fn fold(rows: usize, of_row: impl Fn(usize) -> usize) -> (usize, usize) {
    (0..rows.max(1))
        .map(of_row)
        .fold((0, 0), |(max, sum): (usize, usize), bytes| {
            (max.max(bytes), sum.saturating_add(bytes))
        })
}

fn bytes(value: &ColumnarValue) -> Result<Lengths> {
    match value {
        ColumnarValue::Scalar(scalar) => Ok(match scalar.try_as_str() {
            Some(text) => Lengths::One(text.map_or(0, str::len)),
            None => Lengths::One(scalar.size().max(ITEM_BYTES)),
        }),
        ColumnarValue::Array(array) => Ok(Lengths::Many(lengths(array))),
    }
}

fn lengths(array: &ArrayRef) -> Vec<usize> {
    let of = |length: &dyn Fn(usize) -> usize| (0..array.len()).map(length).collect();
    match array.data_type() {
        DataType::Utf8 => of(&|row| array.as_string::<i32>().value(row).len()),
        DataType::LargeUtf8 => of(&|row| array.as_string::<i64>().value(row).len()),
        DataType::Utf8View => of(&|row| array.as_string_view().value(row).len()),
        DataType::Binary => of(&|row| array.as_binary::<i32>().value(row).len()),
        DataType::LargeBinary => of(&|row| array.as_binary::<i64>().value(row).len()),
        DataType::BinaryView => of(&|row| array.as_binary_view().value(row).len()),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = lengths(dictionary.values());
            let keys = dictionary.normalized_keys();
            of(&|row| values.get(keys[row]).copied().unwrap_or(0))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let item = item_bytes(list.values());
            of(&|row| {
                usize::try_from(list.value_length(row))
                    .unwrap_or(0)
                    .saturating_mul(item)
            })
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let item = item_bytes(map.keys()).saturating_add(item_bytes(map.values()));
            of(&|row| {
                usize::try_from(map.value_length(row))
                    .unwrap_or(0)
                    .saturating_mul(item)
            })
        }
        _ => vec![item_bytes(array).max(ITEM_BYTES); array.len()],
    }
}

fn item_bytes(values: &ArrayRef) -> usize {
    (values.get_array_memory_size() / values.len().max(1)).max(ITEM_BYTES)
}

fn numbers(value: &ColumnarValue) -> Result<Lengths> {
    let is_scalar = matches!(value, ColumnarValue::Scalar(_));
    let array = cast(&value.to_array(1)?, &DataType::Int64)?;
    let numbers = array.as_primitive::<Int64Type>();
    let count = |value: Option<i64>| usize::try_from(value.unwrap_or(0)).unwrap_or(0);
    Ok(match is_scalar {
        true => Lengths::One(count(numbers.iter().next().flatten())),
        false => Lengths::Many(numbers.iter().map(count).collect()),
    })
}

/// How many steps there are from the first to the second, in milliseconds if these are times.
fn series(args: &[ColumnarValue]) -> Result<Lengths> {
    let is_time = args.first().is_some_and(|value| value.data_type().is_temporal());
    let ends = args
        .iter()
        .take(2)
        .map(|value| end(value, is_time))
        .collect::<Result<Vec<_>>>()?;
    let (start, stop) = match ends.as_slice() {
        [stop] => (vec![0.0], stop.clone()),
        [start, stop] => (start.clone(), stop.clone()),
        _ => return Ok(Lengths::One(0)),
    };
    let step = match args.get(2) {
        Some(step) => self::step(step)?,
        None => vec![1.0],
    };
    let rows = start.len().max(stop.len()).max(step.len());
    let at = |values: &[f64], row: usize| values.get(row).or(values.first()).copied().unwrap_or(0.0);
    let count = |row: usize| {
        let steps = (at(&stop, row) - at(&start, row)).abs() / at(&step, row).abs();
        whole(steps).saturating_add(1)
    };
    Ok(match rows {
        0 | 1 => Lengths::One(count(0)),
        _ => Lengths::Many((0..rows).map(count).collect()),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest integer, and what is no number becomes zero"
)]
fn whole(number: f64) -> usize {
    number as usize
}

fn end(value: &ColumnarValue, is_time: bool) -> Result<Vec<f64>> {
    let mut array = value.to_array(1)?;
    if is_time {
        array = cast(&array, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
    }
    let array = cast(&array, &DataType::Int64)?;
    let numbers = array.as_primitive::<Int64Type>();
    Ok(numbers.iter().map(|value| value.unwrap_or(0) as f64).collect())
}

fn step(value: &ColumnarValue) -> Result<Vec<f64>> {
    let array = value.to_array(1)?;
    if !matches!(array.data_type(), DataType::Interval(_)) {
        return end(value, false);
    }
    let array = cast(&array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let steps = array.as_primitive::<IntervalMonthDayNanoType>();
    Ok(steps
        .iter()
        .map(|step| {
            let step = step.unwrap_or_default();
            let days = f64::from(step.months) * 28.0 + f64::from(step.days);
            days * 86_400_000.0 + step.nanoseconds as f64 / 1e6
        })
        .collect())
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions::default();
    Ok(cast_with_options(array, to, &options)?)
}
