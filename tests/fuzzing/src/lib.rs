//! What must hold for any input, as one function of bytes per target: coverage-guided fuzzing
//! (`make fuzz`) and a short pass over the kept inputs (`make test`) share them.
//!
//! Each asserts what the code promises beyond not panicking, against a decoder that is not ours
//! where there is one. Which inputs are worth trying is not decided here.

mod acknowledgements;
#[cfg(feature = "aggregator")]
mod agent_messages;
mod batches;
mod choices;
mod encodings;
pub mod mutations;
mod otlp;
mod payload;
mod reference;
mod spool;
#[cfg(feature = "aggregator")]
pub mod sql;

/// An entry point.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its corpus and of its binary.
    pub name: &'static str,
    /// Panics if something does not hold.
    pub run: fn(&[u8]),
    /// A run costs milliseconds.
    pub is_slow: bool,
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        run,
        is_slow: false,
    }
}

/// The walk over OTLP in protobuf.
pub const OTLP_PROTOBUF: Target = target("otlp_protobuf", otlp::protobuf);
/// OTLP in JSON.
pub const OTLP_JSON: Target = target("otlp_json", otlp::json);
/// What a body is compressed with.
pub const ENCODINGS: Target = target("encodings", encodings::run);
/// Opening and reading a spool.
pub const SPOOL: Target = target("spool", spool::run);
/// A batch's columns.
pub const PAYLOAD: Target = target("payload", payload::run);
/// What an aggregator says to an agent.
pub const ACKNOWLEDGEMENTS: Target = target("acknowledgements", acknowledgements::run);
/// What an agent says to an aggregator.
#[cfg(feature = "aggregator")]
pub const AGENT_MESSAGES: Target = target("agent_messages", agent_messages::run);
/// A statement, up to its plan.
#[cfg(feature = "aggregator")]
pub const SQL: Target = Target {
    is_slow: true,
    ..target("sql", sql::run)
};

/// All of them.
pub const TARGETS: &[Target] = &[
    OTLP_PROTOBUF,
    OTLP_JSON,
    ENCODINGS,
    SPOOL,
    PAYLOAD,
    ACKNOWLEDGEMENTS,
    #[cfg(feature = "aggregator")]
    AGENT_MESSAGES,
    #[cfg(feature = "aggregator")]
    SQL,
];
