//! The process `meridian-aggregator`: reads the command line and runs the aggregator until a
//! signal. Everything that it does is in the library.

use std::process::ExitCode;

use meridian_aggregator::app;
use meridian_aggregator::config::Config;
use meridian_runtime::cli::{self, Program};

const PROGRAM: Program = Program {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: env!("CARGO_PKG_DESCRIPTION"),
    allocator: &[],
};

fn main() -> ExitCode {
    cli::main(PROGRAM, Config::read, app::run)
}
