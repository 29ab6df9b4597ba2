//! Content encodings: gzip, zstd, deflate and identity, as both protocols name them.
//!
//! Decompression streams into a bounded buffer, so a bomb is cut at the limit and has cost no
//! more than the limit. It deliberately accepts nothing after the end of the compressed data:
//! trailing bytes mean that somebody's framing is wrong.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

use crate::intake::admission::{Buffer, Overflow};

/// What is decompressed between two looks at the limit.
const SCRATCH_BYTES: usize = 16 * 1024;
/// Each gzip member costs a new state, so their number is limited (pigz and bgzip write one
/// for every 64 KiB or more).
const GZIP_MEMBERS_MAX: usize = 1024;
/// RFC 9659 asks for 8 MiB; a frame in one segment has its content's size as its window.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// A content encoding that both protocols accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952, one or several members.
    Gzip,
    /// RFC 8878, one or several frames.
    Zstd,
    /// RFC 1950 (zlib), or RFC 1951 without the zlib header, which some clients send.
    Deflate,
}

/// Why a compressed body could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The output reached a limit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// It is not what the encoding says, or it is cut short.
    #[error("the body is not valid {}", encoding.as_str())]
    Corrupt {
        /// The encoding that the request named.
        encoding: Encoding,
        /// What the decoder said.
        source: io::Error,
    },
    /// There are bytes after the end.
    #[error("{bytes} bytes follow the end of the {} data", encoding.as_str())]
    Trailing {
        /// The encoding that the request named.
        encoding: Encoding,
        /// How many bytes are left.
        bytes: usize,
    },
    /// So many members that opening them is work without a payload.
    #[error("more than {GZIP_MEMBERS_MAX} gzip members")]
    TooManyMembers,
}

impl Encoding {
    /// The value of `Accept-Encoding` and, with identity, of `grpc-accept-encoding`.
    pub const ACCEPTED: &str = "gzip, zstd, deflate";

    /// The encoding with this name; the empty name is identity.
    pub fn parse(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// The name in headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }

    /// Decompresses the whole of `input` into `output`.
    pub fn decompress(self, input: &[u8], output: &mut Buffer) -> Result<(), DecompressError> {
        match self {
            Self::Identity => Ok(output.extend(input)?),
            Self::Gzip => gunzip(input, output),
            Self::Zstd => unzstd(input, output),
            Self::Deflate => inflate(input, output),
        }
    }

    fn corrupt(self, source: io::Error) -> DecompressError {
        DecompressError::Corrupt {
            encoding: self,
            source,
        }
    }
}

fn gunzip(mut input: &[u8], output: &mut Buffer) -> Result<(), DecompressError> {
    for member in 0..GZIP_MEMBERS_MAX {
        let looks_like_a_member = input.starts_with(&[0x1f, 0x8b]);
        if member > 0 && !looks_like_a_member {
            return trailing(Encoding::Gzip, input.len());
        }
        let mut decoder = flate2::bufread::GzDecoder::new(input);
        copy(Encoding::Gzip, &mut decoder, output)?;
        input = decoder.into_inner();
        if input.is_empty() {
            return Ok(());
        }
    }
    Err(DecompressError::TooManyMembers)
}

fn unzstd(input: &[u8], output: &mut Buffer) -> Result<(), DecompressError> {
    let corrupt = |source| Encoding::Zstd.corrupt(source);
    if input.is_empty() {
        return Err(corrupt(io::ErrorKind::UnexpectedEof.into()));
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(corrupt)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(corrupt)?;
    copy(Encoding::Zstd, &mut decoder, output)
}

fn copy(encoding: Encoding, decoder: &mut impl Read, output: &mut Buffer) -> Result<(), DecompressError> {
    let mut scratch = [0; SCRATCH_BYTES];
    loop {
        let count = decoder
            .read(&mut scratch)
            .map_err(|error| encoding.corrupt(error))?;
        if count == 0 {
            return Ok(());
        }
        output.extend(scratch.get(..count).unwrap_or_default())?;
    }
}

/// flate2's readers take a zlib stream that is cut short for a complete one; this does not.
fn inflate(input: &[u8], output: &mut Buffer) -> Result<(), DecompressError> {
    let mut decoder = Decompress::new(has_zlib_header(input));
    let mut scratch = [0; SCRATCH_BYTES];
    loop {
        let rest = consumed(&decoder)
            .and_then(|count| input.get(count..))
            .unwrap_or_default();
        let (in_before, out_before) = (decoder.total_in(), decoder.total_out());
        let status = decoder
            .decompress(rest, &mut scratch, FlushDecompress::None)
            .map_err(|error| Encoding::Deflate.corrupt(error.into()))?;
        let written = usize::try_from(decoder.total_out() - out_before).unwrap_or_default();
        output.extend(scratch.get(..written).unwrap_or_default())?;
        if status == Status::StreamEnd {
            return trailing(
                Encoding::Deflate,
                input.len() - consumed(&decoder).unwrap_or_default(),
            );
        }
        if written == 0 && decoder.total_in() == in_before {
            return Err(Encoding::Deflate.corrupt(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn consumed(decoder: &Decompress) -> Option<usize> {
    usize::try_from(decoder.total_in()).ok()
}

/// RFC 1950, 2.2: the method is 8, and the first two bytes are a multiple of 31.
fn has_zlib_header(input: &[u8]) -> bool {
    matches!(input, [method, flags, ..]
        if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

fn trailing(encoding: Encoding, bytes: usize) -> Result<(), DecompressError> {
    match bytes {
        0 => Ok(()),
        bytes => Err(DecompressError::Trailing { encoding, bytes }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;
    use crate::intake::admission::Admission;

    const TEXT: &[u8] = b"a span, a span, a span and a log record";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).expect("memory")
    }

    fn compressed() -> Vec<(Encoding, Vec<u8>)> {
        vec![
            (Encoding::Identity, TEXT.to_vec()),
            (Encoding::Gzip, gzip(TEXT)),
            (Encoding::Zstd, zstd_frame(TEXT)),
            (Encoding::Deflate, zlib(TEXT)),
            (Encoding::Deflate, raw_deflate(TEXT)),
        ]
    }

    fn decompress(encoding: Encoding, input: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
        let mut output = Buffer::new(&Admission::new(usize::MAX), bytes_max);
        encoding.decompress(input, &mut output)?;
        Ok(output.as_slice().to_vec())
    }

    #[test]
    fn every_encoding_gives_back_what_was_compressed() {
        for (encoding, input) in compressed() {
            let output = decompress(encoding, &input, 1000).expect("valid");
            assert_eq!(output, TEXT, "{encoding:?}");
        }
    }

    #[test]
    fn a_body_cut_short_is_corrupt_at_every_length() {
        for (encoding, input) in compressed().into_iter().skip(1) {
            for length in 0..input.len() {
                let result = decompress(encoding, &input[..length], 1000);
                assert!(
                    matches!(result, Err(DecompressError::Corrupt { .. })),
                    "{encoding:?} cut at {length} of {}: {result:?}",
                    input.len()
                );
            }
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        for (encoding, mut input) in compressed().into_iter().skip(1) {
            input.extend_from_slice(b"xyz");
            let result = decompress(encoding, &input, 1000);
            assert!(result.is_err(), "{encoding:?}: {result:?}");
        }
    }

    #[test]
    fn several_members_and_frames_are_one_body() {
        let twice = [gzip(TEXT), gzip(TEXT)].concat();
        assert_eq!(
            decompress(Encoding::Gzip, &twice, 1000).expect("valid"),
            [TEXT, TEXT].concat()
        );
        let twice = [zstd_frame(TEXT), zstd_frame(TEXT)].concat();
        assert_eq!(
            decompress(Encoding::Zstd, &twice, 1000).expect("valid"),
            [TEXT, TEXT].concat()
        );
    }

    #[test]
    fn thousands_of_empty_gzip_members_are_refused() {
        let result = decompress(Encoding::Gzip, &gzip(b"").repeat(2000), 1000);
        assert!(
            matches!(result, Err(DecompressError::TooManyMembers)),
            "{result:?}"
        );
    }

    #[test]
    fn a_bomb_is_cut_at_the_limit_and_costs_no_more_memory_than_that() {
        let zeros = vec![0; 8 * 1024 * 1024];
        for (encoding, bomb) in [
            (Encoding::Gzip, gzip(&zeros)),
            (Encoding::Zstd, zstd_frame(&zeros)),
            (Encoding::Deflate, zlib(&zeros)),
            (Encoding::Deflate, raw_deflate(&zeros)),
        ] {
            let admission = Admission::new(usize::MAX);
            let mut output = Buffer::new(&admission, 100_000);
            let result = encoding.decompress(&bomb, &mut output);
            let limit = Overflow::TooLarge { bytes_max: 100_000 };
            assert!(matches!(result, Err(DecompressError::Overflow(found)) if found == limit));
            assert!(admission.bytes_used() < 200_000, "{encoding:?}");
        }
    }

    #[test]
    fn a_bomb_stops_where_the_memory_ends() {
        let admission = Admission::new(50_000);
        let mut output = Buffer::new(&Arc::clone(&admission), 1_000_000);
        let result = Encoding::Zstd.decompress(&zstd_frame(&vec![0; 500_000]), &mut output);
        assert!(matches!(
            result,
            Err(DecompressError::Overflow(Overflow::MemoryFull(_)))
        ));
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!(Encoding::parse(""), Some(Encoding::Identity));
        assert_eq!(Encoding::parse(" GZIP "), Some(Encoding::Gzip));
        assert_eq!(Encoding::parse("br"), None);
        assert_eq!(Encoding::parse("gzip, zstd"), None);
    }
}
