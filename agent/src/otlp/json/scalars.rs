//! Single values of OTLP JSON, each to its protobuf field. It knows no messages.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use meridian_proto::ids::from_hex;
use meridian_proto::json::{Fault, Kind as Token, Reader};

use crate::otlp::descriptors::{FieldSpec, Kind};
use crate::otlp::values::NOT_HEX;
use crate::otlp::wire::{put_bytes, put_tag, put_varint};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads one value and appends it as the field that `spec` describes.
pub fn transcode(reader: &mut Reader<'_>, out: &mut Vec<u8>, spec: &FieldSpec) -> Result<(), Fault> {
    match spec.kind {
        Kind::String => put_bytes(out, spec.number, reader.string()?.as_bytes()),
        Kind::Bytes => put_bytes(out, spec.number, &base64_bytes(reader)?),
        Kind::Id => {
            let text = reader.string()?;
            put_bytes(out, spec.number, from_hex(&text).as_deref().unwrap_or(NOT_HEX));
        }
        Kind::Bool => put_varint_field(out, spec, u64::from(reader.bool()?)),
        Kind::Uint32 => put_varint_field(out, spec, unsigned(reader, u64::from(u32::MAX))?),
        Kind::Uint64 => put_varint_field(out, spec, unsigned(reader, u64::MAX)?),
        Kind::Int64 => put_varint_field(out, spec, signed(reader)?.cast_unsigned()),
        Kind::Sint32 => put_varint_field(out, spec, zigzag(int32(reader)?)),
        Kind::Enum(names) => put_varint_field(out, spec, enumeration(reader, names)?),
        Kind::Fixed32 => {
            let value = unsigned(reader, u64::from(u32::MAX))?;
            put_tag(out, spec.number, 5);
            out.extend(value.to_le_bytes().iter().take(4));
        }
        Kind::Fixed64 => put_fixed64(out, spec, unsigned(reader, u64::MAX)?),
        Kind::Sfixed64 => put_fixed64(out, spec, signed(reader)?.cast_unsigned()),
        Kind::Double => put_fixed64(out, spec, double(reader)?.to_bits()),
        Kind::Message(_) => return Err(reader.fault("a message where a scalar was expected")),
    }
    Ok(())
}

fn put_varint_field(out: &mut Vec<u8>, spec: &FieldSpec, value: u64) {
    put_tag(out, spec.number, 0);
    put_varint(out, value);
}

fn put_fixed64(out: &mut Vec<u8>, spec: &FieldSpec, bits: u64) {
    put_tag(out, spec.number, 1);
    out.extend_from_slice(&bits.to_le_bytes());
}

fn zigzag(value: i32) -> u64 {
    u64::from(((value << 1) ^ (value >> 31)).cast_unsigned())
}

fn base64_bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>, Fault> {
    let text = reader.string()?;
    let engine = if text.contains(['-', '_']) {
        URL_SAFE
    } else {
        STANDARD
    };
    engine
        .decode(text.as_bytes())
        .map_err(|_| reader.fault("bytes that are not base64"))
}

/// A number's text, whether it stands as a number or as a string.
fn with_number<T>(
    reader: &mut Reader<'_>,
    what: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Fault> {
    let value = match reader.peek()? {
        Token::Number => read(reader.number()?),
        Token::String => read(&reader.string()?),
        _ => None,
    };
    value.ok_or_else(|| reader.fault(what))
}

fn unsigned(reader: &mut Reader<'_>, max: u64) -> Result<u64, Fault> {
    with_number(
        reader,
        "expected an unsigned integer of the field's size",
        |text| {
            let value = text.parse().ok().or_else(|| u64::try_from(integral(text)?).ok());
            value.filter(|value| *value <= max)
        },
    )
}

fn signed(reader: &mut Reader<'_>) -> Result<i64, Fault> {
    with_number(reader, "expected a 64-bit integer", |text| {
        text.parse().ok().or_else(|| integral(text))
    })
}

fn int32(reader: &mut Reader<'_>) -> Result<i32, Fault> {
    with_number(reader, "expected a 32-bit integer", |text| {
        text.parse().ok().or_else(|| i32::try_from(integral(text)?).ok())
    })
}

/// An integer written with a point or an exponent, as long as a double holds it exactly.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the value is whole and below 2^53, so nothing is cut"
)]
fn integral(text: &str) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let value: f64 = text.parse().ok()?;
    (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i64)
}

fn enumeration(reader: &mut Reader<'_>, names: &[(&str, i32)]) -> Result<u64, Fault> {
    let value = if reader.peek()? == Token::String {
        let text = reader.string()?;
        let named = names
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value);
        named
            .or_else(|| text.parse().ok())
            .ok_or_else(|| reader.fault("an enum value that OTLP does not know"))?
    } else {
        int32(reader)?
    };
    // Protobuf sign-extends a negative enum to 64 bits.
    Ok(i64::from(value).cast_unsigned())
}

fn double(reader: &mut Reader<'_>) -> Result<f64, Fault> {
    with_number(reader, "expected a double", |text| match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|value: &f64| value.is_finite()),
    })
}
