//! Why a stream to an aggregator could not be opened, or ended.
//!
//! None of this is the end of the exporter: it tries again, sooner or later.

use meridian_proto::payload::PayloadError;
use meridian_runtime::tasks::TaskError;

use super::flow::NotSent;
use crate::spool::ReadError;

/// Why there is no stream any more.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Nobody answers there.
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
    /// The peer connected and did not send Welcome.
    #[error("no Welcome within the connect timeout")]
    NoWelcome,
    /// The first thing that the peer said was not Welcome.
    #[error("the peer acknowledged before it sent Welcome")]
    Unwelcome,
    /// The aggregator ended the stream with a status.
    #[error("the aggregator answered {code:?}: {message}")]
    Status {
        /// The status code.
        code: tonic::Code,
        /// What it said.
        message: String,
    },
    /// The aggregator ended the stream without a word.
    #[error("the aggregator ended the stream")]
    Ended,
    /// The aggregator confirmed what it was not sent.
    #[error(transparent)]
    NotSent(#[from] NotSent),
    /// The aggregator does not commit what it is sent.
    #[error("the aggregator acknowledged nothing within the ack timeout")]
    NoAck,
    /// The spool cannot be read.
    #[error("cannot read the spool")]
    Spool(#[from] ReadError),
    /// The batch could not be encoded.
    #[error("cannot encode a batch")]
    Encode(#[from] PayloadError),
    /// The work on a batch broke.
    #[error("cannot build a batch")]
    Work(#[from] TaskError),
}

impl SessionError {
    /// A word for the kind of failure: the label `reason`, and what makes a state of its own
    /// in the log.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::NoWelcome => "no_welcome",
            Self::Unwelcome | Self::NotSent(_) => "protocol",
            Self::Status { .. } if self.is_refusal() => "refused",
            Self::Status { .. } => "status",
            Self::Ended => "ended",
            Self::NoAck => "no_ack",
            Self::Spool(_) => "spool",
            Self::Encode(_) | Self::Work(_) => "build",
        }
    }

    /// Whether the peer will answer the same until somebody changes something: another
    /// revision of the protocol, no access, or not an aggregator at all.
    pub fn is_refusal(&self) -> bool {
        use tonic::Code::{
            FailedPrecondition, InvalidArgument, PermissionDenied, Unauthenticated, Unimplemented,
        };
        let refusals = [
            FailedPrecondition,
            InvalidArgument,
            PermissionDenied,
            Unauthenticated,
            Unimplemented,
        ];
        matches!(self, Self::Status { code, .. } if refusals.contains(code))
    }
}

impl From<tonic::Status> for SessionError {
    fn from(status: tonic::Status) -> Self {
        Self::Status {
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}
