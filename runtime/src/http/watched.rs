//! The bytes of a connection, with a deadline for the first of them and for those that the peer
//! does not read.
//!
//! The server tells HTTP/1.1 from HTTP/2 by the 24 bytes of the HTTP/2 preface (RFC 9113,
//! section 3.4), and waits for them without a limit of its own; it also waits without a limit
//! until a peer has read its answer. Nothing else is limited here: HTTP/1.1 has a timeout for
//! each request's head, HTTP/2 its pings.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::limits::{Limit, ListenerMetrics};
use crate::net::Stream;

/// Length of `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`; a shorter HTTP/1 request has no Host header.
const PREFACE_BYTES: usize = 24;
/// A peer that reads nothing for so long, while there is something to read, is gone.
const UNREAD_MAX: Duration = Duration::from_secs(30);

pub(super) struct Watched {
    stream: Stream,
    received: usize,
    first_bytes: Option<Pin<Box<Sleep>>>,
    unread: Option<Pin<Box<Sleep>>>,
    metrics: ListenerMetrics,
}

impl Watched {
    pub(super) fn new(stream: Stream, timeout: Duration, metrics: ListenerMetrics) -> Self {
        Self {
            stream,
            received: 0,
            first_bytes: Some(Box::pin(tokio::time::sleep(timeout))),
            unread: None,
            metrics,
        }
    }

    /// What was written went out, or the peer has some time left to read.
    fn written<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.unread = None;
            return outcome;
        }
        let unread = self
            .unread
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(UNREAD_MAX)));
        if unread.as_mut().poll(context).is_pending() {
            return outcome;
        }
        self.metrics.strike(Limit::Unread);
        Poll::Ready(Err(timed_out("the peer reads nothing")))
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(deadline) = &mut self.first_bytes else {
            return outcome;
        };
        if outcome.is_pending() && deadline.as_mut().poll(context).is_ready() {
            self.metrics.strike(Limit::Idle);
            return Poll::Ready(Err(timed_out("no request arrived in time")));
        }
        self.received += buffer.filled().len() - filled_before;
        if self.received >= PREFACE_BYTES {
            self.first_bytes = None;
        }
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
