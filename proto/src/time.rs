//! Nanoseconds of OTLP as microseconds and a remainder, because Delta tables have no
//! nanosecond timestamp that every engine reads. No clock is read here.

/// A time as the tables hold it: microseconds since the epoch, and the 0–999 ns beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SplitTime {
    /// Microseconds since the Unix epoch, UTC.
    pub micros: i64,
    /// The nanoseconds that the microseconds leave out, 0 to 999.
    pub nanos: i16,
}

/// The last time that can be held: OTLP allows more (until the year 2554), but durations
/// and DataFusion's arithmetic need the sign bit. Later items are rejected with a reason.
pub const UNIX_NANOS_MAX: u64 = i64::MAX as u64;

impl SplitTime {
    /// Splits `unix_nanos`; `None` beyond [`UNIX_NANOS_MAX`] (the year 2262).
    pub fn from_unix_nanos(unix_nanos: u64) -> Option<Self> {
        let nanos = i64::try_from(unix_nanos).ok()?;
        Some(Self {
            micros: nanos / 1_000,
            nanos: i16::try_from(nanos % 1_000).ok()?,
        })
    }

    /// The nanoseconds since the epoch; a time before it (no OTLP time is) becomes 0.
    pub fn to_unix_nanos(self) -> u64 {
        let micros = u64::try_from(self.micros).unwrap_or(0);
        let nanos = u64::try_from(self.nanos).unwrap_or(0);
        micros.saturating_mul(1_000).saturating_add(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_nanoseconds_is_lost() {
        for nanos in [0, 1, 999, 1_000, 1_544_712_660_300_000_123, UNIX_NANOS_MAX] {
            let split = SplitTime::from_unix_nanos(nanos).expect("in range");
            assert_eq!(split.to_unix_nanos(), nanos);
        }
        assert_eq!(SplitTime::from_unix_nanos(UNIX_NANOS_MAX + 1), None);
    }
}
