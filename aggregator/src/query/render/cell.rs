//! One value as text. Times are RFC 3339 in UTC with microseconds (nanoseconds where the
//! type has them and they are not zero), binary is lower-case hex, a 64-bit integer is a JSON
//! number, a map is an object. JSON has no NaN and no infinity: both are null there, and
//! `NaN`, `inf` and `-inf` in CSV.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{
    ArrowDictionaryKeyType, DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use meridian_proto::ids::to_hex;

/// Appends a value as JSON.
pub(super) fn json(out: &mut String, array: &dyn Array, row: usize) -> Result<(), ArrowError> {
    // The type of a bare NULL has no null buffer, and `is_null` knows nothing else.
    if array.is_null(row) || *array.data_type() == DataType::Null {
        out.push_str("null");
        return Ok(());
    }
    if number(out, array, row) || nested(out, array, row)? {
        return Ok(());
    }
    match text_of(array, row)? {
        Text::Raw(text) => out.push_str(text),
        Text::Borrowed(text) => quoted(out, text),
        Text::Owned(text) => quoted(out, &text),
    }
    Ok(())
}

/// Appends a value as it stands in CSV; nothing for null.
pub(super) fn plain(out: &mut String, array: &dyn Array, row: usize) -> Result<(), ArrowError> {
    if array.is_null(row) {
        return Ok(());
    }
    match array.data_type() {
        DataType::Float32 | DataType::Float64 => return float_text(out, array, row),
        DataType::Dictionary(key, _) => {
            let (values, index) = dictionary_value(array, key, row)?;
            return plain(out, values, index);
        }
        _ => {}
    }
    if number(out, array, row) || nested(out, array, row)? {
        return Ok(());
    }
    match text_of(array, row)? {
        Text::Raw(text) | Text::Borrowed(text) => out.push_str(text),
        Text::Owned(text) => out.push_str(&text),
    }
    Ok(())
}

/// Appends a JSON string.
pub(super) fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => push_fmt(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A string cannot refuse what is written to it.
fn push_fmt(out: &mut String, args: std::fmt::Arguments<'_>) {
    out.write_fmt(args).expect("writing to a String cannot fail");
}

/// Appends a number, if that is what the array holds.
fn number(out: &mut String, array: &dyn Array, row: usize) -> bool {
    macro_rules! integer {
        ($type:ty) => {
            push_fmt(
                out,
                format_args!("{}", array.as_primitive::<$type>().value(row)),
            )
        };
    }
    match array.data_type() {
        DataType::Int8 => integer!(Int8Type),
        DataType::Int16 => integer!(Int16Type),
        DataType::Int32 => integer!(Int32Type),
        DataType::Int64 => integer!(Int64Type),
        DataType::UInt8 => integer!(UInt8Type),
        DataType::UInt16 => integer!(UInt16Type),
        DataType::UInt32 => integer!(UInt32Type),
        DataType::UInt64 => integer!(UInt64Type),
        DataType::Float32 => float(out, f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(out, array.as_primitive::<Float64Type>().value(row)),
        _ => return false,
    }
    true
}

fn float(out: &mut String, value: f64) {
    if !value.is_finite() {
        out.push_str("null");
    } else if value.abs() >= 1e16 || (value != 0.0 && value.abs() < 1e-5) {
        push_fmt(out, format_args!("{value:e}"));
    } else {
        push_fmt(out, format_args!("{value:?}"));
    }
}

fn float_text(out: &mut String, array: &dyn Array, row: usize) -> Result<(), ArrowError> {
    let options = FormatOptions::default();
    let text = ArrayFormatter::try_new(array, &options)?
        .value(row)
        .try_to_string()?;
    out.push_str(&text);
    Ok(())
}

/// Appends a list, a struct, a map or the value of a dictionary, if that is what it is.
fn nested(out: &mut String, array: &dyn Array, row: usize) -> Result<bool, ArrowError> {
    match array.data_type() {
        DataType::List(_) => list(out, array.as_list::<i32>().value(row).as_ref())?,
        DataType::LargeList(_) => list(out, array.as_list::<i64>().value(row).as_ref())?,
        DataType::FixedSizeList(..) => list(out, array.as_fixed_size_list().value(row).as_ref())?,
        DataType::ListView(_) => list(out, array.as_list_view::<i32>().value(row).as_ref())?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            out.push('{');
            for (index, (field, column)) in fields.iter().zip(columns).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                quoted(out, field.name());
                out.push(':');
                json(out, column.as_ref(), row)?;
            }
            out.push('}');
        }
        DataType::Map(..) => map(out, array.as_map().value(row).columns())?,
        DataType::Dictionary(key, _) => {
            let (values, index) = dictionary_value(array, key, row)?;
            json(out, values, index)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn list(out: &mut String, items: &dyn Array) -> Result<(), ArrowError> {
    out.push('[');
    for index in 0..items.len() {
        if index > 0 {
            out.push(',');
        }
        json(out, items, index)?;
    }
    out.push(']');
    Ok(())
}

fn map(out: &mut String, entries: &[datafusion::arrow::array::ArrayRef]) -> Result<(), ArrowError> {
    let [keys, values] = entries else {
        return Err(ArrowError::SchemaError("a map has keys and values".to_owned()));
    };
    out.push('{');
    for index in 0..keys.len() {
        if index > 0 {
            out.push(',');
        }
        let mut key = String::new();
        plain(&mut key, keys.as_ref(), index)?;
        quoted(out, &key);
        out.push(':');
        json(out, values.as_ref(), index)?;
    }
    out.push('}');
    Ok(())
}

fn dictionary_value<'a>(
    array: &'a dyn Array,
    key: &DataType,
    row: usize,
) -> Result<(&'a dyn Array, usize), ArrowError> {
    fn find<K: ArrowDictionaryKeyType>(array: &dyn Array, row: usize) -> Option<(&dyn Array, usize)> {
        let dictionary = array.as_dictionary::<K>();
        Some((dictionary.values().as_ref(), dictionary.key(row)?))
    }
    let found = match key {
        DataType::Int8 => find::<Int8Type>(array, row),
        DataType::Int16 => find::<Int16Type>(array, row),
        DataType::Int32 => find::<Int32Type>(array, row),
        DataType::Int64 => find::<Int64Type>(array, row),
        DataType::UInt8 => find::<UInt8Type>(array, row),
        DataType::UInt16 => find::<UInt16Type>(array, row),
        DataType::UInt32 => find::<UInt32Type>(array, row),
        DataType::UInt64 => find::<UInt64Type>(array, row),
        _ => None,
    };
    found.ok_or_else(|| ArrowError::SchemaError("a dictionary has integer keys".to_owned()))
}

enum Text<'a> {
    /// Not a string in JSON.
    Raw(&'static str),
    Borrowed(&'a str),
    Owned(String),
}

fn text_of(array: &dyn Array, row: usize) -> Result<Text<'_>, ArrowError> {
    Ok(match array.data_type() {
        DataType::Boolean => Text::Raw(if array.as_boolean().value(row) {
            "true"
        } else {
            "false"
        }),
        DataType::Utf8 => Text::Borrowed(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Text::Borrowed(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Text::Borrowed(array.as_string_view().value(row)),
        DataType::Binary => Text::Owned(to_hex(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => Text::Owned(to_hex(array.as_binary::<i64>().value(row))),
        DataType::BinaryView => Text::Owned(to_hex(array.as_binary_view().value(row))),
        DataType::FixedSizeBinary(_) => Text::Owned(to_hex(array.as_fixed_size_binary().value(row))),
        DataType::Date32 => {
            let date = array.as_primitive::<Date32Type>().value_as_date(row);
            Text::Owned(date.map_or_else(String::new, |date| date.to_string()))
        }
        DataType::Timestamp(unit, _) => match time(array, *unit, row) {
            Some(time) => Text::Owned(time),
            None => formatted(array, row)?,
        },
        _ => formatted(array, row)?,
    })
}

/// Intervals, decimals and what else Arrow can print.
fn formatted(array: &dyn Array, row: usize) -> Result<Text<'static>, ArrowError> {
    let options = FormatOptions::default();
    let text = ArrayFormatter::try_new(array, &options)?
        .value(row)
        .try_to_string()?;
    Ok(Text::Owned(text))
}

/// A time in RFC 3339; `None` outside the years that it can say.
fn time(array: &dyn Array, unit: TimeUnit, row: usize) -> Option<String> {
    let time: DateTime<Utc> = match unit {
        TimeUnit::Second => {
            DateTime::from_timestamp(array.as_primitive::<TimestampSecondType>().value(row), 0)?
        }
        TimeUnit::Millisecond => {
            DateTime::from_timestamp_millis(array.as_primitive::<TimestampMillisecondType>().value(row))?
        }
        TimeUnit::Microsecond => {
            DateTime::from_timestamp_micros(array.as_primitive::<TimestampMicrosecondType>().value(row))?
        }
        TimeUnit::Nanosecond => {
            DateTime::from_timestamp_nanos(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
    };
    let whole_micros = time.timestamp_subsec_nanos().is_multiple_of(1_000);
    let precision = if whole_micros {
        SecondsFormat::Micros
    } else {
        SecondsFormat::Nanos
    };
    Some(time.to_rfc3339_opts(precision, true))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        ArrayRef, BinaryArray, Float64Array, Int64Array, NullArray, StringArray, TimestampMicrosecondArray,
    };
    use datafusion::arrow::compute::cast;
    use meridian_proto::schema;

    use super::*;

    fn both(array: &ArrayRef) -> (String, String) {
        let (mut in_json, mut in_csv) = (String::new(), String::new());
        json(&mut in_json, array.as_ref(), 0).expect("JSON");
        plain(&mut in_csv, array.as_ref(), 0).expect("CSV");
        (in_json, in_csv)
    }

    #[test]
    fn values_read_as_documented() {
        let cases: Vec<(ArrayRef, &str, &str)> = vec![
            (
                Arc::new(Int64Array::from(vec![i64::MIN])),
                "-9223372036854775808",
                "-9223372036854775808",
            ),
            (Arc::new(Float64Array::from(vec![f64::NAN])), "null", "NaN"),
            (
                Arc::new(Float64Array::from(vec![f64::NEG_INFINITY])),
                "null",
                "-inf",
            ),
            (Arc::new(Float64Array::from(vec![1e300])), "1e300", "1e300"),
            (Arc::new(Float64Array::from(vec![0.1])), "0.1", "0.1"),
            (
                Arc::new(BinaryArray::from(vec![&b"\x0a\xff"[..]])),
                "\"0aff\"",
                "0aff",
            ),
            (
                Arc::new(StringArray::from(vec!["a\"\u{1}\n"])),
                "\"a\\\"\\u0001\\n\"",
                "a\"\u{1}\n",
            ),
            (Arc::new(Int64Array::from(vec![None])), "null", ""),
            (Arc::new(NullArray::new(1)), "null", ""),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC")),
                "\"1970-01-01T00:00:01.500000Z\"",
                "1970-01-01T00:00:01.500000Z",
            ),
        ];
        for (array, in_json, in_csv) in cases {
            assert_eq!(both(&array), (in_json.to_owned(), in_csv.to_owned()));
        }
    }

    #[test]
    fn a_dictionary_reads_as_its_value() {
        let plain: ArrayRef = Arc::new(StringArray::from(vec!["checkout"]));
        let dictionary = cast(&plain, &schema::dictionary()).expect("cast");
        assert_eq!(
            both(&dictionary),
            ("\"checkout\"".to_owned(), "checkout".to_owned())
        );
    }
}
