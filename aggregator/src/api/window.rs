//! The parameters `from` and `to` that several paths take. What they default to is each
//! path's own decision.

use std::collections::BTreeMap;

use super::error::ApiError;
use crate::coverage::Window;
use crate::query::times;

/// Takes `from` and `to` out of the parameters of a path that knows no others.
pub(super) fn only(mut given: BTreeMap<String, String>, now_unix_nanos: u64) -> Result<Window, ApiError> {
    let mut take = |name: &str| {
        let Some(text) = given.remove(name) else {
            return Ok(None);
        };
        let time = times::parse(&text, now_unix_nanos)
            .and_then(|time| time.timestamp_nanos_opt())
            .and_then(|nanos| u64::try_from(nanos).ok());
        match time {
            Some(nanos) => Ok(Some(nanos)),
            None => Err(bad(name, &format!("'{text}' is not a time")).hint(times::FORMS)),
        }
    };
    let window = Window {
        from: take("from")?,
        to: take("to")?,
    };
    if let Some(name) = given.keys().next() {
        return Err(bad(name, "unknown").hint("the parameters are from and to"));
    }
    if window.from.zip(window.to).is_some_and(|(from, to)| from > to) {
        return Err(bad("from", "it is after to"));
    }
    Ok(window)
}

fn bad(name: &str, what: &str) -> ApiError {
    ApiError::bad_request("bad_parameter", format!("parameter {name}: {what}"))
}
