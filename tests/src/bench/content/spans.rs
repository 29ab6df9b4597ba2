//! The spans: each service takes a call and makes one. Ids and times are slots; what a span
//! says of its route is not that of its trace, which nobody measures.

use anyhow::Result;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span};

use super::{METHODS, ROUTES, VARIANTS, field, integer, status};
use crate::bench::random::Random;
use crate::bench::template::{Fill, Piece, Slots};
use crate::otlp::attribute;

const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0) Safari/605.1",
    "okhttp/5.1.0",
    "python-requests/2.32.5",
];
/// The flags of a span whose trace is sampled and whose parent is known not to be remote.
const FLAGS: u32 = 0x101;

/// Spans without a parent, spans that answer a call, and spans that make one.
#[derive(Debug)]
pub(super) struct Spans {
    roots: Vec<Piece>,
    servers: Vec<Piece>,
    clients: Vec<Piece>,
}

impl Spans {
    pub(super) fn new(random: &mut Random) -> Result<Self> {
        let mut pieces = |kind, has_parent| {
            (0..VARIANTS)
                .map(|_| piece(random, kind, has_parent))
                .collect::<Result<_>>()
        };
        Ok(Self {
            roots: pieces(span::SpanKind::Server, false)?,
            servers: pieces(span::SpanKind::Server, true)?,
            clients: pieces(span::SpanKind::Client, true)?,
        })
    }

    /// The span with this index among those of a trace in the request at `place`.
    pub(super) fn piece(&self, random: &mut Random, place: u64, index: u64) -> &Piece {
        let pieces = match (place, index) {
            (0, 0) => &self.roots,
            (_, 0) => &self.servers,
            _ => &self.clients,
        };
        &pieces[random.index(pieces.len())]
    }
}

fn piece(random: &mut Random, kind: span::SpanKind, has_parent: bool) -> Result<Piece> {
    let mut slots = Slots::default();
    let (method, route) = (random.pick(&METHODS), random.pick(&ROUTES));
    let status = status(random);
    let mut parent_span_id = Vec::new();
    let (trace_id, span_id) = (slots.bytes(16, Fill::TraceId), slots.bytes(8, Fill::SpanId(0)));
    if has_parent {
        parent_span_id = slots.bytes(8, Fill::SpanId(-1));
    }
    let span = Span {
        trace_id,
        span_id,
        parent_span_id,
        name: format!("{method} {route}"),
        kind: kind as i32,
        flags: FLAGS,
        start_time_unix_nano: slots.fixed64(Fill::Start),
        end_time_unix_nano: slots.fixed64(Fill::End),
        attributes: vec![
            attribute("http.request.method", method),
            attribute("http.route", route),
            attribute("url.path", &route.replace("{id}", &slots.text(8, Fill::Digits))),
            attribute("url.scheme", "https"),
            integer("http.response.status_code", status),
            attribute("server.address", "shop.example.com"),
            integer("server.port", 443),
            attribute("client.address", &slots.text(15, Fill::Address)),
            attribute("network.protocol.version", "1.1"),
            attribute("user_agent.original", random.pick(&BROWSERS)),
            attribute("user.id", &format!("user-{}", slots.text(6, Fill::Digits))),
            attribute("thread.name", &format!("http-nio-8080-exec-{}", random.below(50))),
        ],
        status: Some(Status {
            code: if status >= 500 { 2 } else { 0 },
            ..Status::default()
        }),
        ..Span::default()
    };
    slots.piece(field(2, &span))
}
