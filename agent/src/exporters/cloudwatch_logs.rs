//! CloudWatch Logs by `PutLogEvents`: each log record is an event of a stream whose names come
//! from the record's resource. Which requests there are and when they leave is
//! [`crate::requests`]' business.
//!
//! Source: CloudWatch Logs API reference, PutLogEvents; its limits are in [`LIMITS`].

mod create;
mod destinations;
mod event;
mod settings;
mod template;

use bytes::Bytes;
use meridian_proto::attributes::{push_int, push_json_string};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::{Clock, now};
use serde::Deserialize;

use crate::ledger::DropReason;
use crate::otlp::view::{self, LogRecord};
use crate::otlp::{Malformed, Origin};
use crate::requests::aws::{Aws, Call, CallError, Fault, verdict_of_silence};
use crate::requests::client::{Answer, ClientError};
use crate::requests::packer::Limits;
use crate::requests::quoted::Quoter;
use crate::requests::sink::{Fate, Pieces, Place, Sent, Sink, Trouble, TroubleKind, Verdict};
use crate::spool::Record;
use create::Create;
use destinations::{Alone, Destination, Destinations};
use event::{Event, Events};
pub use settings::Settings;

const JSON_1_1: &str = "application/x-amz-json-1.1";
const TARGET: http::HeaderName = http::HeaderName::from_static("x-amz-target");

/// Of one call: its bytes are the UTF-8 of the messages and 26 for each event.
pub const LIMITS: Limits = Limits {
    pieces: 10_000,
    bytes: 1_048_576,
    request_overhead: 0,
    piece_overhead: 26,
    piece_bytes: 1_048_576 - 26,
    span_nanos: 24 * 3_600 * 1_000_000_000,
    is_ordered: true,
};

/// An exporter to CloudWatch Logs.
#[derive(Debug)]
pub struct CloudwatchLogs {
    aws: Aws,
    events: Events,
    destinations: Destinations,
    create: Create,
}

impl CloudwatchLogs {
    /// Nothing is asked yet.
    pub fn new(settings: &Settings, origin: &Origin, clock: Clock) -> Result<Self, ClientError> {
        let within = settings.requests.request_timeout;
        Ok(Self {
            aws: Aws::new(&settings.aws, "logs", "logs", within, clock)?,
            events: Events::new(
                settings.format,
                settings.resource_attributes.clone(),
                LIMITS.piece_bytes,
            ),
            destinations: Destinations::new(
                settings.log_group.clone().of_agent(origin),
                settings.log_stream.clone().of_agent(origin),
                settings.denied_wait,
            ),
            create: Create::new(settings.create, settings.create_spread, settings.retention_days),
        })
    }

    fn pieces_of(&self, record: &Record, pieces: &mut Pieces<Event>) -> Result<(), Malformed> {
        let (mut index, mut log) = (0, LogRecord::default());
        let (mut text, mut quoter) = (String::new(), Quoter::default());
        for group in view::resource_groups(&record.body) {
            let group = group?;
            let resource = group.resource()?;
            let members = self.events.resource_members(&resource)?;
            let key = self.destinations.number(&resource.attributes);
            for scope in group.scopes() {
                for fields in scope?.items() {
                    log.read(fields?)?;
                    let time = time_of(&log, record.received_unix_nanos);
                    let event = self
                        .events
                        .event(&log, time, &members, (&mut text, &mut quoter))?;
                    let place = Place {
                        key,
                        affinity: None,
                        time,
                    };
                    pieces.push(index, place, event.bytes, event);
                    index += 1;
                }
            }
        }
        Ok(())
    }

    async fn put(&self, destination: &Destination, request: &Sent<Event>) -> Result<Verdict, CallError> {
        let doing = format!("PutLogEvents to {} {}", destination.group, destination.stream);
        let body = body(destination, request);
        let mut answer = self.aws.call(call("PutLogEvents", body.clone())).await?;
        let is_missing = Fault::of(&answer).is_some_and(|fault| fault.code == "ResourceNotFoundException");
        if is_missing && self.create.is_allowed() {
            if let Some(failed) = self.create.stream(&self.aws, destination).await? {
                return Ok(self.not_taken(destination, &failed.doing, &failed.answer));
            }
            answer = self.aws.call(call("PutLogEvents", body)).await?;
        } else if is_missing {
            self.destinations.denied(&destination.group, now());
            return Ok(self.denied(destination, Trouble {
                kind: TroubleKind::Denied,
                message: format!("{doing} fails: there is no such group or stream, and `create` is false. Create it, or let us"),
                pause: None,
            }));
        }
        if !answer.status.is_success() {
            return Ok(self.not_taken(destination, &doing, &answer));
        }
        self.destinations.taken(&destination.group, now());
        let rejected = Rejected::of(&answer);
        Ok(Verdict::Taken(rejected.fates(request.pieces.len())))
    }

    fn not_taken(&self, destination: &Destination, doing: &str, answer: &Answer) -> Verdict {
        let Some(fault) = Fault::of(answer) else {
            return Verdict::Taken(Vec::new());
        };
        match fault.verdict(doing, answer) {
            Verdict::Later(trouble) if trouble.kind == TroubleKind::Denied => {
                self.destinations.denied(&destination.group, now());
                self.denied(destination, trouble)
            }
            verdict => verdict,
        }
    }

    /// Where others are taken, it is this group that is denied and not we: it alone waits.
    fn denied(&self, destination: &Destination, trouble: Trouble) -> Verdict {
        let alone = self.destinations.is_denied_alone(&destination.group);
        if alone == Alone::No {
            return Verdict::Later(trouble);
        }
        if alone == Alone::New {
            tracing::error!(
                group = destination.group,
                "only this log group cannot be written to: {}. Its events are dropped, and counted, when \
                 `denied_wait` is over",
                trouble.message
            );
        }
        Verdict::Later(Trouble {
            kind: TroubleKind::DeniedHere,
            ..trouble
        })
    }
}

impl Sink for CloudwatchLogs {
    type Content = Event;
    const SIGNALS: &'static [Signal] = &[Signal::Logs];

    fn endpoint(&self) -> &str {
        self.aws.endpoint()
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn translate(&self, record: &Record, pieces: &mut Pieces<Event>) {
        if let Err(error) = self.pieces_of(record, pieces) {
            tracing::error!(seq = record.seq, %error, "a record of the spool is no log request");
            pieces.drop_all(record.items, DropReason::Corrupt);
        }
    }

    fn show(&self, request: &Sent<Event>) -> String {
        let destination = self.destinations.get(request.key);
        let (group, stream) = destination
            .as_ref()
            .map_or(("", ""), |to| (&to.group, &to.stream));
        let mut text = format!(
            "PutLogEvents: group {group}, stream {stream}, events {}\n",
            request.pieces.len()
        );
        for piece in &request.pieces {
            let event = &piece.content.content;
            let message: String =
                serde_json::from_str(&format!("\"{}\"", String::from_utf8_lossy(&event.message)))
                    .unwrap_or_default();
            text.push_str(&format!("{} {message}\n", event.timestamp));
        }
        text
    }

    async fn send(&self, request: &Sent<Event>) -> Verdict {
        let Some(destination) = self.destinations.get(request.key) else {
            return Verdict::Refused("it belongs to no log stream".to_owned());
        };
        if self.destinations.is_hopeless(&destination.group, now()) {
            let dropped = (0..request.pieces.len()).map(|index| (index, Fate::Dropped(DropReason::Denied)));
            return Verdict::Taken(dropped.collect());
        }
        match self.put(&destination, request).await {
            Ok(verdict) => verdict,
            Err(error) => verdict_of_silence("PutLogEvents", &error),
        }
    }
}

fn time_of(log: &LogRecord<'_>, received: u64) -> u64 {
    [log.time_unix_nano, log.observed_time_unix_nano]
        .into_iter()
        .find(|time| *time != 0)
        .unwrap_or(received)
}

fn call(action: &'static str, body: Bytes) -> Call {
    let target = match action {
        "PutLogEvents" => "Logs_20140328.PutLogEvents",
        "CreateLogGroup" => "Logs_20140328.CreateLogGroup",
        "CreateLogStream" => "Logs_20140328.CreateLogStream",
        _ => "Logs_20140328.PutRetentionPolicy",
    };
    Call {
        path: "/",
        content_type: JSON_1_1,
        content_encoding: None,
        headers: vec![(TARGET, http::HeaderValue::from_static(target))],
        body,
    }
}

fn body(destination: &Destination, request: &Sent<Event>) -> Bytes {
    let messages: usize = request
        .pieces
        .iter()
        .map(|piece| piece.content.content.message.len() + 48)
        .sum();
    let mut head = String::from("{\"logGroupName\":");
    push_json_string(&mut head, &destination.group);
    head.push_str(",\"logStreamName\":");
    push_json_string(&mut head, &destination.stream);
    head.push_str(",\"logEvents\":[");
    let mut body = Vec::with_capacity(head.len() + messages + 2);
    body.extend_from_slice(head.as_bytes());
    let mut timestamp = String::new();
    for (index, piece) in request.pieces.iter().enumerate() {
        let event = &piece.content.content;
        timestamp.clear();
        push_int(&mut timestamp, i64::try_from(event.timestamp).unwrap_or(i64::MAX));
        body.extend_from_slice(if index > 0 {
            b",{\"timestamp\":"
        } else {
            b"{\"timestamp\":"
        });
        body.extend_from_slice(timestamp.as_bytes());
        body.extend_from_slice(b",\"message\":\"");
        body.extend_from_slice(&event.message);
        body.extend_from_slice(b"\"}");
    }
    body.extend_from_slice(b"]}");
    Bytes::from(body)
}

/// Which events of a call were not stored, as indexes into it.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
struct Rejected {
    /// The first that is too new.
    too_new_log_event_start_index: Option<usize>,
    /// The first that is not too old.
    too_old_log_event_end_index: Option<usize>,
    /// The first that is not older than the group's retention.
    expired_log_event_end_index: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Put {
    rejected_log_events_info: Rejected,
}

impl Rejected {
    fn of(answer: &Answer) -> Self {
        let put: Put = serde_json::from_slice(&answer.body).unwrap_or_default();
        put.rejected_log_events_info
    }

    fn fates(&self, events: usize) -> Vec<(usize, Fate)> {
        let too_old = self.too_old_log_event_end_index.unwrap_or(0);
        let expired = self.expired_log_event_end_index.unwrap_or(0);
        let too_new = self.too_new_log_event_start_index.unwrap_or(events);
        let fate = |index: usize| {
            let reason = if index < too_old.max(expired) {
                DropReason::TooOld
            } else if index >= too_new {
                DropReason::TooNew
            } else {
                return None;
            };
            Some((index, Fate::Dropped(reason)))
        };
        (0..events).filter_map(fate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_events_are_those_before_the_ends_and_from_the_start_on() {
        let rejected = Rejected {
            too_new_log_event_start_index: Some(4),
            too_old_log_event_end_index: Some(1),
            expired_log_event_end_index: Some(2),
        };
        let old = Fate::Dropped(DropReason::TooOld);
        let new = Fate::Dropped(DropReason::TooNew);
        assert_eq!(rejected.fates(6), [(0, old), (1, old), (4, new), (5, new)]);
        assert_eq!(Rejected::default().fates(6), []);
    }
}
