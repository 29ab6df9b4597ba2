//! Applications: each sends spans with ids of its own over HTTP, and the same bytes again until it
//! is told that they are accepted or gives up. They remember everything, and judge nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use meridian_runtime::clock::Clock;
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

/// What became of a span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) agent: usize,
    /// When it was first sent, in true time.
    pub(super) sent: u64,
    /// When the client was told that it is accepted.
    pub(super) acked: Option<u64>,
}

/// All spans of all clients.
pub(super) type Book = Arc<Mutex<BTreeMap<Id, Sent>>>;

/// One application.
pub(super) struct Client {
    pub(super) seed: u64,
    pub(super) number: u64,
    pub(super) agent: usize,
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
            .map(|span| (((self.number + 1) << 48) | (request << 8) | span).to_be_bytes())
            .collect();
        let spans = ids.iter().map(|id| a_span(*id, now)).collect();
        let body = otlp::spans_request("simulated", spans);
        let sent = Sent {
            agent: self.agent,
            sent: now,
            acked: None,
        };
        self.book.lock().extend(ids.iter().map(|id| (*id, sent)));
        for attempt in 0..ATTEMPTS_MAX {
            let status = timeout(ANSWER_WITHIN, self.post(&body)).await;
            let status = status
                .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer")))
                .unwrap_or(0);
            self.events
                .note(format!("client {} request {request}: {status}", self.number));
            if status == 200 {
                let now = self.clock.now_unix_nanos();
                let mut book = self.book.lock();
                for id in &ids {
                    if let Some(sent) = book.get_mut(id) {
                        sent.acked = Some(now);
                    }
                }
                return;
            }
            let pause = 200 + draw(self.seed, &[6, self.number, request, attempt]) % 4_000;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn post(&self, body: &[u8]) -> Result<u16> {
        let to = SocketAddr::new(network::ip(self.agent), 4318);
        let from = IpAddr::V4(Ipv4Addr::new(10, 9, 0, u8::try_from(self.number)?));
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nHost: agent\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        exchange(&self.net, from, to, &[head.as_bytes(), body])
            .await
            .and_then(|answer| status(&answer))
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

fn status(answer: &str) -> Result<u16> {
    Ok(answer.split(' ').nth(1).context("no status line")?.parse()?)
}
