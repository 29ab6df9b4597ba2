//! A deadline for the first bytes of a connection.
//!
//! The server tells HTTP/1.1 from HTTP/2 by the 24 bytes of the HTTP/2 preface (RFC 9113,
//! section 3.4), and waits for them without a limit of its own. It does not limit anything
//! after that: HTTP/1.1 has a timeout for each request's head, HTTP/2 its pings.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::net::Stream;

/// Length of `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`; a shorter HTTP/1 request has no Host header.
const PREFACE_BYTES: usize = 24;

pub(crate) struct FirstBytes {
    stream: Stream,
    received: usize,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl FirstBytes {
    pub(crate) fn new(stream: Stream, timeout: Duration) -> Self {
        Self {
            stream,
            received: 0,
            deadline: Some(Box::pin(tokio::time::sleep(timeout))),
        }
    }
}

impl AsyncRead for FirstBytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some(deadline) = &mut self.deadline else {
            return outcome;
        };
        if outcome.is_pending() && deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no request arrived in time",
            )));
        }
        self.received += buf.filled().len() - filled_before;
        if self.received >= PREFACE_BYTES {
            self.deadline = None;
        }
        outcome
    }
}

impl AsyncWrite for FirstBytes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
