//! The bytes below the columns: numbers and small streams in a head, larger streams in a body,
//! each compressed by itself.
//!
//! ```text
//! payload   form u8 · head: its bytes, its bytes as stored (0: as they are) · head · body
//! stream    0 · bytes               in the head
//!           1 · byte                all of its bytes are this one
//!           2                       in the body, as it is
//!           3 · stored bytes        in the body, a zstd frame
//! number    LEB128; signed ones zigzag
//! ```
//! A reader knows from the columns how long each stream must be, so the length is not written,
//! and no stream can make it allocate more. What the bytes mean is not known here.

use std::borrow::Cow;

use zstd::bulk::{Compressor, Decompressor};

use super::PayloadError;

/// The first byte of a payload.
const FORM: u8 = 2;
const INLINE: u8 = 0;
const REPEATED: u8 = 1;
const PLAIN: u8 = 2;
const FRAME: u8 = 3;
/// A shorter stream would not pay for a frame of its own.
const BODY_BYTES_MIN: usize = 256;

/// Collects head and body.
pub(super) struct Writer {
    head: Vec<u8>,
    body: Vec<u8>,
    zstd: Compressor<'static>,
    frame: Vec<u8>,
}

impl Writer {
    pub fn new(level: i32) -> Result<Self, PayloadError> {
        Ok(Self {
            head: Vec::new(),
            body: Vec::new(),
            zstd: Compressor::new(level).map_err(PayloadError::Compression)?,
            frame: Vec::new(),
        })
    }

    pub fn byte(&mut self, byte: u8) {
        self.head.push(byte);
    }

    pub fn number(&mut self, number: usize) {
        push_varint(&mut self.head, number as u64);
    }

    pub fn signed(&mut self, number: i64) {
        push_varint(&mut self.head, zigzag(number));
    }

    /// A few bytes with their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.head.extend_from_slice(bytes);
    }

    /// A stream whose length the reader will know.
    pub fn stream(&mut self, bytes: &[u8]) -> Result<(), PayloadError> {
        if let Some((first, rest)) = bytes.split_first()
            && rest.iter().all(|byte| byte == first)
        {
            self.head.extend([REPEATED, *first]);
        } else if bytes.len() < BODY_BYTES_MIN {
            self.head.push(INLINE);
            self.head.extend_from_slice(bytes);
        } else if self.compress(bytes)? {
            self.head.push(FRAME);
            self.number(self.frame.len());
            self.body.extend_from_slice(&self.frame);
        } else {
            self.head.push(PLAIN);
            self.body.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// What `write` writes, with its lengths before it so that a reader can pass it over.
    pub fn section(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), PayloadError>,
    ) -> Result<(), PayloadError> {
        let outer = std::mem::take(&mut self.head);
        let body_before = self.body.len();
        write(self)?;
        let section = std::mem::replace(&mut self.head, outer);
        self.number(section.len());
        self.number(self.body.len() - body_before);
        self.head.extend_from_slice(&section);
        Ok(())
    }

    pub fn finish(mut self) -> Result<Vec<u8>, PayloadError> {
        let head = std::mem::take(&mut self.head);
        let is_frame = self.compress(&head)?;
        let mut out = Vec::with_capacity(head.len() + self.body.len() + 16);
        out.push(FORM);
        push_varint(&mut out, head.len() as u64);
        push_varint(&mut out, if is_frame { self.frame.len() as u64 } else { 0 });
        out.extend_from_slice(if is_frame { &self.frame } else { &head });
        out.extend_from_slice(&self.body);
        Ok(out)
    }

    /// Whether the bytes are smaller in a frame, which then is in `self.frame`.
    fn compress(&mut self, bytes: &[u8]) -> Result<bool, PayloadError> {
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        self.zstd
            .compress_to_buffer(bytes, &mut self.frame)
            .map_err(PayloadError::Compression)?;
        Ok(self.frame.len() < bytes.len())
    }
}

/// Reads what a [`Writer`] wrote, or what a stranger made up.
pub(super) struct Reader<'a> {
    head: &'a [u8],
    body: &'a [u8],
    zstd: Decompressor<'static>,
    bytes_left: usize,
}

/// The head of a payload, and where its body begins.
pub(super) fn split(payload: &[u8], bytes_max: usize) -> Result<(Cow<'_, [u8]>, &[u8]), PayloadError> {
    let (form, mut rest) = payload.split_first().ok_or(TRUNCATED)?;
    if *form != FORM {
        return Err(PayloadError::Form(*form));
    }
    let bytes = length(&mut rest)?;
    let stored = length(&mut rest)?;
    if bytes > bytes_max {
        return Err(PayloadError::TooLarge { bytes, bytes_max });
    }
    let (head, body) = rest
        .split_at_checked(if stored == 0 { bytes } else { stored })
        .ok_or(TRUNCATED)?;
    if stored == 0 {
        return Ok((Cow::Borrowed(head), body));
    }
    let head = zstd::bulk::decompress(head, bytes).map_err(PayloadError::Compression)?;
    if head.len() != bytes {
        return Err(PayloadError::Damaged("a head of another length than it says"));
    }
    Ok((Cow::Owned(head), body))
}

/// A payload whose head is stored as it is.
#[cfg(test)]
pub(super) fn joined(head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = vec![FORM];
    push_varint(&mut out, head.len() as u64);
    push_varint(&mut out, 0);
    [&out, head, body].concat()
}

impl<'a> Reader<'a> {
    /// A reader that accounts for `bytes_max`.
    pub fn new(head: &'a [u8], body: &'a [u8], bytes_max: usize) -> Result<Self, PayloadError> {
        Ok(Self {
            head,
            body,
            zstd: Decompressor::new().map_err(PayloadError::Compression)?,
            bytes_left: bytes_max,
        })
    }

    /// Must be called before so many bytes are allocated.
    pub fn charge(&mut self, bytes: usize) -> Result<(), PayloadError> {
        let bytes_max = self.bytes_left;
        self.bytes_left = bytes_max
            .checked_sub(bytes)
            .ok_or(PayloadError::TooLarge { bytes, bytes_max })?;
        Ok(())
    }

    pub fn byte(&mut self) -> Result<u8, PayloadError> {
        let (byte, rest) = self.head.split_first().ok_or(TRUNCATED)?;
        self.head = rest;
        Ok(*byte)
    }

    pub fn number(&mut self) -> Result<usize, PayloadError> {
        length(&mut self.head)
    }

    pub fn signed(&mut self) -> Result<i64, PayloadError> {
        Ok(unzigzag(varint(&mut self.head)?))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], PayloadError> {
        let length = self.number()?;
        take(&mut self.head, length)
    }

    /// The stream of `bytes` bytes, for which somebody was charged.
    pub fn stream(&mut self, bytes: usize) -> Result<Cow<'a, [u8]>, PayloadError> {
        match self.byte()? {
            INLINE => Ok(Cow::Borrowed(take(&mut self.head, bytes)?)),
            REPEATED => Ok(Cow::Owned(vec![self.byte()?; bytes])),
            PLAIN => Ok(Cow::Borrowed(take(&mut self.body, bytes)?)),
            FRAME => {
                let stored = self.number()?;
                let frame = take(&mut self.body, stored)?;
                let plain = self.zstd.decompress(frame, bytes);
                let plain = plain.map_err(PayloadError::Compression)?;
                if plain.len() != bytes {
                    return Err(PayloadError::Damaged(
                        "a stream of another length than its values",
                    ));
                }
                Ok(Cow::Owned(plain))
            }
            _ => Err(PayloadError::Damaged("a stream that is stored in an unknown way")),
        }
    }

    /// Passes over the next section.
    pub fn skip(&mut self) -> Result<(), PayloadError> {
        let (head_bytes, body_bytes) = (self.number()?, self.number()?);
        take(&mut self.head, head_bytes)?;
        take(&mut self.body, body_bytes)?;
        Ok(())
    }

    /// Reads the next section with `read`, which must use up all of it.
    pub fn section<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, PayloadError>,
    ) -> Result<T, PayloadError> {
        let (head_bytes, body_bytes) = (self.number()?, self.number()?);
        let head = take(&mut self.head, head_bytes)?;
        let body = take(&mut self.body, body_bytes)?;
        let after = (
            std::mem::replace(&mut self.head, head),
            std::mem::replace(&mut self.body, body),
        );
        let value = read(self)?;
        let is_used_up = self.head.is_empty() && self.body.is_empty();
        (self.head, self.body) = after;
        if !is_used_up {
            return Err(PayloadError::Damaged("a column with bytes left over"));
        }
        Ok(value)
    }

    pub fn is_used_up(&self) -> bool {
        self.head.is_empty() && self.body.is_empty()
    }
}

const TRUNCATED: PayloadError = PayloadError::Damaged("an early end");

fn take<'a>(from: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], PayloadError> {
    let (taken, rest) = from.split_at_checked(bytes).ok_or(TRUNCATED)?;
    *from = rest;
    Ok(taken)
}

fn length(from: &mut &[u8]) -> Result<usize, PayloadError> {
    usize::try_from(varint(from)?).map_err(|_| PayloadError::Damaged("a length beyond all memory"))
}

fn varint(from: &mut &[u8]) -> Result<u64, PayloadError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first().ok_or(TRUNCATED)?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Ok(value);
        }
    }
    Err(PayloadError::Damaged("a number of more than 64 bits"))
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Small numbers of either sign become small numbers without one.
pub(super) fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

/// The inverse of [`zigzag`].
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}
