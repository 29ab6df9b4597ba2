//! gRPC's message framing: one byte of flags, four bytes of length, the message.
//!
//! ```text
//! | compressed: u8 | length: u32, big endian | message |
//! ```
//!
//! Takes exactly one message, as unary calls have, and refuses a length over the limit before
//! the message is there. It deliberately does not decompress.

use bytes::Bytes;

use crate::intake::admission::{Buffer, Overflow};
use crate::receivers::otlp::door::Door;
use crate::receivers::otlp::fault::Fault;

/// Bytes before each message.
pub const PREFIX_BYTES: usize = 5;

/// What is wrong with the framing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The flag is neither 0 nor 1.
    #[error("the message's compressed flag is {flag}, want 0 or 1")]
    Flag {
        /// What it is.
        flag: u8,
    },
    /// The stream ended first.
    #[error("the gRPC message ended after {got} of {expected} bytes")]
    CutShort {
        /// Bytes that came.
        got: usize,
        /// Bytes announced.
        expected: usize,
    },
    /// A unary call has one message.
    #[error("more bytes follow the one message of a unary call")]
    Several,
    /// The message says that it is compressed, the headers do not say how.
    #[error("the message is compressed but the request names no grpc-encoding")]
    NoEncoding,
}

/// A message being received.
pub struct Framing<'a> {
    door: &'a Door,
    prefix: Vec<u8>,
    message: Option<Message>,
}

/// A message as it was sent.
#[derive(Debug)]
pub struct Message {
    /// Whether it is compressed.
    pub compressed: bool,
    /// Its bytes.
    pub body: Buffer,
    length: usize,
}

impl<'a> Framing<'a> {
    /// Nothing received yet.
    pub fn new(door: &'a Door) -> Self {
        Self {
            door,
            prefix: Vec::with_capacity(PREFIX_BYTES),
            message: None,
        }
    }

    /// Takes the next bytes of the stream. A large message that is whole in them is not copied.
    pub fn push(&mut self, mut chunk: Bytes) -> Result<(), Fault> {
        if self.message.is_none() {
            let missing = PREFIX_BYTES - self.prefix.len();
            let head = chunk.split_to(missing.min(chunk.len()));
            self.prefix.extend_from_slice(&head);
            self.message = self.open()?;
        }
        let Some(message) = &mut self.message else {
            return Ok(());
        };
        if chunk.len() > message.length - message.body.len() {
            return Err(FrameError::Several.into());
        }
        if chunk.len() == message.length && Buffer::is_worth_adopting(chunk.len()) {
            message.body = Buffer::adopt(&self.door.admission, chunk).map_err(Overflow::from)?;
            return Ok(());
        }
        Ok(message.body.extend(&chunk)?)
    }

    /// The stream has ended.
    pub fn finish(self) -> Result<Message, Fault> {
        let (got, expected) = match &self.message {
            None => (self.prefix.len(), PREFIX_BYTES),
            Some(message) => (message.body.len(), message.length),
        };
        match self.message {
            Some(message) if got == expected => Ok(message),
            _ => Err(FrameError::CutShort { got, expected }.into()),
        }
    }

    fn open(&self) -> Result<Option<Message>, Fault> {
        let &[flag, a, b, c, d] = self.prefix.as_slice() else {
            return Ok(None);
        };
        if flag > 1 {
            return Err(FrameError::Flag { flag }.into());
        }
        let bytes_max = self.door.request_bytes_max;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > bytes_max {
            return Err(Fault::TooLarge { bytes_max });
        }
        Ok(Some(Message {
            compressed: flag == 1,
            body: self.door.buffer_up_to(length),
            length,
        }))
    }
}

/// A message with its prefix, uncompressed.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("answers are a few kilobytes");
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + message.len());
    bytes.push(0);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}
