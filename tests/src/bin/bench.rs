//! The program behind `make bench`. Everything that it does is in the library.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Err(fault) = system_tests::bench::run::run(std::env::args().skip(1)) else {
        return ExitCode::SUCCESS;
    };
    // If nobody reads it, the exit code still says it.
    writeln!(std::io::stderr(), "{fault:#}").ok();
    ExitCode::FAILURE
}
