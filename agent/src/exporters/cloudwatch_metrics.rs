//! CloudWatch metrics by `PutMetricData`: data points become datums of the series that a rule
//! selects, cumulative ones what they add, histograms values and their counts, so that percentiles
//! survive. Which requests there are and when they leave is [`crate::requests`]' business.
//!
//! ```text
//! record ─► points ─► rules ─► streams ─► budget ─► aggregate ─► datums ─► requests
//!                       │         │          │          │
//!                       │         │          │          └ values for buckets
//!                       │         │          └ overflow series
//!                       │         └ what was added; memory over a restart
//!                       └ not selected: dropped, counted
//! ```
//! Quantiles of summaries are not sent: they cannot be put together with others. A summary's count
//! and sum are, as its mean and how often, so that Sum, SampleCount and Average are right.
//!
//! Source: CloudWatch API reference, PutMetricData, and its service model.

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod aggregate;
mod budget;
mod datum;
mod histogram;
mod identity;
mod memory;
mod metrics;
mod select;
mod series;
mod settings;
mod streams;
mod told;
mod translate;
mod units;
mod values;

#[cfg(test)]
mod tests;

use std::io;

use bytes::Bytes;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::tasks::{self, TaskError};
use parking_lot::Mutex;

use crate::ledger::DropReason;
use crate::requests::aws::{Aws, Call, CallError, Fault, verdict_of_silence};
use crate::requests::client::ClientError;
use crate::requests::compression::Compression;
use crate::requests::packer::Limits;
use crate::requests::sink::{Fate, Pieces, Sent, Sink, Trouble, TroubleKind, Verdict};
use crate::spool::{Record, Spool};
use datum::Datum;
use memory::{Memory, Settled};
use metrics::Counted;
pub use metrics::Metrics;
pub use settings::Settings;
use translate::{Translator, is_too_old};

const JSON_1_0: &str = "application/x-amz-json-1.0";
const TARGET: http::HeaderName = http::HeaderName::from_static("x-amz-target");
const PUT: http::HeaderValue = http::HeaderValue::from_static("GraniteServiceVersion20100801.PutMetricData");
/// In messages.
const DOING: &str = "PutMetricData";

/// Of one call: 1 MB, which counts before it is compressed, and 1000 datums.
const LIMITS: Limits = Limits {
    pieces: 1000,
    bytes: 1_000_000,
    request_overhead: 0,
    piece_overhead: 1,
    piece_bytes: 900_000,
    span_nanos: u64::MAX,
    is_ordered: false,
};

/// An exporter to CloudWatch metrics.
pub struct CloudwatchMetrics {
    aws: Aws,
    namespace: String,
    compression: Compression,
    clock: Clock,
    translator: Mutex<Translator>,
    settled: Mutex<Settled>,
    running: Option<Running>,
}

/// What only an exporter that runs has.
struct Running {
    name: String,
    spool: Spool,
    counted: Counted,
}

/// Why an exporter cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What it has kept cannot be read.
    #[error("what the exporter has kept cannot be read")]
    Kept(#[source] io::Error),
}

/// Why a call was not made.
#[derive(Debug, thiserror::Error)]
enum PutError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the request cannot be compressed")]
    Compress(#[from] io::Error),
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl CloudwatchMetrics {
    /// Goes on with what the exporter of this name has kept in the spool. Nothing is asked yet.
    pub fn new(name: &str, settings: &Settings, spool: Spool, metrics: &Metrics) -> Result<Self, BuildError> {
        let clock = spool.clock().clone();
        let now = clock.now_unix_nanos();
        let kept = spool.kept(name).map_err(BuildError::Kept)?;
        let memory = memory::open(kept.as_deref(), settings.max_streams, now);
        let running = Running {
            name: name.to_owned(),
            spool,
            counted: metrics.of(name, now),
        };
        Ok(Self {
            running: Some(running),
            ..Self::with(settings, clock, memory)?
        })
    }

    /// One that keeps nothing and knows all streams from their starts, for those who ask what would
    /// be sent.
    pub fn to_explain(settings: &Settings, clock: Clock) -> Result<Self, ClientError> {
        Self::with(settings, clock, memory::open(None, settings.max_streams, 0))
    }

    fn with(settings: &Settings, clock: Clock, memory: (Memory, Settled)) -> Result<Self, ClientError> {
        let within = settings.requests.request_timeout;
        Ok(Self {
            aws: Aws::new(&settings.aws, "monitoring", "monitoring", within, clock.clone())?,
            namespace: settings.namespace.clone(),
            compression: settings.compression,
            clock,
            translator: Mutex::new(Translator::new(settings, memory.0)),
            settled: Mutex::new(memory.1),
            running: None,
        })
    }

    /// Sends what is not too old by now; the others are dropped.
    async fn put(&self, request: &Sent<Datum>) -> Result<Verdict, PutError> {
        let now = self.clock.now_unix_nanos();
        let (mut late, mut datums) = (Vec::new(), Vec::new());
        for (index, piece) in request.pieces.iter().enumerate() {
            match is_too_old(piece.time, now) {
                true => late.push((index, Fate::Dropped(DropReason::TooOld))),
                false => datums.push(&piece.content.content),
            }
        }
        if datums.is_empty() {
            return Ok(Verdict::Taken(late));
        }
        let body = datum::body(&self.namespace, datums.into_iter());
        let (compression, parts) = (self.compression, [Bytes::from(body)]);
        let body = tasks::blocking("compress", move || {
            let mut body = Vec::new();
            compression.append(&mut body, &parts).map(|()| body)
        });
        let call = Call {
            path: "/",
            content_type: JSON_1_0,
            content_encoding: compression.name(),
            headers: vec![(TARGET, PUT)],
            body: Bytes::from(body.await??),
        };
        let answer = self.aws.call(call).await?;
        if let Some(running) = &self.running {
            running.counted.sent(now);
        }
        Ok(match Fault::of(&answer) {
            Some(fault) => fault.verdict(DOING, &answer),
            None => Verdict::Taken(late),
        })
    }
}

impl Sink for CloudwatchMetrics {
    type Content = Datum;
    const SIGNALS: &'static [Signal] = &[Signal::Metrics];
    const KEEPS: bool = true;

    fn endpoint(&self) -> &str {
        self.aws.endpoint()
    }

    fn limits(&self) -> Limits {
        Limits {
            request_overhead: datum::body_overhead(&self.namespace),
            ..LIMITS
        }
    }

    fn translate(&self, record: &Record, pieces: &mut Pieces<Datum>) {
        let now = self.clock.now_unix_nanos();
        let translated = self.translator.lock().record(record, now, pieces);
        match (translated, &self.running) {
            (Ok(account), Some(running)) => running.counted.translated(account, now),
            (Ok(_), None) => {}
            (Err(error), _) => {
                tracing::error!(seq = record.seq, %error, "a record of the spool is no metrics request");
                pieces.drop_all(record.items, DropReason::Corrupt);
            }
        }
    }

    fn show(&self, request: &Sent<Datum>) -> String {
        let mut text = format!(
            "{DOING}: namespace {}, datums {}\n",
            self.namespace,
            request.pieces.len()
        );
        for piece in &request.pieces {
            text.push_str(&piece.content.content.json);
            text.push('\n');
        }
        text
    }

    async fn send(&self, request: &Sent<Datum>) -> Verdict {
        match self.put(request).await {
            Ok(verdict) => verdict,
            Err(PutError::Call(error)) => verdict_of_silence(DOING, &error),
            Err(error) => Verdict::Later(Trouble {
                kind: TroubleKind::Unavailable,
                message: format!("{DOING} fails: {}", meridian_runtime::chain(&error)),
                pause: None,
            }),
        }
    }

    /// Where it cannot be kept, delivering goes on: what cumulative streams add from now on would
    /// be sent again after a crash.
    fn keep(&self, _signal: Signal, seq: u64) {
        let changes = self.translator.lock().memory().take_changes(seq);
        let state = self.settled.lock().advance(seq, changes);
        if let (Some(state), Some(running)) = (state, &self.running) {
            running.keep(&state);
        }
    }
}

impl Running {
    fn keep(&self, state: &[u8]) {
        let kept = self.spool.keep(&self.name, state);
        if self.counted.kept(state.len(), kept.is_ok())
            && let Err(error) = kept
        {
            tracing::error!(exporter = self.name, %error, "the last values of cumulative streams cannot be kept; after a restart their increments since then are sent again");
        }
    }
}
