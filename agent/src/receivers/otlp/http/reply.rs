//! HTTP's answers: an export response or a google.rpc.Status, in the request's format.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use meridian_proto::signal::Signal;
use prost::Message;

use crate::intake::Accepted;
use crate::receivers::otlp::door::Format;
use crate::receivers::otlp::encoding::Encoding;
use crate::receivers::otlp::fault::{Code, Fault};
use crate::receivers::otlp::rpc::{ExportResponse, Status};

/// The request was accepted, wholly or in part.
pub fn success(signal: Signal, format: Format, accepted: &Accepted) -> Response {
    let response = ExportResponse::new(accepted);
    match format {
        Format::Protobuf => reply(StatusCode::OK, format, response.encode_to_vec()),
        Format::Json => reply(
            StatusCode::OK,
            format,
            response.to_json(signal).to_string().into_bytes(),
        ),
    }
}

/// The request was refused.
pub fn failure(format: Format, fault: &Fault) -> Response {
    let mut response = status_reply(fault.http_status(), format, &Status::of(fault));
    let headers = response.headers_mut();
    if let Some(delay) = fault.retry() {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if matches!(fault, Fault::UnknownEncoding { .. }) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(Encoding::ACCEPTED));
    }
    response
}

/// Neither protobuf nor JSON; the answer is JSON, which a person can read.
pub fn unsupported_content_type() -> Response {
    let text = "the content-type must be application/x-protobuf or application/json (UTF-8)";
    plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, text)
}

/// Not one of the three paths.
pub fn no_such_path() -> Response {
    let text = "no such path; OTLP over HTTP is POST /v1/traces, /v1/metrics or /v1/logs, \
        and OTLP over gRPC has a port of its own, 4317 by default";
    plain(StatusCode::NOT_FOUND, Code::NotFound, text)
}

/// Not a POST.
pub fn no_such_method() -> Response {
    plain(
        StatusCode::METHOD_NOT_ALLOWED,
        Code::Unimplemented,
        "only POST is allowed here",
    )
}

/// The handler panicked. Not retryable: the same bytes would do it again.
pub fn panicked() -> Response {
    plain(
        StatusCode::INTERNAL_SERVER_ERROR,
        Code::Internal,
        "the request could not be handled",
    )
}

fn plain(http_status: StatusCode, code: Code, message: &str) -> Response {
    let status = Status {
        code: code as i32,
        message: message.to_owned(),
        details: Vec::new(),
    };
    status_reply(http_status, Format::Json, &status)
}

fn status_reply(http_status: StatusCode, format: Format, status: &Status) -> Response {
    match format {
        Format::Protobuf => reply(http_status, format, status.encode_to_vec()),
        Format::Json => reply(http_status, format, status.to_json().to_string().into_bytes()),
    }
}

fn reply(status: StatusCode, format: Format, body: Vec<u8>) -> Response {
    let content_type = match format {
        Format::Protobuf => HeaderValue::from_static("application/x-protobuf"),
        Format::Json => HeaderValue::from_static("application/json"),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
