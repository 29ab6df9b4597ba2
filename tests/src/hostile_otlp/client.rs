//! Sends an input as it is, each on a connection of its own, and reads what comes back as an SDK
//! would: success with what was rejected, or a refusal that it repeats or does not.

use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::transport::Endpoint;

use super::{Expected, Input, Sent};

/// Longer answers are nobody's.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Codes of gRPC that SDKs repeat (OTLP specification, "Failures"): cancelled, deadline exceeded,
/// aborted, out of range, unavailable, data loss.
const REPEATED_CODES: [i32; 6] = [1, 4, 10, 11, 14, 15];
/// Repeated only with a RetryInfo.
const RESOURCE_EXHAUSTED: i32 = 8;
/// Statuses of HTTP that SDKs repeat.
const REPEATED_STATUSES: [u16; 4] = [429, 502, 503, 504];

/// Where a receiver listens.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// OTLP over gRPC.
    pub grpc: SocketAddr,
    /// OTLP over HTTP.
    pub http: SocketAddr,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Accepted; so many items were not.
    Success {
        /// As the partial success says.
        rejected: u64,
    },
    /// Refused as a whole.
    Refused {
        /// Whether an SDK sends it again.
        is_repeated: bool,
        /// What was said.
        text: String,
    },
    /// The connection ended without an answer.
    Closed(String),
    /// Nothing in time.
    Silent,
}

/// Sends an input and waits for what comes back, and says how long that took. Making the bytes is
/// nobody's time but ours.
pub async fn send(doors: Doors, input: &Input, within: Duration) -> (Answer, Duration) {
    let bytes = match &input.sent {
        Sent::Grpc { body, .. } => body(),
        Sent::Http { bytes } => bytes(),
    };
    let start = Instant::now();
    let asked = async {
        match &input.sent {
            Sent::Grpc {
                method,
                path,
                headers,
                ..
            } => call(doors.grpc, method, path, headers, bytes).await,
            Sent::Http { .. } => exchange(doors.http, bytes, input.expected == Expected::Closed).await,
        }
    };
    let answer = match tokio::time::timeout(within, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(fault)) => Answer::Closed(format!("{fault:#}")),
        Err(_) => Answer::Silent,
    };
    (answer, start.elapsed())
}

async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<Answer> {
    let mut channel = Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    std::future::poll_fn(|context| GrpcService::<Body>::poll_ready(&mut channel, context)).await?;
    let mut request = Request::builder().method(method).uri(path);
    let is_typed = headers.iter().any(|(name, _)| *name == "content-type");
    if !is_typed {
        request = request.header("content-type", "application/grpc");
    }
    request = request.header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Body::new(Full::new(Bytes::from(body))))?;
    of_call(GrpcService::call(&mut channel, request).await?).await
}

async fn of_call(response: Response<Body>) -> Result<Answer> {
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        return Ok(refused(
            REPEATED_STATUSES.contains(&head.status.as_u16()),
            format!("HTTP {}", head.status),
        ));
    }
    let body = body.collect().await?;
    let mut headers = head.headers;
    headers.extend(body.trailers().cloned().unwrap_or_default());
    let code: i32 = header(&headers, "grpc-status")
        .parse()
        .context("no grpc-status")?;
    let text = format!("grpc-status {code}: {}", header(&headers, "grpc-message"));
    let has_hint = headers.contains_key("grpc-status-details-bin");
    match code {
        0 => success(&message(&headers, &body.to_bytes())?),
        RESOURCE_EXHAUSTED => Ok(refused(has_hint, text)),
        code => Ok(refused(REPEATED_CODES.contains(&code), text)),
    }
}

/// The message behind its prefix: some servers compress what they answer as the request was.
fn message(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>> {
    let (prefix, message) = body.split_at_checked(5).context("no message")?;
    if prefix.first() == Some(&0) {
        return Ok(message.to_owned());
    }
    let mut plain = Vec::new();
    match header(headers, "grpc-encoding") {
        "gzip" => GzDecoder::new(message).read_to_end(&mut plain)?,
        "deflate" => ZlibDecoder::new(message).read_to_end(&mut plain)?,
        "zstd" => zstd::Decoder::new(message)?.read_to_end(&mut plain)?,
        other => bail!("an answer in the encoding {other:?}"),
    };
    Ok(plain)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn refused(is_repeated: bool, text: String) -> Answer {
    Answer::Refused { is_repeated, text }
}

/// The answers of all three signals have the same shape.
fn success(message: &[u8]) -> Result<Answer> {
    let response = ExportTraceServiceResponse::decode(message)?;
    let rejected = response
        .partial_success
        .map_or(0, |partial| partial.rejected_spans);
    Ok(Answer::Success {
        rejected: u64::try_from(rejected)?,
    })
}

/// Writes all bytes while reading what comes back, to its end. `is_cut`: the client says that no
/// more comes, which some servers take for its end.
async fn exchange(address: SocketAddr, bytes: Vec<u8>, is_cut: bool) -> Result<Answer> {
    let (mut reading, mut writing) = TcpStream::connect(address).await?.into_split();
    let written = async {
        // A server that has answered may close while the rest is on its way.
        if writing.write_all(&bytes).await.is_ok() && is_cut {
            writing.shutdown().await.ok();
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = reading.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
            if answer.len() as u64 > ANSWER_BYTES_MAX {
                break;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = written => {}
    }
    of_http(&answer)
}

fn of_http(answer: &[u8]) -> Result<Answer> {
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("no answer")?;
    let (head, body) = (
        std::str::from_utf8(&answer[..end])?.to_lowercase(),
        &answer[end + 4..],
    );
    let mut lines = head.lines();
    let status: u16 = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .context("no status")?
        .parse()?;
    match status {
        100..200 => of_http(body),
        200 if head.contains("application/json") => of_json(body),
        200..300 => success(body),
        status => {
            let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
            Ok(refused(
                REPEATED_STATUSES.contains(&status),
                format!("HTTP {status}: {text}"),
            ))
        }
    }
}

fn of_json(body: &[u8]) -> Result<Answer> {
    let value: Value = serde_json::from_slice(body)?;
    let partial = &value["partialSuccess"];
    let counts = ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"];
    let rejected = counts.iter().find_map(|name| match &partial[name] {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    });
    Ok(Answer::Success {
        rejected: rejected.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_compressed_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-encoding", "zstd".parse().expect("a value"));
        let compressed = zstd::encode_all(&b"plain"[..], 1).expect("in memory");
        let body = [&[1_u8, 0, 0, 0, 9][..], &compressed[..]].concat();
        assert_eq!(message(&headers, &body).expect("a message"), b"plain");
        assert_eq!(message(&headers, &[0, 0, 0, 0, 1, 7]).expect("a message"), [7]);
        assert!(message(&headers, &[0, 0]).is_err());
    }

    #[test]
    fn answers_are_read_as_an_sdk_reads_them() {
        let http = |text: &str| of_http(text.as_bytes()).expect("an answer");
        let accepted =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
        assert_eq!(http(&format!("{accepted}{{}}")), Answer::Success { rejected: 0 });
        let partial = format!("{accepted}{{\"partialSuccess\":{{\"rejectedSpans\":\"3\"}}}}");
        assert_eq!(http(&partial), Answer::Success { rejected: 3 });
        for (status, again) in [(400, false), (413, false), (429, true), (500, false), (503, true)] {
            let answer = http(&format!("HTTP/1.1 {status} No\r\n\r\nwhy"));
            assert_eq!(answer, refused(again, format!("HTTP {status}: why")));
        }
        assert!(of_http(b"SSH-2.0").is_err());
    }
}
