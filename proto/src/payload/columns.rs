//! Columns by their type. What is null is left out, and every kind of value is handed to where
//! its coding is.
//!
//! ```text
//! column    valid or not · the values that are valid, by type:
//!           Boolean               stream of bits
//!           Int16 … Timestamp     integers
//!           Float64               decimals
//!           Utf8                  texts
//!           Binary                length, 0: texts, else ids of this length
//!           Dictionary            number of values · texts · integers: which
//!           List                  integers: lengths of all rows · column of the elements
//!           Struct                column of each field
//!           Map                   maps
//! valid     0: all   1: none   2: some · stream of bits
//! ```

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, ListArray, PrimitiveArray, StringArray,
    StructArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Fields, TimeUnit};

use super::PayloadError;
use super::streams::{Reader, Writer};
use super::{decimals, ids, integers, maps, texts};

const ALL: u8 = 0;
const NONE: u8 = 1;
const SOME: u8 = 2;

/// A type as it is written beside a column, to be compared and shown, never parsed.
pub(super) fn signature(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "bool".to_owned(),
        DataType::Int16 => "i16".to_owned(),
        DataType::Int32 => "i32".to_owned(),
        DataType::Int64 => "i64".to_owned(),
        DataType::Float64 => "f64".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => "time".to_owned(),
        DataType::Utf8 => "text".to_owned(),
        DataType::Binary => "bytes".to_owned(),
        DataType::Dictionary(_, _) => "dict".to_owned(),
        DataType::Map(_, _) => "map".to_owned(),
        DataType::List(element) => format!("[{}]", signature(element.data_type())),
        DataType::Struct(fields) => {
            let field = |field: &Arc<arrow_schema::Field>| {
                format!("{}:{}", field.name(), signature(field.data_type()))
            };
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// What the values of a column take in memory when they are read; who reads charges as much.
pub(super) fn memory_bytes(column: &dyn Array) -> usize {
    let rows = column.len();
    let below = match column.data_type() {
        DataType::Utf8 => text_bytes(column.as_string::<i32>().value_offsets()),
        DataType::Binary => text_bytes(column.as_binary::<i32>().value_offsets()),
        DataType::Dictionary(_, _) => {
            column.as_any_dictionary().values().len() * 4
                + text_bytes(
                    column
                        .as_any_dictionary()
                        .values()
                        .as_string::<i32>()
                        .value_offsets(),
                )
        }
        DataType::List(_) => memory_bytes(&elements(column.as_list::<i32>())),
        DataType::Struct(_) => column
            .as_struct()
            .columns()
            .iter()
            .map(|field| memory_bytes(field))
            .sum(),
        DataType::Map(_, _) => {
            let map = column.as_map();
            let entries = map.entries().len();
            let texts = [map.keys(), map.values()];
            let texts = texts.map(|texts| text_bytes(texts.as_string::<i32>().value_offsets()));
            entries * 8 + entries.div_ceil(8) + texts.iter().sum::<usize>()
        }
        _ => 0,
    };
    rows_bytes(column.data_type(), rows) + below
}

/// What each row takes at least.
fn rows_bytes(data_type: &DataType, rows: usize) -> usize {
    let width = match data_type {
        DataType::Boolean | DataType::Struct(_) => 0,
        DataType::Int16 => 2,
        DataType::Int64 | DataType::Float64 | DataType::Timestamp(_, _) => 8,
        _ => 4,
    };
    rows.saturating_mul(width).saturating_add(rows / 4 + 4)
}

fn text_bytes(offsets: &[i32]) -> usize {
    let ends = offsets.first().zip(offsets.last());
    ends.and_then(|(first, last)| usize::try_from(last - first).ok())
        .unwrap_or(0)
}

/// The elements of all lists of this array, and no others.
fn elements(lists: &ListArray) -> ArrayRef {
    let first = lists.value_offsets().first().copied().unwrap_or(0);
    let length = text_bytes(lists.value_offsets());
    lists.values().slice(usize::try_from(first).unwrap_or(0), length)
}

/// Which values are valid.
pub(super) fn write_validity(out: &mut Writer, nulls: Option<&NullBuffer>) -> Result<(), PayloadError> {
    match nulls.filter(|nulls| nulls.null_count() > 0) {
        None => out.byte(ALL),
        Some(nulls) if nulls.null_count() == nulls.len() => out.byte(NONE),
        Some(nulls) => {
            out.byte(SOME);
            out.stream(&bits(nulls.inner()))?;
        }
    }
    Ok(())
}

pub(super) fn read_validity(from: &mut Reader<'_>, rows: usize) -> Result<Option<NullBuffer>, PayloadError> {
    match from.byte()? {
        ALL => Ok(None),
        NONE => Ok(Some(NullBuffer::new_null(rows))),
        SOME => Ok(Some(NullBuffer::new(read_bits(from, rows)?))),
        _ => Err(PayloadError::Damaged(
            "a column that says neither what is valid nor what is not",
        )),
    }
}

/// The bits in whole bytes, from the first.
fn bits(bits: &BooleanBuffer) -> Vec<u8> {
    let mut bytes = bits
        .sliced()
        .as_slice()
        .get(..bits.len().div_ceil(8))
        .unwrap_or_default()
        .to_vec();
    if let Some(last) = bytes.last_mut()
        && !bits.len().is_multiple_of(8)
    {
        *last &= (1 << (bits.len() % 8)) - 1;
    }
    bytes
}

fn read_bits(from: &mut Reader<'_>, rows: usize) -> Result<BooleanBuffer, PayloadError> {
    let bytes = from.stream(rows.div_ceil(8))?;
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes.into_owned()), 0, rows))
}

/// Writes a column. `span_ids` is the column that ids may refer to.
pub(super) fn write(
    out: &mut Writer,
    column: &dyn Array,
    span_ids: Option<&BinaryArray>,
) -> Result<(), PayloadError> {
    write_validity(out, column.nulls())?;
    if column.null_count() == column.len() {
        return Ok(());
    }
    match column.data_type() {
        DataType::Boolean => out.stream(&bits(column.as_boolean().values())),
        DataType::Int16 => write_integers::<Int16Type>(out, column),
        DataType::Int32 => write_integers::<Int32Type>(out, column),
        DataType::Int64 => write_integers::<Int64Type>(out, column),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            write_integers::<TimestampMicrosecondType>(out, column)
        }
        DataType::Float64 => decimals::write(out, &valid::<_, f64>(column.as_primitive::<Float64Type>())),
        DataType::Utf8 => {
            let values: Vec<&[u8]> = column
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::as_bytes)
                .collect();
            texts::write(out, &values)
        }
        DataType::Binary => write_binary(out, column.as_binary(), span_ids),
        DataType::Dictionary(_, _) => write_dictionary(out, column.as_dictionary::<Int32Type>()),
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let lengths: Vec<i64> = lists.offsets().lengths().map(as_i64).collect();
            integers::write(out, &lengths)?;
            write(out, &elements(lists), None)
        }
        DataType::Struct(_) => {
            let fields = column.as_struct().columns().iter();
            fields.into_iter().try_for_each(|field| write(out, field, None))
        }
        DataType::Map(_, _) => maps::write(out, column.as_map()),
        other => Err(PayloadError::Unsupported(other.clone())),
    }
}

fn valid<T: ArrowPrimitiveType, V: From<T::Native>>(column: &PrimitiveArray<T>) -> Vec<V> {
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => column.values().iter().map(|value| V::from(*value)).collect(),
        Some(nulls) => nulls
            .valid_indices()
            .map(|index| V::from(column.value(index)))
            .collect(),
    }
}

fn write_integers<T>(out: &mut Writer, column: &dyn Array) -> Result<(), PayloadError>
where
    T: ArrowPrimitiveType,
    i64: From<T::Native>,
{
    integers::write(out, &valid::<T, i64>(column.as_primitive::<T>()))
}

fn write_binary(
    out: &mut Writer,
    column: &BinaryArray,
    span_ids: Option<&BinaryArray>,
) -> Result<(), PayloadError> {
    if let Some(length) = ids::length(column) {
        out.number(length);
        return ids::write(out, column, span_ids);
    }
    out.number(0);
    texts::write(out, &column.iter().flatten().collect::<Vec<_>>())
}

fn write_dictionary(out: &mut Writer, column: &DictionaryArray<Int32Type>) -> Result<(), PayloadError> {
    let values = column.values().as_string::<i32>();
    if values.null_count() > 0 {
        return Err(PayloadError::Unsupported(column.data_type().clone()));
    }
    out.number(values.len());
    let texts: Vec<&[u8]> = values.iter().flatten().map(str::as_bytes).collect();
    texts::write(out, &texts)?;
    if values.len() == 1 {
        // They are all 0, which is what no integers say.
        return integers::write(out, &[]);
    }
    write_integers::<Int32Type>(out, column.keys())
}

/// Reads a column of this type; charges for it.
pub(super) fn read(
    from: &mut Reader<'_>,
    data_type: &DataType,
    rows: usize,
    span_ids: Option<&BinaryArray>,
) -> Result<ArrayRef, PayloadError> {
    from.charge(rows_bytes(data_type, rows))?;
    let nulls = read_validity(from, rows)?;
    if rows == nulls.as_ref().map_or(0, NullBuffer::null_count) {
        return Ok(arrow_array::new_null_array(data_type, rows));
    }
    match data_type {
        DataType::Boolean => Ok(Arc::new(BooleanArray::new(read_bits(from, rows)?, nulls))),
        DataType::Int16 => read_integers::<Int16Type>(from, rows, nulls),
        DataType::Int32 => read_integers::<Int32Type>(from, rows, nulls),
        DataType::Int64 => read_integers::<Int64Type>(from, rows, nulls),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let times = primitive::<TimestampMicrosecondType>(from, rows, nulls)?;
            Ok(Arc::new(times.with_timezone_opt(zone.clone())))
        }
        DataType::Float64 => {
            let values = decimals::read(from, count(rows, nulls.as_ref()))?;
            let values = spread(values, rows, nulls.as_ref());
            Ok(Arc::new(PrimitiveArray::<Float64Type>::new(values.into(), nulls)))
        }
        DataType::Utf8 => {
            let (data, ends) = texts::read(from, count(rows, nulls.as_ref()))?.into_parts();
            let offsets = offsets_of(spread_ends(ends, rows, nulls.as_ref()).into_iter())?;
            let array = StringArray::try_new(offsets, data.into(), nulls);
            Ok(Arc::new(array.map_err(PayloadError::Arrow)?))
        }
        DataType::Binary => read_binary(from, rows, nulls, span_ids),
        DataType::Dictionary(_, _) => read_dictionary(from, rows, nulls),
        DataType::List(element) => {
            let (lengths, sum) = integers::read_lengths(from, rows)?;
            let ends = lengths.into_iter().scan(0, |end, length| {
                *end += length;
                Some(*end)
            });
            let offsets = offsets_of(ends)?;
            let values = read(from, element.data_type(), sum, None)?;
            let lists = ListArray::try_new(Arc::clone(element), offsets, values, nulls);
            Ok(Arc::new(lists.map_err(PayloadError::Arrow)?))
        }
        DataType::Struct(fields) => read_struct(from, fields, rows, nulls),
        DataType::Map(_, _) => maps::read(from, rows, nulls),
        other => Err(PayloadError::Unsupported(other.clone())),
    }
}

fn as_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn count(rows: usize, nulls: Option<&NullBuffer>) -> usize {
    rows - nulls.map_or(0, NullBuffer::null_count)
}

/// The values in their rows, with the default where there is none.
fn spread<T: Copy + Default>(values: Vec<T>, rows: usize, nulls: Option<&NullBuffer>) -> Vec<T> {
    let Some(nulls) = nulls else { return values };
    let mut spread = vec![T::default(); rows];
    for (index, value) in nulls.valid_indices().zip(values) {
        if let Some(place) = spread.get_mut(index) {
            *place = value;
        }
    }
    spread
}

/// Where each row's bytes end, given where those of the valid ones do.
fn spread_ends(ends: Vec<usize>, rows: usize, nulls: Option<&NullBuffer>) -> Vec<usize> {
    let Some(nulls) = nulls else { return ends };
    let (mut ends, mut last) = (ends.into_iter(), 0);
    let end = |row| {
        if nulls.is_valid(row) {
            last = ends.next().unwrap_or(last);
        }
        last
    };
    (0..rows).map(end).collect()
}

/// Offsets as Arrow has them.
pub(super) fn offsets_of(ends: impl Iterator<Item = usize>) -> Result<OffsetBuffer<i32>, PayloadError> {
    let offsets: Option<Vec<i32>> = std::iter::once(0)
        .chain(ends)
        .map(|end| i32::try_from(end).ok())
        .collect();
    let offsets = offsets.ok_or(PayloadError::Damaged("more than 2 GiB in one column"))?;
    // They begin at 0 and only grow.
    Ok(OffsetBuffer::new(offsets.into()))
}

fn primitive<T>(
    from: &mut Reader<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>, PayloadError>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    let values = integers::read(from, count(rows, nulls.as_ref()))?;
    let native = |value: i64| T::Native::try_from(value).ok();
    let values: Option<Vec<T::Native>> = values.into_iter().map(native).collect();
    let values = values.ok_or(PayloadError::Damaged("an integer beyond its type"))?;
    Ok(PrimitiveArray::new(
        spread(values, rows, nulls.as_ref()).into(),
        nulls,
    ))
}

fn read_integers<T>(
    from: &mut Reader<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, PayloadError>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    Ok(Arc::new(primitive::<T>(from, rows, nulls)?))
}

fn read_binary(
    from: &mut Reader<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
    span_ids: Option<&BinaryArray>,
) -> Result<ArrayRef, PayloadError> {
    let count = count(rows, nulls.as_ref());
    let (data, ends) = match from.number()? {
        0 => texts::read(from, count)?.into_parts(),
        length => {
            let data = ids::read(from, length, rows, nulls.as_ref(), span_ids)?;
            (data, (1..=count).map(|id| id * length).collect())
        }
    };
    let offsets = offsets_of(spread_ends(ends, rows, nulls.as_ref()).into_iter())?;
    let array = BinaryArray::try_new(offsets, data.into(), nulls);
    Ok(Arc::new(array.map_err(PayloadError::Arrow)?))
}

fn read_dictionary(
    from: &mut Reader<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, PayloadError> {
    let number = from.number()?;
    from.charge(number.saturating_mul(4))?;
    let (data, ends) = texts::read(from, number)?.into_parts();
    let values = StringArray::try_new(offsets_of(ends.into_iter())?, data.into(), None);
    let values = values.map_err(PayloadError::Arrow)?;
    let keys = primitive::<Int32Type>(from, rows, nulls)?;
    let array = DictionaryArray::try_new(keys, Arc::new(values)).map_err(PayloadError::Arrow)?;
    Ok(Arc::new(array))
}

fn read_struct(
    from: &mut Reader<'_>,
    fields: &Fields,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, PayloadError> {
    let columns = fields
        .iter()
        .map(|field| read(from, field.data_type(), rows, None))
        .collect::<Result<Vec<_>, _>>()?;
    let array = StructArray::try_new(fields.clone(), columns, nulls);
    Ok(Arc::new(array.map_err(PayloadError::Arrow)?))
}
