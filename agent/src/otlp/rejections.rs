//! Why items of a request were rejected: counted by reason, bounded in number and length,
//! and worded for the person who reads a partial success. It decides nothing.

use std::fmt;

use meridian_proto::signal::Signal;

/// How many different reasons are told; further ones are only counted.
const REASONS_MAX: usize = 8;

/// Why an item cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An id of another length than OTLP gives it.
    IdLength {
        /// The field.
        field: &'static str,
        /// How many bytes it has.
        found: usize,
        /// How many it must have.
        want: usize,
    },
    /// An id of zeros only.
    IdZero {
        /// The field.
        field: &'static str,
    },
    /// An id of a JSON request that is not hex.
    IdNotHex {
        /// The field.
        field: &'static str,
    },
    /// A string that is not UTF-8.
    NotUtf8 {
        /// The message that it is in.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A time or count that a signed 64-bit integer cannot hold.
    TooLarge {
        /// The message that it is in.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A value that nests too deep.
    TooDeep {
        /// How deep it may.
        depth_max: u32,
    },
    /// A histogram whose counts do not fit its bounds.
    Buckets {
        /// How many counts it has.
        counts: usize,
        /// How many bounds.
        bounds: usize,
    },
    /// A histogram whose bounds do not increase.
    Bounds,
}

/// The values of the label `reason`, in the order of [`Reason::class_index`].
const CLASSES: [&str; 5] = [
    "invalid_id",
    "invalid_utf8",
    "out_of_range",
    "too_deep",
    "invalid_histogram",
];

impl Reason {
    fn class_index(self) -> usize {
        match self {
            Reason::IdLength { .. } | Reason::IdZero { .. } | Reason::IdNotHex { .. } => 0,
            Reason::NotUtf8 { .. } => 1,
            Reason::TooLarge { .. } => 2,
            Reason::TooDeep { .. } => 3,
            Reason::Buckets { .. } | Reason::Bounds => 4,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::IdLength { field, found, want } => {
                let plural = if *found == 1 { "" } else { "s" };
                write!(f, "{field} has {found} byte{plural}, want {want}")
            }
            Reason::IdZero { field } => write!(f, "{field} is all zeros"),
            Reason::IdNotHex { field } => write!(f, "{field} is not hex"),
            Reason::NotUtf8 { message, field } => write!(f, "{message}.{field} is not UTF-8"),
            Reason::TooLarge { message, field } => write!(f, "{message}.{field} is 2^63 or more"),
            Reason::TooDeep { depth_max } => {
                write!(f, "a value nests deeper than {depth_max} levels")
            }
            Reason::Buckets { counts, bounds } => {
                let want = bounds + 1;
                write!(
                    f,
                    "{counts} bucket_counts for {bounds} explicit_bounds, want {want}"
                )
            }
            Reason::Bounds => f.write_str("explicit_bounds do not increase"),
        }
    }
}

/// Reasons with their counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejections {
    signal: Signal,
    reasons: Vec<(Reason, u32)>,
    others: u32,
    classes: [u32; CLASSES.len()],
}

impl Rejections {
    /// No rejection yet.
    pub fn new(signal: Signal) -> Self {
        Self {
            signal,
            reasons: Vec::new(),
            others: 0,
            classes: [0; CLASSES.len()],
        }
    }

    /// Counts one item rejected for `reason`.
    pub fn add(&mut self, reason: Reason) {
        if let Some(count) = self.classes.get_mut(reason.class_index()) {
            *count = count.saturating_add(1);
        }
        if let Some((_, count)) = self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            *count = count.saturating_add(1);
        } else if self.reasons.len() < REASONS_MAX {
            self.reasons.push((reason, 1));
        } else {
            self.others = self.others.saturating_add(1);
        }
    }

    /// Whether nothing was rejected.
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    /// How many items each class of reasons cost: a few fixed words, for a metric's label.
    pub fn classes(&self) -> impl Iterator<Item = (&'static str, u32)> {
        CLASSES
            .into_iter()
            .zip(self.classes)
            .filter(|(_, count)| *count > 0)
    }

    fn noun(&self, count: u32) -> &'static str {
        match (self.signal, count) {
            (Signal::Spans, 1) => "span",
            (Signal::Spans, _) => "spans",
            (Signal::Logs, 1) => "log record",
            (Signal::Logs, _) => "log records",
            (Signal::Metrics, 1) => "data point",
            (Signal::Metrics, _) => "data points",
        }
    }
}

impl fmt::Display for Rejections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (reason, count)) in self.reasons.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{count} {}: {reason}", self.noun(*count))?;
        }
        if self.others > 0 {
            write!(f, "; {} {}: other reasons", self.others, self.noun(self.others))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_bounded() {
        let short = |found| Reason::IdLength {
            field: "span_id",
            found,
            want: 8,
        };
        let mut rejections = Rejections::new(Signal::Spans);
        rejections.add(short(7));
        rejections.add(short(7));
        for found in 100..120 {
            rejections.add(short(found));
        }
        let text = rejections.to_string();
        assert!(
            text.starts_with("2 spans: span_id has 7 bytes, want 8; 1 span: span_id has 100 bytes, "),
            "{text}"
        );
        assert!(text.ends_with("; 13 spans: other reasons"), "{text}");
        assert_eq!(rejections.classes().collect::<Vec<_>>(), [("invalid_id", 22)]);
    }
}
