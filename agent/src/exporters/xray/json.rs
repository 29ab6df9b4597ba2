//! Writes JSON straight into a string. A comma goes before a member if the last byte says that it
//! is not the first. What a member means is the caller's business.

use meridian_proto::attributes::{VALUE_DEPTH_MAX, push_base64, push_double, push_int, push_json_string};

use crate::otlp::view::{elements, entries};
use crate::otlp::{AnyValue, Malformed};

/// Characters of a string that has no other limit.
pub const TEXT_CHARS_MAX: usize = 250;

/// Begins the next member or element.
#[inline]
pub fn separate(out: &mut String) {
    if !matches!(out.as_bytes().last(), None | Some(b'{' | b'[')) {
        out.push(',');
    }
}

/// Begins a member with a name that needs no escaping.
#[inline]
pub fn name(out: &mut String, name: &str) {
    separate(out);
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

/// A member with a text of at most [`TEXT_CHARS_MAX`]; says whether all of it is there.
pub fn text(out: &mut String, member: &str, text: &str) -> bool {
    let (kept, is_whole) = cut(text, TEXT_CHARS_MAX);
    name(out, member);
    push_json_string(out, kept);
    is_whole
}

/// A member that is an integer.
pub fn int(out: &mut String, member: &str, value: i64) {
    name(out, member);
    push_int(out, value);
}

/// A member that is true.
pub fn truth(out: &mut String, member: &str) {
    name(out, member);
    out.push_str("true");
}

/// A member that is an object; none if nothing is in it.
pub fn object<T>(out: &mut String, member: &str, write: impl FnOnce(&mut String) -> T) -> T {
    enclosed(out, member, ('{', '}'), write)
}

/// A member that is an array; none if nothing is in it.
pub fn array<T>(out: &mut String, member: &str, write: impl FnOnce(&mut String) -> T) -> T {
    enclosed(out, member, ('[', ']'), write)
}

fn enclosed<T>(
    out: &mut String,
    member: &str,
    (open, close): (char, char),
    write: impl FnOnce(&mut String) -> T,
) -> T {
    let before = out.len();
    name(out, member);
    out.push(open);
    let inside = out.len();
    let written = write(out);
    if out.len() == inside {
        out.truncate(before);
    } else {
        out.push(close);
    }
    written
}

/// The first characters, and whether they are all.
#[inline]
pub fn cut(text: &str, chars_max: usize) -> (&str, bool) {
    if text.len() <= chars_max {
        return (text, true);
    }
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => (text.get(..at).unwrap_or_default(), false),
        None => (text, true),
    }
}

/// The text up to so many bytes, and no part of a character.
pub fn cut_bytes(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// A value as plain JSON. What JSON has no number for is a string.
pub fn value(out: &mut String, value: &AnyValue<'_>) -> Result<(), Malformed> {
    nested(out, value, VALUE_DEPTH_MAX)
}

fn nested(out: &mut String, value: &AnyValue<'_>, depth_left: u32) -> Result<(), Malformed> {
    match value {
        AnyValue::None => out.push_str("null"),
        AnyValue::String(text) => push_json_string(out, text),
        AnyValue::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        AnyValue::Int(value) => push_int(out, *value),
        AnyValue::Double(value) => double(out, *value),
        AnyValue::Bytes(bytes) => {
            out.push('"');
            push_base64(out, bytes);
            out.push('"');
        }
        AnyValue::Array(values) => {
            let depth_left = deeper(depth_left)?;
            out.push('[');
            for value in elements(values) {
                separate(out);
                nested(out, &value?, depth_left)?;
            }
            out.push(']');
        }
        AnyValue::Map(map) => {
            let depth_left = deeper(depth_left)?;
            out.push('{');
            for entry in entries(map) {
                let entry = entry?;
                separate(out);
                push_json_string(out, entry.key);
                out.push(':');
                nested(out, &entry.value, depth_left)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn deeper(depth_left: u32) -> Result<u32, Malformed> {
    depth_left.checked_sub(1).ok_or(Malformed {
        offset: 0,
        what: "a value that nests too deep",
    })
}

fn double(out: &mut String, value: f64) {
    if value.is_finite() {
        push_double(out, value);
    } else {
        out.push('"');
        push_double(out, value);
        out.push('"');
    }
}

/// A time as seconds: all its digits, which a double would not have.
pub fn push_seconds(out: &mut String, unix_nanos: u64) {
    const SECOND: u64 = 1_000_000_000;
    push_int(out, (unix_nanos / SECOND).cast_signed());
    out.push('.');
    let mut place = SECOND / 10;
    while place > 0 {
        out.push(digit(unix_nanos / place % 10));
        place /= 10;
    }
}

fn digit(value: u64) -> char {
    u32::try_from(value)
        .ok()
        .and_then(|value| char::from_digit(value, 10))
        .unwrap_or('0')
}

/// Bytes as lower-case hex.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    let nibble = |value: u8| {
        char::from(if value < 10 {
            b'0' + value
        } else {
            b'a' - 10 + value
        })
    };
    for byte in bytes {
        out.push(nibble(byte >> 4));
        out.push(nibble(byte & 15));
    }
}

/// A member that is an id in hex.
pub fn id(out: &mut String, member: &str, id: &[u8]) {
    name(out, member);
    out.push('"');
    push_hex(out, id);
    out.push('"');
}

/// A member that is a trace's id as X-Ray writes it: `1-`, the first four bytes, `-`, the others.
pub fn trace_id(out: &mut String, member: &str, id: &[u8]) {
    name(out, member);
    let (first, rest) = id.split_at_checked(4).unwrap_or_default();
    out.push_str("\"1-");
    push_hex(out, first);
    out.push('-');
    push_hex(out, rest);
    out.push('"');
}

/// Characters of a key in metadata.
const KEY_CHARS_MAX: usize = 1000;

/// Begins a member whose name is somebody's key, and says whether all of the key is in it.
#[inline]
pub fn entry_name(out: &mut String, prefix: &str, key: &str) -> bool {
    let (kept, is_whole) = cut(key, KEY_CHARS_MAX);
    separate(out);
    let begin = out.len();
    push_json_string(out, kept);
    if !prefix.is_empty() {
        out.insert_str(begin + 1, prefix);
    }
    out.push(':');
    is_whole
}
