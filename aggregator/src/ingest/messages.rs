//! The messages of one stream, read out of the body of its request: each has its bytes
//! reserved before they are read, and holds no more than those. A generated server would keep
//! a buffer as large as the largest message for as long as the stream lives.
//!
//! ```text
//! | compressed: u8 | length: u32, big endian | message |    (gRPC over HTTP/2)
//! ```
//!
//! What a message means is not known here.

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Body as _;
use meridian_proto::stream::AgentMessage;
use prost::Message as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_util::sync::PollSemaphore;
use tonic::Status;
use tonic::body::Body;

use super::budget::Budget;

const PREFIX_BYTES: usize = 5;
/// Heartbeats and the like reserve nothing: all streams together hold little in them, and must
/// not wait behind the batches of others.
const SMALL_BYTES: usize = 4 << 10;
/// What is reserved must arrive: an agent that stops within a message gives it back.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// A message, and the memory that its bytes take.
#[derive(Debug)]
pub struct Received {
    /// What it says.
    pub message: AgentMessage,
    /// Given back when it is dropped.
    pub reservation: Option<OwnedSemaphorePermit>,
}

/// The rest of a stream. Giving up waiting for a message loses nothing of it.
#[derive(Debug)]
pub struct Messages {
    body: Body,
    memory: PollSemaphore,
    bytes_max: usize,
    chunk: Bytes,
    prefix: Vec<u8>,
    partial: Option<Partial>,
}

/// A message that has begun.
#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    length: usize,
    reservation: Option<OwnedSemaphorePermit>,
    deadline: Pin<Box<Sleep>>,
}

impl Messages {
    /// The messages in this body, under the budget.
    pub fn new(body: Body, budget: &Budget) -> Self {
        Self {
            body,
            memory: PollSemaphore::new(std::sync::Arc::clone(&budget.messages)),
            bytes_max: budget.message_bytes_max,
            chunk: Bytes::new(),
            prefix: Vec::with_capacity(PREFIX_BYTES),
            partial: None,
        }
    }

    /// Whether a message is there that waits for memory.
    pub fn waits_for_memory(&self) -> bool {
        self.partial.is_none() && self.prefix.len() == PREFIX_BYTES
    }

    /// The next message; `None` when the agent has ended the stream.
    pub async fn next(&mut self) -> Result<Option<Received>, Status> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Received>, Status>> {
        loop {
            if self.partial.is_none() {
                let missing = (PREFIX_BYTES - self.prefix.len()).min(self.chunk.len());
                self.prefix.extend_from_slice(&self.chunk.split_to(missing));
                if self.prefix.len() == PREFIX_BYTES {
                    let partial = ready!(self.poll_begin(context))?;
                    self.prefix.clear();
                    self.partial = Some(partial);
                }
            }
            if let Some(partial) = &mut self.partial {
                partial.take(&mut self.chunk);
                if partial.is_whole() {
                    let whole = self.partial.take().map(Partial::decode);
                    return Poll::Ready(whole.transpose());
                }
            }
            if !ready!(self.poll_chunk(context))? {
                return Poll::Ready(match self.partial.is_none() && self.prefix.is_empty() {
                    true => Ok(None),
                    false => Err(Status::invalid_argument("the stream ended within a message")),
                });
            }
        }
    }

    /// Reads the next bytes into `chunk`, which is empty; false at the end of the stream.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Status>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(None) => return Poll::Ready(Ok(false)),
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Err(status)),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.chunk = data;
                        return Poll::Ready(Ok(true));
                    }
                }
                Poll::Pending => {
                    let late = self.partial.as_mut().map(|partial| partial.deadline.as_mut());
                    return match late.map(|deadline| deadline.poll(context)) {
                        Some(Poll::Ready(())) => Poll::Ready(Err(Status::deadline_exceeded(format!(
                            "a message did not arrive within {} s",
                            ARRIVES_WITHIN.as_secs()
                        )))),
                        _ => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Waits for the memory of the message whose prefix is there.
    fn poll_begin(&mut self, context: &mut Context<'_>) -> Poll<Result<Partial, Status>> {
        let mut prefix = self.prefix.as_slice();
        let (flag, length) = (prefix.get_u8(), prefix.get_u32());
        if flag != 0 {
            let status = Status::unimplemented("messages that gRPC compresses are not read");
            return Poll::Ready(Err(status));
        }
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if bytes > self.bytes_max {
            return Poll::Ready(Err(Status::invalid_argument(format!(
                "a message of {bytes} bytes is larger than {} bytes (limits.message and a quarter of \
                 limits.ingest_memory of this aggregator)",
                self.bytes_max
            ))));
        }
        let reservation = match bytes > SMALL_BYTES {
            false => None,
            true => Some(
                ready!(self.memory.poll_acquire_many(context, length))
                    .ok_or_else(|| Status::unavailable("ingest has ended"))?,
            ),
        };
        Poll::Ready(Ok(Partial {
            bytes: Vec::with_capacity(bytes),
            length: bytes,
            reservation,
            deadline: Box::pin(tokio::time::sleep(ARRIVES_WITHIN)),
        }))
    }
}

impl Partial {
    fn take(&mut self, chunk: &mut Bytes) {
        let missing = (self.length - self.bytes.len()).min(chunk.len());
        self.bytes.extend_from_slice(&chunk.split_to(missing));
    }

    fn is_whole(&self) -> bool {
        self.bytes.len() == self.length
    }

    fn decode(self) -> Result<Received, Status> {
        let message = AgentMessage::decode(Bytes::from(self.bytes))
            .map_err(|error| Status::invalid_argument(format!("a message cannot be read: {error}")))?;
        Ok(Received {
            message,
            reservation: self.reservation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::Limits;
    use http_body_util::{BodyExt, StreamBody};
    use meridian_proto::stream::{Batch, Heartbeat, agent_message::Kind};

    fn framed(kind: Kind) -> Vec<u8> {
        let bytes = AgentMessage { kind: Some(kind) }.encode_to_vec();
        let length = u32::try_from(bytes.len()).expect("short");
        [&[0], length.to_be_bytes().as_slice(), &bytes].concat()
    }

    fn batch(bytes: usize) -> Vec<u8> {
        framed(Kind::Batch(Batch {
            payload: vec![7; bytes].into(),
            ..Batch::default()
        }))
    }

    fn messages(bytes: &[u8], step: usize, budget: &Budget) -> Messages {
        let chunks: Vec<_> = bytes
            .chunks(step)
            .map(|chunk| Ok::<_, Status>(http_body::Frame::data(Bytes::copy_from_slice(chunk))))
            .collect();
        let body = StreamBody::new(futures::stream::iter(chunks));
        Messages::new(Body::new(body.boxed()), budget)
    }

    #[tokio::test]
    async fn messages_are_read_wherever_the_bytes_are_cut() {
        let bytes = [
            batch(10_000),
            framed(Kind::Heartbeat(Heartbeat::default())),
            batch(1),
        ]
        .concat();
        for step in [1, 4, 7, 10_004, bytes.len()] {
            let budget = Budget::new(&Limits::default());
            let before = budget.messages.available_permits();
            let mut messages = messages(&bytes, step, &budget);
            let first = messages.next().await.expect("whole").expect("three");
            assert!(budget.messages.available_permits() < before - 10_000);
            drop(first);
            assert!(messages.next().await.expect("whole").is_some());
            assert!(messages.next().await.expect("whole").is_some());
            assert!(messages.next().await.expect("an end").is_none());
            assert_eq!(budget.messages.available_permits(), before);
        }
    }

    #[tokio::test]
    async fn a_message_is_not_read_before_there_is_memory_for_it() {
        let budget = Budget::new(&Limits {
            memory_bytes: 64 << 10,
            ..Limits::default()
        });
        let (mut first, mut second) = (
            messages(&batch(10_000), 100, &budget),
            messages(&batch(10_000), 100, &budget),
        );
        let held = first.next().await.expect("whole").expect("one");
        let early = tokio::time::timeout(Duration::from_millis(10), second.next()).await;
        assert!(early.is_err() && second.waits_for_memory());
        drop(held);
        assert!(second.next().await.expect("whole").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stops_arriving_gives_its_memory_back() {
        let budget = Budget::new(&Limits::default());
        let before = budget.messages.available_permits();
        let begun = vec![Ok::<_, Status>(http_body::Frame::data(
            Bytes::from(batch(10_000)).slice(..500),
        ))];
        let endless = futures::StreamExt::chain(futures::stream::iter(begun), futures::stream::pending());
        let mut messages = Messages::new(Body::new(StreamBody::new(endless).boxed_unsync()), &budget);
        let late = messages.next().await.expect_err("late");
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
        drop(messages);
        assert_eq!(budget.messages.available_permits(), before);
    }

    #[tokio::test]
    async fn what_is_too_large_or_compressed_or_cut_short_is_refused() {
        let budget = Budget::new(&Limits::default());
        let mut large = batch(1);
        large[1..5].copy_from_slice(&(100_u32 << 20).to_be_bytes());
        let mut compressed = batch(1);
        compressed[0] = 1;
        let cut = batch(100)[..50].to_vec();
        for (bytes, word) in [
            (large, "limits.message"),
            (compressed, "compresses"),
            (cut, "ended within"),
        ] {
            let fault = messages(&bytes, 1_000, &budget).next().await.expect_err(word);
            assert!(fault.message().contains(word), "{fault}");
        }
    }
}
