//! The process `meridian-aggregator`: reads the command line and runs the aggregator until a
//! signal. Everything that it does is in the library.

use std::process::ExitCode;

use meridian_aggregator::app;
use meridian_aggregator::config::Config;
use meridian_runtime::allocator::Setting;
use meridian_runtime::cli::{self, Program};

/// Rows are decoded on one thread and freed on another. With a pool of memory for each of many
/// threads glibc gives little of it back: under overload the process held 175 MiB for a heap of
/// 64, and rising.
const ALLOCATOR: [Setting; 1] = [("MALLOC_ARENA_MAX", "2")];

const PROGRAM: Program = Program {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: env!("CARGO_PKG_DESCRIPTION"),
    allocator: &ALLOCATOR,
};

fn main() -> ExitCode {
    cli::main(PROGRAM, Config::read, app::run)
}
