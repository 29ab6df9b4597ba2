//! What the answer of an OTLP backend means for a request: taken, taken in part, later, or never.
//!
//! Source: OTLP specification 1.x, "Failures" of OTLP/gRPC and OTLP/HTTP; google.rpc.Status and
//! RetryInfo for the pause of gRPC.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, StatusCode};

use super::client::Answer;
use super::sink::{Fate, Sent, Trouble, TroubleKind, Verdict};
use crate::otlp::wire::{Fields, Malformed};

/// Of a message so much is told.
const MESSAGE_CHARS_MAX: usize = 300;
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// All but so many items were taken.
    Taken {
        /// Items that were not, and never will be.
        rejected: u64,
        /// Why.
        message: String,
    },
    /// The request was not.
    Not(Verdict),
}

/// What an answer over HTTP says.
pub fn of_http(answer: &Answer) -> Said {
    if answer.status.is_success() {
        return partial_success(&answer.body);
    }
    let told = format!("{} {}", answer.status, status_message(&answer.body));
    let kind = match answer.status {
        StatusCode::TOO_MANY_REQUESTS => TroubleKind::Throttled,
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::UNSUPPORTED_MEDIA_TYPE => TroubleKind::Denied,
        status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            TroubleKind::Unavailable
        }
        _ => return Said::Not(Verdict::Refused(format!("the backend refuses it: {told}"))),
    };
    later(kind, &told, answer.retry_after())
}

/// What an answer over gRPC says. A status in the headers comes without a body.
pub fn of_grpc(answer: &Answer) -> Said {
    let trailers = match answer.headers.contains_key("grpc-status") {
        true => &answer.headers,
        false => &answer.trailers,
    };
    let Some(code) = text(trailers, "grpc-status").and_then(|code| code.parse::<u32>().ok()) else {
        let told = format!(
            "{} without a gRPC status: is it an OTLP/gRPC endpoint?",
            answer.status
        );
        return later(TroubleKind::Denied, &told, None);
    };
    if code == 0 {
        // One message: a byte that says whether it is compressed, and its length.
        return match answer.body.split_first_chunk::<5>() {
            Some(([0, ..], message)) => partial_success(message),
            _ => partial_success(&[]),
        };
    }
    let pause = retry_info(trailers);
    let message = text(trailers, "grpc-message").unwrap_or_default();
    let told = format!("gRPC status {code} {}", cut(message));
    let kind = match code {
        // RESOURCE_EXHAUSTED says to come back only with a RetryInfo; without, it is too large.
        8 if pause.is_some() => TroubleKind::Throttled,
        // CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, INTERNAL, UNAVAILABLE, DATA_LOSS.
        1 | 2 | 4 | 10 | 11 | 13 | 14 | 15 => TroubleKind::Unavailable,
        // PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED.
        7 | 12 | 16 => TroubleKind::Denied,
        _ => return Said::Not(Verdict::Refused(format!("the backend refuses it: {told}"))),
    };
    later(kind, &told, pause)
}

/// What becomes of a request's pieces. A backend says how many items it rejects, not which: they
/// are counted among the first.
pub fn rejections<C>(request: &Sent<C>, rejected: u64) -> Vec<(usize, Fate)> {
    let mut left = rejected;
    let mut fates = Vec::new();
    for (index, piece) in request.pieces.iter().enumerate() {
        let of_piece = u32::try_from(left)
            .unwrap_or(u32::MAX)
            .min(piece.content.item.count);
        if of_piece == 0 {
            break;
        }
        left -= u64::from(of_piece);
        fates.push((index, Fate::Rejected(of_piece)));
    }
    fates
}

fn later(kind: TroubleKind, told: &str, pause: Option<Duration>) -> Said {
    let message = match kind {
        TroubleKind::Throttled => format!("the backend throttles: {told}"),
        TroubleKind::Unavailable => format!("the backend fails: {told}"),
        TroubleKind::Denied | TroubleKind::DeniedHere => {
            format!(
                "the backend does not let us in: {told}. Nothing is dropped; it is tried again until it does"
            )
        }
    };
    Said::Not(Verdict::Later(Trouble { kind, message, pause }))
}

/// The `partial_success` of an `Export…ServiceResponse`. What is no such message says nothing.
fn partial_success(body: &[u8]) -> Said {
    let (rejected, message) = read_partial_success(body).unwrap_or_default();
    Said::Taken {
        rejected: u64::try_from(rejected).unwrap_or(0),
        message: cut(&message).to_owned(),
    }
}

fn read_partial_success(body: &[u8]) -> Result<(i64, String), Malformed> {
    let (mut rejected, mut message) = (0, String::new());
    for field in Fields::new(body, 0) {
        let field = field?;
        if field.number != 1 {
            continue;
        }
        for field in field.message()? {
            let field = field?;
            match field.number {
                1 => rejected = field.varint()?.cast_signed(),
                2 => field.string()?.clone_into(&mut message),
                _ => {}
            }
        }
    }
    Ok((rejected, message))
}

/// The message of a `google.rpc.Status`, or the text that came instead.
fn status_message(body: &[u8]) -> String {
    let mut message = None;
    for field in Fields::new(body, 0) {
        match field {
            Ok(field) if field.number == 2 => message = field.string().ok(),
            Ok(_) => {}
            Err(_) => {
                message = None;
                break;
            }
        }
    }
    let text = String::from_utf8_lossy(body);
    cut(message.unwrap_or(&text)).to_owned()
}

/// The pause that a `google.rpc.RetryInfo` asks for.
fn retry_info(trailers: &HeaderMap) -> Option<Duration> {
    let encoded = text(trailers, "grpc-status-details-bin")?;
    let bytes = STANDARD_NO_PAD
        .decode(encoded)
        .or_else(|_| STANDARD.decode(encoded))
        .ok()?;
    let messages = |bytes: &[u8], number: u32| -> Vec<Vec<u8>> {
        let fields = Fields::new(bytes, 0).flatten();
        let matching = fields.filter(|field| field.number == number);
        matching
            .filter_map(|field| field.bytes().ok().map(<[u8]>::to_vec))
            .collect()
    };
    for detail in messages(&bytes, 3) {
        let kind = messages(&detail, 1).pop().unwrap_or_default();
        if kind != RETRY_INFO.as_bytes() {
            continue;
        }
        let info = messages(&detail, 2).pop().unwrap_or_default();
        let delay = messages(&info, 1).pop().unwrap_or_default();
        let (mut seconds, mut nanos) = (0, 0);
        for field in Fields::new(&delay, 0).flatten() {
            match field.number {
                1 => seconds = field.varint().unwrap_or(0),
                2 => nanos = field.uint32().unwrap_or(0),
                _ => {}
            }
        }
        return Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into())));
    }
    None
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn cut(message: &str) -> &str {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => message.get(..end).unwrap_or_default(),
        None => message,
    }
}

#[cfg(test)]
mod tests;
