//! The configuration of the OTLP receiver: every limit is a key with its default beside it.

use std::net::{Ipv4Addr, SocketAddr};

use meridian_runtime::config::Section;
use meridian_runtime::http::Limits;
use meridian_runtime::units::ByteSize;

/// The section `receivers.otlp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpConfig {
    /// Where gRPC listens.
    pub grpc: SocketAddr,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// The most that one request may have, as sent and after decompression.
    pub max_request_bytes: usize,
    /// The most spans, log records or data points that one request may have.
    pub max_request_items: u32,
    /// The most that all requests in flight may have together.
    pub memory_max: usize,
    /// The most that those of one connection may have together, so that one client cannot take
    /// what is there for all.
    pub max_connection_memory: usize,
    /// What the connections of each listener may take.
    pub connections: Limits,
    /// Origins that browsers may send from; none by default.
    pub cors_allowed_origins: Vec<String>,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            grpc: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4317)),
            http: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4318)),
            max_request_bytes: 16 << 20,
            max_request_items: 100_000,
            memory_max: 128 << 20,
            max_connection_memory: 64 << 20,
            connections: Limits::default(),
            cors_allowed_origins: Vec::new(),
        }
    }
}

impl OtlpConfig {
    /// Reads the section; faults are recorded in its document.
    pub fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let memory_max = read_bytes(&mut section, "memory_max", default.memory_max);
        let of_connection = default.max_connection_memory.min(memory_max);
        let config = Self {
            grpc: section.optional("grpc", default.grpc),
            http: section.optional("http", default.http),
            max_request_bytes: read_bytes(&mut section, "max_request_bytes", default.max_request_bytes),
            max_request_items: section.optional("max_request_items", default.max_request_items),
            memory_max,
            max_connection_memory: read_bytes(&mut section, "max_connection_memory", of_connection),
            connections: Limits::read(&mut section, "max_connections"),
            cors_allowed_origins: section.list("cors_allowed_origins"),
        };
        config.validate(&section);
        section.finish();
        config
    }

    fn validate(&self, section: &Section<'_>) {
        if self.grpc == self.http && self.grpc.port() != 0 {
            section.fault(
                "http",
                "is the address of grpc; each protocol needs a port of its own",
            );
        }
        if self.max_request_bytes == 0 {
            section.fault("max_request_bytes", "must be at least 1B");
        }
        if self.max_request_items == 0 {
            section.fault("max_request_items", "must be at least 1");
        }
        let sizes = [
            ("memory_max", self.memory_max),
            ("max_connection_memory", self.max_connection_memory),
        ];
        for (key, bytes) in sizes {
            if bytes / 2 < self.max_request_bytes {
                let message = "must be at least twice max_request_bytes: a compressed request is there \
                    as it was sent and decompressed";
                section.fault(key, message);
            }
        }
    }
}

fn read_bytes(section: &mut Section<'_>, key: &str, default: usize) -> usize {
    let default = ByteSize(u64::try_from(default).unwrap_or(u64::MAX));
    section.optional(key, default).as_usize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use meridian_runtime::config::Document;

    fn read(text: &str) -> Result<OtlpConfig, String> {
        let document = Document::parse("agent.yaml", text, &|_| None).map_err(|error| error.to_string())?;
        let config = OtlpConfig::read(document.root().section("otlp"));
        document.finish(config).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_section_means_the_defaults() {
        assert_eq!(read("otlp: {}"), Ok(OtlpConfig::default()));
    }

    #[test]
    fn every_limit_is_a_key() {
        let text = "otlp:\n  grpc: 127.0.0.1:1\n  http: 127.0.0.1:2\n  max_request_bytes: 1MiB\n  max_request_items: 7\n  memory_max: 8MiB\n  \
            max_connection_memory: 4MiB\n  max_connections: 3\n  max_connection_streams: 4\n  max_header_bytes: 2KiB\n  \
            idle_timeout: 6s\n  body_timeout: 5s\n  min_body_rate: 1MiB\n  cors_allowed_origins: [\"https://a.example\"]\n";
        let expected = OtlpConfig {
            grpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 2)),
            max_request_bytes: 1 << 20,
            max_request_items: 7,
            memory_max: 8 << 20,
            max_connection_memory: 4 << 20,
            connections: Limits {
                max_connections: 3,
                max_connection_streams: 4,
                max_header_bytes: 2 << 10,
                idle_timeout: Duration::from_secs(6),
                body_timeout: Duration::from_secs(5),
                min_body_rate: 1 << 20,
            },
            cors_allowed_origins: vec!["https://a.example".to_owned()],
        };
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn limits_that_cannot_work_are_faults_of_their_lines() {
        let text =
            "otlp:\n  grpc: 0.0.0.0:4317\n  http: 0.0.0.0:4317\n  memory_max: 20MiB\n  body_timeout: 0s\n";
        let faults = read(text).expect_err("three faults");
        for (line, key) in [(3, "http"), (4, "memory_max"), (5, "body_timeout")] {
            assert!(
                faults.contains(&format!("agent.yaml:{line}:")) && faults.contains(key),
                "{faults}"
            );
        }
    }
}
