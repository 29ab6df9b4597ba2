//! The door between receivers and the spool: a request in OTLP protobuf is checked, hashed and
//! appended, and answered when the append is durable.
//!
//! ```text
//! receiver -> check -> hash -> Store::append (the spool, fsync) -> Accepted | Refused
//! ```
//!
//! The hash covers the body as it was received, so that a client's retry with the same bytes is
//! recognised. It deliberately knows no transport: how a refusal is worded in gRPC or HTTP is
//! the receiver's business.

pub mod admission;
pub mod workers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use meridian_proto::signal::Signal;
use meridian_runtime::tasks::TaskError;
use prometheus::IntCounter;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::ledger::Ledger;
use crate::otlp::{self, CheckLimits, Checked, Malformed, Rejections};
use crate::spool::{AppendError, Appended, NewRecord, Spool};
use workers::Workers;

/// When a client may retry after the spool failed: long enough to reopen a segment.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Where accepted records go: the spool, and in tests one that is full or broken on demand.
pub trait Store: Send + Sync + 'static {
    /// Appends a record; resolves when it is durable. Counts its items then, if they are new,
    /// also when the future was dropped meanwhile.
    fn append(&self, record: NewRecord, accepted: IntCounter)
    -> BoxFuture<'_, Result<Appended, AppendError>>;
}

impl Store for Spool {
    fn append(
        &self,
        record: NewRecord,
        accepted: IntCounter,
    ) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(self.append_counted(record, accepted))
    }
}

/// The door of one receiver; clones share it.
#[derive(Clone)]
pub struct Intake {
    store: Arc<dyn Store>,
    workers: Workers,
    ledger: Ledger,
    receiver: &'static str,
    items_max: u32,
}

/// The request is durable, or there was nothing in it to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// How many items were left out.
    pub rejected: u32,
    /// Why; empty if none were.
    pub message: String,
}

/// Nothing of the request was kept.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The body is not OTLP protobuf.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A record is turned into rows as a whole, and a row takes far more memory than an empty
    /// item takes bytes.
    #[error(
        "the request has {items} {signal}, over the limit of {items_max} \
         (receivers.otlp.max_request_items); send smaller batches"
    )]
    TooManyItems {
        /// The request's signal.
        signal: Signal,
        /// How many it has.
        items: u32,
        /// The limit.
        items_max: u32,
    },
    /// The spool did not take it.
    #[error(transparent)]
    Spool(#[from] AppendError),
    /// The check itself broke; retrying the same bytes would break it again.
    #[error("the request could not be checked")]
    Internal(#[from] TaskError),
}

impl Refused {
    /// The value of the label `reason`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooManyItems { .. } => "too_many_items",
            Self::Spool(AppendError::Full { .. }) => "spool_full",
            Self::Spool(AppendError::TooLarge { .. }) => "too_large",
            Self::Spool(AppendError::Failed(_)) => "spool_failed",
            Self::Spool(AppendError::Closed) => "shutdown",
            Self::Internal(_) => "internal",
        }
    }

    /// After what time the same request may be sent again; `None`: never.
    pub fn retry(&self) -> Option<Duration> {
        match self {
            Self::Spool(AppendError::Full { retry_after }) => Some(*retry_after),
            Self::Spool(AppendError::Failed(_) | AppendError::Closed) => Some(RETRY_AFTER_FAILURE),
            Self::Malformed(_)
            | Self::TooManyItems { .. }
            | Self::Spool(AppendError::TooLarge { .. })
            | Self::Internal(_) => None,
        }
    }
}

impl Intake {
    /// A door for `receiver`, the value of the label of that name, and requests of at most
    /// `items_max` items.
    pub fn new(
        store: Arc<dyn Store>,
        workers: Workers,
        ledger: Ledger,
        receiver: &'static str,
        items_max: u32,
    ) -> Self {
        Self {
            store,
            workers,
            ledger,
            receiver,
            items_max,
        }
    }

    /// Accepts a request in OTLP protobuf. Dropping the future does not undo an append that has
    /// begun; the client's retry is then answered as a duplicate.
    pub async fn accept(&self, signal: Signal, body: Bytes) -> Result<Accepted, Refused> {
        let (hash, checked) = self.check(signal, body).await.inspect_err(|refused| {
            self.ledger.refused(self.receiver, signal, refused.code(), None);
        })?;
        let accepted = Accepted {
            rejected: checked.rejected,
            message: checked.reasons.to_string(),
        };
        let reasons = checked.reasons.clone();
        let is_duplicate = checked.items > 0 && self.append(signal, hash, checked).await?.duplicate;
        if !is_duplicate {
            self.count_rejected(signal, &reasons);
        }
        Ok(accepted)
    }

    /// Counts a request that the receiver refused before it reached [`Intake::accept`].
    pub fn count_refused(&self, signal: Signal, reason: &'static str) {
        self.ledger.refused(self.receiver, signal, reason, None);
    }

    async fn check(&self, signal: Signal, body: Bytes) -> Result<(u128, Checked), Refused> {
        let bytes = body.len();
        let work = move || {
            let hash = xxh3_128_with_seed(&body, u64::from(signal as u8));
            otlp::check(signal, body, &CheckLimits::default()).map(|checked| (hash, checked))
        };
        let (hash, checked) = self.workers.run("otlp check", bytes, work).await??;
        if checked.items > self.items_max {
            return Err(Refused::TooManyItems {
                signal,
                items: checked.items,
                items_max: self.items_max,
            });
        }
        Ok((hash, checked))
    }

    async fn append(&self, signal: Signal, hash: u128, checked: Checked) -> Result<Appended, Refused> {
        let items = u64::from(checked.items);
        let record = NewRecord {
            signal,
            items: checked.items,
            hash: checked.every_log_has_time.then_some(hash),
            body: checked.body,
            overlay: Bytes::new(),
        };
        let accepted = self.ledger.accepted(self.receiver, signal);
        let appended = self.store.append(record, accepted).await.map_err(|error| {
            let refused = Refused::from(error);
            self.ledger
                .refused(self.receiver, signal, refused.code(), Some(items));
            refused
        })?;
        if appended.duplicate {
            self.ledger.duplicate(self.receiver, signal);
        }
        Ok(appended)
    }

    fn count_rejected(&self, signal: Signal, reasons: &Rejections) {
        for (class, items) in reasons.classes() {
            self.ledger.rejected(signal, class, u64::from(items));
        }
    }
}
