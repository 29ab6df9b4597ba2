//! A reader of protobuf fields over borrowed bytes, and the few writers that rewriting and
//! transcoding need. It knows no message: what a field means is the caller's business.
//!
//! Groups (wire types 3 and 4) are refused: no OTLP message ever had one, and skipping them
//! is where parsers recurse without a bound.

use thiserror::Error;

/// The bytes are not a protobuf message of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not OTLP protobuf: {what} at byte {offset}")]
pub struct Malformed {
    /// Where in the body, in bytes from its beginning.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// The payload of one field, by wire type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Payload<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1, the bits as they are.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// The field's number.
    pub number: u32,
    /// Its payload.
    pub payload: Payload<'a>,
    /// The whole field as encoded, tag included.
    pub encoded: &'a [u8],
    /// Where the payload of a length-delimited field (else the field) begins in the body.
    pub offset: usize,
}

/// Iterates over the fields of a message; ends after the first fault.
///
/// Reading a field is always inlined: a [`Field`] that is returned through memory and copied
/// costs more than all the rest of the walk.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    position: usize,
    base: usize,
}

impl<'a> Fields<'a> {
    /// The fields of `bytes`, which begin at `base` of the body.
    pub fn new(bytes: &'a [u8], base: usize) -> Self {
        Self {
            bytes,
            position: 0,
            base,
        }
    }

    /// All bytes of the message, and where they begin in the body.
    pub fn whole(&self) -> (&'a [u8], usize) {
        (self.bytes, self.base)
    }

    #[cold]
    fn fault(&self, what: &'static str) -> Malformed {
        Malformed {
            offset: self.base.saturating_add(self.position),
            what,
        }
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.get(self.position) {
            Some(&first) if first < 0x80 => {
                self.position += 1;
                Ok(u64::from(first))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let (value, length) = long_varint(rest).map_err(|what| self.fault(what))?;
        self.position += length;
        Ok(value)
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.position.checked_add(length);
        let slice = end.and_then(|end| self.bytes.get(self.position..end));
        let slice = slice.ok_or_else(|| self.fault("a field that ends beyond its message"))?;
        self.position += length;
        Ok(slice)
    }

    #[inline(always)]
    fn read(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.position;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).unwrap_or(u32::MAX);
        if number == 0 || number >= 1 << 29 {
            self.position = start;
            return Err(self.fault("a field number out of range"));
        }
        let mut offset = start;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(array(self.take(8)?))),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                offset = self.position;
                Payload::Bytes(self.take(length)?)
            }
            5 => Payload::Fixed32(u32::from_le_bytes(array(self.take(4)?))),
            _ => {
                self.position = start;
                return Err(self.fault("a group or an unknown wire type"));
            }
        };
        Ok(Field {
            number,
            payload,
            encoded: self.bytes.get(start..self.position).unwrap_or_default(),
            offset: self.base + offset,
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.bytes.len() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.position = self.bytes.len();
        }
        Some(field)
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut copy = [0; N];
    for (to, from) in copy.iter_mut().zip(bytes) {
        *to = *from;
    }
    copy
}

impl<'a> Field<'a> {
    /// The fault of a field whose wire type is not the one that OTLP gives it.
    pub fn wrong(&self) -> Malformed {
        Malformed {
            offset: self.offset,
            what: "a field with another wire type than OTLP gives it",
        }
    }

    /// A string, bytes or a message.
    #[inline]
    pub fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.payload {
            Payload::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong()),
        }
    }

    /// A message, with where it begins.
    #[inline]
    pub fn message(&self) -> Result<Fields<'a>, Malformed> {
        Ok(Fields::new(self.bytes()?, self.offset))
    }

    /// A string. Bodies are checked before they are accepted, so other bytes are a fault.
    #[inline]
    pub fn string(&self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed {
            offset: self.offset,
            what: "a string that is not UTF-8",
        })
    }

    /// A varint.
    #[inline]
    pub fn varint(&self) -> Result<u64, Malformed> {
        match self.payload {
            Payload::Varint(value) => Ok(value),
            _ => Err(self.wrong()),
        }
    }

    /// An int32 or an enum: the low 32 bits, as every protobuf parser takes them.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "protobuf defines that the upper bits are dropped"
    )]
    pub fn int32(&self) -> Result<i32, Malformed> {
        Ok(self.varint()? as u32 as i32)
    }

    /// A uint32.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "protobuf defines that the upper bits are dropped"
    )]
    pub fn uint32(&self) -> Result<u32, Malformed> {
        Ok(self.varint()? as u32)
    }

    /// A fixed64 or sfixed64, as bits.
    #[inline]
    pub fn fixed64(&self) -> Result<u64, Malformed> {
        match self.payload {
            Payload::Fixed64(bits) => Ok(bits),
            _ => Err(self.wrong()),
        }
    }

    /// A double.
    #[inline]
    pub fn double(&self) -> Result<f64, Malformed> {
        Ok(f64::from_bits(self.fixed64()?))
    }

    /// A fixed32.
    #[inline]
    pub fn fixed32(&self) -> Result<u32, Malformed> {
        match self.payload {
            Payload::Fixed32(bits) => Ok(bits),
            _ => Err(self.wrong()),
        }
    }

    /// Each element of a repeated fixed64 or double, packed or not, as bits.
    #[inline]
    pub fn each_fixed64(&self, mut each: impl FnMut(u64)) -> Result<(), Malformed> {
        match self.payload {
            Payload::Fixed64(bits) => each(bits),
            Payload::Bytes(packed) if packed.len().is_multiple_of(8) => {
                for chunk in packed.chunks_exact(8) {
                    each(u64::from_le_bytes(array(chunk)));
                }
            }
            _ => return Err(self.wrong()),
        }
        Ok(())
    }

    /// Each element of a repeated varint, packed or not.
    #[inline]
    pub fn each_varint(&self, mut each: impl FnMut(u64)) -> Result<(), Malformed> {
        match self.payload {
            Payload::Varint(value) => each(value),
            Payload::Bytes(packed) => {
                let mut reader = Fields::new(packed, self.offset);
                while reader.position < packed.len() {
                    each(reader.varint()?);
                }
            }
            _ => return Err(self.wrong()),
        }
        Ok(())
    }
}

/// A singular message field. Protobuf allows it several times, and merges; the encoding of
/// the merged message is the concatenation of the parts.
#[derive(Debug, Default)]
pub enum Singular<'a> {
    /// Not set.
    #[default]
    Absent,
    /// Set once: as in every request that a real client sends.
    Once(&'a [u8], usize),
    /// Set more than once.
    Merged(Vec<u8>, usize),
}

impl<'a> Singular<'a> {
    /// Takes one more occurrence.
    pub fn add(&mut self, field: &Field<'a>) -> Result<(), Malformed> {
        let part = field.bytes()?;
        *self = match std::mem::take(self) {
            Singular::Absent => Singular::Once(part, field.offset),
            Singular::Once(first, offset) => Singular::Merged([first, part].concat(), offset),
            Singular::Merged(mut whole, offset) => {
                whole.extend_from_slice(part);
                Singular::Merged(whole, offset)
            }
        };
        Ok(())
    }

    /// The message's bytes, `None` if it is not set.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Singular::Absent => None,
            Singular::Once(bytes, _) => Some(bytes),
            Singular::Merged(bytes, _) => Some(bytes),
        }
    }

    /// The fields; none if it is not set.
    pub fn fields(&self) -> Fields<'_> {
        match self {
            Singular::Absent => Fields::new(&[], 0),
            Singular::Once(bytes, offset) => Fields::new(bytes, *offset),
            Singular::Merged(bytes, offset) => Fields::new(bytes, *offset),
        }
    }
}

/// A varint of any length at the start of these bytes, and how many of them it takes; or what is
/// wrong with it.
#[inline]
pub(super) fn long_varint(bytes: &[u8]) -> Result<(u64, usize), &'static str> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        // The tenth byte holds only the 64th bit.
        if index == 9 && byte > 1 {
            return Err("a varint of more than 64 bits");
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value, index + 1));
        }
    }
    Err("a truncated varint")
}

/// Undoes the zigzag of sint32.
pub fn zigzag32(value: u64) -> i32 {
    let value = u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

/// Appends a varint.
#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a tag.
pub fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// Appends a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, payload: &[u8]) {
    put_tag(out, number, 2);
    put_varint(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zigzag_is_undone_at_the_edges() {
        assert_eq!(
            [0, 1, 2, 4_294_967_294, 4_294_967_295].map(zigzag32),
            [0, -1, 1, i32::MAX, i32::MIN]
        );
    }

    #[test]
    fn a_fault_names_its_place_and_ends_the_walk() {
        let mut fields = Fields::new(&[0x08, 0x01, 0x12, 0x05, 0x00], 100);
        assert_eq!(
            fields.next().expect("a field").expect("sound").payload,
            Payload::Varint(1)
        );
        let fault = fields.next().expect("a fault").expect_err("truncated");
        assert_eq!(fault.offset, 104);
        assert!(fields.next().is_none());
    }

    #[test]
    fn groups_and_field_zero_are_refused() {
        for bytes in [&[0x0b, 0x0c][..], &[0x00, 0x00], &[0x0f]] {
            assert!(Fields::new(bytes, 0).next().expect("one").is_err());
        }
    }
}
