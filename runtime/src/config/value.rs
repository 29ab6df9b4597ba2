//! Scalars of a configuration: how a text becomes a value, and what to say when it does not.
//!
//! Ranges that only a part of the system knows are checked there, with `Section::fault`.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;

use crate::units::{self, ByteSize};

/// A value that is written as one scalar.
pub trait FromConfig: Sized {
    /// The value, or what is wrong, continuing a sentence that begins with the quoted text:
    /// `is not a size; write it like 4GiB`.
    fn from_config(text: &str) -> Result<Self, String>;

    /// What a reader gets where there is a fault. It never leaves `Document::finish`.
    fn placeholder() -> Self;
}

/// An absolute `http://` or `https://` URL with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_tls(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl Display for HttpUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromConfig for HttpUrl {
    fn from_config(text: &str) -> Result<Self, String> {
        let uri: Option<Uri> = text.parse().ok();
        let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        match uri.filter(is_http) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err("is not a URL; write it like http://host:4319 or https://host".to_owned()),
        }
    }

    fn placeholder() -> Self {
        Self(String::new())
    }
}

impl FromConfig for String {
    fn from_config(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Err("is empty".to_owned())
        } else {
            Ok(text.to_owned())
        }
    }

    fn placeholder() -> Self {
        Self::new()
    }
}

impl FromConfig for PathBuf {
    fn from_config(text: &str) -> Result<Self, String> {
        String::from_config(text).map(Self::from)
    }

    fn placeholder() -> Self {
        Self::new()
    }
}

impl FromConfig for bool {
    fn from_config(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is neither true nor false".to_owned()),
        }
    }

    fn placeholder() -> Self {
        false
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl FromConfig for $number {
            fn from_config(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("is not a whole number from 0 to {}", <$number>::MAX))
            }

            fn placeholder() -> Self {
                0
            }
        }
    )*};
}

whole_numbers!(u16, u32, u64, usize);

impl FromConfig for f64 {
    fn from_config(text: &str) -> Result<Self, String> {
        let number: Option<Self> = text.parse().ok();
        number
            .filter(|number| number.is_finite())
            .ok_or_else(|| "is not a number".to_owned())
    }

    fn placeholder() -> Self {
        0.0
    }
}

impl FromConfig for SocketAddr {
    fn from_config(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| "is not an address; write it like 0.0.0.0:4317 or [::]:4317".to_owned())
    }

    fn placeholder() -> Self {
        Self::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
    }
}

impl FromConfig for ByteSize {
    fn from_config(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: units::UnitError| error.to_string())
    }

    fn placeholder() -> Self {
        Self(0)
    }
}

impl FromConfig for Duration {
    fn from_config(text: &str) -> Result<Self, String> {
        units::parse_duration(text).map_err(|error| error.to_string())
    }

    fn placeholder() -> Self {
        Self::ZERO
    }
}
