//! A request that has arrived whole. What it asks for is [`crate::action`]'s business.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::request::Parts;

/// A body that becomes larger than this is nothing that any service takes.
const PLAIN_BYTES_MAX: u64 = 64 << 20;

/// A request.
#[derive(Debug)]
pub struct Call {
    /// Its head.
    pub head: Parts,
    /// Its body, as it was sent.
    pub body: Bytes,
}

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is encoded as no service here takes it.
    #[error("the content encoding {0} is not supported")]
    Encoding(String),
    /// It says gzip and is something else, or far too large.
    #[error("the body is no gzip of a sensible size")]
    Gzip(#[from] std::io::Error),
}

impl Call {
    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.head.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body without its encoding.
    pub fn plain(&self) -> Result<Bytes, BodyError> {
        match self.header("content-encoding") {
            "" | "identity" => Ok(self.body.clone()),
            "gzip" => {
                let mut plain = Vec::new();
                GzDecoder::new(&*self.body)
                    .take(PLAIN_BYTES_MAX)
                    .read_to_end(&mut plain)?;
                Ok(plain.into())
            }
            other => Err(BodyError::Encoding(other.to_owned())),
        }
    }
}
