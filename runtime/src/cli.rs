//! The command line of both binaries: `--config PATH [--check]`, `--version`, `--help`, and the
//! tools that a binary has: `TOOL [--config PATH] [FILE]` reads a file and tells something of it.
//!
//! Everything else is configuration and belongs into the file. Exit codes: 0 the end was asked
//! for, 1 the process failed, 2 the command line or the configuration is at fault.

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Read, Write};
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

/// A command that reads a file (or standard input) and prints what it makes of it.
#[derive(Clone, Copy, Debug)]
pub struct Tool<C> {
    /// The first argument.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// The configuration if none is given.
    pub config: &'static str,
    /// From the configuration and the input to what is printed.
    pub run: fn(C, &[u8]) -> Result<String, BoxError>,
}

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Run(PathBuf),
    Check(PathBuf),
    Tool {
        name: &'static str,
        config: Option<PathBuf>,
        file: Option<PathBuf>,
    },
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
/// A faulty configuration ends the process before anything is bound or opened. `notes` are what
/// `--check` says of a sound one.
pub fn main<C, F, E>(
    program: Program,
    tools: &[Tool<C>],
    read: impl FnOnce(Document) -> Result<C, ConfigError>,
    notes: impl FnOnce(&C) -> Vec<String>,
    run: impl FnOnce(C) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let names: Vec<&'static str> = tools.iter().map(|tool| tool.name).collect();
    let command = match parse(&names, std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            say(
                io::stderr(),
                &format!("{}: {error}\n\n{}", program.name, help(program, tools)),
            );
            return ExitCode::from(CONFIG_FAULT);
        }
    };
    match command {
        Command::Help => say(io::stdout(), &help(program, tools)),
        Command::Version => say(io::stdout(), &format!("{} {}", program.name, program.version)),
        Command::Check(path) => match config::load(&path).and_then(read) {
            Ok(config) => {
                notes(&config).iter().for_each(|note| say(io::stdout(), note));
                say(io::stdout(), &format!("{}: no faults", path.display()));
            }
            Err(error) => return refuse(&error),
        },
        Command::Run(path) => return load_and_run(program, &path, read, run),
        Command::Tool { name, config, file } => {
            if let Some(tool) = tools.iter().find(|tool| tool.name == name) {
                return use_tool(tool, config.as_deref(), file.as_deref(), read);
            }
        }
    }
    ExitCode::SUCCESS
}

fn use_tool<C>(
    tool: &Tool<C>,
    config: Option<&Path>,
    file: Option<&Path>,
    read: impl FnOnce(Document) -> Result<C, ConfigError>,
) -> ExitCode {
    if let Err(error) = log::init() {
        return refuse(&error);
    }
    let document = match config {
        Some(path) => config::load(path),
        None => Document::parse("the default configuration", tool.config, &config::environment),
    };
    let config = match document.and_then(read) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let name = file.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    let told = input(file)
        .map_err(BoxError::from)
        .and_then(|input| (tool.run)(config, &input));
    match told {
        Ok(told) => {
            say(io::stdout(), told.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(io::stderr(), &format!("{name}: {}", chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

fn input(file: Option<&Path>) -> io::Result<Vec<u8>> {
    match file {
        Some(path) => std::fs::read(path),
        None => {
            let mut input = Vec::new();
            io::stdin().lock().read_to_end(&mut input)?;
            Ok(input)
        }
    }
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

fn parse(
    tools: &[&'static str],
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter().peekable();
    let first = arguments.peek().and_then(|first| first.to_str());
    let tool = first.and_then(|first| tools.iter().find(|name| **name == first));
    if tool.is_some() {
        arguments.next();
    }
    let (mut path, mut check, mut file) = (None, false, None);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(Command::Help),
            Some("--version" | "-V") => return Ok(Command::Version),
            Some("--check") if tool.is_none() => check = true,
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
            Some("-") if tool.is_some() => {}
            Some(option) if option.starts_with('-') => return Err(UsageError::Unknown(argument)),
            _ if tool.is_some() && file.is_none() => file = Some(PathBuf::from(argument)),
            _ => return Err(UsageError::Unknown(argument)),
        }
    }
    if let Some(name) = tool {
        return Ok(Command::Tool {
            name,
            config: path,
            file,
        });
    }
    let path = path.ok_or(UsageError::NoConfig)?;
    Ok(if check {
        Command::Check(path)
    } else {
        Command::Run(path)
    })
}

fn help<C>(Program { name, about, .. }: Program, tools: &[Tool<C>]) -> String {
    let tools: String = tools
        .iter()
        .map(|tool| {
            format!(
                "{name} {} [--config PATH] [FILE]\n    {}\n",
                tool.name, tool.about
            )
        })
        .collect();
    format!(
        "{about}\n\n\
         {name} --config PATH           run with this configuration\n\
         {name} --config PATH --check   report every fault of the configuration and exit\n\
         {tools}\
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
        parse(&["explain"], arguments.iter().map(OsString::from))
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
    fn a_tool_takes_a_file_and_needs_no_configuration() {
        let tool = |config: Option<&str>, file: Option<&str>| {
            Ok(Command::Tool {
                name: "explain",
                config: config.map(PathBuf::from),
                file: file.map(PathBuf::from),
            })
        };
        assert_eq!(parsed(&["explain"]), tool(None, None));
        assert_eq!(parsed(&["explain", "-"]), tool(None, None));
        assert_eq!(parsed(&["explain", "a.json"]), tool(None, Some("a.json")));
        assert_eq!(
            parsed(&["explain", "--config", "c", "a.json"]),
            tool(Some("c"), Some("a.json"))
        );
        let unknown = |argument: &str| Err(UsageError::Unknown(argument.into()));
        assert_eq!(parsed(&["explain", "a", "b"]), unknown("b"));
        assert_eq!(parsed(&["explain", "--check"]), unknown("--check"));
        assert_eq!(parsed(&["--config", "c", "explain"]), unknown("explain"));
    }

    #[test]
    fn help_wins_over_what_is_missing() {
        assert_eq!(parsed(&["--help"]), Ok(Command::Help));
        assert_eq!(parsed(&["--version"]), Ok(Command::Version));
    }
}
