//! The benchmark: fresh telemetry at full speed or at a fixed rate into a real process, an
//! empty far side behind it, and what that cost by the kernel's books.
//!
//! It measures one process at a time and only its own CPU and memory, so that the generator
//! and the far side, which share the machine, do not count. It asserts nothing.

pub mod client;
mod content;
mod machine;
mod measure;
mod otlp_sink;
mod report;
mod row_sink;
pub mod run;
mod targets;
pub mod template;
