//! How many bytes and steps a call of a function would take, from its arguments and before it
//! is made. The figures are upper bounds; nothing is evaluated here.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;

/// A number and the list that holds it cost this much at least.
const ITEM_BYTES: usize = 16;

/// What each row costs.
pub(super) type OfRow = Box<dyn Fn(usize) -> usize>;

/// What a call makes of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// The first, as often as the second says.
    Repeat,
    /// As many characters as the second says.
    Pad,
    /// The first with each place replaced by the third.
    Replace,
    /// The first with what matches replaced by the third, which may repeat it.
    ReplaceMatches,
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

/// The bytes that each row's value has at most.
pub(super) fn made(growth: Growth, args: &[ColumnarValue]) -> Result<OfRow> {
    let bytes = args.iter().map(bytes).collect::<Result<Vec<_>>>()?;
    let count = match growth {
        Growth::Repeat | Growth::Pad | Growth::Resize => args.get(1).map(numbers).transpose()?,
        Growth::Series => Some(series(args)?),
        _ => None,
    };
    let count = count.unwrap_or(Lengths::One(0));
    Ok(Box::new(move |row| {
        made_of_row(growth, &bytes, count.at(row), row)
    }))
}

fn made_of_row(growth: Growth, bytes: &[Lengths], count: usize, row: usize) -> usize {
    let len = |index: usize| bytes.get(index).map_or(0, |lengths| lengths.at(row));
    let sum = || (0..bytes.len()).fold(0, |sum: usize, index| sum.saturating_add(len(index)));
    match growth {
        Growth::Repeat => len(0).saturating_add(ITEM_BYTES / 2).saturating_mul(count),
        Growth::Pad => count.saturating_mul(4),
        Growth::Resize => {
            let item = len(2).max(ITEM_BYTES);
            sum().saturating_add(count.saturating_mul(item))
        }
        Growth::Series => count.saturating_mul(ITEM_BYTES / 2),
        Growth::Replace => {
            let places = (len(0) / len(1).max(1)).saturating_add(1);
            len(0).saturating_add(places.saturating_mul(len(2)))
        }
        // An empty match is found beside each character, and `$0` is two bytes for a match.
        Growth::ReplaceMatches => (len(0).saturating_add(1)).saturating_mul(len(2).saturating_mul(3) / 2 + 1),
        Growth::Sum => sum(),
        Growth::Joined => sum().saturating_add(len(0).saturating_mul(bytes.len())),
        Growth::ListText => {
            let between = len(1).saturating_add(len(2)).saturating_add(ITEM_BYTES);
            len(0).saturating_mul(between / 4 + 2)
        }
        Growth::Split => len(0).saturating_mul(8).saturating_add(sum()),
        Growth::Format => len(1).saturating_mul(32),
        Growth::Times(factor) => len(0).saturating_mul(factor),
    }
}

/// The product of each row's two texts' lengths.
pub(super) fn product(args: &[ColumnarValue]) -> Result<OfRow> {
    let [left, right, ..] = args else {
        return Ok(Box::new(|_| 0));
    };
    let (left, right) = (bytes(left)?, bytes(right)?);
    Ok(Box::new(move |row| left.at(row).saturating_mul(right.at(row))))
}

/// The length of each row's first text, so many times.
pub(super) fn times(args: &[ColumnarValue], factor: usize) -> Result<OfRow> {
    let first = args.first().map(bytes).transpose()?.unwrap_or(Lengths::One(0));
    Ok(Box::new(move |row| first.at(row).saturating_mul(factor)))
}

/// The bytes of the longest value, where they differ in length.
pub(super) fn longest(values: &ArrayRef) -> usize {
    match values.data_type().is_primitive() || *values.data_type() == DataType::Boolean {
        true => 0,
        false => lengths(values).into_iter().max().unwrap_or(0),
    }
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
            if dictionary.values().is_empty() {
                return vec![0; array.len()];
            }
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
