//! Reads a request's body, chunk by chunk, under a deadline for the whole of it.
//!
//! A client that sends a byte per second would otherwise hold its memory for ever. What happens
//! with the bytes is the protocol's business.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::fault::Fault;

/// A request's body that must arrive before its deadline.
pub struct TimedBody {
    body: Body,
    limit: Duration,
    deadline: Instant,
}

impl TimedBody {
    /// The clock starts now.
    pub fn new(body: Body, limit: Duration) -> Self {
        Self {
            body,
            limit,
            deadline: Instant::now() + limit,
        }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let frame = timeout_at(self.deadline, self.body.frame())
                .await
                .map_err(|_| Fault::SlowBody { limit: self.limit })?;
            match frame.transpose().map_err(Fault::BodyBroken)? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Reads on and forgets, at most `bytes_max` bytes for at most `limit`: a client in HTTP/1
    /// sees an early answer only when it could send its body.
    pub async fn discard(mut self, bytes_max: usize, limit: Duration) {
        self.limit = limit;
        self.deadline = Instant::now() + limit;
        let mut rest = bytes_max;
        while let Ok(Some(chunk)) = self.next().await {
            let Some(less) = rest.checked_sub(chunk.len()) else {
                return;
            };
            rest = less;
        }
    }
}
