//! What gRPC and HTTP have in common behind their framing: memory admission, decompression,
//! JSON, and the way into the intake.
//!
//! A request's memory stays reserved until nobody holds its bytes. This module does no IO.

use std::sync::Arc;

use http::Extensions;
use meridian_proto::signal::Signal;

use super::encoding::{DecompressError, Encoding};
use super::fault::Fault;
use crate::intake::admission::{Admission, Buffer, Overflow};
use crate::intake::workers::{INLINE_BYTES_MAX, Workers};
use crate::intake::{Accepted, Intake};
use crate::otlp::{self, CheckLimits};

/// In UTF-8; some Windows tools write it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How the body of a request is written, after decompression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// application/x-protobuf, and gRPC.
    Protobuf,
    /// application/json, in HTTP only.
    Json,
}

/// The door that both protocols share.
#[derive(Clone)]
pub struct Door {
    /// Where requests go.
    pub intake: Intake,
    /// The budget for the bytes of requests in flight.
    pub admission: Arc<Admission>,
    /// Where large requests are decompressed.
    pub workers: Workers,
    /// The most that a request may have, as sent and decompressed.
    pub request_bytes_max: usize,
}

impl Door {
    /// The same for the requests of one connection, which has a share of the memory.
    pub fn of_connection(mut self, extensions: &Extensions) -> Self {
        if let Some(share) = extensions.get::<Arc<Admission>>() {
            self.admission = Arc::clone(share);
        }
        self
    }

    /// An empty buffer for a request's body.
    pub fn buffer(&self) -> Buffer {
        self.buffer_up_to(self.request_bytes_max)
    }

    /// An empty buffer that takes less than a request may have.
    pub fn buffer_up_to(&self, bytes_max: usize) -> Buffer {
        Buffer::new(&self.admission, bytes_max.min(self.request_bytes_max))
    }

    /// Counts a fault, unless the intake has.
    pub fn count(&self, signal: Signal, fault: &Fault) {
        if let Some(reason) = fault.reason() {
            self.intake.count_refused(signal, reason);
        }
        tracing::debug!(%signal, code = ?fault.code(), error = %fault, "a request was refused");
    }

    /// Decodes a body that has arrived, and stores it.
    pub async fn submit(
        &self,
        signal: Signal,
        body: Buffer,
        encoding: Encoding,
        format: Format,
    ) -> Result<Accepted, Fault> {
        let body = self.decompressed(body, encoding).await?;
        let body = match format {
            Format::Protobuf => body,
            Format::Json => self.transcoded(signal, body).await?,
        };
        Ok(self.intake.accept(signal, body.into_bytes()).await?)
    }

    /// Small bodies are decompressed on the spot, as long as they stay small; a bomb among them
    /// moves to a worker.
    async fn decompressed(&self, body: Buffer, encoding: Encoding) -> Result<Buffer, Fault> {
        if encoding == Encoding::Identity {
            return Ok(body);
        }
        if body.len() <= INLINE_BYTES_MAX {
            let mut output = self.buffer_up_to(INLINE_BYTES_MAX);
            match encoding.decompress(body.as_slice(), &mut output) {
                Ok(()) => return Ok(output),
                Err(DecompressError::Overflow(Overflow::TooLarge { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut output = self.buffer();
        let work = move || encoding.decompress(body.as_slice(), &mut output).map(|()| output);
        Ok(self.workers.run("otlp decompress", usize::MAX, work).await??)
    }

    async fn transcoded(&self, signal: Signal, body: Buffer) -> Result<Buffer, Fault> {
        let limits = CheckLimits {
            transcoded_bytes_max: self.request_bytes_max,
            ..CheckLimits::default()
        };
        let admission = Arc::clone(&self.admission);
        let bytes = body.len();
        let work = move || {
            if body.as_slice().starts_with(BYTE_ORDER_MARK) {
                return Err(Fault::ByteOrderMark);
            }
            let protobuf = otlp::json_to_protobuf(signal, body.as_slice(), &limits).map_err(Fault::Json)?;
            Ok(Buffer::around(&admission, protobuf)?)
        };
        self.workers.run("otlp json", bytes, work).await?
    }
}
