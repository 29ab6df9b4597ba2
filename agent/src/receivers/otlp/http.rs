//! OTLP over HTTP: POST /v1/traces, /v1/metrics and /v1/logs, in protobuf and in JSON, answered
//! in the request's format.
//!
//! What can be said from the head of a request is said before its body is read. CORS is off
//! unless origins are configured. It deliberately serves nothing but these three paths: health
//! and metrics of the process have a port of their own.

mod cors;
mod head;
mod reply;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use futures::FutureExt;
use http::header::EXPECT;
use http::{HeaderMap, Version};
use http_body::Body as _;
use meridian_proto::signal::Signal;

use super::body::Chunks;
use super::door::{Door, Format};
use super::fault::Fault;
use crate::intake::Accepted;
use crate::paths;
use head::Head;

/// How much of a refused body is read on, so that the client gets to see the answer.
const DISCARD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// For how long.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The routes of the HTTP listener.
pub fn router(door: Door, cors_allowed_origins: &[String]) -> Router {
    let routes = Router::new()
        .route(paths::http(Signal::Spans), post(traces))
        .route(paths::http(Signal::Logs), post(logs))
        .route(paths::http(Signal::Metrics), post(metrics))
        .fallback(|| async { reply::no_such_path() })
        .method_not_allowed_fallback(|| async { reply::no_such_method() })
        .with_state(door);
    match cors::layer(cors_allowed_origins) {
        Some(layer) => routes.layer(layer),
        None => routes,
    }
}

async fn traces(State(door): State<Door>, request: Request) -> Response {
    answer(door, Signal::Spans, request).await
}

async fn logs(State(door): State<Door>, request: Request) -> Response {
    answer(door, Signal::Logs, request).await
}

async fn metrics(State(door): State<Door>, request: Request) -> Response {
    answer(door, Signal::Metrics, request).await
}

async fn answer(door: Door, signal: Signal, request: Request) -> Response {
    AssertUnwindSafe(export(&door, signal, request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| reply::panicked())
}

async fn export(door: &Door, signal: Signal, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let door = &door.clone().of_connection(&parts.extensions);
    let Some(format) = head::format_of(&parts.headers) else {
        door.intake.count_refused(signal, "content_type");
        return reply::unsupported_content_type();
    };
    let can_discard = must_read_on(parts.version, &parts.headers);
    match accept(door, signal, format, &parts.headers, body, can_discard).await {
        Ok(accepted) => reply::success(signal, format, &accepted),
        Err(fault) => {
            door.count(signal, &fault);
            reply::failure(format, &fault)
        }
    }
}

async fn accept(
    door: &Door,
    signal: Signal,
    format: Format,
    headers: &HeaderMap,
    body: Body,
    can_discard: bool,
) -> Result<Accepted, Fault> {
    let announced = body.size_hint().lower();
    let mut body = Chunks(body);
    let read = async {
        let head = Head::read(headers, announced, door.request_bytes_max)?;
        let mut buffer = door.buffer();
        while let Some(chunk) = body.next().await? {
            buffer.extend(&chunk)?;
        }
        Ok((head, buffer))
    };
    match read.await {
        Ok((head, buffer)) => door.submit(signal, buffer, head.encoding, format).await,
        Err(fault) => {
            if can_discard && !matches!(fault, Fault::SlowBody(_) | Fault::BodyBroken(_)) {
                body.discard(DISCARD_BYTES_MAX, DISCARD_TIMEOUT).await;
            }
            Err(fault)
        }
    }
}

/// An HTTP/1 client that is not waiting for `100 Continue` writes its whole body before it
/// looks for an answer; closing the connection under it would cost it the answer.
fn must_read_on(version: Version, headers: &HeaderMap) -> bool {
    version < Version::HTTP_2 && !headers.contains_key(EXPECT)
}
