//! OTLP to any backend, over gRPC or HTTP: requests as they were received, joined, compressed
//! and passed on. Encoded protobuf messages that stand one after the other are one message with
//! the fields of all, so nothing is decoded, unless spans are sampled. Which requests there are and when they leave is
//! [`crate::requests`]' business.

mod settings;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use meridian_proto::signal::Signal;
use meridian_runtime::tasks::{self, TaskError};

use crate::ledger::DropReason;
use crate::otlp::Malformed;
use crate::otlp::divide::{Choice, DivideLimits, Item, divide};
use crate::paths;
use crate::requests::answer::{self, Said};
use crate::requests::client::{Answer, Client, ClientError, Version};
pub use crate::requests::compression::Compression;
use crate::requests::explain;
use crate::requests::packer::Limits;
use crate::requests::sink::{Fraction, Pieces, Place, Sent, Sink, Trouble, TroubleKind, Verdict};
use crate::sampling::Sampler;
use crate::spool::Record;
pub use settings::{Protocol, Settings};

/// Records of one request.
const RECORDS_MAX: usize = 10_000;
const GRPC: &str = "application/grpc";
const PROTOBUF: &str = "application/x-protobuf";
/// Before a message of gRPC: whether it is compressed, and its length.
const GRPC_PREFIX_BYTES: usize = 5;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the request cannot be compressed")]
    Compression(#[from] io::Error),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// An exporter to an OTLP backend.
#[derive(Debug)]
pub struct Otlp {
    client: Client,
    endpoint: String,
    protocol: Protocol,
    compression: Compression,
    headers: Arc<Vec<(HeaderName, HeaderValue)>>,
    limits: Limits,
    sampler: Sampler,
}

impl Otlp {
    /// Connects to nothing yet.
    pub fn new(settings: &Settings) -> Result<Self, ClientError> {
        let version = match settings.protocol {
            Protocol::Grpc => Version::Http2,
            Protocol::Http => Version::Http1,
        };
        Ok(Self {
            client: Client::new(version, settings.requests.request_timeout)?,
            endpoint: settings.endpoint.as_str().trim_end_matches('/').to_owned(),
            protocol: settings.protocol,
            compression: settings.compression,
            headers: Arc::new(settings.headers.clone()),
            limits: Limits {
                pieces: RECORDS_MAX,
                bytes: settings.request_bytes,
                request_overhead: 0,
                piece_overhead: 0,
                piece_bytes: usize::MAX,
                span_nanos: u64::MAX,
                is_ordered: false,
            },
            sampler: Sampler::new(settings.sampling),
        })
    }

    /// Spans that the sampler keeps, as a request of their own.
    fn sample(&self, record: &Record, place: Place, pieces: &mut Pieces<Bytes>) -> Result<(), Malformed> {
        let mut left_out = Vec::new();
        let choose = |item: &Item<'_>| {
            let choice = self.sampler.choose(item)?;
            if choice == Choice::Leave {
                left_out.push(item.index);
            }
            Ok(choice)
        };
        divide(record.signal, &record.body, &DivideLimits::NONE, choose, |kept| {
            let body = kept.body.map_or_else(|| record.body.clone(), Bytes::from);
            pieces.push_some(kept.first, kept.items, place, body.len(), body);
        })?;
        let left_out = left_out.into_iter();
        left_out.for_each(|index| pieces.drop_item(index, DropReason::Sampled));
        Ok(())
    }

    async fn ask(&self, request: &Sent<Bytes>) -> Result<Answer, SendError> {
        let parts: Vec<Bytes> = request
            .pieces
            .iter()
            .map(|piece| piece.content.content.clone())
            .collect();
        let (protocol, compression) = (self.protocol, self.compression);
        // A megabyte takes milliseconds, in which nothing else should wait.
        let body = tasks::blocking("compress", move || body(protocol, compression, &parts)).await??;
        let request = self.request(signal_of(request.key), body)?;
        Ok(self.client.send(request).await?)
    }

    fn request(&self, signal: Signal, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
        let path = match self.protocol {
            Protocol::Grpc => paths::grpc(signal),
            Protocol::Http => paths::http(signal),
        };
        let uri = format!("{}{path}", self.endpoint);
        let mut request = Request::post(uri).header(
            USER_AGENT,
            concat!("OTel-OTLP-Exporter-meridian-agent/", env!("CARGO_PKG_VERSION")),
        );
        request = match (self.protocol, self.compression.name()) {
            (Protocol::Grpc, None) => request.header(CONTENT_TYPE, GRPC).header(TE, "trailers"),
            (Protocol::Grpc, Some(name)) => request
                .header(CONTENT_TYPE, GRPC)
                .header(TE, "trailers")
                .header("grpc-encoding", name),
            (Protocol::Http, None) => request.header(CONTENT_TYPE, PROTOBUF),
            (Protocol::Http, Some(name)) => request
                .header(CONTENT_TYPE, PROTOBUF)
                .header(CONTENT_ENCODING, name),
        };
        for (name, value) in self.headers.iter() {
            request = request.header(name, value);
        }
        request.body(Full::new(body))
    }
}

impl Sink for Otlp {
    type Content = Bytes;
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn translate(&self, record: &Record, pieces: &mut Pieces<Bytes>) {
        let place = Place {
            key: record.signal.index() as u64,
            affinity: None,
            time: record.received_unix_nanos,
        };
        if record.signal != Signal::Spans || !self.sampler.is_on() {
            pieces.push_all(record.items, place, record.body.len(), record.body.clone());
        } else if let Err(error) = self.sample(record, place, pieces) {
            tracing::error!(seq = record.seq, %error, "a record of the spool is no trace request");
            pieces.drop_all(record.items, DropReason::Corrupt);
        }
    }

    fn divide(&self, signal: Signal, content: &Bytes, items: u32) -> Vec<Fraction<Bytes>> {
        Fraction::halves(signal, content, items, 0)
    }

    fn show(&self, request: &Sent<Bytes>) -> String {
        let signal = signal_of(request.key);
        let path = match self.protocol {
            Protocol::Grpc => paths::grpc(signal),
            Protocol::Http => paths::http(signal),
        };
        explain::otlp(path, signal, request)
    }

    async fn send(&self, request: &Sent<Bytes>) -> Verdict {
        let answer = match self.ask(request).await {
            Ok(answer) => answer,
            Err(error) => {
                return Verdict::Later(Trouble {
                    kind: TroubleKind::Unavailable,
                    message: format!("the backend fails: {}", meridian_runtime::chain(&error)),
                    pause: None,
                });
            }
        };
        let said = match self.protocol {
            Protocol::Grpc => answer::of_grpc(&answer),
            Protocol::Http => answer::of_http(&answer),
        };
        match said {
            Said::Not(verdict) => verdict,
            Said::Taken { rejected, message } => {
                if rejected > 0 {
                    tracing::debug!(rejected, message, "the backend has rejected items");
                }
                Verdict::Taken(answer::rejections(request, rejected))
            }
        }
    }
}

fn signal_of(key: u64) -> Signal {
    let is_it = |signal: &Signal| signal.index() as u64 == key;
    Signal::ALL.into_iter().find(is_it).unwrap_or(Signal::Spans)
}

fn body(protocol: Protocol, compression: Compression, parts: &[Bytes]) -> io::Result<Bytes> {
    let plain: usize = parts.iter().map(Bytes::len).sum();
    let mut body = Vec::with_capacity(match compression {
        Compression::None => plain + GRPC_PREFIX_BYTES,
        _ => plain / 4,
    });
    if protocol == Protocol::Http {
        compression.append(&mut body, parts)?;
        return Ok(Bytes::from(body));
    }
    body.extend_from_slice(&[0; GRPC_PREFIX_BYTES]);
    compression.append(&mut body, parts)?;
    let length = u32::try_from(body.len() - GRPC_PREFIX_BYTES).map_err(io::Error::other)?;
    if let Some(prefix) = body.first_chunk_mut::<GRPC_PREFIX_BYTES>() {
        let [a, b, c, d] = length.to_be_bytes();
        *prefix = [u8::from(compression != Compression::None), a, b, c, d];
    }
    Ok(Bytes::from(body))
}
