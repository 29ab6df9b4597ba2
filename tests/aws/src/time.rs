//! Moments as text, in the two forms of ISO 8601 that the services read. No clock is asked.

/// Seconds since the epoch of `20150830T123600Z`.
pub fn of_basic(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    seconds(
        [date.get(..4)?, date.get(4..6)?, date.get(6..)?],
        [time.get(..2)?, time.get(2..4)?, time.get(4..)?],
    )
}

/// Milliseconds since the epoch of `2015-08-30T12:36:00.123Z`; a fraction may be there.
pub fn of_extended(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let date: Vec<&str> = date.split('-').collect();
    let time: Vec<&str> = time.split(':').collect();
    let seconds = seconds(date.try_into().ok()?, time.try_into().ok()?)?;
    let is_fraction = fraction.bytes().all(|byte| byte.is_ascii_digit());
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    is_fraction.then_some(seconds * 1000 + millis)
}

fn seconds(date: [&str; 3], time: [&str; 3]) -> Option<i64> {
    let number = |text: &str| text.parse::<u16>().ok().map(i64::from);
    let [year, month, day] = [number(date[0])?, number(date[1])?, number(date[2])?];
    let [hour, minute, second] = [number(time[0])?, number(time[1])?, number(time[2])?];
    let is_sane =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    is_sane.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since the epoch: years begin in March, so that the leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_tell_the_same_moment() {
        assert_eq!(of_basic("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(of_extended("2015-08-30T12:36:00Z"), Some(1_440_938_160_000));
        assert_eq!(of_extended("2015-08-30T12:36:00.05Z"), Some(1_440_938_160_050));
        assert_eq!(of_basic("20240229T000000Z"), Some(1_709_164_800));
        assert_eq!(of_basic("19700101T000000Z"), Some(0));
        for text in ["20150830T123600", "2015083T123600Z", "20151330T123600Z", ""] {
            assert_eq!(of_basic(text), None, "{text}");
        }
        for text in [
            "2015-08-30 12:36:00Z",
            "2015-08-30T12:36Z",
            "2015-08-30T12:36:00.xZ",
        ] {
            assert_eq!(of_extended(text), None, "{text}");
        }
    }
}
