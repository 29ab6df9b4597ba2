//! The configuration of an OTLP exporter. It reads and checks; it connects to nothing.

use http::{HeaderName, HeaderValue};
use meridian_runtime::config::{HttpUrl, Section};
use meridian_runtime::units::ByteSize;

use crate::requests::compression::Compression;
use crate::requests::settings::Settings as Requests;
use crate::sampling::Sampling;

/// Requests per second: a backend of one's own has no quota that is known here.
const RATE: f64 = 1000.0;

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    Http,
}

/// The section `exporters.otlp`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `endpoint`: of gRPC scheme, host and port; of HTTP what comes before `/v1/traces`.
    pub endpoint: HttpUrl,
    /// `protocol: grpc`.
    pub protocol: Protocol,
    /// `compression: gzip`: every backend reads it; zstd costs less where it is read.
    pub compression: Compression,
    /// `headers`: a list of `name: value`, such as what says who we are.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `request_bytes: 2MiB`: of the records that go together, not compressed. Backends refuse
    /// requests above 4 MiB as a rule; a record that is larger by itself goes alone.
    pub request_bytes: usize,
    /// `sampling`: of spans.
    pub sampling: Sampling,
    /// How requests are sent.
    pub requests: Requests,
}

impl Settings {
    /// Reads the section; faults are recorded in its document.
    pub fn read(mut section: Section<'_>) -> Self {
        let protocols = [("grpc", Protocol::Grpc), ("http", Protocol::Http)];
        let compressions = [
            ("gzip", Compression::Gzip),
            ("zstd", Compression::Zstd),
            ("none", Compression::None),
        ];
        let default = Requests {
            linger: std::time::Duration::from_secs(1),
            ..Requests::at_rate(RATE)
        };
        let settings = Self {
            endpoint: section.required("endpoint"),
            protocol: section.choice("protocol", &protocols, Protocol::Grpc),
            compression: section.choice("compression", &compressions, Compression::Gzip),
            headers: headers(&mut section),
            request_bytes: section.optional("request_bytes", ByteSize(2 << 20)).as_usize(),
            sampling: Sampling::read(&mut section),
            requests: Requests::read(&mut section, default),
        };
        if settings.request_bytes == 0 {
            section.fault("request_bytes", "must be at least 1B");
        }
        section.finish();
        settings
    }
}

fn headers(section: &mut Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for line in section.list::<String>("headers") {
        let parsed = line.split_once(':').and_then(|(name, value)| {
            let mut value: HeaderValue = value.trim().parse().ok()?;
            value.set_sensitive(true);
            Some((name.trim().parse().ok()?, value))
        });
        match parsed {
            Some(header) => headers.push(header),
            None => section.fault(
                "headers",
                "has a line that is no header; write it like \"name: value\"",
            ),
        }
    }
    headers
}
