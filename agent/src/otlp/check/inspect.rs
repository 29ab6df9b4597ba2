//! What can be wrong inside one item: generic rules from the tables of messages, and the
//! few that concern ids and histograms. It counts and copies nothing.

use meridian_proto::ids::{SPAN_ID_BYTES, TRACE_ID_BYTES};
use meridian_proto::time::UNIX_NANOS_MAX;

use crate::otlp::descriptors::{ANY_VALUE, FieldSpec, Kind, Message, Presence};
use crate::otlp::rejections::Reason;
use crate::otlp::values::NOT_HEX;
use crate::otlp::wire::{Field, Fields, Malformed};

/// The generic walk.
pub struct Inspection {
    /// How deep arrays and maps may nest.
    pub value_depth_max: u32,
}

impl Inspection {
    /// Walks the whole message: a fault of the framing or of a wire type is an error, the
    /// first thing that cannot be kept is the answer.
    pub fn run(&self, message: &'static Message, fields: Fields<'_>) -> Result<Option<Reason>, Malformed> {
        // The value itself is one level, the arrays and maps in it are the others.
        self.message(message, fields, self.value_depth_max + 1)
    }

    fn message(
        &self,
        message: &'static Message,
        fields: Fields<'_>,
        depth_left: u32,
    ) -> Result<Option<Reason>, Malformed> {
        let mut first = None;
        for field in fields {
            let field = field?;
            if let Some(spec) = message.field(field.number) {
                let reason = self.field(message, spec, &field, depth_left)?;
                first = first.or(reason);
            }
        }
        Ok(first)
    }

    fn field(
        &self,
        message: &'static Message,
        spec: &'static FieldSpec,
        field: &Field<'_>,
        depth_left: u32,
    ) -> Result<Option<Reason>, Malformed> {
        let repeated = spec.presence == Presence::Repeated;
        let mut sound = true;
        match spec.kind {
            Kind::String => sound = std::str::from_utf8(field.bytes()?).is_ok(),
            Kind::Bytes | Kind::Id => drop(field.bytes()?),
            Kind::Bool | Kind::Uint32 | Kind::Sint32 | Kind::Int64 | Kind::Enum(_) => drop(field.varint()?),
            Kind::Uint64 => field.each_varint(|value| sound &= value <= UNIX_NANOS_MAX)?,
            Kind::Fixed32 => drop(field.fixed32()?),
            // Every unsigned 64-bit field of OTLP is a time or a count.
            Kind::Fixed64 if repeated => field.each_fixed64(|value| sound &= value <= UNIX_NANOS_MAX)?,
            Kind::Fixed64 => sound = field.fixed64()? <= UNIX_NANOS_MAX,
            Kind::Double if repeated => field.each_fixed64(|_| ())?,
            Kind::Double | Kind::Sfixed64 => drop(field.fixed64()?),
            Kind::Message(inner) => return self.inner(inner, field, depth_left),
        }
        let (message, name) = (message.name, spec.name);
        Ok(match (sound, spec.kind) {
            (true, _) => None,
            (false, Kind::String) => Some(Reason::NotUtf8 { message, field: name }),
            (false, _) => Some(Reason::TooLarge { message, field: name }),
        })
    }

    fn inner(
        &self,
        message: &'static Message,
        field: &Field<'_>,
        depth_left: u32,
    ) -> Result<Option<Reason>, Malformed> {
        let fields = field.message()?;
        if !std::ptr::eq(message, &raw const ANY_VALUE) {
            return self.message(message, fields, depth_left);
        }
        match depth_left.checked_sub(1) {
            Some(depth_left) => self.message(message, fields, depth_left),
            None => Ok(Some(Reason::TooDeep {
                depth_max: self.value_depth_max,
            })),
        }
    }
}

/// A span without sound ids cannot be found again.
pub fn span_fault(fields: Fields<'_>) -> Result<Option<Reason>, Malformed> {
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
    } else if id.iter().all(|byte| *byte == 0) {
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

/// Whether a log record says when it happened or was observed.
pub fn has_time(fields: Fields<'_>) -> Result<bool, Malformed> {
    let (mut time, mut observed) = (0, 0);
    for field in fields {
        let field = field?;
        match field.number {
            1 => time = field.fixed64()?,
            11 => observed = field.fixed64()?,
            _ => {}
        }
    }
    Ok(time != 0 || observed != 0)
}
