//! The three signals of OTLP that Meridian carries. Profiles are deliberately absent.

use crate::stream;

/// One of OTLP's signals; the discriminant is the one of the stream and of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Signal {
    /// Traces: an item is a span.
    Spans = 1,
    /// Logs: an item is a log record.
    Logs = 2,
    /// Metrics: an item is a data point.
    Metrics = 3,
}

impl Signal {
    /// Every signal, in the order of their discriminants.
    pub const ALL: [Signal; 3] = [Signal::Spans, Signal::Logs, Signal::Metrics];

    /// The name of the signal's table and the value of the label `signal`.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::Spans => "spans",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
        }
    }

    /// The signal's place in an array with one entry per signal.
    pub fn index(self) -> usize {
        match self {
            Signal::Spans => 0,
            Signal::Logs => 1,
            Signal::Metrics => 2,
        }
    }

    /// The signal with this discriminant, if there is one.
    pub fn from_u8(value: u8) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| *signal as u8 == value)
    }
}

impl From<Signal> for stream::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Spans => stream::Signal::Spans,
            Signal::Logs => stream::Signal::Logs,
            Signal::Metrics => stream::Signal::Metrics,
        }
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_and_the_spool_use_the_same_numbers() {
        for signal in Signal::ALL {
            assert_eq!(stream::Signal::from(signal) as i32, i32::from(signal as u8));
            assert_eq!(Signal::from_u8(signal as u8), Some(signal));
        }
        assert_eq!(Signal::from_u8(0), None);
    }
}
