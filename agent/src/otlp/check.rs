//! Says whether a request is OTLP, and leaves out the items that cannot be kept.
//!
//! One walk over the bytes decides; only if something must be left out, a second one copies
//! the rest into messages with new lengths. What the resource, the scope or the metric says
//! is shared by many items: if it cannot be kept, neither can they.
//! Nothing is corrected here: an item is kept as it came or not at all.

mod inspect;

use bytes::Bytes;
use meridian_proto::signal::Signal;

use super::descriptors::Kind;
use super::descriptors::{DATA_HEAD, METRIC, METRIC_HEAD, Message, RESOURCE_HEAD, SCOPE_HEAD};
use super::rejections::{Reason, Rejections};
use super::values::metric_data;
use super::wire::{Field, Fields, Malformed, put_bytes};
use inspect::{Inspection, histogram_fault};

/// Values that nest deeper are not passed on: most decoders refuse a whole request with more than
/// 100 messages in each other, and a map in an exemplar's attribute makes three of each level, in
/// nine.
const VALUE_DEPTH: u32 = 30;

/// What a request may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckLimits {
    /// How deep arrays and maps may nest in a value; at most
    /// [`meridian_proto::attributes::VALUE_DEPTH_MAX`].
    pub value_depth_max: u32,
    /// How many bytes of protobuf a JSON body may become.
    pub transcoded_bytes_max: usize,
}

impl Default for CheckLimits {
    fn default() -> Self {
        Self {
            value_depth_max: VALUE_DEPTH,
            transcoded_bytes_max: 64 << 20,
        }
    }
}

/// A request of which at least the framing is sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The body as received, or rewritten without what was rejected.
    pub body: Bytes,
    /// How many items are kept.
    pub items: u32,
    /// How many are not.
    pub rejected: u32,
    /// Why.
    pub reasons: Rejections,
    /// Whether every record kept has a time or an observed time; true for other signals.
    pub every_log_has_time: bool,
}

/// Checks a request of `signal`.
pub fn check(signal: Signal, body: Bytes, limits: &CheckLimits) -> Result<Checked, Malformed> {
    let mut walk = Walk::new(signal, limits);
    walk.request(&body, &mut None)?;
    let body = if walk.left_out {
        let mut kept = Some(Vec::with_capacity(body.len()));
        Walk::new(signal, limits).request(&body, &mut kept)?;
        Bytes::from(kept.unwrap_or_default())
    } else {
        body
    };
    Ok(Checked {
        body,
        items: walk.items,
        rejected: walk.rejected,
        reasons: walk.reasons,
        every_log_has_time: walk.every_log_has_time,
    })
}

/// Refuses a body that [`check`] would not have passed on as it is.
pub(super) fn verify(signal: Signal, body: &[u8]) -> Result<(), Malformed> {
    let mut walk = Walk::new(signal, &CheckLimits::default());
    walk.request(body, &mut None)?;
    if walk.left_out {
        return Err(Malformed {
            offset: 0,
            what: "an item that is never accepted",
        });
    }
    Ok(())
}

/// Where the second walk copies to; `None` in the first.
type Output = Option<Vec<u8>>;

struct Walk {
    signal: Signal,
    inspection: Inspection,
    items: u32,
    rejected: u32,
    reasons: Rejections,
    left_out: bool,
    every_log_has_time: bool,
}

impl Walk {
    fn new(signal: Signal, limits: &CheckLimits) -> Self {
        let value_depth_max = limits
            .value_depth_max
            .min(meridian_proto::attributes::VALUE_DEPTH_MAX);
        Self {
            signal,
            inspection: Inspection::new(value_depth_max),
            items: 0,
            rejected: 0,
            reasons: Rejections::new(signal),
            left_out: false,
            every_log_has_time: true,
        }
    }

    fn request(&mut self, body: &[u8], out: &mut Output) -> Result<(), Malformed> {
        for field in Fields::new(body, 0) {
            let field = field?;
            if field.number == 1 {
                let start = begin(out);
                let kept = self.resource_group(field.message()?, out)?;
                end(out, start, field.number, kept);
            } else {
                keep(out, &field);
            }
        }
        Ok(())
    }

    /// What items share: a fault in it is a fault of each of them.
    fn head(
        &mut self,
        message: &'static Message,
        fields: &Fields<'_>,
        above: Option<Reason>,
    ) -> Result<Option<Reason>, Malformed> {
        let reason = match above {
            Some(reason) => Some(reason),
            None => self.inspection.run(message, fields)?,
        };
        self.left_out |= reason.is_some();
        Ok(reason)
    }

    fn resource_group(&mut self, fields: Fields<'_>, out: &mut Output) -> Result<bool, Malformed> {
        let reason = self.head(&RESOURCE_HEAD, &fields, None)?;
        for field in fields {
            let field = field?;
            if field.number == 2 {
                let start = begin(out);
                let kept = self.scope_group(field.message()?, reason, out)?;
                end(out, start, field.number, kept);
            } else {
                keep(out, &field);
            }
        }
        Ok(reason.is_none())
    }

    fn scope_group(
        &mut self,
        fields: Fields<'_>,
        above: Option<Reason>,
        out: &mut Output,
    ) -> Result<bool, Malformed> {
        let reason = self.head(&SCOPE_HEAD, &fields, above)?;
        for field in fields {
            let field = field?;
            match (field.number, self.signal) {
                (2, Signal::Metrics) => {
                    let start = begin(out);
                    let kept = self.metric(field.message()?, reason, out)?;
                    end(out, start, field.number, kept);
                }
                (2, _) => self.item(&field, reason, out)?,
                _ => keep(out, &field),
            }
        }
        Ok(reason.is_none())
    }

    /// A span or a log record.
    fn item(&mut self, field: &Field<'_>, above: Option<Reason>, out: &mut Output) -> Result<(), Malformed> {
        let fields = field.message()?;
        let reason = match (above, self.signal) {
            (Some(reason), _) => Some(reason),
            (None, Signal::Logs) => {
                let (reason, has_time) = self.inspection.log_record(&fields)?;
                self.every_log_has_time &= has_time || reason.is_some();
                reason
            }
            (None, _) => self.inspection.span(&fields)?,
        };
        self.count(field, reason, out);
        Ok(())
    }

    fn count(&mut self, field: &Field<'_>, reason: Option<Reason>, out: &mut Output) {
        match reason {
            None => {
                self.items = self.items.saturating_add(1);
                keep(out, field);
            }
            Some(reason) => {
                self.rejected = self.rejected.saturating_add(1);
                self.reasons.add(reason);
                self.left_out = true;
            }
        }
    }

    fn metric(
        &mut self,
        fields: Fields<'_>,
        above: Option<Reason>,
        out: &mut Output,
    ) -> Result<bool, Malformed> {
        let mut reason = self.head(&METRIC_HEAD, &fields, above)?;
        for field in fields.clone() {
            let field = field?;
            if METRIC_HEAD.field(field.number).is_some() {
                keep(out, &field);
            }
        }
        if let Some(data) = metric_data(fields)? {
            // What was replaced is no data, but others would decode it, and refuse all for it.
            self.left_out |= data.replaces;
            let fields = data.message.fields();
            reason = self.head(&DATA_HEAD, &fields, reason)?;
            let start = begin(out);
            for field in fields {
                let field = field?;
                if field.number == 1 {
                    self.data_point(data.number, &field, reason, out)?;
                } else {
                    keep(out, &field);
                }
            }
            end(out, start, data.number, true);
        }
        Ok(reason.is_none())
    }

    fn data_point(
        &mut self,
        data: u32,
        field: &Field<'_>,
        above: Option<Reason>,
        out: &mut Output,
    ) -> Result<(), Malformed> {
        let fields = field.message()?;
        let mut reason = above;
        if let (None, Some(message)) = (reason, point_message(data)) {
            reason = self.inspection.run(message, &fields)?;
            if reason.is_none() && data == HISTOGRAM {
                reason = histogram_fault(fields)?;
            }
        }
        self.count(field, reason, out);
        Ok(())
    }
}

/// The number of `Metric.histogram`.
const HISTOGRAM: u32 = 9;

/// The message of the points of this kind of data.
fn point_message(data: u32) -> Option<&'static Message> {
    let Kind::Message(data) = METRIC.field(data)?.kind else {
        return None;
    };
    match data.field(1)?.kind {
        Kind::Message(point) => Some(point),
        _ => None,
    }
}

fn keep(out: &mut Output, field: &Field<'_>) {
    if let Some(out) = out {
        out.extend_from_slice(field.encoded);
    }
}

fn begin(out: &Output) -> usize {
    out.as_ref().map_or(0, Vec::len)
}

/// Makes what was written since `start` a message of its own, or takes it back.
fn end(out: &mut Output, start: usize, number: u32, kept: bool) {
    if let Some(out) = out {
        let message = out.split_off(start);
        if kept {
            put_bytes(out, number, &message);
        }
    }
}

#[cfg(test)]
mod tests;
