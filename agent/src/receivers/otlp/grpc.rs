//! OTLP over gRPC: the three Export methods and grpc.health.v1, on bare HTTP/2.
//!
//! Served without a generated server, because requests must not be decoded into structs and
//! the limits must be ours: a message over the limit is RESOURCE_EXHAUSTED without RetryInfo
//! (generated servers say OUT_OF_RANGE, which SDKs retry for ever). It deliberately knows no
//! streaming calls of its own.

mod frame;
mod reply;

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::FutureExt;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, StatusCode};
use meridian_proto::signal::Signal;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use tower::ServiceExt;

pub use frame::FrameError;
use frame::{Framing, Message};

use super::body::Chunks;
use super::door::{Door, Format};
use super::encoding::Encoding;
use super::fault::Fault;
use super::rpc::ExportResponse;
use crate::intake::Accepted;
use crate::paths;

const NOT_GRPC: &str = "this port speaks OTLP over gRPC (HTTP/2, content-type application/grpc); \
    OTLP over HTTP has a port of its own, 4318 by default\n";

/// The names under which health is asked for.
pub const SERVICES: [&str; 3] = [
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "opentelemetry.proto.collector.logs.v1.LogsService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
];

/// What answers the requests of the gRPC listener.
#[derive(Clone)]
struct Grpc {
    door: Door,
    health: HealthServer<HealthService>,
}

/// The routes of the gRPC listener: everything, for every answer has gRPC's form.
pub fn router(door: Door, health: HealthServer<HealthService>) -> Router {
    Router::new().fallback(call).with_state(Grpc { door, health })
}

async fn call(State(grpc): State<Grpc>, request: Request) -> Response {
    if request.method() != Method::POST {
        return reply::not_grpc(StatusCode::METHOD_NOT_ALLOWED, NOT_GRPC);
    }
    if !is_grpc(request.headers()) {
        return reply::not_grpc(StatusCode::UNSUPPORTED_MEDIA_TYPE, NOT_GRPC);
    }
    if request.uri().path().starts_with("/grpc.health.v1.Health/") {
        return grpc
            .health
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {})
            .map(Body::new);
    }
    let Some(signal) = signal_of(request.uri().path()) else {
        return reply::unknown_method(request.uri().path());
    };
    let answer = AssertUnwindSafe(grpc.export(signal, request))
        .catch_unwind()
        .await;
    answer.unwrap_or_else(|_| reply::panicked())
}

impl Grpc {
    async fn export(&self, signal: Signal, request: Request) -> Response {
        match self.accept(signal, request).await {
            Ok(accepted) => reply::success(&ExportResponse::new(&accepted)),
            Err(fault) => {
                self.door.count(signal, &fault);
                reply::failure(&fault)
            }
        }
    }

    async fn accept(&self, signal: Signal, request: Request) -> Result<Accepted, Fault> {
        let (head, body) = request.into_parts();
        let door = self.door.clone().of_connection(&head.extensions);
        let message = read(&door, body).await?;
        let encoding = encoding_of(&head.headers, message.compressed)?;
        door.submit(signal, message.body, encoding, Format::Protobuf)
            .await
    }
}

async fn read(door: &Door, body: Body) -> Result<Message, Fault> {
    let mut body = Chunks(body);
    let mut framing = Framing::new(door);
    while let Some(chunk) = body.next().await? {
        framing.push(chunk)?;
    }
    framing.finish()
}

fn signal_of(path: &str) -> Option<Signal> {
    Signal::ALL
        .into_iter()
        .find(|signal| paths::grpc(*signal) == path)
}

/// `application/grpc`, alone or with `+proto` or parameters; other formats are not ours.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/grpc")
        || media_type.eq_ignore_ascii_case("application/grpc+proto")
}

/// Clients name an encoding also where a message is not compressed: the flag decides.
fn encoding_of(headers: &HeaderMap, compressed: bool) -> Result<Encoding, Fault> {
    if !compressed {
        return Ok(Encoding::Identity);
    }
    let name = headers
        .get("grpc-encoding")
        .map_or("", |value| value.to_str().unwrap_or("?"));
    match Encoding::parse(name) {
        Some(Encoding::Identity) => Err(FrameError::NoEncoding.into()),
        Some(encoding) => Ok(encoding),
        None => Err(Fault::UnknownEncoding {
            name: name.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_flag_decides_and_the_header_names() {
        let mut headers = HeaderMap::new();
        assert_eq!(
            encoding_of(&headers, false).expect("identity"),
            Encoding::Identity
        );
        assert!(matches!(
            encoding_of(&headers, true),
            Err(Fault::Frame(FrameError::NoEncoding))
        ));
        headers.insert("grpc-encoding", HeaderValue::from_static("snappy"));
        assert_eq!(
            encoding_of(&headers, false).expect("not compressed"),
            Encoding::Identity
        );
        assert!(matches!(
            encoding_of(&headers, true),
            Err(Fault::UnknownEncoding { .. })
        ));
        headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        assert_eq!(encoding_of(&headers, true).expect("gzip"), Encoding::Gzip);
    }

    #[test]
    fn content_types_of_other_formats_are_not_taken() {
        let is = |value| {
            is_grpc(&HeaderMap::from_iter([(
                CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(is("application/grpc") && is("application/grpc+proto") && is("Application/GRPC; x=1"));
        assert!(!is("application/grpc+json") && !is("application/grpc-web") && !is("application/json"));
    }
}
