//! HTTP as a client: one pool of connections per exporter, TLS with the system's roots, a time
//! limit and a limit on what is read of an answer. It knows nothing of what is sent.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Pool, Error as PoolError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use meridian_runtime::BoxError;

/// Of an answer so much is read: what services say is short.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// A connection that was not used for so long is closed, before load balancers do it.
const IDLE: Duration = Duration::from_secs(50);
/// A peer that is cut off is noticed after twice this, while requests wait.
const KEEPALIVE: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The system's certificates cannot be read.
    #[error("the system's root certificates cannot be read")]
    Roots(#[source] std::io::Error),
    /// No connection, or it broke.
    #[error("{endpoint} cannot be reached")]
    Connection {
        /// Scheme, host and port.
        endpoint: String,
        /// Why.
        source: PoolError,
    },
    /// The answer broke off, or is too long.
    #[error("the answer of {endpoint} cannot be read")]
    Answer {
        /// Scheme, host and port.
        endpoint: String,
        /// Why.
        source: BoxError,
    },
    /// Nothing, or not all, came in time.
    #[error("{endpoint} did not answer within {} s", within.as_secs_f64())]
    Silence {
        /// Scheme, host and port.
        endpoint: String,
        /// The limit.
        within: Duration,
    },
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What followed its body.
    pub trailers: HeaderMap,
}

impl Answer {
    /// `Retry-After` in seconds; its other form, a date, is not used by those who throttle.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
        let seconds: f64 = value.trim().parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// What connections speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
}

/// A client; clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    within: Duration,
}

impl Client {
    /// A client whose requests may take so long.
    pub fn new(version: Version, within: Duration) -> Result<Self, ClientError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_WITHIN.min(within)));
        let provider = rustls::crypto::ring::default_provider();
        let builder = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(ClientError::Roots)?
            .https_or_http();
        let connector = match version {
            Version::Http1 => builder.enable_http1().wrap_connector(connector),
            Version::Http2 => builder.enable_http2().wrap_connector(connector),
        };
        let mut pool = Pool::builder(TokioExecutor::new());
        pool.pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http2_only(version == Version::Http2)
            .http2_keep_alive_interval(KEEPALIVE)
            .http2_keep_alive_timeout(KEEPALIVE);
        Ok(Self {
            pool: pool.build(connector),
            within,
        })
    }

    /// Sends a request and reads its answer, whatever its status.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let endpoint = endpoint_of(request.uri());
        let exchange = self.exchange(request, &endpoint);
        match tokio::time::timeout(self.within, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Silence {
                endpoint,
                within: self.within,
            }),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, endpoint: &str) -> Result<Answer, ClientError> {
        let response = self.pool.request(request).await;
        let response = response.map_err(|source| ClientError::Connection {
            endpoint: endpoint.to_owned(),
            source,
        })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|source| ClientError::Answer {
            endpoint: endpoint.to_owned(),
            source,
        })?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            trailers: body.trailers().cloned().unwrap_or_default(),
            body: body.to_bytes(),
        })
    }
}

fn endpoint_of(uri: &http::Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}")
}
