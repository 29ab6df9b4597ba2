//! The process `meridian-agent`: reads the command line and runs the agent until a signal.
//!
//! Everything that it does is in the library.

use std::process::ExitCode;

use meridian_agent::app;
use meridian_agent::config::Config;
use meridian_runtime::allocator::Setting;
use meridian_runtime::cli::{self, Program, Tool};

/// Buffers of requests and batches are used again instead of being mapped and cleared each time,
/// and there is one pool of them: several would each keep as much.
const ALLOCATOR: [Setting; 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "33554432"),
    ("MALLOC_TRIM_THRESHOLD_", "33554432"),
];

const PROGRAM: Program = Program {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: env!("CARGO_PKG_DESCRIPTION"),
    allocator: &ALLOCATOR,
};

const EXPLAIN: Tool<Config> = Tool {
    name: "explain",
    about: "read OTLP JSON and tell what each exporter would send; nothing is sent",
    config: app::explain::CONFIG,
    run: |config, json| app::explain::run(config, json).map_err(Into::into),
};

fn main() -> ExitCode {
    cli::main(PROGRAM, &[EXPLAIN], Config::read, Config::notes, app::run)
}
