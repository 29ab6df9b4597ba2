//! Reads the body of a request, up to a limit. What is beyond it is read as well, within reason,
//! and thrown away: a client that is still sending would not read its refusal. What the bytes
//! mean is the handlers' business.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use bytes::BytesMut;
use http_body_util::BodyExt as _;

use super::error::ApiError;

/// The most bytes of a request's body: a statement and its parameters.
const BYTES_MAX: usize = 1 << 20;
/// Of a body that is too large, so much is read before its refusal is sent anyway.
const READ_BYTES_MAX: usize = 32 << 20;
/// How long a client may take to send its body, so that idle connections do not pile up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The whole body.
pub(super) async fn read(request: Request) -> Result<Bytes, ApiError> {
    let announced = usize::try_from(request.body().size_hint().lower()).unwrap_or(usize::MAX);
    // Whoever asks first has not begun to send.
    let waits = request.headers().contains_key(header::EXPECT);
    if announced > READ_BYTES_MAX || (waits && announced > BYTES_MAX) {
        return Err(too_large());
    }
    tokio::time::timeout(TIMEOUT, read_all(request.into_body()))
        .await
        .map_err(|_| too_slow())?
}

async fn read_all(mut body: Body) -> Result<Bytes, ApiError> {
    let mut kept = BytesMut::new();
    let mut count: usize = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = format!("the body cannot be read: {error}");
            ApiError::bad_request("unreadable_body", message)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        count = count.saturating_add(data.len());
        if count > READ_BYTES_MAX {
            break;
        }
        match count > BYTES_MAX {
            true => kept = BytesMut::new(),
            false => kept.extend_from_slice(&data),
        }
    }
    match count > BYTES_MAX {
        true => Err(too_large()),
        false => Ok(kept.freeze()),
    }
}

fn too_large() -> ApiError {
    let message = format!("the body has more than {BYTES_MAX} bytes");
    let refusal = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message);
    refusal.hint("send a shorter statement, with fewer or shorter values")
}

fn too_slow() -> ApiError {
    let message = format!("the body did not arrive within {} s", TIMEOUT.as_secs());
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "slow_body", message)
}
