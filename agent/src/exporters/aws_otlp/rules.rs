//! What AWS's OTLP endpoints take: a request, and in it an item with what it shares. What breaks a
//! rule would cost its whole request. It decides nothing about what is within them.

use meridian_proto::signal::Signal;

use crate::otlp::Malformed;
use crate::otlp::divide::{DivideLimits, Item};

/// Bytes of a resource, and of a scope.
const HEAD_BYTES_MAX: usize = 16 << 10;
const SPAN_BYTES_MAX: usize = 200 << 10;
/// With its resource and scope.
const LOG_BYTES_MAX: usize = 1 << 20;
/// Labels of a data point, and their bytes.
const LABELS_MAX: usize = 150;
const LABEL_BYTES_MAX: usize = 40 << 10;

/// The rules of one endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    signal: Signal,
    /// What a request may be, not compressed.
    pub request: DivideLimits,
}

impl Rules {
    /// Those of a signal's endpoint. Where AWS says megabytes, the smaller ones are taken.
    pub fn of(signal: Signal) -> Self {
        let (items, bytes, item_overhead) = match signal {
            Signal::Spans => (10_000, 5_000_000, 0),
            Signal::Logs => (10_000, 1_048_576, 26),
            Signal::Metrics => (1_000, 1_000_000, 0),
        };
        Self {
            signal,
            request: DivideLimits {
                items,
                bytes,
                item_overhead,
            },
        }
    }

    /// What of an item AWS does not take.
    pub fn broken_by(&self, item: &Item<'_>) -> Result<Option<&'static str>, Malformed> {
        if item.resource.bytes > HEAD_BYTES_MAX {
            return Ok(Some("resource of more than 16 KB"));
        }
        if item.scope.bytes > HEAD_BYTES_MAX {
            return Ok(Some("scope of more than 16 KB"));
        }
        let whole = item.bytes() + item.resource.bytes + item.scope.bytes;
        Ok(match self.signal {
            Signal::Spans if item.bytes() > SPAN_BYTES_MAX => Some("span of more than 200 KB"),
            // Its request has it once more: tags, lengths, and what a record counts for.
            Signal::Logs if whole + 64 > LOG_BYTES_MAX => Some("log record of more than 1 MB"),
            Signal::Metrics => labels_broken_by(item)?,
            Signal::Spans | Signal::Logs => None,
        })
    }
}

fn labels_broken_by(item: &Item<'_>) -> Result<Option<&'static str>, Malformed> {
    let attributes = match item.data {
        10 => 1,
        9 => 9,
        _ => 7,
    };
    let shared = [item.resource, item.scope];
    let mut labels: usize = shared.iter().map(|head| head.attributes).sum();
    let mut bytes: usize = shared.iter().map(|head| head.bytes).sum();
    for field in item.fields.clone() {
        let field = field?;
        if field.number == attributes {
            labels += 1;
            bytes += field.bytes()?.len();
        }
    }
    Ok(if labels > LABELS_MAX {
        Some("data point of more than 150 labels")
    } else if bytes > LABEL_BYTES_MAX {
        Some("data point of more than 40 KB of labels")
    } else {
        None
    })
}
