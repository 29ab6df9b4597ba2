//! A far side for peers: takes every OTLP/gRPC request, counts its items and the bytes of its
//! message on the wire, and keeps nothing. It reads no further than it must to count.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::bench::targets::Delivered;

/// A gRPC frame's flag and length.
const FRAME_HEAD: usize = 5;
const BODY_BYTES_MAX: usize = 256 << 20;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const LENGTH_DELIMITED: u64 = 2;

/// Listens until the set is dropped; what arrives is counted in `delivered`.
pub async fn listen(serving: &mut JoinSet<()>, delivered: Arc<Delivered>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(take).with_state(delivered);
    serving.spawn(async move {
        axum::serve(listener, router).await.ok();
    });
    Ok(address)
}

async fn take(State(delivered): State<Arc<Delivered>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let outcome = match axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await {
        Ok(body) => count(&path, &body).map(|items| delivered.add(items, body.len() as u64)),
        Err(fault) => Err(fault.into()),
    };
    let status = if outcome.is_ok() { "0" } else { "3" };
    let trailers = HeaderMap::from_iter([(
        header::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static(status),
    )]);
    // An empty message.
    let message = Full::new(Bytes::from_static(&[0; FRAME_HEAD]));
    let mut response = Response::new(Body::new(message.with_trailers(async { Some(Ok(trailers)) })));
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

fn count(path: &str, frame: &[u8]) -> Result<u64> {
    let message = frame.get(FRAME_HEAD..).context("no message")?;
    let mut inflated = Vec::new();
    let message = match frame[0] {
        0 => message,
        _ if message.starts_with(&ZSTD_MAGIC) => {
            inflated = zstd::decode_all(message)?;
            &inflated
        }
        _ => {
            flate2::read::GzDecoder::new(message).read_to_end(&mut inflated)?;
            &inflated
        }
    };
    if path.contains("MetricsService") {
        return points(message);
    }
    Ok(at(message, &[1, 2, 2])?.len() as u64)
}

/// Resources, scopes, metrics; then whatever kind of data there is, its first field's points.
fn points(message: &[u8]) -> Result<u64> {
    let mut sum = 0;
    for metric in at(message, &[1, 2, 2])? {
        for (field, data) in fields(metric)? {
            if [5, 7, 9, 10, 11].contains(&field) {
                sum += at(data, &[1])?.len() as u64;
            }
        }
    }
    Ok(sum)
}

/// The messages that lie at this path of field numbers.
fn at<'a>(message: &'a [u8], path: &[u64]) -> Result<Vec<&'a [u8]>> {
    let Some((wanted, rest)) = path.split_first() else {
        return Ok(vec![message]);
    };
    let mut found = Vec::new();
    for (field, value) in fields(message)? {
        if field == *wanted {
            found.extend(at(value, rest)?);
        }
    }
    Ok(found)
}

/// The length-delimited fields of a message.
fn fields(mut message: &[u8]) -> Result<Vec<(u64, &[u8])>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => drop(varint(&mut message)?),
            1 => drop(take_bytes(&mut message, 8)?),
            5 => drop(take_bytes(&mut message, 4)?),
            kind => {
                ensure!(kind == LENGTH_DELIMITED, "wire type {kind}");
                let length = usize::try_from(varint(&mut message)?)?;
                fields.push((key >> 3, take_bytes(&mut message, length)?));
            }
        }
    }
    Ok(fields)
}

fn take_bytes<'a>(message: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length).context("cut short")?;
    *message = rest;
    Ok(taken)
}

fn varint(message: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_bytes(message, 1)?[0];
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Ok(value);
        }
    }
    anyhow::bail!("a varint without an end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp;
    use meridian_proto::signal::Signal;

    #[test]
    fn items_of_every_signal_are_counted() {
        for (signal, path) in [
            (Signal::Spans, "/TraceService/Export"),
            (Signal::Logs, "/LogsService/Export"),
            (Signal::Metrics, "/MetricsService/Export"),
        ] {
            let mut frame = vec![0; FRAME_HEAD];
            frame.extend(otlp::request(signal, "counted", 7));
            assert_eq!(count(path, &frame).expect("a request"), 7, "{signal}");
        }
    }
}
