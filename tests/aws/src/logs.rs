//! CloudWatch Logs: PutLogEvents with its limits, and the creation of groups and streams. Nothing
//! can be read back here.
//!
//! Source: CloudWatch Logs API reference and quotas.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::account::{Account, Answer, State};
use crate::action::{Action, Dialect};
use crate::call::Call;
use crate::problem::{Problem, taken};

const EVENTS_MAX: usize = 10_000;
const BATCH_BYTES_MAX: usize = 1_048_576;
/// Counted for each event beside its text.
const EVENT_OVERHEAD: usize = 26;
const EVENT_BYTES_MAX: usize = 1_048_576;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const FUTURE_MAX: i64 = 2 * HOUR;
const PAST_MAX: i64 = 14 * DAY;
const NAME_CHARS_MAX: usize = 512;
const RETENTIONS: [i64; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];
const INVALID: &str = "InvalidParameterException";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Put {
    log_group_name: String,
    log_stream_name: String,
    log_events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    timestamp: i64,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateGroup {
    log_group_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateStream {
    log_group_name: String,
    log_stream_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutRetention {
    log_group_name: String,
    retention_in_days: i64,
}

/// Which events of a batch are not stored: those before the ends, and those from the start on.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    too_old_end: usize,
    expired_end: usize,
    too_new_start: usize,
}

/// PutLogEvents.
pub fn put(account: &Account, call: &Call) -> Result<Answer, Problem> {
    let put: Put = read(call)?;
    permit(&account.state.lock(), Action::PutLogEvents, &put.log_group_name)?;
    check_group(&put.log_group_name)?;
    check_stream(&put.log_stream_name)?;
    check_events(&put.log_events)?;
    let now = account.now_millis();
    let mut state = account.state.lock();
    let retention = find(&state, &put.log_group_name, &put.log_stream_name)?;
    let times: Vec<i64> = put.log_events.iter().map(|event| event.timestamp).collect();
    let rejected = Rejected::of(&times, now, retention);
    check_span(times.get(rejected.kept()).unwrap_or_default())?;
    rejected.count(&mut state, times.len());
    let kept = rejected.kept();
    let name = (put.log_group_name, put.log_stream_name);
    let stream = state.seen.streams.entry(name).or_default();
    stream.count += kept.len();
    if account.settings.keeps {
        let events = put.log_events.into_iter().skip(kept.start).take(kept.len());
        for event in events {
            *stream.events.entry((event.timestamp, event.message)).or_default() += 1;
        }
    }
    answer(&rejected.told(times.len()))
}

/// CreateLogGroup.
pub fn create_group(account: &Account, call: &Call) -> Result<Answer, Problem> {
    let CreateGroup { log_group_name } = read(call)?;
    let mut state = account.state.lock();
    permit(&state, Action::CreateLogGroup, &log_group_name)?;
    check_group(&log_group_name)?;
    if state.groups.contains_key(&log_group_name) {
        return Err(exists("group"));
    }
    state.groups.insert(log_group_name, <_>::default());
    answer(&json!({}))
}

/// CreateLogStream.
pub fn create_stream(account: &Account, call: &Call) -> Result<Answer, Problem> {
    let create: CreateStream = read(call)?;
    let mut state = account.state.lock();
    permit(&state, Action::CreateLogStream, &create.log_group_name)?;
    check_group(&create.log_group_name)?;
    check_stream(&create.log_stream_name)?;
    let group = state.groups.get_mut(&create.log_group_name);
    let group = group.ok_or_else(|| missing("group"))?;
    match group.streams.insert(create.log_stream_name) {
        true => answer(&json!({})),
        false => Err(exists("stream")),
    }
}

/// PutRetentionPolicy.
pub fn put_retention(account: &Account, call: &Call) -> Result<Answer, Problem> {
    let put: PutRetention = read(call)?;
    let mut state = account.state.lock();
    permit(&state, Action::PutRetentionPolicy, &put.log_group_name)?;
    let days = put.retention_in_days;
    if !RETENTIONS.contains(&days) {
        let message =
            format!("1 validation error detected: Value '{days}' at 'retentionInDays' is not allowed");
        return Err(Problem::shape(INVALID, message));
    }
    let group = state.groups.get_mut(&put.log_group_name);
    group.ok_or_else(|| missing("group"))?.retention_days = Some(days);
    answer(&json!({}))
}

fn read<T: DeserializeOwned>(call: &Call) -> Result<T, Problem> {
    if call.header("content-type") != "application/x-amz-json-1.1" {
        return Err(Problem::shape(
            "SerializationException",
            "the content type is not application/x-amz-json-1.1",
        ));
    }
    let plain = call
        .plain()
        .map_err(|error| Problem::shape("SerializationException", error.to_string()))?;
    serde_json::from_slice(&plain)
        .map_err(|error| Problem::shape("SerializationException", error.to_string()))
}

fn answer(body: &Value) -> Result<Answer, Problem> {
    Ok(taken("application/x-amz-json-1.1", body.to_string()))
}

fn permit(state: &State, action: Action, group: &str) -> Result<(), Problem> {
    match state.denies_group(group) {
        true => Err(denied(action, Dialect::Json, group)),
        false => Ok(()),
    }
}

fn denied(action: Action, dialect: Dialect, group: &str) -> Problem {
    Problem::denied(
        action,
        dialect,
        &format!("arn:aws:logs:*:123456789012:log-group:{group}"),
    )
}

fn missing(what: &str) -> Problem {
    Problem::resource(
        "ResourceNotFoundException",
        &format!("The specified log {what} does not exist."),
    )
}

fn exists(what: &str) -> Problem {
    Problem::resource(
        "ResourceAlreadyExistsException",
        &format!("The specified log {what} already exists"),
    )
}

/// The retention in days of a group that has this stream.
pub fn find(state: &State, group: &str, stream: &str) -> Result<Option<i64>, Problem> {
    let group = state.groups.get(group).ok_or_else(|| missing("group"))?;
    match group.streams.contains(stream) {
        true => Ok(group.retention_days),
        false => Err(missing("stream")),
    }
}

fn check_group(name: &str) -> Result<(), Problem> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte);
    check_name("logGroupName", name, name.bytes().all(is_allowed))
}

fn check_stream(name: &str) -> Result<(), Problem> {
    check_name("logStreamName", name, !name.contains([':', '*']))
}

fn check_name(member: &str, name: &str, is_allowed: bool) -> Result<(), Problem> {
    if is_allowed && (1..=NAME_CHARS_MAX).contains(&name.chars().count()) {
        return Ok(());
    }
    let message =
        format!("1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint");
    Err(Problem::shape(INVALID, message))
}

fn check_events(events: &[Event]) -> Result<(), Problem> {
    let invalid = |message: String| Err(Problem::shape(INVALID, message));
    if events.is_empty() || events.len() > EVENTS_MAX {
        return invalid(format!("'logEvents' must have length between 1 and {EVENTS_MAX}"));
    }
    if let Some(event) = events
        .iter()
        .find(|event| event.message.is_empty() || event.timestamp < 0)
    {
        return invalid(format!(
            "an event at {} has no message, or a negative time",
            event.timestamp
        ));
    }
    let size = |event: &Event| event.message.len() + EVENT_OVERHEAD;
    let largest = events.iter().map(size).max().unwrap_or(0);
    if largest > EVENT_BYTES_MAX {
        return invalid(format!(
            "Log event too large: {largest} bytes exceeds limit of {EVENT_BYTES_MAX}"
        ));
    }
    let bytes: usize = events.iter().map(size).sum();
    if bytes > BATCH_BYTES_MAX {
        return invalid(format!(
            "Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}"
        ));
    }
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return invalid(
            "Log events in a single PutLogEvents request must be in chronological order.".to_owned(),
        );
    }
    Ok(())
}

/// Of what is stored.
fn check_span(times: &[i64]) -> Result<(), Problem> {
    match times {
        [first, .., last] if last - first > DAY => Err(Problem::shape(
            INVALID,
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        )),
        _ => Ok(()),
    }
}

impl Rejected {
    /// Times are in their order.
    pub fn of(times: &[i64], now: i64, retention_days: Option<i64>) -> Self {
        let before = |time: i64| times.partition_point(|one| *one < time);
        let too_old_end = before(now - PAST_MAX);
        Self {
            too_old_end,
            expired_end: retention_days.map_or(0, |days| before(now - days * DAY)),
            too_new_start: times.partition_point(|one| *one <= now + FUTURE_MAX),
        }
    }

    /// The places of those that are stored.
    pub fn kept(&self) -> std::ops::Range<usize> {
        let start = self.too_old_end.max(self.expired_end);
        start..self.too_new_start.max(start)
    }

    /// Counts what is not stored of so many.
    pub fn count(&self, state: &mut State, events: usize) {
        for (reason, count) in [
            ("too_old", self.too_old_end),
            ("expired", self.expired_end.saturating_sub(self.too_old_end)),
            ("too_new", events - self.too_new_start),
        ] {
            if count > 0 {
                *state.seen.rejected_events.entry(reason).or_default() += count;
            }
        }
    }

    fn told(&self, events: usize) -> Value {
        let mut info = json!({});
        if self.too_old_end > 0 {
            info["tooOldLogEventEndIndex"] = json!(self.too_old_end);
        }
        if self.expired_end > self.too_old_end {
            info["expiredLogEventEndIndex"] = json!(self.expired_end);
        }
        if self.too_new_start < events {
            info["tooNewLogEventStartIndex"] = json!(self.too_new_start);
        }
        let is_none = info == json!({});
        match is_none {
            true => json!({ "nextSequenceToken": "49640" }),
            false => json!({ "nextSequenceToken": "49640", "rejectedLogEventsInfo": info }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn events(count: usize, bytes: usize) -> Vec<Event> {
        let event = |_| Event {
            timestamp: NOW,
            message: "x".repeat(bytes),
        };
        (0..count).map(event).collect()
    }

    fn fault(events: &[Event]) -> String {
        check_events(events).map_or_else(|problem| problem.message, |()| String::new())
    }

    #[test]
    fn a_batch_of_the_largest_size_is_taken_and_a_larger_one_is_not() {
        assert_eq!(fault(&events(10_000, 1)), "");
        assert!(fault(&events(10_001, 1)).contains("length between"));
        assert!(fault(&[]).contains("length between"));
        assert_eq!(fault(&events(4, 1_048_576 / 4 - 26)), "");
        let mut more = events(4, 1_048_576 / 4 - 26);
        more[0].message.push('x');
        assert!(fault(&more).contains("Upload too large: 1048577 bytes"));
        assert_eq!(fault(&events(1, 1_048_576 - 26)), "");
        assert!(fault(&events(1, 1_048_576 - 25)).contains("Log event too large"));
        assert!(fault(&events(1, 0)).contains("no message"));
        let mut unordered = events(2, 1);
        unordered[1].timestamp -= 1;
        assert!(fault(&unordered).contains("chronological"));
    }

    #[test]
    fn rejected_events_are_told_by_their_indexes_and_do_not_count_for_the_span() {
        let times = [
            NOW - PAST_MAX - 1,
            NOW - PAST_MAX,
            NOW - 3 * DAY - 1,
            NOW - 3 * DAY,
            NOW + FUTURE_MAX,
            NOW + FUTURE_MAX + 1,
        ];
        let rejected = Rejected::of(&times, NOW, Some(3));
        assert_eq!(
            (rejected.too_old_end, rejected.expired_end, rejected.too_new_start),
            (1, 3, 5)
        );
        let info = json!({ "tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 3, "tooNewLogEventStartIndex": 5 });
        assert_eq!(rejected.told(6)["rejectedLogEventsInfo"], info);
        assert_eq!(rejected.kept(), 3..5);
        let rejected = Rejected::of(&times, NOW, None);
        assert_eq!((rejected.too_old_end, rejected.expired_end), (1, 0));
        assert_eq!(
            rejected.told(6)["rejectedLogEventsInfo"].get("expiredLogEventEndIndex"),
            None
        );
        let old_and_new = [NOW - PAST_MAX - 1, NOW, NOW + DAY];
        assert_eq!(
            check_span(&old_and_new[Rejected::of(&old_and_new, NOW, None).kept()]),
            Ok(())
        );
        assert_eq!(check_span(&[NOW - DAY, NOW]), Ok(()));
        assert!(check_span(&[NOW - DAY - 1, NOW]).is_err());
    }

    #[test]
    fn names_are_made_of_what_names_may_have() {
        assert_eq!(check_group("/meridian/a-b_c.d#1"), Ok(()));
        assert_eq!(check_stream("a b/ü"), Ok(()));
        for name in ["", "a b", "ü", &"x".repeat(513)] {
            assert!(check_group(name).is_err(), "{name}");
        }
        for name in ["", "a:b", "a*", &"x".repeat(513)] {
            assert!(check_stream(name).is_err(), "{name}");
        }
    }
}
