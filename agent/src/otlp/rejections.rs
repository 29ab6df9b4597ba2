//! Why items of a request were rejected: counted by reason, bounded in number and length,
//! and worded for the person who reads a partial success.

use std::fmt;

use meridian_proto::signal::Signal;

/// How many different reasons are kept; further ones are only counted.
const REASONS_MAX: usize = 8;

/// Reasons with their counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejections {
    signal: Signal,
    reasons: Vec<(String, u32)>,
    others: u32,
}

impl Rejections {
    /// No rejection yet.
    pub fn new(signal: Signal) -> Self {
        Self {
            signal,
            reasons: Vec::new(),
            others: 0,
        }
    }

    /// Counts `items` rejected for `reason`.
    pub fn add(&mut self, reason: &str, items: u32) {
        if items == 0 {
            return;
        }
        if let Some((_, count)) = self.reasons.iter_mut().find(|(known, _)| known == reason) {
            *count = count.saturating_add(items);
        } else if self.reasons.len() < REASONS_MAX {
            self.reasons.push((reason.to_owned(), items));
        } else {
            self.others = self.others.saturating_add(items);
        }
    }

    /// Whether nothing was rejected.
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Each reason and how many items it cost.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.reasons.iter().map(|(reason, count)| (reason.as_str(), *count))
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
        for (index, (reason, count)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{count} {}: {reason}", self.noun(count))?;
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
        let mut rejections = Rejections::new(Signal::Spans);
        rejections.add("span_id has 7 bytes, want 8", 1);
        rejections.add("span_id has 7 bytes, want 8", 1);
        for number in 0..20 {
            rejections.add(&format!("reason {number}"), 1);
        }
        let text = rejections.to_string();
        assert!(text.starts_with("2 spans: span_id has 7 bytes, want 8; 1 span: reason 0; "), "{text}");
        assert!(text.ends_with("; 13 spans: other reasons"), "{text}");
    }
}
