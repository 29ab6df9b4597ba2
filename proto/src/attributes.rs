//! How attribute values are written: every value is text, and one letter beside it says
//! what it was, so that nothing is lost and any engine can read the text.
//!
//! | letter | OTLP value | text |
//! |---|---|---|
//! | `s` | string | as it is |
//! | `i` | int | decimal |
//! | `d` | double | shortest form that reads back, or `NaN`, `Infinity`, `-Infinity` |
//! | `b` | bool | `true`, `false` |
//! | `y` | bytes | base64 |
//! | `a` | array | JSON |
//! | `m` | kvlist | JSON |
//! | `n` | no value | null |
//!
//! In JSON, an integer has no point, a double has a point or an exponent, `null` is "no
//! value", and a kvlist is an object in order, repeated keys included. What JSON cannot say
//! is an object whose only key begins with `$`: `{"$bytes":base64}`, `{"$double":"NaN"}`,
//! and `{"$kvlist":[[key,value],…]}` for a kvlist whose first key begins with `$`.
//!
//! OTLP's own encodings are not read here; the agent does that.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::json::{Fault, Kind, Reader};

/// How deep arrays and maps can nest; [`to_otlp`] reads no deeper.
pub const VALUE_DEPTH_MAX: u32 = 64;

/// The letter of a value's type.
pub mod letter {
    /// A string.
    pub const STRING: char = 's';
    /// A 64-bit integer.
    pub const INT: char = 'i';
    /// A double.
    pub const DOUBLE: char = 'd';
    /// A bool.
    pub const BOOL: char = 'b';
    /// Bytes.
    pub const BYTES: char = 'y';
    /// An array.
    pub const ARRAY: char = 'a';
    /// A map.
    pub const MAP: char = 'm';
    /// No value.
    pub const NONE: char = 'n';
}

/// Appends a double: the shortest text that reads back as the same bits (of a NaN, as NaN).
pub fn push_double(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        push_display(out, format_args!("{value:?}"));
    }
}

/// Appends an integer in decimal.
pub fn push_int(out: &mut String, value: i64) {
    push_display(out, format_args!("{value}"));
}

fn push_display(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    out.write_fmt(text).unwrap_or_default();
}

/// Appends bytes as base64.
pub fn push_base64(out: &mut String, bytes: &[u8]) {
    STANDARD.encode_string(bytes, out);
}

/// Appends a JSON string, quotes included. What needs no escape is copied in one piece.
pub fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // Most texts need no escape, which is quicker to see of all bytes than of one after the other.
    let is_plain = !text.bytes().fold(false, |found, byte| found | needs_escape(byte));
    if is_plain {
        out.push_str(text);
        out.push('"');
        return;
    }
    while let Some(at) = rest.bytes().position(needs_escape) {
        // What needs an escape is ASCII, so both ends are between characters.
        let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut characters = special.chars();
        match characters.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(control) => push_display(out, format_args!("\\u{:04x}", u32::from(control))),
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// The value with this letter and text, as OTLP JSON's `AnyValue`.
pub fn to_otlp(letter: char, text: Option<&str>) -> Result<Value, Fault> {
    let unreadable = |what| Fault { offset: 0, what };
    let Some(text) = text else {
        return Ok(json!({}));
    };
    match letter {
        letter::STRING => Ok(json!({ "stringValue": text })),
        letter::INT => Ok(json!({ "intValue": text })),
        letter::DOUBLE => Ok(json!({ "doubleValue": double(text)? })),
        letter::BOOL => Ok(json!({ "boolValue": text == "true" })),
        letter::BYTES => Ok(json!({ "bytesValue": text })),
        letter::NONE => Ok(json!({})),
        letter::ARRAY | letter::MAP => {
            // `$kvlist` takes three levels for one.
            let mut reader = Reader::new(text.as_bytes(), VALUE_DEPTH_MAX * 3);
            let value = read(&mut reader)?;
            reader.end()?;
            Ok(value)
        }
        _ => Err(unreadable("a type letter that this release does not know")),
    }
}

/// OTLP JSON writes a double as a number, or as a string where JSON has no number.
pub fn otlp_double(value: f64) -> Value {
    let mut text = String::new();
    if value.is_finite() {
        json!(value)
    } else {
        push_double(&mut text, value);
        Value::String(text)
    }
}

fn double(text: &str) -> Result<Value, Fault> {
    let value = text.parse::<f64>().map_err(|_| Fault {
        offset: 0,
        what: "a double that cannot be read",
    })?;
    Ok(otlp_double(value))
}

fn read(reader: &mut Reader<'_>) -> Result<Value, Fault> {
    Ok(match reader.peek()? {
        Kind::Null => {
            reader.null()?;
            json!({})
        }
        Kind::Bool => json!({ "boolValue": reader.bool()? }),
        Kind::String => json!({ "stringValue": reader.string()? }),
        Kind::Number => {
            let text = reader.number()?;
            if text.contains(['.', 'e', 'E']) {
                json!({ "doubleValue": double(text)? })
            } else {
                json!({ "intValue": text })
            }
        }
        Kind::Array => {
            reader.begin_array()?;
            let mut first = true;
            let mut values = Vec::new();
            while reader.next_element(&mut first)? {
                values.push(read(reader)?);
            }
            json!({ "arrayValue": { "values": values } })
        }
        Kind::Object => read_object(reader)?,
    })
}

fn read_object(reader: &mut Reader<'_>) -> Result<Value, Fault> {
    reader.begin_object()?;
    let mut first = true;
    let Some(key) = reader.next_key(&mut first)? else {
        return Ok(kvlist(&[]));
    };
    let marked = match key.as_ref() {
        "$bytes" => json!({ "bytesValue": reader.string()? }),
        "$double" => json!({ "doubleValue": double(&reader.string()?)? }),
        "$kvlist" => kvlist(&read_pairs(reader)?),
        _ => {
            let mut entries = vec![key_value(&key, read(reader)?)];
            while let Some(key) = reader.next_key(&mut first)? {
                entries.push(key_value(&key, read(reader)?));
            }
            return Ok(kvlist(&entries));
        }
    };
    match reader.next_key(&mut first)? {
        None => Ok(marked),
        Some(_) => Err(reader.fault("a marked value with a second key")),
    }
}

fn read_pairs(reader: &mut Reader<'_>) -> Result<Vec<Value>, Fault> {
    reader.begin_array()?;
    let mut first = true;
    let mut entries = Vec::new();
    while reader.next_element(&mut first)? {
        reader.begin_array()?;
        let mut inner = true;
        if !reader.next_element(&mut inner)? {
            return Err(reader.fault("a pair without a key"));
        }
        let key = reader.string()?;
        if !reader.next_element(&mut inner)? {
            return Err(reader.fault("a pair without a value"));
        }
        entries.push(key_value(&key, read(reader)?));
        if reader.next_element(&mut inner)? {
            return Err(reader.fault("a pair of more than two"));
        }
    }
    Ok(entries)
}

fn kvlist(entries: &[Value]) -> Value {
    json!({ "kvlistValue": { "values": entries } })
}

/// An OTLP JSON `KeyValue`; one without a value has no `value`.
pub fn key_value(key: &str, value: Value) -> Value {
    let mut entry = Map::new();
    entry.insert("key".to_owned(), Value::String(key.to_owned()));
    if value.as_object().is_some_and(|fields| !fields.is_empty()) {
        entry.insert("value".to_owned(), value);
    }
    Value::Object(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_read_back_and_are_never_taken_for_integers() {
        for value in [0.0, -0.0, 5.0, 0.1, 637.704, 1e300, 5e-324, f64::MAX] {
            let mut text = String::new();
            push_double(&mut text, value);
            assert!(text.contains(['.', 'e']), "{text}");
            assert_eq!(text.parse::<f64>().expect("a double").to_bits(), value.to_bits());
        }
    }

    #[test]
    fn what_json_cannot_say_is_marked_and_read_back() {
        let text =
            r#"[1,1.0,{"$double":"NaN"},{"$bytes":"AAE="},null,{"a":true,"a":{}},{"$kvlist":[["$x","y"]]}]"#;
        let value = to_otlp(letter::ARRAY, Some(text)).expect("readable");
        let expected = json!({"arrayValue": {"values": [
            {"intValue": "1"}, {"doubleValue": 1.0}, {"doubleValue": "NaN"}, {"bytesValue": "AAE="}, {},
            {"kvlistValue": {"values": [
                {"key": "a", "value": {"boolValue": true}},
                {"key": "a", "value": {"kvlistValue": {"values": []}}}]}},
            {"kvlistValue": {"values": [{"key": "$x", "value": {"stringValue": "y"}}]}},
        ]}});
        assert_eq!(value, expected);
    }

    #[test]
    fn text_that_nobody_wrote_is_a_fault() {
        for text in [
            "[",
            r#"{"$bytes":"AA==","x":1}"#,
            r#"{"$kvlist":[["a"]]}"#,
            "[1] 2",
        ] {
            assert!(to_otlp(letter::MAP, Some(text)).is_err(), "{text}");
        }
        assert!(to_otlp('?', Some("x")).is_err());
    }
}
