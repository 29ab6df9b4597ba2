//! Logging to standard error, as text or as JSON lines.
//!
//! The level and the format come from the environment (`MERIDIAN_LOG`, in the syntax of
//! tracing's filters, default `info`; `MERIDIAN_LOG_FORMAT`, `text` or `json`), because they
//! must work before the configuration is read. Nothing is written to files: that is the
//! business of what runs the process.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

use crate::{BoxError, config};

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("MERIDIAN_LOG={value:?} is not a filter; write it like info or info,meridian_agent=debug")]
    Filter { value: String, source: ParseError },
    #[error("MERIDIAN_LOG_FORMAT={value:?} is neither text nor json")]
    Format { value: String },
    #[error("logging was started twice")]
    Twice { source: BoxError },
}

/// What is logged unless the environment says otherwise: the Delta libraries tell every step of
/// every commit at `info`, which buries what a person must see.
const DEFAULT_FILTER: &str = "info,buoyant_kernel=warn,buoyant_kernel_engine=warn,deltalake_core=warn";

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Starts logging for the whole process.
pub fn init() -> Result<(), LogError> {
    let filter = filter(config::environment("MERIDIAN_LOG"))?;
    let format = format(config::environment("MERIDIAN_LOG_FORMAT").as_deref())?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // It would say so on standard error, and panic because that is what cannot be written.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    let started = match format {
        Format::Text => try_init(lines.finish()),
        Format::Json => try_init(lines.json().flatten_event(true).finish()),
    };
    started.map_err(|error| LogError::Twice { source: error.into() })
}

fn try_init(subscriber: impl Into<tracing::Dispatch>) -> Result<(), TryInitError> {
    tracing_subscriber::util::SubscriberInitExt::try_init(subscriber)
}

fn filter(value: Option<String>) -> Result<EnvFilter, LogError> {
    let value = value.unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    EnvFilter::try_new(&value).map_err(|source| LogError::Filter { value, source })
}

fn format(value: Option<&str>) -> Result<Format, LogError> {
    match value {
        None | Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other) => Err(LogError::Format {
            value: other.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_format_is_refused() {
        assert_eq!(format(Some("json")).expect("known"), Format::Json);
        let error = format(Some("xml")).expect_err("unknown");
        insta::assert_snapshot!(error, @r#"MERIDIAN_LOG_FORMAT="xml" is neither text nor json"#);
    }

    #[test]
    fn a_bad_filter_says_how_to_write_one() {
        let error = filter(Some("meridian=loud".into())).expect_err("no such level");
        insta::assert_snapshot!(error, @r#"MERIDIAN_LOG="meridian=loud" is not a filter; write it like info or info,meridian_agent=debug"#);
    }
}
