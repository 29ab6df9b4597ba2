//! OTLP that is meant to hurt: inputs by class over gRPC and HTTP, each with what becomes of it
//! if it is handled well. Which bytes go over the wire is said here; sending and judging is
//! `attack`'s business.

pub mod attack;
mod bulk;
pub mod client;
mod encodings;
mod framing;
mod heads;
mod json;
mod malformed;
mod numbers;
mod protobuf;
mod wire;

use meridian_proto::signal::Signal;

/// Makes the bytes when they are sent: all of them at once would take gigabytes.
type Make = Box<dyn Fn() -> Vec<u8> + Send + Sync>;

/// What becomes of an input that is handled well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Success. Of `items` at least and at most so many are rejected, and told.
    Accepted {
        /// How many it has.
        items: u64,
        /// How many of them nobody may keep.
        rejected_min: u64,
        /// How many of them need not be kept.
        rejected_max: u64,
    },
    /// Refused as a whole, so that no SDK sends it again.
    Refused,
    /// Accepted as a whole or refused for good: a matter of the receiver's limits.
    Either,
    /// Refused for good, or the connection is closed without an answer: it is not HTTP.
    Closed,
}

impl Expected {
    /// All of it is accepted.
    pub const fn whole(items: u64) -> Self {
        Self::Accepted {
            items,
            rejected_min: 0,
            rejected_max: 0,
        }
    }

    /// So many of it are rejected, and the others kept.
    pub const fn without(items: u64, rejected: u64) -> Self {
        Self::Accepted {
            items,
            rejected_min: rejected,
            rejected_max: rejected,
        }
    }

    /// So many of it are odd: they may be rejected, and the others are kept.
    pub const fn odd(items: u64, odd: u64) -> Self {
        Self::Accepted {
            items,
            rejected_min: 0,
            rejected_max: odd,
        }
    }
}

/// How an input goes over the wire.
pub enum Sent {
    /// A call of gRPC: its path, its headers, and what its body is, prefix and all.
    Grpc {
        /// POST if it is a call at all.
        method: &'static str,
        /// Where to.
        path: String,
        /// Beside those that every call has.
        headers: Vec<(&'static str, String)>,
        /// The bytes of the data frames.
        body: Make,
    },
    /// The bytes of a connection of HTTP/1.1, from the request line to its end.
    Http {
        /// What is written.
        bytes: Make,
    },
}

/// One input.
pub struct Input {
    /// What it is meant to break.
    pub class: &'static str,
    /// Which one it is.
    pub what: String,
    /// What it claims to be.
    pub signal: Signal,
    /// How it is sent.
    pub sent: Sent,
    /// What becomes of it.
    pub expected: Expected,
    /// Whether making it, or reading it without optimization, takes seconds.
    pub is_heavy: bool,
}

/// A body that goes over both protocols.
struct Case {
    class: &'static str,
    what: String,
    signal: Signal,
    body: Make,
    expected: Expected,
    is_heavy: bool,
}

impl Case {
    fn new(
        class: &'static str,
        what: impl Into<String>,
        signal: Signal,
        body: Vec<u8>,
        expected: Expected,
    ) -> Self {
        let body = Box::new(move || body.clone());
        Self {
            is_heavy: false,
            ..Self::heavy(class, what, signal, body, expected)
        }
    }

    fn heavy(
        class: &'static str,
        what: impl Into<String>,
        signal: Signal,
        body: Make,
        expected: Expected,
    ) -> Self {
        Self {
            class,
            what: what.into(),
            signal,
            body,
            expected,
            is_heavy: true,
        }
    }

    fn over_grpc(self) -> Input {
        let path = grpc_path(self.signal).to_owned();
        self.sent(|body| Sent::Grpc {
            method: "POST",
            path,
            headers: Vec::new(),
            body: Box::new(move || framing::framed(0, &body())),
        })
    }

    fn over_http(self, headers: &'static [(&'static str, &'static str)]) -> Input {
        let path = crate::otlp::path(self.signal);
        self.sent(|body| Sent::Http {
            bytes: Box::new(move || heads::post(path, headers, &body())),
        })
    }

    fn sent(self, how: impl FnOnce(Make) -> Sent) -> Input {
        Input {
            class: self.class,
            what: self.what,
            signal: self.signal,
            sent: how(self.body),
            expected: self.expected,
            is_heavy: self.is_heavy,
        }
    }
}

/// The path of a signal's call.
pub fn grpc_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Spans => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

/// All of them; ids are new in every list.
pub fn inputs() -> Vec<Input> {
    // Made twice, because the same bytes within the retry window are accepted once.
    let protobuf = || protobuf::cases().into_iter().chain(bulk::in_protobuf());
    let json = json::cases().into_iter().chain(bulk::in_json());
    protobuf()
        .map(Case::over_grpc)
        .chain(protobuf().map(|case| case.over_http(&[heads::PROTOBUF])))
        .chain(json.map(|case| case.over_http(&[heads::JSON])))
        .chain(framing::inputs())
        .chain(encodings::inputs())
        .chain(heads::inputs())
        .collect()
}

/// Those that are made, sent and read in little time.
pub fn light_inputs() -> Vec<Input> {
    let mut light = inputs();
    light.retain(|input| !input.is_heavy);
    light
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn there_are_inputs_of_every_class_over_both_protocols() {
        let mut classes: HashMap<&str, usize> = HashMap::new();
        let (mut grpc, mut http) = (0, 0);
        for input in inputs() {
            *classes.entry(input.class).or_default() += 1;
            match input.sent {
                Sent::Grpc { .. } => grpc += 1,
                Sent::Http { .. } => http += 1,
            }
        }
        assert!(grpc + http >= 300, "{grpc} over gRPC, {http} over HTTP");
        assert!(grpc >= 100 && http >= 150, "{grpc} over gRPC, {http} over HTTP");
        let expected = [
            "ids", "text", "range", "repeated", "empty", "depth", "wire", "flood", "size", "json",
            "encoding", "framing", "head", "method",
        ];
        for class in expected {
            assert!(
                classes.get(class).is_some_and(|count| *count >= 4),
                "{class}: {classes:?}"
            );
        }
    }
}
