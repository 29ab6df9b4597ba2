//! gRPC's answers: a message with trailers, or trailers only, with the percent encoding of
//! grpc-message and the base64 of grpc-status-details-bin.

use std::convert::Infallible;
use std::future::ready;

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use prost::Message;

use super::frame::framed;
use crate::receivers::otlp::fault::{Code, Fault};
use crate::receivers::otlp::rpc::{ExportResponse, Status};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd,deflate");
const OK: HeaderValue = HeaderValue::from_static("0");

/// The call succeeded.
pub fn success(response: &ExportResponse) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", OK);
    let message = Full::new(Bytes::from(framed(&response.encode_to_vec())));
    let body = message.with_trailers(ready(Some(Ok::<_, Infallible>(trailers))));
    with_headers(Body::new(body), HeaderMap::new())
}

/// The call failed.
pub fn failure(fault: &Fault) -> Response {
    trailers_only(&Status::of(fault))
}

/// There is no such method here.
pub fn unknown_method(path: &str) -> Response {
    trailers_only(&Status {
        code: Code::Unimplemented as i32,
        message: format!("unknown method {path}"),
        details: Vec::new(),
    })
}

/// The handler panicked. Not retryable: the same bytes would do it again.
pub fn panicked() -> Response {
    trailers_only(&Status {
        code: Code::Internal as i32,
        message: "the request could not be handled".to_owned(),
        details: Vec::new(),
    })
}

/// Not gRPC at all: plain HTTP with a text.
pub fn not_grpc(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn trailers_only(status: &Status) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", HeaderValue::from(status.code));
    insert_text(&mut headers, "grpc-message", &percent_encoded(&status.message));
    if !status.details.is_empty() {
        let details = STANDARD_NO_PAD.encode(status.encode_to_vec());
        insert_text(&mut headers, "grpc-status-details-bin", &details);
    }
    with_headers(Body::empty(), headers)
}

fn with_headers(body: Body, headers: HeaderMap) -> Response {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response.headers_mut().insert("grpc-accept-encoding", ACCEPTED);
    response
}

fn insert_text(headers: &mut HeaderMap, name: &'static str, ascii: &str) {
    if let Ok(value) = HeaderValue::from_str(ascii) {
        headers.insert(name, value);
    }
}

/// What is not printable ASCII, and `%` itself, as `%XX` (gRPC over HTTP/2, Percent-Encoded).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => encoded.push_str("%25"),
            b' '..=b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::admission::MemoryFull;

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(percent_encoded("50% of \"ü\"\n"), "50%25 of \"%C3%BC\"%0A");
    }

    #[test]
    fn a_failure_is_trailers_only_with_its_details() {
        let response = failure(&Fault::MemoryFull(MemoryFull::OfAll));
        let headers = response.headers();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(headers["grpc-status"], "8");
        let details = STANDARD_NO_PAD
            .decode(&headers["grpc-status-details-bin"])
            .expect("base64");
        assert_eq!(
            Status::decode(details.as_slice()).expect("Status").details.len(),
            1
        );
    }

    #[test]
    fn what_is_not_retryable_has_no_details() {
        let response = failure(&Fault::TooLarge { bytes_max: 1 });
        assert_eq!(response.headers()["grpc-status"], "8");
        assert!(!response.headers().contains_key("grpc-status-details-bin"));
    }
}
