//! Reads a request's body, chunk by chunk. What happens with the bytes is the protocol's
//! business; that they arrive in time is the server's.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use meridian_runtime::http::SlowBody;

use super::fault::Fault;

/// A request's body.
pub struct Chunks(pub Body);

impl Chunks {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let Some(frame) = self.0.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame.map_err(fault_of)?.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// Reads on and forgets, at most `bytes_max` bytes for at most `limit`: a client in HTTP/1
    /// sees an early answer only when it could send its body.
    pub async fn discard(mut self, bytes_max: usize, limit: Duration) {
        let reading = async {
            let mut rest = bytes_max;
            while let Ok(Some(chunk)) = self.next().await {
                let Some(less) = rest.checked_sub(chunk.len()) else {
                    return;
                };
                rest = less;
            }
        };
        // Whether it was all of it makes no difference.
        tokio::time::timeout(limit, reading).await.ok();
    }
}

fn fault_of(error: axum::Error) -> Fault {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(slow) = cause.downcast_ref::<SlowBody>() {
            return Fault::SlowBody(*slow);
        }
        source = cause.source();
    }
    Fault::BodyBroken(error)
}
