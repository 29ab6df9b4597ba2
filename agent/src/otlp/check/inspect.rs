//! What can be wrong inside one item: generic rules from the tables of messages, and the
//! few that concern ids and histograms. It counts and copies nothing.

use meridian_proto::ids::{SPAN_ID_BYTES, TRACE_ID_BYTES};
use meridian_proto::time::UNIX_NANOS_MAX;

use crate::otlp::descriptors::{ANY_VALUE, FieldSpec, KEY_VALUE, Kind, LOG_RECORD, Message, SPAN, Step};
use crate::otlp::rejections::Reason;
use crate::otlp::values::NOT_HEX;
use crate::otlp::wire::{Fields, Malformed, long_varint};

/// The bits of [`Inspection::ids`].
const HAS_TRACE_ID: u8 = 1;
const HAS_SPAN_ID: u8 = 2;
const PARENT_IS_SOUND: u8 = 4;
const SPAN_IS_SOUND: u8 = HAS_TRACE_ID | HAS_SPAN_ID | PARENT_IS_SOUND;

/// The generic walk over one item, or over what items share.
///
/// It is most of what the agent does with a span on its way in: a field's tag looks up what is
/// to be done, nothing is held but the rest of the bytes, and words for what is wrong are found
/// only once something is.
pub struct Inspection {
    /// How deep arrays and maps may nest.
    value_depth_max: u32,
    /// The first thing that cannot be kept.
    reason: Option<Reason>,
    /// Which ids of the span are as they must be.
    ids: u8,
    /// Time and observed time of the log record.
    times: [u64; 2],
}

impl Inspection {
    /// Values may nest so deep.
    pub fn new(value_depth_max: u32) -> Self {
        Self {
            value_depth_max,
            reason: None,
            ids: 0,
            times: [0; 2],
        }
    }

    /// Walks the whole message: a fault of the framing or of a wire type is an error, the
    /// first thing that cannot be kept is the answer.
    pub fn run(
        &mut self,
        message: &'static Message,
        fields: &Fields<'_>,
    ) -> Result<Option<Reason>, Malformed> {
        let (bytes, base) = fields.whole();
        self.reason = None;
        // The value itself is one level, the arrays and maps in it are the others.
        self.message(message, bytes, base, self.value_depth_max + 1)?;
        Ok(self.reason.take())
    }

    /// The same for a span, whose ids must be sound.
    pub fn span(&mut self, fields: &Fields<'_>) -> Result<Option<Reason>, Malformed> {
        self.ids = PARENT_IS_SOUND;
        match self.run(&SPAN, fields)? {
            None if self.ids != SPAN_IS_SOUND => span_fault(fields.clone()),
            reason => Ok(reason),
        }
    }

    /// The same for a log record, and whether it says when it happened or was observed.
    pub fn log_record(&mut self, fields: &Fields<'_>) -> Result<(Option<Reason>, bool), Malformed> {
        self.times = [0; 2];
        let reason = self.run(&LOG_RECORD, fields)?;
        Ok((reason, self.times != [0; 2]))
    }

    fn message(
        &mut self,
        message: &'static Message,
        whole: &[u8],
        base: usize,
        depth_left: u32,
    ) -> Result<(), Malformed> {
        let mut rest = whole;
        while let Some((&first, after)) = rest.split_first() {
            let at = base + (whole.len() - rest.len());
            let fault = || fault_of(rest, at);
            let (tag, step, after) = if first < 0x80 {
                (u64::from(first), message.step(first), after)
            } else {
                let (tag, after) = varint(rest).ok_or_else(fault)?;
                (tag, message.long_step(tag), after)
            };
            rest = match step {
                Step::Refuse => return Err(fault()),
                Step::Varint => varint(after).ok_or_else(fault)?.1,
                Step::Fixed64 => after.get(8..).ok_or_else(fault)?,
                Step::Fixed32 => after.get(4..).ok_or_else(fault)?,
                Step::Count => {
                    let (bits, after) = after.split_first_chunk().ok_or_else(fault)?;
                    self.count(message, tag, u64::from_le_bytes(*bits));
                    after
                }
                Step::Bytes => delimited(after).ok_or_else(fault)?.1,
                Step::Text => {
                    let (text, after) = delimited(after).ok_or_else(fault)?;
                    if !is_utf8(text) {
                        self.reject(message, tag);
                    }
                    after
                }
                Step::Id => {
                    let (id, after) = delimited(after).ok_or_else(fault)?;
                    self.id(message, tag, id);
                    after
                }
                Step::Message => {
                    let (bytes, after) = delimited(after).ok_or_else(fault)?;
                    let base = at + (rest.len() - after.len() - bytes.len());
                    self.inner(message, tag, bytes, base, depth_left)?;
                    after
                }
                Step::Elements => self.elements(message, tag, rest, at)?,
            };
        }
        Ok(())
    }

    #[inline]
    fn inner(
        &mut self,
        above: &'static Message,
        tag: u64,
        bytes: &[u8],
        base: usize,
        depth_left: u32,
    ) -> Result<(), Malformed> {
        let Some(Kind::Message(message)) = spec_of(above, tag).map(|spec| spec.kind) else {
            return Ok(());
        };
        if std::ptr::eq(message, &raw const KEY_VALUE) && depth_left > 0 && is_plain_attribute(bytes) {
            return Ok(());
        }
        if !std::ptr::eq(message, &raw const ANY_VALUE) {
            return self.message(message, bytes, base, depth_left);
        }
        match depth_left.checked_sub(1) {
            Some(depth_left) => self.message(message, bytes, base, depth_left),
            None => {
                let depth_max = self.value_depth_max;
                self.reason.get_or_insert(Reason::TooDeep { depth_max });
                Ok(())
            }
        }
    }

    #[inline]
    fn count(&mut self, message: &'static Message, tag: u64, value: u64) {
        if value > UNIX_NANOS_MAX {
            self.reject(message, tag);
        }
        if std::ptr::eq(message, &raw const LOG_RECORD) {
            let [time, observed] = &mut self.times;
            *(if tag >> 3 == 1 { time } else { observed }) = value;
        }
    }

    /// Of an id that is there several times the last counts, as everywhere in protobuf.
    #[inline]
    fn id(&mut self, message: &'static Message, tag: u64, id: &[u8]) {
        if !std::ptr::eq(message, &raw const SPAN) {
            return;
        }
        let (bit, sound) = match tag >> 3 {
            1 => (HAS_TRACE_ID, id.len() == TRACE_ID_BYTES && !is_zero(id)),
            2 => (HAS_SPAN_ID, id.len() == SPAN_ID_BYTES && !is_zero(id)),
            _ => (PARENT_IS_SOUND, matches!(id.len(), 0 | SPAN_ID_BYTES)),
        };
        self.ids = if sound { self.ids | bit } else { self.ids & !bit };
    }

    /// Elements of a repeated number; returns what follows them.
    fn elements<'a>(
        &mut self,
        message: &'static Message,
        tag: u64,
        rest: &'a [u8],
        at: usize,
    ) -> Result<&'a [u8], Malformed> {
        let Some(field) = Fields::new(rest, at).next() else {
            return Ok(&[]);
        };
        let field = field?;
        let mut sound = true;
        match spec_of(message, tag).map(|spec| spec.kind) {
            Some(Kind::Uint64) => field.each_varint(|value| sound &= value <= UNIX_NANOS_MAX)?,
            Some(Kind::Fixed64) => field.each_fixed64(|value| sound &= value <= UNIX_NANOS_MAX)?,
            _ => field.each_fixed64(|_| ())?,
        }
        if !sound {
            self.reject(message, tag);
        }
        Ok(rest.get(field.encoded.len()..).unwrap_or_default())
    }

    #[cold]
    fn reject(&mut self, message: &'static Message, tag: u64) {
        let Some(spec) = spec_of(message, tag) else { return };
        let (message, field) = (message.name, spec.name);
        self.reason.get_or_insert(match spec.kind {
            Kind::String => Reason::NotUtf8 { message, field },
            _ => Reason::TooLarge { message, field },
        });
    }
}

/// Whether a `KeyValue` is what nearly all are: a key and then a text or a small number, each
/// encoded in the shortest way, and all of it ASCII. There is nothing wrong with such a one, and
/// to see it takes a few comparisons. Everything else takes the long way, with the same result.
#[inline]
fn is_plain_attribute(entry: &[u8]) -> bool {
    let [0x0a, key_bytes @ 0..0x80, rest @ ..] = entry else {
        return false;
    };
    let Some([0x12, value_bytes @ 0..0x80, value @ ..]) = rest.get(usize::from(*key_bytes)..) else {
        return false;
    };
    let is_whole = match value {
        [0x0a, text_bytes @ 0..0x80, text @ ..] => text.len() == usize::from(*text_bytes),
        [0x18, 0..0x80] => true,
        _ => false,
    };
    is_whole && value.len() == usize::from(*value_bytes) && is_ascii(entry)
}

#[inline]
fn spec_of(message: &'static Message, tag: u64) -> Option<&'static FieldSpec> {
    message.field(u32::try_from(tag >> 3).ok()?)
}

/// What is wrong with the first field of `rest`, which is somewhere wrong: not its framing,
/// then its type.
#[cold]
fn fault_of(rest: &[u8], at: usize) -> Malformed {
    match Fields::new(rest, at).next() {
        Some(Ok(field)) => field.wrong(),
        Some(Err(fault)) => fault,
        None => Malformed {
            offset: at,
            what: "a field that ends beyond its message",
        },
    }
}

/// A varint and what follows it.
#[inline(always)]
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    match bytes.split_first() {
        Some((&first, after)) if first < 0x80 => Some((u64::from(first), after)),
        _ => several_bytes(bytes),
    }
}

#[inline(never)]
fn several_bytes(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (value, length) = long_varint(bytes).ok()?;
    Some((value, bytes.get(length..)?))
}

/// The payload of a length-delimited field, and what follows it.
#[inline(always)]
fn delimited(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, after) = varint(bytes)?;
    after.split_at_checked(usize::try_from(length).ok()?)
}

/// Nearly all text of telemetry is short and ASCII, which takes a few instructions to see.
#[inline]
fn is_utf8(bytes: &[u8]) -> bool {
    is_ascii(bytes) || std::str::from_utf8(bytes).is_ok()
}

#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const NOT_ASCII: u64 = 0x8080_8080_8080_8080;
    match bytes.last_chunk() {
        Some(last) => {
            let words = bytes.chunks_exact(8).filter_map(<[u8]>::first_chunk);
            let bits = words.fold(u64::from_le_bytes(*last), |bits, word| {
                bits | u64::from_le_bytes(*word)
            });
            bits & NOT_ASCII == 0
        }
        None => bytes.iter().fold(0, |bits, byte| bits | byte) < 0x80,
    }
}

fn is_zero(id: &[u8]) -> bool {
    id.iter().all(|byte| *byte == 0)
}

/// A span without sound ids cannot be found again.
fn span_fault(fields: Fields<'_>) -> Result<Option<Reason>, Malformed> {
    let (mut trace_id, mut span_id, mut parent): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    for field in fields {
        let field = field?;
        match field.number {
            1 => trace_id = field.bytes()?,
            2 => span_id = field.bytes()?,
            4 => parent = field.bytes()?,
            _ => {}
        }
    }
    let parent_fault = match parent.len() {
        0 | SPAN_ID_BYTES => None,
        _ => id_fault("parent_span_id", parent, SPAN_ID_BYTES),
    };
    Ok(id_fault("trace_id", trace_id, TRACE_ID_BYTES)
        .or(id_fault("span_id", span_id, SPAN_ID_BYTES))
        .or(parent_fault))
}

fn id_fault(field: &'static str, id: &[u8], want: usize) -> Option<Reason> {
    if id == NOT_HEX {
        Some(Reason::IdNotHex { field })
    } else if id.len() != want {
        Some(Reason::IdLength {
            field,
            found: id.len(),
            want,
        })
    } else if is_zero(id) {
        Some(Reason::IdZero { field })
    } else {
        None
    }
}

/// A classic histogram has one count more than bounds, or neither.
pub fn histogram_fault(fields: Fields<'_>) -> Result<Option<Reason>, Malformed> {
    let (mut counts, mut bounds) = (0_usize, 0_usize);
    let mut last = None;
    let mut increasing = true;
    for field in fields {
        let field = field?;
        match field.number {
            6 => field.each_fixed64(|_| counts += 1)?,
            7 => field.each_fixed64(|bits| {
                let bound = f64::from_bits(bits);
                increasing &= !bound.is_nan() && last.is_none_or(|last| last < bound);
                last = Some(bound);
                bounds += 1;
            })?,
            _ => {}
        }
    }
    Ok(if counts != bounds + 1 && (counts, bounds) != (0, 0) {
        Some(Reason::Buckets { counts, bounds })
    } else if !increasing {
        Some(Reason::Bounds)
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the walk finds when it takes the long way.
    fn is_sound(entry: &[u8]) -> bool {
        let value = |rest: &[u8]| Inspection::new(1).run(&ANY_VALUE, &Fields::new(rest, 0));
        let mut sound = true;
        for field in Fields::new(entry, 0) {
            let Ok(field) = field else { return false };
            sound &= match field.number {
                1 => field.string().is_ok(),
                2 => field.bytes().is_ok_and(|rest| value(rest) == Ok(None)),
                _ => true,
            };
        }
        sound
    }

    fn short(bytes: &[u8]) -> u8 {
        u8::try_from(bytes.len()).expect("short")
    }

    #[test]
    fn the_short_way_takes_no_attribute_that_the_long_way_refuses() {
        let texts: [&[u8]; 5] = [b"", b"k", b"http.request.method", b"\xc3\xa9", b"\xff23456789"];
        let mut taken = 0;
        for key in texts {
            for text in texts {
                let mut value = vec![0x0a, short(text)];
                value.extend_from_slice(text);
                for value in [value, vec![0x18, 7], vec![0x18, 0x80], vec![0x10, 1], vec![]] {
                    let mut entry = vec![0x0a, short(key)];
                    entry.extend_from_slice(key);
                    entry.extend([0x12, short(&value)]);
                    entry.extend_from_slice(&value);
                    // Every byte changed in a few ways, and every length.
                    for at in 0..entry.len() {
                        assert!(is_sound(&entry[..at]) || !is_plain_attribute(&entry[..at]));
                        for change in [0, 1, 2, 0x08, 0x80, 0xff] {
                            let mut other = entry.clone();
                            other[at] ^= change;
                            taken += usize::from(is_plain_attribute(&other));
                            assert!(is_sound(&other) || !is_plain_attribute(&other), "{other:?}");
                        }
                    }
                }
            }
        }
        assert!(taken > 0);
    }
}
