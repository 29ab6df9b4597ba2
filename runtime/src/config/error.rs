//! What is wrong with a configuration file, and where.
//!
//! It does not decide what a process does about it; the command line prints it and ends.

use std::fmt;
use std::io;

/// A place in the file, both counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// One fault: `agent.yaml:7:5: spool.max_bytes: "4GB" is not a size; …`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub at: Position,
    /// The dotted path of the key; empty for what concerns the whole file.
    pub key: String,
    pub message: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{file}: cannot be read")]
    Read { file: String, source: io::Error },
    /// Never empty, in the file's order.
    #[error("{}", Lines { file, faults })]
    Faults { file: String, faults: Vec<Fault> },
}

impl ConfigError {
    pub(super) fn new(file: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort();
        Self::Faults {
            file: file.to_owned(),
            faults,
        }
    }
}

struct Lines<'a> {
    file: &'a str,
    faults: &'a [Fault],
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { at, key, message }) in self.faults.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            let colon = if key.is_empty() { "" } else { ": " };
            write!(
                f,
                "{line_break}{}:{}:{}: {key}{colon}{message}",
                self.file, at.line, at.column
            )?;
        }
        Ok(())
    }
}
