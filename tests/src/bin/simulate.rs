//! The program behind `make simulate`. Everything that it does is in the library.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match system_tests::simulation::driver::main(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            // If nobody reads it, the exit code still says it.
            writeln!(std::io::stderr(), "{fault:#}").ok();
            ExitCode::FAILURE
        }
    }
}
