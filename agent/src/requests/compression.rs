//! Compresses the body of a request. Blocks for as long as that takes.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::write::GzEncoder;

/// The quickest levels: what is gained by others is not worth their time on the way.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// The name in headers; `None` if there is nothing to name.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// Appends the parts, compressed together, to `out`.
    pub fn append(self, out: &mut Vec<u8>, parts: &[Bytes]) -> io::Result<()> {
        match self {
            Self::None => {
                parts.iter().for_each(|part| out.extend_from_slice(part));
                Ok(())
            }
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL));
                parts.iter().try_for_each(|part| encoder.write_all(part))?;
                encoder.finish().map(drop)
            }
            Self::Zstd => {
                let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
                parts.iter().try_for_each(|part| encoder.write_all(part))?;
                encoder.finish().map(drop)
            }
        }
    }
}
