//! One connection: how many of its requests are in flight, since when it has been idle, and the
//! service that every request passes on its way to the router.
//!
//! A request is in flight until it is answered, and a stream for as long as it lives. A peer that
//! takes nothing of its answer makes its connection idle: the answer cannot hold a place. Which
//! connection is closed for another is not decided here.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::ServiceExt;

use super::Options;
use super::body::TimedBody;
use super::limits::Limit;

/// What RFC 9113, section 6.5.2, adds for each header.
const PER_HEADER_BYTES: usize = 32;

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    in_flight: AtomicU32,
    idle_since: Mutex<Instant>,
    is_closing: AtomicBool,
    close: Notify,
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            idle_since: Mutex::new(Instant::now()),
            is_closing: AtomicBool::new(false),
            close: Notify::new(),
        }
    }

    /// Since when nothing is in flight; `None` while something is, or if it is closing anyway.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = !self.is_busy() && !self.is_closing.load(Ordering::Relaxed);
        is_idle.then(|| *self.idle_since.lock())
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    fn touch(&self) {
        *self.idle_since.lock() = Instant::now();
    }

    /// Asks it to end.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        self.close.notify_one();
    }

    /// Resolves when it is asked to end, or has been idle for so long; whether it was the latter.
    pub(super) async fn is_over(&self, idle_timeout: Duration) -> bool {
        loop {
            let left = match self.idle_since() {
                Some(since) => idle_timeout.saturating_sub(since.elapsed()),
                None => idle_timeout,
            };
            if left.is_zero() {
                return true;
            }
            tokio::select! {
                () = self.close.notified() => return false,
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

/// A request in flight.
struct InFlight(Arc<Connection>);

impl InFlight {
    fn begin(connection: &Arc<Connection>, options: &Options) -> Self {
        let before = connection.in_flight.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(1) == options.limits.max_connection_streams {
            options.metrics.strike(Limit::Streams);
        }
        Self(Arc::clone(connection))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What answers the requests of one connection.
pub(super) struct Requests {
    router: Router,
    options: Arc<Options>,
    connection: Arc<Connection>,
    extensions: http::Extensions,
}

impl Requests {
    pub(super) fn new(router: Router, options: Arc<Options>, connection: Arc<Connection>) -> Self {
        let mut extensions = http::Extensions::new();
        if let Some(per_connection) = &options.per_connection {
            (per_connection.0)(&mut extensions);
        }
        Self {
            router,
            options,
            connection,
            extensions,
        }
    }
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_flight = InFlight::begin(&self.connection, &self.options);
        let options = &self.options;
        let bytes_max = usize::try_from(options.limits.max_header_bytes).unwrap_or(usize::MAX);
        if list_bytes(request.headers()) > bytes_max {
            options.metrics.strike(Limit::Headers);
            let mut refusal = Response::new(Answer::new(AxumBody::empty(), in_flight, false));
            *refusal.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Box::pin(std::future::ready(Ok(refusal)));
        }
        request.extensions_mut().extend(self.extensions.clone());
        let is_stream = options.bodies_are_streams;
        let limits = (!is_stream).then_some(options.limits);
        let request = request.map(|body| TimedBody::new(body, limits, options.metrics.clone()));
        let answering = self.router.clone().oneshot(request);
        Box::pin(async move {
            let response = answering.await?;
            Ok(response.map(|body| Answer::new(body, in_flight, is_stream)))
        })
    }
}

fn list_bytes(headers: &HeaderMap) -> usize {
    let sizes = headers.iter().map(|(name, value)| {
        name.as_str()
            .len()
            .saturating_add(value.len())
            .saturating_add(PER_HEADER_BYTES)
    });
    sizes.fold(0, usize::saturating_add)
}

/// An answer's body; whenever some of it is handed over, its connection is not idle.
pub(super) struct Answer {
    body: AxumBody,
    connection: Arc<Connection>,
    _in_flight: Option<InFlight>,
}

impl Answer {
    fn new(body: AxumBody, in_flight: InFlight, is_stream: bool) -> Self {
        Self {
            body,
            connection: Arc::clone(&in_flight.0),
            _in_flight: is_stream.then_some(in_flight),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.connection.touch();
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
