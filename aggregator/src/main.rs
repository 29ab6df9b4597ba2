//! The process `meridian-aggregator`: reads the command line and runs the aggregator until a
//! signal. Everything that it does is in the library.

use std::process::ExitCode;

use meridian_aggregator::app;
use meridian_aggregator::config::Config;
use meridian_runtime::allocator::Setting;
use meridian_runtime::cli::{self, Program};
use tikv_jemallocator::Jemalloc;

/// Rows are decoded on one thread and freed on another, and a query asks for as much in a second
/// as the ingest does in a minute: glibc's pools keep what is freed in them for good.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Two pools rather than four for each core, and freed pages go back to the kernel after a second.
/// What C code allocates stays with glibc: in its place jemalloc hangs at the start with libraries
/// that stand before both, such as libfaketime.
const ALLOCATOR_SETTINGS: [Setting; 2] = [
    (
        "_RJEM_MALLOC_CONF",
        "narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0",
    ),
    ("MALLOC_ARENA_MAX", "2"),
];

const PROGRAM: Program = Program {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: env!("CARGO_PKG_DESCRIPTION"),
    allocator: &ALLOCATOR_SETTINGS,
};

fn main() -> ExitCode {
    cli::main(PROGRAM, &[], Config::read, |_| Vec::new(), app::run)
}
