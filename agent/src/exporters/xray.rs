//! X-Ray by `PutTraceSegments`: each span becomes a segment document, or several. Which requests
//! there are and when they leave is [`crate::requests`]' business.
//!
//! ```text
//! body ─► span ─► Facts ─┬─► names, http, sql, aws, cause, links   what X-Ray has a field for
//!         (view)  (known ├─► annotations                           what was asked to be indexed
//!                  keys) └─► metadata                              everything else
//! ```
//! A span is a segment or an independent subsegment, as its kind and parent say; a local root that
//! calls out is both, in two documents. What does not fit 64 kB goes on in further subsegments, and
//! what does not fit those is named in the document that lacks it. No attribute gets lost without a
//! word: a text that is cut to what X-Ray takes stays whole in the metadata.
//!
//! Source: X-Ray API reference, PutTraceSegments; X-Ray developer guide, "Segment documents".

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod annotations;
mod answer;
mod aws;
mod cause;
mod document;
mod draft;
mod facts;
mod http;
mod json;
mod keys;
mod links;
mod mapper;
mod metadata;
mod names;
mod resource;
mod segment;
mod settings;
mod sql;
mod stacks;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use parking_lot::Mutex;

use crate::ledger::DropReason;
use crate::requests::aws::{Aws, Call, CallError, Fault, verdict_of_silence};
use crate::requests::client::ClientError;
use crate::requests::notices::Notices;
use crate::requests::packer::Limits;
use crate::requests::quoted::Quoter;
use crate::requests::sink::{Pieces, Place, Sent, Sink, Verdict};
use crate::sampling::Sampler;
use crate::spool::Record;
pub use draft::{DOCUMENT_BYTES_MAX, Document};
pub use mapper::{Mapped, Mapper, Unmappable};
use segment::{Segment, body};
pub use settings::{Mapping, Settings};

const DOING: &str = "PutTraceSegments";

/// Of one call. X-Ray says nothing of its bytes; a megabyte holds two traces of the most that X-Ray
/// takes of one (500 kB), so that no trace is cut for it, fifty documents as they are usual are a
/// tenth of it, and what a call that fails sends again stays small.
pub const LIMITS: Limits = Limits {
    pieces: 50,
    bytes: 1 << 20,
    request_overhead: "{\"TraceSegmentDocuments\":[]}".len(),
    piece_overhead: "\"\",".len(),
    piece_bytes: DOCUMENT_BYTES_MAX,
    span_nanos: u64::MAX,
    is_ordered: false,
};

/// An exporter to X-Ray.
#[derive(Debug)]
pub struct Xray {
    aws: Aws,
    /// Records are translated one after the other.
    translation: Mutex<Translation>,
    notices: Notices,
}

/// Spans to segments.
#[derive(Debug)]
struct Translation {
    mapper: Mapper,
    quoter: Quoter,
}

impl Xray {
    /// Nothing is asked yet.
    pub fn new(settings: &Settings, clock: Clock) -> Result<Self, ClientError> {
        let within = settings.requests.request_timeout;
        let sampler = Sampler::new(settings.sampling);
        Ok(Self {
            aws: Aws::new(&settings.aws, "xray", "xray", within, clock)?,
            translation: Mutex::new(Translation {
                mapper: Mapper::new(settings.mapping.clone()).sampled(sampler),
                quoter: Quoter::default(),
            }),
            notices: Notices::default(),
        })
    }

    async fn put(&self, request: &Sent<Segment>) -> Result<Verdict, CallError> {
        let answer = self.aws.call(call(request)).await?;
        if let Some(fault) = Fault::of(&answer) {
            return Ok(fault.verdict(DOING, &answer));
        }
        let ids = request.pieces.iter().map(|piece| piece.content.content.id);
        let unprocessed = answer::read(&answer.body);
        for one in unprocessed.iter().filter(|one| !one.is_passing()) {
            if self.notices.is_due(&one.code) {
                tracing::warn!("X-Ray does not take a span: {}", one.told());
            }
        }
        Ok(answer::verdict(&unprocessed, ids))
    }
}

impl Sink for Xray {
    type Content = Segment;
    const SIGNALS: &'static [Signal] = &[Signal::Spans];

    fn endpoint(&self) -> &str {
        self.aws.endpoint()
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn translate(&self, record: &Record, pieces: &mut Pieces<Segment>) {
        let mut translation = self.translation.lock();
        let Translation { mapper, quoter } = &mut *translation;
        let mapped = mapper.documents(&record.body, |mapped| match mapped {
            Mapped::Document(document) => {
                let place = Place {
                    key: 0,
                    affinity: Some(document.trace_id),
                    time: document.time_unix_nanos,
                };
                pieces.push(
                    document.item,
                    place,
                    document.json.len(),
                    Segment::of(&document, quoter),
                );
            }
            Mapped::Dropped { item, reason } => {
                if self.notices.is_due(reason.label()) {
                    tracing::warn!("X-Ray cannot hold {reason}; it is dropped");
                }
                pieces.drop_item(item, DropReason::Invalid);
            }
            Mapped::Sampled { item } => pieces.drop_item(item, DropReason::Sampled),
        });
        if let Err(error) = mapped {
            tracing::error!(seq = record.seq, %error, "a record of the spool is no trace request");
            pieces.drop_all(record.items, DropReason::Corrupt);
        }
    }

    fn show(&self, request: &Sent<Segment>) -> String {
        let segments = request.pieces.iter().map(|piece| &piece.content.content);
        let mut text = format!("{DOING}: documents {}\n", request.pieces.len());
        segments.for_each(|segment| segment.show(&mut text));
        text
    }

    async fn send(&self, request: &Sent<Segment>) -> Verdict {
        match self.put(request).await {
            Ok(verdict) => verdict,
            Err(error) => verdict_of_silence(DOING, &error),
        }
    }
}

fn call(request: &Sent<Segment>) -> Call {
    let segments = || request.pieces.iter().map(|piece| &piece.content.content);
    Call {
        path: "/TraceSegments",
        content_type: "application/json",
        content_encoding: None,
        headers: Vec::new(),
        body: Bytes::from(body(segments)),
    }
}
