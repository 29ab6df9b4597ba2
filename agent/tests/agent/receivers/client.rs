//! A client on bare hyper, which sends exactly what a test says.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use meridian_agent::receivers::otlp::OtlpConfig;
use meridian_proto::signal::Signal;
use meridian_runtime::tasks;
use tokio::net::TcpStream;

pub type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where to send to.
#[derive(Clone, Copy)]
pub struct Client(pub SocketAddr);

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    /// With the trailers.
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// grpc-status as a number.
    pub fn grpc_status(&self) -> i32 {
        self.header("grpc-status").parse().expect("a gRPC answer")
    }
}

impl Client {
    /// POST over HTTP/1.1.
    pub async fn post(&self, signal: Signal, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.http1(request(Method::POST, http_path(signal), headers, whole(body)))
            .await
    }

    /// A gRPC call with this message, already framed.
    pub async fn grpc(&self, signal: Signal, headers: &[(&str, &str)], framed: impl Into<Bytes>) -> Answer {
        self.grpc_body(signal, headers, whole(framed)).await
    }

    pub async fn grpc_body(&self, signal: Signal, headers: &[(&str, &str)], body: Body) -> Answer {
        let mut all = vec![
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("grpc-timeout", "10S"),
        ];
        all.extend_from_slice(headers);
        let uri = format!("http://{}{}", self.0, grpc_path(signal));
        self.http2(request(Method::POST, &uri, &all, body)).await
    }

    pub async fn http1(&self, request: Request<Body>) -> Answer {
        let stream = TcpStream::connect(self.0).await.expect("a listener");
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.expect("HTTP/1.1");
        let _connection = tasks::spawn("client", connection);
        read(sender.send_request(request)).await
    }

    pub async fn http2(&self, request: Request<Body>) -> Answer {
        let stream = TcpStream::connect(self.0).await.expect("a listener");
        let executor = TokioExecutor::new();
        let handshake = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.expect("HTTP/2");
        let _connection = tasks::spawn("client", connection);
        read(sender.send_request(request)).await
    }
}

async fn read(answer: impl Future<Output = hyper::Result<Response<Incoming>>>) -> Answer {
    let all = async {
        let (head, body) = answer.await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body");
        let mut headers = head.headers;
        headers.extend(body.trailers().cloned().unwrap_or_default());
        Answer {
            status: head.status,
            headers,
            body: body.to_bytes(),
        }
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .expect("an answer in time")
}

pub fn request(method: Method, uri: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(uri).header("host", "agent");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).expect("a valid request")
}

pub fn empty() -> Body {
    Empty::new().boxed_unsync()
}

pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// Sends `bytes` at once and then nothing, without an end.
pub fn stalled(bytes: impl Into<Bytes>) -> Body {
    let first = futures::stream::iter([Ok(Frame::data(bytes.into()))]);
    StreamBody::new(futures::StreamExt::chain(first, futures::stream::pending())).boxed_unsync()
}

/// The bytes without a length in the head.
pub fn chunked(bytes: impl Into<Bytes>) -> Body {
    StreamBody::new(futures::stream::iter([Ok(Frame::data(bytes.into()))])).boxed_unsync()
}

pub fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("small");
    [&[flag][..], &length.to_be_bytes(), message].concat()
}

pub fn http_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "/v1/traces",
        Signal::Logs => "/v1/logs",
        Signal::Metrics => "/v1/metrics",
    }
}

fn grpc_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

pub const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
pub const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

/// Limits that a test reaches quickly.
pub fn small_limits() -> OtlpConfig {
    OtlpConfig {
        max_request_bytes: 1 << 20,
        memory_max: 2 << 20,
        max_connection_memory: 2 << 20,
        ..OtlpConfig::default()
    }
}
