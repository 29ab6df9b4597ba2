//! Borrowed views of OTLP's values, and their texts as `meridian_proto::attributes` defines
//! them. Bodies have passed the check before; what is still wrong is an error, never a panic.

use meridian_proto::attributes::{
    VALUE_DEPTH_MAX, letter, push_base64, push_double, push_int, push_json_string,
};

use super::wire::{Field, Fields, Malformed, Singular};

/// What stands for an id of a JSON request that is not hex: neither 8 nor 16 bytes long, so
/// that the check rejects the item, and only the item.
pub const NOT_HEX: &[u8] = b"not hex";

/// An `AnyValue`.
#[derive(Debug, Default)]
pub enum AnyValue<'a> {
    /// Nothing is set.
    #[default]
    None,
    /// A string.
    String(&'a str),
    /// A bool.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// The values of an array.
    Array(Singular<'a>),
    /// The entries of a map.
    Map(Singular<'a>),
}

impl<'a> AnyValue<'a> {
    /// Reads the value; of several the last counts.
    #[inline]
    pub fn read(fields: Fields<'a>) -> Result<Self, Malformed> {
        AnyValue::None.and(fields)
    }

    /// This value with another part of the same message after it.
    #[inline]
    pub fn and(self, fields: Fields<'a>) -> Result<Self, Malformed> {
        let mut value = self;
        for field in fields {
            let field = field?;
            match field.number {
                1 => value = AnyValue::String(field.string()?),
                2 => value = AnyValue::Bool(field.varint()? != 0),
                3 => value = AnyValue::Int(field.varint()?.cast_signed()),
                4 => value = AnyValue::Double(field.double()?),
                5 => {
                    let mut whole = match value {
                        AnyValue::Array(before) => before,
                        _ => Singular::Absent,
                    };
                    whole.add(&field)?;
                    value = AnyValue::Array(whole);
                }
                6 => {
                    let mut whole = match value {
                        AnyValue::Map(before) => before,
                        _ => Singular::Absent,
                    };
                    whole.add(&field)?;
                    value = AnyValue::Map(whole);
                }
                7 => value = AnyValue::Bytes(field.bytes()?),
                _ => {}
            }
        }
        Ok(value)
    }

    /// The letter of its type.
    pub fn letter(&self) -> char {
        match self {
            AnyValue::None => letter::NONE,
            AnyValue::String(_) => letter::STRING,
            AnyValue::Bool(_) => letter::BOOL,
            AnyValue::Int(_) => letter::INT,
            AnyValue::Double(_) => letter::DOUBLE,
            AnyValue::Bytes(_) => letter::BYTES,
            AnyValue::Array(_) => letter::ARRAY,
            AnyValue::Map(_) => letter::MAP,
        }
    }

    /// Appends the value's text.
    pub fn push_text(&self, out: &mut String) -> Result<(), Malformed> {
        match self {
            AnyValue::None => {}
            AnyValue::String(text) => out.push_str(text),
            AnyValue::Double(value) => push_double(out, *value),
            AnyValue::Bytes(bytes) => push_base64(out, bytes),
            AnyValue::Bool(_) | AnyValue::Int(_) | AnyValue::Array(_) | AnyValue::Map(_) => {
                self.push_json(out, VALUE_DEPTH_MAX)?;
            }
        }
        Ok(())
    }

    fn push_json(&self, out: &mut String, depth_left: u32) -> Result<(), Malformed> {
        match self {
            AnyValue::None => out.push_str("null"),
            AnyValue::String(text) => push_json_string(out, text),
            AnyValue::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            AnyValue::Int(value) => push_int(out, *value),
            AnyValue::Double(value) if value.is_finite() => push_double(out, *value),
            AnyValue::Double(value) => {
                out.push_str("{\"$double\":\"");
                push_double(out, *value);
                out.push_str("\"}");
            }
            AnyValue::Bytes(bytes) => {
                out.push_str("{\"$bytes\":\"");
                push_base64(out, bytes);
                out.push_str("\"}");
            }
            AnyValue::Array(values) => push_array(out, values, deeper(depth_left)?)?,
            AnyValue::Map(entries) => push_map(out, entries, deeper(depth_left)?)?,
        }
        Ok(())
    }
}

fn deeper(depth_left: u32) -> Result<u32, Malformed> {
    depth_left.checked_sub(1).ok_or(Malformed {
        offset: 0,
        what: "a value that nests too deep",
    })
}

fn push_array(out: &mut String, values: &Singular<'_>, depth_left: u32) -> Result<(), Malformed> {
    out.push('[');
    let mut separator = "";
    for field in values.fields() {
        let field = field?;
        if field.number == 1 {
            out.push_str(separator);
            AnyValue::read(field.message()?)?.push_json(out, depth_left)?;
            separator = ",";
        }
    }
    out.push(']');
    Ok(())
}

fn push_map(out: &mut String, entries: &Singular<'_>, depth_left: u32) -> Result<(), Malformed> {
    let mut first = true;
    // An object that begins with `$` would be read as a mark: such a map is written as pairs.
    let mut marks = ("{", ":", "", "}");
    for field in entries.fields() {
        let field = field?;
        if field.number != 1 {
            continue;
        }
        let entry = KeyValue::read(&field)?;
        if first && entry.key.starts_with('$') {
            marks = ("{\"$kvlist\":[", ",", "]", "]}");
        }
        out.push_str(if first { marks.0 } else { "," });
        first = false;
        if !marks.2.is_empty() {
            out.push('[');
        }
        push_json_string(out, entry.key);
        out.push_str(marks.1);
        entry.value()?.push_json(out, depth_left)?;
        out.push_str(marks.2);
    }
    out.push_str(if first { "{}" } else { marks.3 });
    Ok(())
}

/// A `KeyValue`.
#[derive(Debug, Default)]
pub struct KeyValue<'a> {
    /// The key.
    pub key: &'a str,
    value: Singular<'a>,
}

impl<'a> KeyValue<'a> {
    /// Reads the entry in this field.
    #[inline]
    pub fn read(field: &Field<'a>) -> Result<Self, Malformed> {
        let mut entry = KeyValue::default();
        for field in field.message()? {
            let field = field?;
            match field.number {
                1 => entry.key = field.string()?,
                2 => entry.value.add(&field)?,
                _ => {}
            }
        }
        Ok(entry)
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> Result<AnyValue<'_>, Malformed> {
        AnyValue::read(self.value.fields())
    }
}

/// The value of a data point or an exemplar.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Number {
    /// Nothing was recorded.
    #[default]
    None,
    /// `as_double`
    Double(f64),
    /// `as_int`
    Int(i64),
}

impl Number {
    /// As a double, whatever it was.
    #[expect(clippy::cast_precision_loss, reason = "the integer itself is kept beside it")]
    pub fn double(self) -> Option<f64> {
        match self {
            Number::None => None,
            Number::Double(value) => Some(value),
            Number::Int(value) => Some(value as f64),
        }
    }

    /// If it was an integer.
    pub fn int(self) -> Option<i64> {
        match self {
            Number::Int(value) => Some(value),
            Number::None | Number::Double(_) => None,
        }
    }
}

/// What the oneof `Metric.data` holds.
#[derive(Debug)]
pub struct MetricData<'a> {
    /// The number of the field that counts: the last that is set.
    pub number: u32,
    /// Its message.
    pub message: Singular<'a>,
    /// Something else was set before, which nobody has looked into.
    pub replaces: bool,
}

/// The data of a metric, if it has any.
pub fn metric_data<'a>(fields: Fields<'a>) -> Result<Option<MetricData<'a>>, Malformed> {
    let mut data: Option<MetricData<'a>> = None;
    for field in fields {
        let field = field?;
        if !matches!(field.number, 5 | 7 | 9 | 10 | 11) {
            continue;
        }
        match &mut data {
            Some(data) if data.number == field.number => data.message.add(&field)?,
            _ => {
                let mut message = Singular::Absent;
                message.add(&field)?;
                data = Some(MetricData {
                    number: field.number,
                    message,
                    replaces: data.is_some(),
                });
            }
        }
    }
    Ok(data)
}
