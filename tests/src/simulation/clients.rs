//! Applications: each sends spans, logs and data points with ids of their own over HTTP or gRPC, and
//! the same bytes again until it is told that they are accepted or gives up. They remember
//! everything, and judge nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, number_data_point};
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::events::Events;
use super::network::{self, Net};
use super::plan::draw;
use super::rows::Id;
use crate::otlp;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const ATTEMPTS_MAX: u64 = 12;
const ACCEPTED: &str = "accepted";
/// Of so many requests one is repeated although it was accepted: its client did not hear it.
const UNHEARD: u64 = 8;

/// What became of an item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) signal: Signal,
    pub(super) agent: usize,
    /// When it was first sent, in true time.
    pub(super) sent: u64,
    /// When the client was told that it is accepted.
    pub(super) acked: Option<u64>,
}

/// All items of all clients.
pub(super) type Book = Arc<Mutex<BTreeMap<Id, Sent>>>;

/// One application.
pub(super) struct Client {
    pub(super) seed: u64,
    pub(super) number: u64,
    pub(super) agent: usize,
    pub(super) signals: &'static [Signal],
    /// Bytes of text in each request, beside its items.
    pub(super) padding: usize,
    pub(super) net: Net,
    pub(super) book: Book,
    /// The true time.
    pub(super) clock: Clock,
    pub(super) events: Events,
}

impl Client {
    /// Sends until `end`, and ends when the last request is answered or given up.
    pub(super) async fn run(self, end: Instant) {
        for request in 0.. {
            let pause = 50 + draw(self.seed, &[4, self.number, request]) % 1_500;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if Instant::now() >= end {
                return;
            }
            self.deliver(request).await;
        }
    }

    async fn deliver(&self, request: u64) {
        let now = self.clock.now_unix_nanos();
        let count = 1 + draw(self.seed, &[5, self.number, request]) % 4;
        let ids: Vec<Id> = (0..count)
            .map(|item| (((self.number + 1) << 48) | (request << 8) | item).to_be_bytes())
            .collect();
        let luck = draw(self.seed, &[8, self.number, request]);
        let signal = self.signals[usize::try_from(luck >> 32).unwrap_or(0) % self.signals.len()];
        let service = service(luck, self.padding);
        let body = body(signal, &service, &ids, now);
        let mut is_unheard = (luck >> 8).is_multiple_of(UNHEARD);
        let sent = Sent {
            signal,
            agent: self.agent,
            sent: now,
            acked: None,
        };
        self.book.lock().extend(ids.iter().map(|id| (*id, sent)));
        for attempt in 0..ATTEMPTS_MAX {
            let answer = async {
                if luck & 4 == 0 {
                    self.post(signal, &body).await
                } else {
                    self.export(signal, &body).await
                }
            };
            let answer = timeout(ANSWER_WITHIN, answer).await;
            let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer")));
            let answer = answer.unwrap_or_else(|error| error.to_string());
            self.events
                .note(format!("client {} request {request}: {answer}", self.number));
            self.events.answered(signal, &answer);
            if answer == ACCEPTED {
                self.note_accepted(&ids);
                if !std::mem::take(&mut is_unheard) {
                    return;
                }
                self.events.struck("an accepted request is sent again");
            }
            let pause = 200 + draw(self.seed, &[6, self.number, request, attempt]) % 4_000;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    fn note_accepted(&self, ids: &[Id]) {
        let now = self.clock.now_unix_nanos();
        let mut book = self.book.lock();
        for id in ids {
            if let Some(sent) = book.get_mut(id) {
                sent.acked.get_or_insert(now);
            }
        }
    }

    fn ip(&self) -> Result<IpAddr> {
        let number = u8::try_from(self.number)?;
        Ok(IpAddr::V4(Ipv4Addr::new(10, 9, 0, number)))
    }

    async fn export(&self, signal: Signal, body: &[u8]) -> Result<String> {
        let to = SocketAddr::new(network::ip(self.agent), 4317);
        let connection = self.net.connect(self.ip()?, to).await?;
        let channel = otlp::channel_over(connection).await?;
        let answer = otlp::export(channel, signal, body.to_vec()).await?;
        Ok(match answer {
            Ok(()) => ACCEPTED.to_owned(),
            Err(status) => format!("{:?}", status.code()),
        })
    }

    async fn post(&self, signal: Signal, body: &[u8]) -> Result<String> {
        let to = SocketAddr::new(network::ip(self.agent), 4318);
        let path = otlp::path(signal);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: agent\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let answer = exchange(&self.net, self.ip()?, to, &[head.as_bytes(), body]).await?;
        let status = answer.split(' ').nth(1).context("no status line")?;
        Ok(if status == "200" { ACCEPTED } else { status }.to_owned())
    }
}

/// A name with so many bytes that no compression makes small.
fn service(luck: u64, padding: usize) -> String {
    let words = (0..padding as u64 / 16).map(|word| format!("{:016x}", draw(luck, &[word])));
    "simulated".to_owned() + &words.collect::<String>()
}

fn body(signal: Signal, service: &str, ids: &[Id], now: u64) -> Vec<u8> {
    match signal {
        Signal::Spans => otlp::spans_request(service, ids.iter().map(|id| a_span(*id, now)).collect()),
        Signal::Logs => {
            let record = |id: &Id| LogRecord {
                time_unix_nano: now,
                span_id: id.to_vec(),
                ..LogRecord::default()
            };
            otlp::logs_request(service, ids.iter().map(record).collect())
        }
        Signal::Metrics => {
            let point = |id: &Id| NumberDataPoint {
                time_unix_nano: now,
                value: Some(number_data_point::Value::AsInt(i64::from_be_bytes(*id))),
                ..NumberDataPoint::default()
            };
            otlp::gauge_request(service, ids.iter().map(point).collect())
        }
    }
}

fn a_span(id: Id, now: u64) -> Span {
    Span {
        trace_id: [id, id].concat(),
        span_id: id.to_vec(),
        name: "simulated".to_owned(),
        kind: span::SpanKind::Server as i32,
        start_time_unix_nano: now.saturating_sub(1_000_000),
        end_time_unix_nano: now,
        ..Span::default()
    }
}

/// The text that a process answers to `GET path`.
pub(super) async fn get(net: &Net, to: SocketAddr, path: &str) -> Result<String> {
    let from = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
    let head = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    let answer = timeout(ANSWER_WITHIN, exchange(net, from, to, &[head.as_bytes()])).await??;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .context("an answer without a body")?;
    Ok(body.to_owned())
}

async fn exchange(net: &Net, from: IpAddr, to: SocketAddr, parts: &[&[u8]]) -> Result<String> {
    let mut connection = net.connect(from, to).await?;
    for part in parts {
        connection.write_all(part).await?;
    }
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
