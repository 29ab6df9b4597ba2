//! The few messages that answers consist of: google.rpc.Status with RetryInfo, and the export
//! response, which has the same shape for all three signals. Requests are never decoded here.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meridian_proto::signal::Signal;
use prost::Message;
use serde_json::{Value, json};

use super::fault::Fault;
use crate::intake::Accepted;

const RETRY_INFO_URL: &str = "type.googleapis.com/google.rpc.RetryInfo";
/// Messages go into headers, of which many clients take 8 KiB in all.
const MESSAGE_BYTES_MAX: usize = 1024;

/// google/rpc/status.proto
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// google/protobuf/any.proto
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// google/rpc/error_details.proto
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<ProtoDuration>,
}

/// google/protobuf/duration.proto
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ProtoDuration {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// Export{Trace,Logs,Metrics}ServiceResponse
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// Export{Trace,Logs,Metrics}PartialSuccess
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    #[prost(string, tag = "2")]
    pub error_message: String,
}

impl ExportResponse {
    /// The answer to a request that was accepted, wholly or in part. The field stays unset if
    /// all was accepted, as OTLP demands.
    pub fn new(accepted: &Accepted) -> Self {
        let partial_success = (accepted.rejected > 0).then(|| PartialSuccess {
            rejected: i64::from(accepted.rejected),
            error_message: bounded(&accepted.message),
        });
        Self { partial_success }
    }

    /// The JSON encoding; the field's name differs between the signals.
    pub fn to_json(&self, signal: Signal) -> Value {
        let rejected = match signal {
            Signal::Spans => "rejectedSpans",
            Signal::Logs => "rejectedLogRecords",
            Signal::Metrics => "rejectedDataPoints",
        };
        match &self.partial_success {
            None => json!({}),
            Some(partial) => json!({"partialSuccess": {
                rejected: partial.rejected.to_string(),
                "errorMessage": partial.error_message,
            }}),
        }
    }
}

impl Status {
    /// What a fault is called, with a RetryInfo if the request may be sent again.
    pub fn of(fault: &Fault) -> Self {
        Self {
            code: fault.code() as i32,
            message: bounded(&fault.to_string()),
            details: fault.retry().into_iter().map(Any::retry_after).collect(),
        }
    }

    /// The JSON encoding.
    pub fn to_json(&self) -> Value {
        let mut status = json!({"code": self.code, "message": self.message});
        if !self.details.is_empty() {
            let details = self.details.iter().map(Any::to_json).collect();
            if let Some(members) = status.as_object_mut() {
                members.insert("details".to_owned(), details);
            }
        }
        status
    }
}

impl Any {
    fn retry_after(delay: Duration) -> Self {
        let retry_delay = ProtoDuration {
            seconds: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(delay.subsec_nanos()).unwrap_or_default(),
        };
        let info = RetryInfo {
            retry_delay: Some(retry_delay),
        };
        Self {
            type_url: RETRY_INFO_URL.to_owned(),
            value: info.encode_to_vec(),
        }
    }

    /// Only a RetryInfo is ever made here; its JSON form is spelled out as proto3 demands.
    fn to_json(&self) -> Value {
        let delay = RetryInfo::decode(self.value.as_slice())
            .ok()
            .and_then(|info| info.retry_delay);
        match delay {
            Some(ProtoDuration { seconds, nanos: 0 }) => {
                json!({"@type": self.type_url, "retryDelay": format!("{seconds}s")})
            }
            Some(ProtoDuration { seconds, nanos }) => {
                json!({"@type": self.type_url, "retryDelay": format!("{seconds}.{nanos:09}s")})
            }
            None => json!({"@type": self.type_url, "value": STANDARD.encode(&self.value)}),
        }
    }
}

fn bounded(message: &str) -> String {
    if message.len() <= MESSAGE_BYTES_MAX {
        return message.to_owned();
    }
    let mut text: String = message
        .char_indices()
        .take_while(|(at, _)| *at < MESSAGE_BYTES_MAX)
        .map(|(_, character)| character)
        .collect();
    text.push('…');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::admission::MemoryFull;

    #[test]
    fn a_retry_hint_is_a_retry_info_in_both_encodings() {
        let status = Status::of(&Fault::MemoryFull(MemoryFull::OfAll));
        assert_eq!(status.code, 8);
        let info = RetryInfo::decode(status.details[0].value.as_slice()).expect("RetryInfo");
        assert_eq!(info.retry_delay.map(|delay| delay.seconds), Some(1));
        insta::assert_snapshot!(status.to_json(), @r#"{"code":8,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1s"}],"message":"the memory for requests in flight is used up"}"#);
    }

    #[test]
    fn what_is_too_large_has_no_retry_hint() {
        let status = Status::of(&Fault::TooLarge { bytes_max: 10 });
        assert_eq!((status.code, status.details.len()), (8, 0));
    }

    #[test]
    fn a_full_success_is_empty_and_a_partial_one_names_the_signal() {
        let whole = Accepted {
            rejected: 0,
            message: String::new(),
        };
        assert!(ExportResponse::new(&whole).encode_to_vec().is_empty());
        assert_eq!(ExportResponse::new(&whole).to_json(Signal::Logs), json!({}));
        let partial = Accepted {
            rejected: 2,
            message: "2 spans: zero".to_owned(),
        };
        assert_eq!(
            ExportResponse::new(&partial).to_json(Signal::Spans),
            json!({"partialSuccess": {"rejectedSpans": "2", "errorMessage": "2 spans: zero"}})
        );
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = bounded(&"ü".repeat(5000));
        assert!(text.len() < MESSAGE_BYTES_MAX + 8 && text.ends_with('…'));
    }
}
