//! The command line of both binaries: `--config PATH [--check]`, `--version`, `--help`.
//!
//! Everything else is configuration and belongs into the file. Exit codes: 0 the end was asked
//! for, 1 the process failed, 2 the command line or the configuration is at fault.

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::allocator::{self, Setting};
use crate::config::{self, ConfigError, Document};
use crate::{BoxError, chain, log, open_files};

/// Blocking work that does not end is left behind after this, when all stages are over.
const THREADS_DEADLINE: Duration = Duration::from_secs(2);

const CONFIG_FAULT: u8 = 2;

/// What a binary says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    pub name: &'static str,
    pub version: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// How it wants its allocator, unless the environment says otherwise.
    pub allocator: &'static [Setting],
}

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Run(PathBuf),
    Check(PathBuf),
    Version,
    Help,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum UsageError {
    #[error("--config PATH is missing")]
    NoConfig,
    #[error("--config needs a path")]
    NoPath,
    #[error("--config is given twice")]
    Twice,
    #[error("unknown argument {0:?}")]
    Unknown(OsString),
}

/// The whole of `main`: reads the command line, loads and validates the configuration, starts
/// logging and the runtime, runs the application until it ends, and reports how it ended.
///
/// A faulty configuration ends the process before anything is bound or opened.
pub fn main<C, F, E>(
    program: Program,
    read: impl FnOnce(Document) -> Result<C, ConfigError>,
    run: impl FnOnce(C) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let command = match parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            say(
                io::stderr(),
                &format!("{}: {error}\n\n{}", program.name, help(program)),
            );
            return ExitCode::from(CONFIG_FAULT);
        }
    };
    match command {
        Command::Help => say(io::stdout(), &help(program)),
        Command::Version => say(io::stdout(), &format!("{} {}", program.name, program.version)),
        Command::Check(path) => match config::load(&path).and_then(read) {
            Ok(_) => say(io::stdout(), &format!("{}: no faults", path.display())),
            Err(error) => return refuse(&error),
        },
        Command::Run(path) => return load_and_run(program, &path, read, run),
    }
    ExitCode::SUCCESS
}

fn load_and_run<C, F, E>(
    program: Program,
    path: &Path,
    read: impl FnOnce(Document) -> Result<C, ConfigError>,
    run: impl FnOnce(C) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    if let Err(error) = log::init() {
        return refuse(&error);
    }
    let config = match config::load(path).and_then(read) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    if let Err(error) = allocator::settle(program.allocator) {
        tracing::warn!(%error, "cannot set the allocator, which costs some CPU");
    }
    if let Err(error) = open_files::raise_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let outcome = runtime.block_on(run(config));
    runtime.shutdown_timeout(THREADS_DEADLINE);
    match outcome.map_err(Into::into) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error.as_ref()),
    }
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter();
    let (mut path, mut check) = (None, false);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(Command::Help),
            Some("--version" | "-V") => return Ok(Command::Version),
            Some("--check") => check = true,
            Some("--config") => {
                let value = arguments.next().ok_or(UsageError::NoPath)?;
                if path.replace(PathBuf::from(value)).is_some() {
                    return Err(UsageError::Twice);
                }
            }
            Some(joined) if let Some(value) = joined.strip_prefix("--config=") => {
                if path.replace(PathBuf::from(value)).is_some() {
                    return Err(UsageError::Twice);
                }
            }
            _ => return Err(UsageError::Unknown(argument)),
        }
    }
    let path = path.ok_or(UsageError::NoConfig)?;
    Ok(if check {
        Command::Check(path)
    } else {
        Command::Run(path)
    })
}

fn help(Program { name, about, .. }: Program) -> String {
    format!(
        "{about}\n\n\
         {name} --config PATH           run with this configuration\n\
         {name} --config PATH --check   report every fault of the configuration and exit\n\
         {name} --version | --help\n\n\
         MERIDIAN_LOG=info|debug|…      what is logged to standard error\n\
         MERIDIAN_LOG_FORMAT=text|json  and how"
    )
}

fn refuse(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    say(io::stderr(), &chain(error));
    ExitCode::from(CONFIG_FAULT)
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    tracing::error!(error = chain(error), "the process failed");
    ExitCode::FAILURE
}

/// Writes a line to a person. Where nobody reads any more, there is nobody to tell.
fn say(mut to: impl Write, text: &str) {
    writeln!(to, "{text}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Command, UsageError> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn a_configuration_is_run_or_checked() {
        assert_eq!(parsed(&["--config", "a.yaml"]), Ok(Command::Run("a.yaml".into())));
        assert_eq!(parsed(&["--config=a.yaml"]), Ok(Command::Run("a.yaml".into())));
        assert_eq!(
            parsed(&["--check", "--config", "a.yaml"]),
            Ok(Command::Check("a.yaml".into()))
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert_eq!(parsed(&[]), Err(UsageError::NoConfig));
        assert_eq!(parsed(&["--config"]), Err(UsageError::NoPath));
        assert_eq!(
            parsed(&["--config", "a", "--config", "b"]),
            Err(UsageError::Twice)
        );
        assert_eq!(
            parsed(&["--verbose"]),
            Err(UsageError::Unknown("--verbose".into()))
        );
    }

    #[test]
    fn help_wins_over_what_is_missing() {
        assert_eq!(parsed(&["--help"]), Ok(Command::Help));
        assert_eq!(parsed(&["--version"]), Ok(Command::Version));
    }
}
