//! Turns the JSON encoding of OTLP into the protobuf one, driven by the tables of
//! [`super::descriptors`], without a tree in between.
//!
//! Taken: names in lowerCamelCase and as in the .proto files; ids in hex, other bytes in
//! base64 (standard or URL-safe, padded or not); integers as numbers or strings; enums as
//! numbers or names; `null` as the default; `NaN` and the infinities as strings. Unknown
//! fields are ignored. Of the members of a oneof the last counts. What is valid JSON of the
//! right shape but cannot be kept (an id that is not hex) is left to [`super::check`], which
//! rejects the item alone.

mod scalars;

use meridian_proto::attributes::VALUE_DEPTH_MAX;
use meridian_proto::json::{Fault, Kind as Token, Reader};
use meridian_proto::signal::Signal;
use thiserror::Error;

use super::check::CheckLimits;
use super::descriptors::{self, FieldSpec, Kind, Message, Presence};
use super::wire::{put_tag, put_varint};

/// The body is not OTLP JSON.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not OTLP JSON: {message} at line {line} column {column}")]
pub struct JsonFault {
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// How deep the JSON may nest: a map takes four levels for one, and a request has some
/// around the value. The check then applies the configured limit item by item.
const DEPTH_MAX: u32 = VALUE_DEPTH_MAX * 4 + 32;

/// The protobuf encoding of a JSON request.
pub fn json_to_protobuf(signal: Signal, json: &[u8], limits: &CheckLimits) -> Result<Vec<u8>, JsonFault> {
    let mut transcoder = Transcoder {
        reader: Reader::new(json, DEPTH_MAX),
        out: Vec::with_capacity(json.len() / 2),
        bytes_max: limits.transcoded_bytes_max,
    };
    transcoder
        .request(descriptors::request(signal), json)
        .map_err(|fault| locate(json, fault))?;
    Ok(transcoder.out)
}

fn locate(json: &[u8], fault: Fault) -> JsonFault {
    let before = json.get(..fault.offset).unwrap_or(json);
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    JsonFault {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: 1 + before.len() - line_start,
        message: fault.what.to_owned(),
    }
}

struct Transcoder<'a> {
    reader: Reader<'a>,
    out: Vec<u8>,
    bytes_max: usize,
}

impl Transcoder<'_> {
    fn request(&mut self, message: &'static Message, json: &[u8]) -> Result<(), Fault> {
        if json.starts_with(b"\xef\xbb\xbf") {
            return Err(self.reader.fault("a byte order mark, which JSON does not allow"));
        }
        self.message(message)?;
        self.reader.end()
    }

    fn message(&mut self, message: &'static Message) -> Result<(), Fault> {
        self.reader.begin_object()?;
        let mut first = true;
        let mut oneof: Option<(usize, usize)> = None;
        while let Some(key) = self.reader.next_key(&mut first)? {
            let Some(spec) = message.field_named(&key) else {
                self.reader.skip()?;
                continue;
            };
            if self.reader.peek()? == Token::Null {
                self.reader.null()?;
                continue;
            }
            if spec.presence == Presence::Oneof
                && let Some((start, end)) = oneof.take()
            {
                self.out.drain(start..end);
            }
            let start = self.out.len();
            self.field(spec)?;
            if spec.presence == Presence::Oneof {
                oneof = Some((start, self.out.len()));
            }
        }
        Ok(())
    }

    fn field(&mut self, spec: &'static FieldSpec) -> Result<(), Fault> {
        if self.out.len() > self.bytes_max {
            return Err(self.reader.fault("the request is too large as protobuf"));
        }
        if spec.presence != Presence::Repeated {
            return self.element(spec);
        }
        self.reader.begin_array()?;
        let mut first = true;
        while self.reader.next_element(&mut first)? {
            if self.out.len() > self.bytes_max {
                return Err(self.reader.fault("the request is too large as protobuf"));
            }
            self.element(spec)?;
        }
        Ok(())
    }

    fn element(&mut self, spec: &'static FieldSpec) -> Result<(), Fault> {
        let Kind::Message(inner) = spec.kind else {
            return scalars::transcode(&mut self.reader, &mut self.out, spec);
        };
        put_tag(&mut self.out, spec.number, 2);
        let start = self.out.len();
        // Most messages are shorter than 128 bytes: one byte for the length, more if need be.
        self.out.push(0);
        self.message(inner)?;
        let length = self.out.len() - start - 1;
        let mut encoded = Vec::new();
        put_varint(&mut encoded, length as u64);
        self.out.splice(start..=start, encoded);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
