//! Why a request was not answered with success, for both protocols: what it is called in gRPC
//! and in HTTP, and whether it may be sent again.
//!
//! The one place where this is decided. How it is put on the wire is not known here.

use std::time::Duration;

use http::StatusCode;
use meridian_runtime::http::SlowBody;
use meridian_runtime::tasks::TaskError;

use super::encoding::{DecompressError, Encoding};
use super::grpc::FrameError;
use crate::intake::Refused;
use crate::intake::admission::{MemoryFull, Overflow};
use crate::otlp::JsonFault;
use crate::spool::AppendError;

/// When memory is likely to be free again: most requests take milliseconds.
const RETRY_AFTER_MEMORY_FULL: Duration = Duration::from_secs(1);

/// A connection that has stalled is likely to be better, or another one, soon.
const RETRY_AFTER_SLOW_BODY: Duration = Duration::from_secs(1);

/// The codes of google.rpc.Code that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Larger than the limit, as sent or after decompression.
    #[error("the request is larger than the limit of {bytes_max} bytes (receivers.otlp.max_request_bytes)")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// Memory admission.
    #[error(transparent)]
    MemoryFull(#[from] MemoryFull),
    /// The client was too slow.
    #[error("{0}: too slow (receivers.otlp.body_timeout, min_body_rate)")]
    SlowBody(SlowBody),
    /// The connection or the stream broke while the body was read.
    #[error("the request's body ended early")]
    BodyBroken(#[source] axum::Error),
    /// gRPC's message framing.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Nobody here can decompress that.
    #[error("encoding {name:?} is not supported; supported are {}", Encoding::ACCEPTED)]
    UnknownEncoding {
        /// What the client named.
        name: String,
    },
    /// It is not compressed as it says.
    #[error("{source}{}", because(source))]
    Corrupt {
        /// What is wrong.
        source: DecompressError,
    },
    /// The body begins with a byte order mark.
    #[error("the JSON body begins with a byte order mark; send UTF-8 without it")]
    ByteOrderMark,
    /// It is not OTLP JSON.
    #[error("{} at line {} column {}", .0.message, .0.line, .0.column)]
    Json(JsonFault),
    /// The intake refused it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A task of ours panicked.
    #[error("the request could not be decoded")]
    Internal(#[from] TaskError),
}

/// The client does not see a source, so what the decoder said is part of the answer.
fn because(error: &DecompressError) -> String {
    std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"))
}

impl From<Overflow> for Fault {
    fn from(overflow: Overflow) -> Self {
        match overflow {
            Overflow::TooLarge { bytes_max } => Self::TooLarge { bytes_max },
            Overflow::MemoryFull(full) => Self::MemoryFull(full),
        }
    }
}

impl From<DecompressError> for Fault {
    fn from(error: DecompressError) -> Self {
        match error {
            DecompressError::Overflow(overflow) => overflow.into(),
            source => Self::Corrupt { source },
        }
    }
}

impl Fault {
    /// The code in gRPC, and in the body of an HTTP answer.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } | Self::MemoryFull(_) => Code::ResourceExhausted,
            Self::SlowBody(_) => Code::DeadlineExceeded,
            Self::BodyBroken(_) => Code::Cancelled,
            Self::UnknownEncoding { .. } => Code::Unimplemented,
            Self::Frame(_) | Self::Corrupt { .. } | Self::ByteOrderMark | Self::Json(_) => {
                Code::InvalidArgument
            }
            Self::Internal(_) => Code::Internal,
            Self::Refused(refused) => match refused {
                Refused::Malformed(_) => Code::InvalidArgument,
                Refused::Internal(_) => Code::Internal,
                Refused::TooManyItems { .. }
                | Refused::Spool(AppendError::Full { .. } | AppendError::TooLarge { .. }) => {
                    Code::ResourceExhausted
                }
                Refused::Spool(AppendError::Failed(_) | AppendError::Closed) => Code::Unavailable,
            },
        }
    }

    /// The status in HTTP.
    pub fn http_status(&self) -> StatusCode {
        match self {
            Self::UnknownEncoding { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            // Not 408, after which SDKs give the data up: the next attempt may be quicker.
            Self::SlowBody(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => match (self.code(), self.retry()) {
                (Code::ResourceExhausted, Some(_)) => StatusCode::TOO_MANY_REQUESTS,
                (Code::ResourceExhausted, None) => StatusCode::PAYLOAD_TOO_LARGE,
                (Code::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
                (Code::Internal, _) => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::BAD_REQUEST,
            },
        }
    }

    /// After what time the same request may be sent again; `None`: never.
    pub fn retry(&self) -> Option<Duration> {
        match self {
            Self::MemoryFull(_) => Some(RETRY_AFTER_MEMORY_FULL),
            Self::SlowBody(_) => Some(RETRY_AFTER_SLOW_BODY),
            Self::Refused(refused) => refused.retry(),
            _ => None,
        }
    }

    /// The value of the label `reason`; `None` where the intake has counted it already.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { .. } => Some("too_large"),
            Self::MemoryFull(MemoryFull::OfAll) => Some("memory_full"),
            Self::MemoryFull(MemoryFull::OfConnection) => Some("connection_memory_full"),
            Self::SlowBody(_) => Some("slow_body"),
            Self::BodyBroken(_) => Some("body_broken"),
            Self::Frame(_) => Some("malformed"),
            Self::UnknownEncoding { .. } => Some("unknown_encoding"),
            Self::Corrupt { .. } => Some("corrupt_encoding"),
            Self::ByteOrderMark | Self::Json(_) => Some("malformed_json"),
            Self::Internal(_) => Some("internal"),
            Self::Refused(_) => None,
        }
    }
}
