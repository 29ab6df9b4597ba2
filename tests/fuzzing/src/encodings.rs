//! Compressed bodies: never more output than the limit, no more memory than is reserved, and the
//! bytes that another decoder makes of the input.
//!
//! The first byte says which encoding, the second the limit, and the rest is the body.

use std::io::Read;
use std::io::Write;

use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use meridian_agent::intake::admission::{Admission, Buffer, Overflow};
use meridian_agent::receivers::otlp::{DecompressError, Encoding};

use crate::choices::Choices;

const ALL: [Encoding; 4] = [
    Encoding::Identity,
    Encoding::Gzip,
    Encoding::Zstd,
    Encoding::Deflate,
];
/// What a buffer reserves ahead.
const AHEAD_BYTES_MAX: usize = 1 << 20;

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let encoding = ALL[usize::from(choices.byte()) % ALL.len()];
    // Up to a mebibyte, fine where it is small.
    let size = usize::from(choices.byte());
    let bytes_max = size * size * 16;
    let body = choices.rest();
    if let Ok(output) = decompress(encoding, body, bytes_max) {
        assert_eq!(
            Some(output.as_slice()),
            by_others(encoding, body, bytes_max).as_deref()
        );
    }
    let compressed = compress(encoding, body);
    let output = decompress(encoding, &compressed, body.len()).expect("what was compressed is decompressed");
    assert_eq!(output, body);
    if let Some(less) = body.len().checked_sub(1) {
        let limit = Overflow::TooLarge { bytes_max: less };
        let cut = decompress(encoding, &compressed, less);
        assert!(matches!(cut, Err(DecompressError::Overflow(found)) if found == limit));
    }
}

fn decompress(encoding: Encoding, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    let admission = Admission::new(bytes_max + AHEAD_BYTES_MAX);
    let mut output = Buffer::new(&admission, bytes_max);
    let result = encoding.decompress(body, &mut output);
    assert!(output.len() <= bytes_max, "no more than the limit");
    assert!(output.len() <= admission.bytes_used(), "no more than is reserved");
    let bytes = output.as_slice().to_vec();
    drop(output);
    assert_eq!(admission.bytes_used(), 0, "all of it is given back");
    result.map(|()| bytes)
}

/// What other readers make of it. Those of flate2 take what is cut short for complete, and are
/// only asked about what ours took.
fn by_others(encoding: Encoding, body: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Identity => Some(body.to_vec()),
        Encoding::Gzip => read(MultiGzDecoder::new(body), bytes_max),
        Encoding::Zstd => read(zstd::stream::read::Decoder::new(body).ok()?, bytes_max),
        Encoding::Deflate => {
            read(ZlibDecoder::new(body), bytes_max).or_else(|| read(DeflateDecoder::new(body), bytes_max))
        }
    }
}

fn read(decoder: impl Read, bytes_max: usize) -> Option<Vec<u8>> {
    let mut output = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut output).ok()?;
    Some(output)
}

fn compress(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let written = match encoding {
        Encoding::Identity => Ok(body.to_vec()),
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).and_then(|()| encoder.finish())
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).and_then(|()| encoder.finish())
        }
        Encoding::Zstd => zstd::encode_all(body, 1),
    };
    written.expect("memory takes all")
}
