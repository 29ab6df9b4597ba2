//! The process `meridian-agent`: reads the command line and runs the agent until a signal.
//!
//! Everything that it does is in the library.

use std::process::ExitCode;

use meridian_agent::app;
use meridian_agent::config::Config;
use meridian_runtime::cli::{self, Program};

const PROGRAM: Program = Program {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: env!("CARGO_PKG_DESCRIPTION"),
};

fn main() -> ExitCode {
    cli::main(PROGRAM, Config::read, app::run)
}
