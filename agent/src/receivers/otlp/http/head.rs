//! What the head of an HTTP request says: the format, the encoding, and whether the body is
//! too large to be read at all.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::receivers::otlp::door::Format;
use crate::receivers::otlp::encoding::Encoding;
use crate::receivers::otlp::fault::Fault;

/// What a request's head promises of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How the body is compressed.
    pub encoding: Encoding,
}

impl Head {
    /// Reads the headers; `announced` is the body's length as far as it is known.
    pub fn read(headers: &HeaderMap, announced: u64, bytes_max: usize) -> Result<Self, Fault> {
        let encoding = encoding_of(headers)?;
        if usize::try_from(announced).map_or(true, |bytes| bytes > bytes_max) {
            return Err(Fault::TooLarge { bytes_max });
        }
        Ok(Self { encoding })
    }
}

/// The format of the request and of its answer. JSON is UTF-8, and may say so.
pub fn format_of(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let format = match parts.next()? {
        "application/x-protobuf" => Format::Protobuf,
        "application/json" => Format::Json,
        _ => return None,
    };
    let is_utf8 = |charset: &str| matches!(charset.trim_matches('"'), "utf-8" | "utf8");
    let charset = parts.find_map(|parameter| parameter.strip_prefix("charset="));
    charset.is_none_or(is_utf8).then_some(format)
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, Fault> {
    let names: Vec<&str> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| value.to_str().unwrap_or("?"))
        .collect();
    let name = names.join(", ");
    Encoding::parse(&name).ok_or(Fault::UnknownEncoding { name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn content_types_are_read_with_their_parameters() {
        let format = |value| format_of(&headers(CONTENT_TYPE, value));
        assert_eq!(format("application/json"), Some(Format::Json));
        assert_eq!(format("application/json; charset=utf-8"), Some(Format::Json));
        assert_eq!(format("Application/JSON;charset=\"UTF-8\""), Some(Format::Json));
        assert_eq!(format("application/x-protobuf"), Some(Format::Protobuf));
        assert_eq!(format("application/json; charset=latin1"), None);
        assert_eq!(format("text/plain"), None);
        assert_eq!(format_of(&HeaderMap::new()), None);
    }

    #[test]
    fn an_announced_length_over_the_limit_is_refused_before_reading() {
        let none = HeaderMap::new();
        assert!(Head::read(&none, 10, 10).is_ok());
        assert!(matches!(
            Head::read(&none, 11, 10),
            Err(Fault::TooLarge { bytes_max: 10 })
        ));
    }

    #[test]
    fn a_chain_of_encodings_is_unknown() {
        let mut chain = headers(CONTENT_ENCODING, "gzip");
        assert_eq!(Head::read(&chain, 0, 10).expect("gzip").encoding, Encoding::Gzip);
        chain.append(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        let fault = Head::read(&chain, 0, 10).expect_err("a chain");
        assert!(matches!(fault, Fault::UnknownEncoding { name } if name == "gzip, zstd"));
    }
}
