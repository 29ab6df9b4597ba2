//! Stack traces as texts, taken apart by the language that wrote them. Every part of a trace may
//! be missing or cut off: what cannot be read is left out, and nothing is an error.

mod dotnet;
mod golang;
mod java;
mod javascript;
mod php;
mod python;

use std::borrow::Cow;

use super::json;

/// Frames that are read of one exception.
const FRAMES_MAX: usize = 100;

/// Exceptions that are read of one trace.
const CHAIN_MAX: usize = 16;

/// An exception in a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed<'t> {
    /// Its type; of the first one the event knows better.
    pub kind: &'t str,
    /// Its message.
    pub message: Cow<'t, str>,
    /// Its stack, the innermost frame first.
    pub frames: Vec<Frame<'t>>,
    /// Whether frames are missing.
    is_cut: bool,
}

/// One frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'t> {
    /// The file.
    pub path: &'t str,
    /// The function.
    pub label: &'t str,
    /// The line, 0 if unknown.
    pub line: u32,
}

impl<'t> Parsed<'t> {
    /// From `Type: message`, where both may be missing.
    fn titled(title: &'t str) -> Self {
        let (kind, message) = title.split_once(':').unwrap_or((title, ""));
        Self {
            kind: kind.trim(),
            message: Cow::Borrowed(message.trim()),
            ..Self::default()
        }
    }

    fn push(&mut self, path: &'t str, label: &'t str, line: u32) {
        if self.frames.len() >= FRAMES_MAX {
            self.is_cut = true;
        } else if !path.is_empty() || !label.is_empty() {
            self.frames.push(Frame { path, label, line });
        }
    }

    fn continue_message(&mut self, line: &str) {
        let message = self.message.to_mut();
        message.push('\n');
        message.push_str(line);
    }

    /// Whether a document has room for all of it.
    pub fn is_short(&self) -> bool {
        let fits = |text: &str| json::cut(text, json::TEXT_CHARS_MAX).1;
        let frame_fits = |frame: &Frame<'_>| fits(frame.path) && fits(frame.label);
        !self.is_cut && fits(&self.message) && fits(self.kind) && self.frames.iter().all(frame_fits)
    }
}

/// The exceptions in a trace: the one that was recorded, what caused it, and so on. None if the
/// language is not read. The first one has no type and no message of its own.
pub fn parse<'t>(language: &str, trace: &'t str) -> Vec<Parsed<'t>> {
    if trace.is_empty() {
        return Vec::new();
    }
    let mut chain = match language {
        "java" => java::parse(trace),
        "php" => php::parse(trace),
        "python" => python::parse(trace),
        "nodejs" | "webjs" | "javascript" => javascript::parse(trace),
        "dotnet" => dotnet::parse(trace),
        "go" => golang::parse(trace),
        _ => Vec::new(),
    };
    let is_longer = chain.len() > CHAIN_MAX;
    chain.truncate(CHAIN_MAX);
    if let Some(last) = chain.last_mut() {
        last.is_cut |= is_longer;
    }
    chain
}

/// `path:12` as a path and a line; a text without a line is a path.
fn path_and_line(text: &str) -> (&str, u32) {
    match text.rsplit_once(':') {
        Some((path, line)) => match line.parse() {
            Ok(line) => (path, line),
            Err(_) => (text, 0),
        },
        None => (text, 0),
    }
}

#[cfg(test)]
mod tests;
