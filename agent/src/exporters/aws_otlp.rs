//! AWS's own OTLP endpoints: X-Ray for spans, CloudWatch Logs for log records, CloudWatch for data
//! points. OTLP over HTTP with protobuf and gzip, signed. Records are joined as they were received
//! where they are within AWS's limits, and divided where they are not. Which requests there are and
//! when they leave is [`crate::requests`]' business.
//!
//! Source: CloudWatch user guide, "OTLP endpoints".

mod rules;
mod settings;

use std::io;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::tasks::{self, TaskError};

use crate::ledger::DropReason;
use crate::otlp::divide::{Choice, Item, divide};
use crate::otlp::{Malformed, Origin};
use crate::paths;
use crate::requests::answer::{self, Said};
use crate::requests::aws::{Aws, Call, CallError, Fault, verdict_of_silence};
use crate::requests::client::{Answer, ClientError};
use crate::requests::compression::Compression;
use crate::requests::explain;
use crate::requests::notices::Notices;
use crate::requests::packer::Limits;
use crate::requests::sink::{Fraction, Pieces, Place, Sent, Sink, Trouble, TroubleKind, Verdict};
use crate::sampling::Sampler;
use crate::spool::Record;
use rules::Rules;
pub use settings::{PROTOCOLS, Settings};

const LOG_GROUP: HeaderName = HeaderName::from_static("x-aws-log-group");
const LOG_STREAM: HeaderName = HeaderName::from_static("x-aws-log-stream");

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the request cannot be compressed")]
    Compression(#[from] io::Error),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// An exporter to one of them.
#[derive(Debug)]
pub struct AwsOtlp {
    aws: Aws,
    signal: Signal,
    rules: Rules,
    headers: Vec<(HeaderName, HeaderValue)>,
    sampler: Sampler,
    notices: Notices,
}

impl AwsOtlp {
    /// Nothing is asked yet.
    pub fn new(settings: &Settings, origin: &Origin, clock: Clock) -> Result<Self, ClientError> {
        let service = match settings.signal {
            Signal::Spans => "xray",
            Signal::Logs => "logs",
            Signal::Metrics => "monitoring",
        };
        let headers = settings.log.as_ref().map(|log| {
            [(LOG_GROUP, &log.group), (LOG_STREAM, &log.stream)]
                .map(|(name, text)| (name, header(text, origin)))
        });
        let within = settings.requests.request_timeout;
        Ok(Self {
            aws: Aws::new(&settings.aws, service, service, within, clock)?,
            signal: settings.signal,
            rules: Rules::of(settings.signal),
            headers: headers.into_iter().flatten().collect(),
            sampler: Sampler::new(settings.sampling),
            notices: Notices::default(),
        })
    }

    fn pieces_of(&self, record: &Record, pieces: &mut Pieces<Bytes>) -> Result<(), Malformed> {
        let place = Place {
            key: 0,
            affinity: None,
            time: record.received_unix_nanos,
        };
        let mut left_out = Vec::new();
        let choose = |item: &Item<'_>| {
            let (choice, reason) = match self.rules.broken_by(item)? {
                Some(broken) => {
                    self.tell(broken);
                    (Choice::Leave, DropReason::TooLarge)
                }
                None => (self.sampler.choose(item)?, DropReason::Sampled),
            };
            if choice == Choice::Leave {
                left_out.push((item.index, reason));
            }
            Ok(choice)
        };
        divide(record.signal, &record.body, &self.rules.request, choose, |part| {
            let body = part.body.map_or_else(|| record.body.clone(), Bytes::from);
            let overhead = part.items as usize * self.rules.request.item_overhead;
            pieces.push_some(part.first, part.items, place, body.len() + overhead, body);
        })?;
        for (index, reason) in left_out {
            pieces.drop_item(index, reason);
        }
        Ok(())
    }

    fn tell(&self, broken: &str) {
        if self.notices.is_due(broken) {
            tracing::warn!(
                endpoint = self.aws.endpoint(),
                "AWS takes no {broken}; what has one is dropped"
            );
        }
    }

    async fn ask(&self, request: &Sent<Bytes>) -> Result<Answer, SendError> {
        let contents = request.pieces.iter().map(|piece| piece.content.content.clone());
        let parts: Vec<Bytes> = contents.collect();
        // A megabyte takes milliseconds, in which nothing else should wait.
        let body = tasks::blocking("compress", move || {
            let mut body = Vec::new();
            Compression::Gzip.append(&mut body, &parts)?;
            Ok::<_, io::Error>(body)
        });
        let call = Call {
            path: paths::http(self.signal),
            content_type: "application/x-protobuf",
            content_encoding: Compression::Gzip.name(),
            headers: self.headers.clone(),
            body: Bytes::from(body.await??),
        };
        Ok(self.aws.call(call).await?)
    }

    fn judge(&self, request: &Sent<Bytes>, answer: &Answer) -> Verdict {
        let doing = format!("OTLP to {}", self.aws.endpoint());
        if let Some(fault) = Fault::of(answer) {
            return fault.verdict(&doing, answer);
        }
        match answer::of_http(answer) {
            Said::Taken { rejected, message } => {
                if rejected > 0 && self.notices.is_due("rejected") {
                    tracing::warn!("{doing}: {rejected} items of a request are rejected: {message}");
                }
                Verdict::Taken(answer::rejections(request, rejected))
            }
            Said::Not(verdict) => verdict,
        }
    }
}

impl Sink for AwsOtlp {
    type Content = Bytes;
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn signals(&self) -> &'static [Signal] {
        settings::signals(self.signal)
    }

    fn endpoint(&self) -> &str {
        self.aws.endpoint()
    }

    fn limits(&self) -> Limits {
        Limits {
            pieces: self.rules.request.items as usize,
            bytes: self.rules.request.bytes,
            request_overhead: 0,
            piece_overhead: 0,
            piece_bytes: self.rules.request.bytes,
            span_nanos: u64::MAX,
            is_ordered: false,
        }
    }

    fn translate(&self, record: &Record, pieces: &mut Pieces<Bytes>) {
        if let Err(error) = self.pieces_of(record, pieces) {
            tracing::error!(seq = record.seq, %error, "a record of the spool is no OTLP request");
            pieces.drop_all(record.items, DropReason::Corrupt);
        }
    }

    fn divide(&self, signal: Signal, content: &Bytes, items: u32) -> Vec<Fraction<Bytes>> {
        Fraction::halves(signal, content, items, self.rules.request.item_overhead)
    }

    fn show(&self, request: &Sent<Bytes>) -> String {
        let mut text = explain::otlp(paths::http(self.signal), self.signal, request);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or_default()));
        }
        text
    }

    async fn send(&self, request: &Sent<Bytes>) -> Verdict {
        match self.ask(request).await {
            Ok(answer) => self.judge(request, &answer),
            Err(SendError::Call(error)) => verdict_of_silence("OTLP", &error),
            Err(error) => Verdict::Later(Trouble {
                kind: TroubleKind::Unavailable,
                message: format!("OTLP fails: {}", meridian_runtime::chain(&error)),
                pause: None,
            }),
        }
    }
}

/// A name with what is known of the agent.
fn header(name: &str, origin: &Origin) -> HeaderValue {
    let known = [
        ("{region}", &origin.region),
        ("{cluster}", &origin.cluster),
        ("{node}", &origin.node),
    ];
    let filled = known
        .iter()
        .fold(name.to_owned(), |name, (key, value)| name.replace(key, value));
    let printable = filled.replace(|character: char| !(' '..='~').contains(&character), "_");
    HeaderValue::try_from(printable).unwrap_or_else(|_| HeaderValue::from_static("meridian"))
}
