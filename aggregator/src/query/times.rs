//! Times as people write them in a URL: `now`, `-1h`, or RFC 3339. No clock is read here.

use chrono::{DateTime, TimeDelta, Utc};
use meridian_runtime::units;

/// What a time may look like, for messages.
pub const FORMS: &str = "write now, a distance like -15m or -30d, or RFC 3339 like 2026-01-31T08:00:00Z";

/// Reads a time, relative to `now_unix_nanos`; `None` if it is none.
pub fn parse(text: &str, now_unix_nanos: u64) -> Option<DateTime<Utc>> {
    let now = DateTime::from_timestamp_nanos(i64::try_from(now_unix_nanos).ok()?);
    if text == "now" {
        return Some(now);
    }
    if let Some(distance) = text.strip_prefix('-') {
        let distance = TimeDelta::from_std(units::parse_duration(distance).ok()?).ok()?;
        return now.checked_sub_signed(distance);
    }
    // A plus in a query string that was not encoded arrives as a blank.
    let text = text.replace(' ', "+");
    let time = DateTime::parse_from_rfc3339(&text).ok()?;
    // Times outside of what the tables can hold are not times of anything.
    time.timestamp_nanos_opt()?;
    Some(time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read_and_nothing_else() {
        let now = 1_000_000_000_000_000_000;
        let nanos = |text: &str| parse(text, now).and_then(|time| time.timestamp_nanos_opt());
        assert_eq!(nanos("now"), Some(1_000_000_000_000_000_000));
        assert_eq!(nanos("-1h"), Some(999_996_400_000_000_000));
        assert_eq!(nanos("1970-01-01T01:00:00 01:00"), Some(0));
        for text in [
            "",
            "yesterday",
            "-1",
            "1h",
            "-99999999999999d",
            "9999-01-01T00:00:00Z",
            "2026-01-31",
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}
