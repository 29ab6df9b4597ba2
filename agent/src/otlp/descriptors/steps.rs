//! What the check does with a field, looked up by the field's tag as it stands in the bytes:
//! number and wire type at once. Built from the tables at compile time. No bytes are read here.

use super::{FieldSpec, Kind, Message, Presence};

/// Tags of one byte: the numbers 1 to 15 with any wire type.
const SHORT_TAGS: usize = 128;
/// How far the wire type is shifted out of a tag to leave the number.
const NUMBER_SHIFT: u32 = 3;

/// What the check does with one field. Unknown fields are passed over by their wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Refuse the request: a group, the number 0, or a known field of another wire type.
    Refuse,
    /// Pass over a varint.
    Varint,
    /// Pass over eight bytes.
    Fixed64,
    /// Pass over four bytes.
    Fixed32,
    /// Pass over bytes of any content.
    Bytes,
    /// Bytes that must be UTF-8.
    Text,
    /// A time or a count in eight bytes, below 2^63.
    Count,
    /// An id: what it must be depends on whose it is.
    Id,
    /// A message, to be walked.
    Message,
    /// Elements of a repeated number, packed or one by itself.
    Elements,
}

/// The steps of a message.
#[derive(Debug)]
pub struct Steps {
    short: [Step; SHORT_TAGS],
}

impl Steps {
    /// The steps of a message with these fields.
    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated while compiling, which a panic fails"
    )]
    pub(super) const fn of(fields: &'static [FieldSpec]) -> Self {
        let mut short = [Step::Refuse; SHORT_TAGS];
        // Tags below 8 have the number 0, which is refused.
        let mut tag = 1 << NUMBER_SHIFT;
        while tag < SHORT_TAGS {
            short[tag] = Step::unknown(tag);
            tag += 1;
        }
        let mut index = 0;
        while index < fields.len() {
            let first = (fields[index].number as usize) << NUMBER_SHIFT;
            let mut wire_type = 0;
            while wire_type < 1 << NUMBER_SHIFT && first < SHORT_TAGS {
                short[first + wire_type] = Step::known(&fields[index], wire_type);
                wire_type += 1;
            }
            index += 1;
        }
        Self { short }
    }
}

impl Step {
    /// What the wire type in the tag asks for.
    const fn unknown(tag: usize) -> Self {
        match tag & 7 {
            0 => Self::Varint,
            1 => Self::Fixed64,
            2 => Self::Bytes,
            5 => Self::Fixed32,
            _ => Self::Refuse,
        }
    }

    const fn known(field: &FieldSpec, wire_type: usize) -> Self {
        let repeated = matches!(field.presence, Presence::Repeated);
        match (field.kind, wire_type) {
            (Kind::String, 2) => Self::Text,
            (Kind::Bytes, 2) => Self::Bytes,
            (Kind::Id, 2) => Self::Id,
            (Kind::Message(_), 2) => Self::Message,
            (Kind::Bool | Kind::Uint32 | Kind::Sint32 | Kind::Int64 | Kind::Enum(_), 0) => Self::Varint,
            (Kind::Fixed32, 5) => Self::Fixed32,
            (Kind::Uint64, 0 | 2) => Self::Elements,
            (Kind::Fixed64 | Kind::Double, 1 | 2) if repeated => Self::Elements,
            // Every unsigned 64-bit field of OTLP is a time or a count.
            (Kind::Fixed64, 1) => Self::Count,
            (Kind::Double | Kind::Sfixed64, 1) => Self::Fixed64,
            _ => Self::Refuse,
        }
    }
}

impl Message {
    /// What to do with the field that has this tag of one byte.
    #[inline(always)]
    pub fn step(&self, tag: u8) -> Step {
        let step = self.steps.short.get(usize::from(tag));
        step.copied().unwrap_or(Step::Refuse)
    }

    /// What to do with the field that has this tag, of any length.
    pub fn long_step(&self, tag: u64) -> Step {
        let number = u32::try_from(tag >> NUMBER_SHIFT).unwrap_or(u32::MAX);
        let tag = usize::try_from(tag & 7).unwrap_or_default();
        match self.field(number) {
            _ if number == 0 || number >= 1 << 29 => Step::Refuse,
            Some(field) => Step::known(field, tag),
            None => Step::unknown(tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ANY_VALUE, SPAN};
    use super::*;

    #[test]
    fn a_tag_of_one_byte_and_the_general_way_lead_to_the_same_step() {
        for message in [&SPAN, &ANY_VALUE] {
            for tag in 0..128_u8 {
                assert_eq!(message.step(tag), message.long_step(u64::from(tag)), "tag {tag}");
            }
        }
        assert_eq!(SPAN.step(0x0a), Step::Id);
        assert_eq!(SPAN.long_step(16 << 3 | 5), Step::Fixed32);
        assert_eq!(SPAN.long_step(16 << 3 | 2), Step::Refuse);
        assert_eq!(SPAN.long_step(1 << 32), Step::Refuse);
    }
}
