//! Writes a message as OTLP JSON, for what is kept once per distinct value: resource, scope
//! and a metric's metadata. Fields with their default are left out. It parses no JSON.

use meridian_proto::attributes::{VALUE_DEPTH_MAX, push_base64, push_double, push_int, push_json_string};
use meridian_proto::ids::to_hex;

use super::descriptors::{FieldSpec, KEY_VALUE, Kind, Message, Presence};
use super::wire::{Field, Fields, Malformed, Singular, zigzag32};

/// A value takes two messages per level (three for a map); the messages around it are few.
const DEPTH_MAX: u32 = VALUE_DEPTH_MAX * 3 + 8;

/// The readers of others require the key of a `KeyValue`, even the empty one.
const ALWAYS: &str = "key";

/// The message as a JSON object; `extra` are members that the message itself does not have.
pub fn object(
    message: &'static Message,
    fields: &Fields<'_>,
    extra: &[(&str, &str)],
) -> Result<String, Malformed> {
    let mut out = String::from("{");
    push_members(&mut out, message, fields, DEPTH_MAX)?;
    for (name, value) in extra {
        separate(&mut out);
        push_json_string(&mut out, name);
        out.push(':');
        push_json_string(&mut out, value);
    }
    out.push('}');
    Ok(out)
}

/// The `KeyValue`s in fields of this number as a JSON array; `None` if there is none.
pub fn key_values(fields: Fields<'_>, number: u32) -> Result<Option<String>, Malformed> {
    let mut out = String::from("[");
    for field in fields {
        let field = field?;
        if field.number == number {
            separate(&mut out);
            push_object(&mut out, &KEY_VALUE, &field.message()?, DEPTH_MAX)?;
        }
    }
    let some = out.len() > 1;
    out.push(']');
    Ok(some.then_some(out))
}

fn separate(out: &mut String) {
    if !out.ends_with(['{', '[']) {
        out.push(',');
    }
}

fn push_object(
    out: &mut String,
    message: &'static Message,
    fields: &Fields<'_>,
    depth_left: u32,
) -> Result<(), Malformed> {
    out.push('{');
    push_members(out, message, fields, depth_left)?;
    out.push('}');
    Ok(())
}

fn push_members(
    out: &mut String,
    message: &'static Message,
    fields: &Fields<'_>,
    depth_left: u32,
) -> Result<(), Malformed> {
    let depth_left = depth_left.checked_sub(1).ok_or(Malformed {
        offset: 0,
        what: "a value that nests too deep",
    })?;
    let member = last_of_oneof(message, fields)?;
    for spec in message.fields {
        match spec.presence {
            Presence::Repeated => push_repeated(out, spec, fields, depth_left)?,
            Presence::Oneof if member != Some(spec.number) => {}
            Presence::Oneof | Presence::Implicit | Presence::Explicit => {
                push_singular(out, spec, fields, depth_left)?;
            }
        }
    }
    Ok(())
}

fn last_of_oneof(message: &'static Message, fields: &Fields<'_>) -> Result<Option<u32>, Malformed> {
    let mut last = None;
    for field in fields.clone() {
        let number = field?.number;
        if message
            .field(number)
            .is_some_and(|spec| spec.presence == Presence::Oneof)
        {
            last = Some(number);
        }
    }
    Ok(last)
}

fn push_name(out: &mut String, spec: &FieldSpec) {
    separate(out);
    push_json_string(out, spec.json_name);
    out.push(':');
}

fn push_repeated(
    out: &mut String,
    spec: &'static FieldSpec,
    fields: &Fields<'_>,
    depth_left: u32,
) -> Result<(), Malformed> {
    // The readers of others require the `values` of an array or a map.
    let mut open = spec.name == "values";
    if open {
        push_name(out, spec);
        out.push('[');
    }
    for field in fields.clone() {
        let field = field?;
        if field.number != spec.number {
            continue;
        }
        if open {
            separate(out);
        } else {
            push_name(out, spec);
            out.push('[');
            open = true;
        }
        match spec.kind {
            Kind::Message(inner) => push_object(out, inner, &field.message()?, depth_left)?,
            _ => push_scalar(out, spec, &field)?,
        }
    }
    if open {
        out.push(']');
    }
    Ok(())
}

fn push_singular(
    out: &mut String,
    spec: &'static FieldSpec,
    fields: &Fields<'_>,
    depth_left: u32,
) -> Result<(), Malformed> {
    let mut last = None;
    let mut whole = Singular::Absent;
    for field in fields.clone() {
        let field = field?;
        if field.number == spec.number {
            if matches!(spec.kind, Kind::Message(_)) {
                whole.add(&field)?;
            }
            last = Some(field);
        }
    }
    let Some(last) = last else {
        if spec.name == ALWAYS {
            push_name(out, spec);
            out.push_str("\"\"");
        }
        return Ok(());
    };
    if let Kind::Message(inner) = spec.kind {
        push_name(out, spec);
        return push_object(out, inner, &whole.fields(), depth_left);
    }
    if spec.presence == Presence::Implicit && spec.name != ALWAYS && is_default(&last) {
        return Ok(());
    }
    push_name(out, spec);
    push_scalar(out, spec, &last)
}

fn is_default(field: &Field<'_>) -> bool {
    use super::wire::Payload;
    match field.payload {
        Payload::Varint(value) | Payload::Fixed64(value) => value == 0,
        Payload::Fixed32(value) => value == 0,
        Payload::Bytes(bytes) => bytes.is_empty(),
    }
}

fn push_scalar(out: &mut String, spec: &FieldSpec, field: &Field<'_>) -> Result<(), Malformed> {
    match spec.kind {
        Kind::String => push_json_string(out, field.string()?),
        Kind::Bytes => {
            out.push('"');
            push_base64(out, field.bytes()?);
            out.push('"');
        }
        Kind::Id => push_json_string(out, &to_hex(field.bytes()?)),
        Kind::Bool => out.push_str(if field.varint()? != 0 { "true" } else { "false" }),
        Kind::Uint32 => push_int(out, i64::from(field.uint32()?)),
        Kind::Fixed32 => push_int(out, i64::from(field.fixed32()?)),
        Kind::Sint32 => push_int(out, i64::from(zigzag32(field.varint()?))),
        Kind::Enum(_) => push_int(out, i64::from(field.int32()?)),
        Kind::Int64 => push_quoted(out, &field.varint()?.cast_signed().to_string()),
        Kind::Uint64 => push_quoted(out, &field.varint()?.to_string()),
        Kind::Fixed64 => push_quoted(out, &field.fixed64()?.to_string()),
        Kind::Sfixed64 => push_quoted(out, &field.fixed64()?.cast_signed().to_string()),
        Kind::Double => {
            let value = field.double()?;
            if value.is_finite() {
                push_double(out, value);
            } else {
                let mut text = String::new();
                push_double(&mut text, value);
                push_quoted(out, &text);
            }
        }
        Kind::Message(_) => {}
    }
    Ok(())
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}
