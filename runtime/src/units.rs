//! Sizes and durations as people write them: `256MiB`, `5s`, `30d`.
//!
//! Numbers without a unit are refused on purpose, and so are decimal sizes (`4GB`): a limit
//! that is misread is a limit that does not hold.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, written with a binary unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Largest first, so that formatting finds the largest unit that divides.
const DURATIONS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Why a text is not a size or a duration. The text itself is added by who reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("is not a size; write it like 64KiB, 256MiB or 4GiB")]
    NotASize,
    #[error("is a size without a unit; write it like 64KiB, 256MiB or 4GiB")]
    SizeWithoutUnit,
    #[error("is a size in decimal units; write it in binary ones, like 256MiB or 4GiB")]
    DecimalSize,
    #[error("is not a duration; write it like 500ms, 5s, 10m, 6h or 30d")]
    NotADuration,
    #[error("is a duration without a unit; write it like 500ms, 5s, 10m, 6h or 30d")]
    DurationWithoutUnit,
    #[error("is too large")]
    TooLarge,
}

impl ByteSize {
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size as a length in memory; saturates where addresses are shorter than 64 bits.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text).ok_or(UnitError::NotASize)?;
        match unit {
            "" => return Err(UnitError::SizeWithoutUnit),
            "kB" | "KB" | "MB" | "GB" | "TB" => return Err(UnitError::DecimalSize),
            _ => {}
        }
        let factor = factor_of(&SIZES, unit).ok_or(UnitError::NotASize)?;
        number.checked_mul(factor).map(Self).ok_or(UnitError::TooLarge)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_largest(f, self.0, &SIZES, "B")
    }
}

/// Reads `500ms`, `5s`, `10m`, `6h`, `30d`, also `us` and `ns`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text).ok_or(UnitError::NotADuration)?;
    if unit.is_empty() {
        return Err(UnitError::DurationWithoutUnit);
    }
    let factor = factor_of(&DURATIONS, unit).ok_or(UnitError::NotADuration)?;
    number
        .checked_mul(factor)
        .map(Duration::from_nanos)
        .ok_or(UnitError::TooLarge)
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that divides it.
pub fn format_duration(duration: Duration) -> String {
    struct Text(u64);
    impl fmt::Display for Text {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_largest(f, self.0, &DURATIONS, "s")
        }
    }
    Text(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)).to_string()
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

fn factor_of(units: &[(&str, u64)], wanted: &str) -> Option<u64> {
    units
        .iter()
        .find(|(unit, _)| *unit == wanted)
        .map(|(_, factor)| *factor)
}

fn write_largest(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)], zero: &str) -> fmt::Result {
    match units
        .iter()
        .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
    {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "0{zero}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_in_binary_units_only() {
        assert_eq!("256MiB".parse(), Ok(ByteSize::mib(256)));
        assert_eq!("1 GiB".parse(), Ok(ByteSize::gib(1)));
        assert_eq!("17B".parse(), Ok(ByteSize(17)));
        assert_eq!("4GB".parse::<ByteSize>(), Err(UnitError::DecimalSize));
        assert_eq!("4096".parse::<ByteSize>(), Err(UnitError::SizeWithoutUnit));
        assert_eq!("-1GiB".parse::<ByteSize>(), Err(UnitError::NotASize));
        assert_eq!("many".parse::<ByteSize>(), Err(UnitError::NotASize));
        assert_eq!("99999999999TiB".parse::<ByteSize>(), Err(UnitError::TooLarge));
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_duration("5"), Err(UnitError::DurationWithoutUnit));
        assert_eq!(parse_duration("5 parsecs"), Err(UnitError::NotADuration));
        assert_eq!(parse_duration("1000000d"), Err(UnitError::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos: u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(ByteSize(nanos).to_string().parse(), Ok(ByteSize(nanos)));
        }
    }
}
