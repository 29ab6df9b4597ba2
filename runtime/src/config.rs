//! Configuration files: YAML, read key by key, every fault of a file reported at once with its
//! line and column.
//!
//! ```yaml
//! region: eu-central-1
//! node: ${NODE_NAME}                # from the environment; $$ is a literal $
//! spool: { path: /var/lib/spool, max_bytes: 4GiB, when_full: refuse }
//! ```
//!
//! ```
//! # use meridian_runtime::{config::{self, ConfigError, Document}, units::ByteSize};
//! # #[derive(Clone)] enum WhenFull { Refuse, DropOldest }
//! struct Config { region: String, path: String, max_bytes: ByteSize, when_full: WhenFull }
//!
//! fn read(document: Document) -> Result<Config, ConfigError> {
//!     let mut root = document.root();
//!     let mut spool = root.section("spool");
//!     let config = Config {
//!         region: root.required("region"),
//!         path: spool.required("path"),
//!         max_bytes: spool.optional("max_bytes", ByteSize::gib(4)),
//!         when_full: spool.choice(
//!             "when_full",
//!             &[("refuse", WhenFull::Refuse), ("drop_oldest", WhenFull::DropOldest)],
//!             WhenFull::Refuse,
//!         ),
//!     };
//!     spool.finish(); // what was not read by now is an unknown key
//!     root.finish();
//!     document.finish(config)
//! }
//! ```
//!
//! A read that meets a fault records it and returns a placeholder, so that reading goes on and
//! finds the next fault; [`Document::finish`] hands out the value only if there was none.
//! There is no way to read a file without naming its keys: nothing is deserialised blindly.

mod error;
mod node;
mod section;
mod suggest;
mod value;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use error::{ConfigError, Fault, Position};
pub use section::Section;
pub use value::{FromConfig, HttpUrl};

use node::Node;

/// A configuration is written by hand; a larger file is the wrong file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A parsed file and the faults found in it so far.
#[derive(Debug)]
pub struct Document {
    name: String,
    root: Node,
    faults: RefCell<Vec<Fault>>,
}

/// Reads a file, and replaces `${NAME}` from the environment.
pub fn load(path: &Path) -> Result<Document, ConfigError> {
    let name = path.display().to_string();
    let text = read_bounded(path).map_err(|source| ConfigError::Read {
        file: name.clone(),
        source,
    })?;
    Document::parse(&name, &text, &environment)
}

/// An environment variable; absent if it is not Unicode.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Document {
    /// Parses a text that is called `name` in faults; `variable` answers `${…}`.
    pub fn parse(
        name: &str,
        text: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut faults = Vec::new();
        let parsed = node::parse(text, variable, &mut faults);
        let root = parsed.map_err(|fault| ConfigError::new(name, vec![fault]))?;
        Ok(Self {
            name: name.to_owned(),
            root,
            faults: RefCell::new(faults),
        })
    }

    /// The mapping that is the file.
    pub fn root(&self) -> Section<'_> {
        Section::root(&self.root, &self.faults)
    }

    /// The value that was read, or every fault that was met on the way, in the file's order.
    pub fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        let faults = self.faults.into_inner();
        if faults.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError::new(&self.name, faults))
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|bytes| bytes > FILE_BYTES_MAX) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
