//! Java's traces: `Type: message`, frames, and `Caused by: Type: message` with frames of its own.
//! Suppressed exceptions are indented further, and are not read.

use super::{Parsed, path_and_line};

const CAUSED_BY: &str = "Caused by:";

/// Reads a trace.
pub fn parse(trace: &str) -> Vec<Parsed<'_>> {
    let mut chain = vec![Parsed::default()];
    // Messages may have several lines. That of the first exception is known from the event.
    let mut is_message = false;
    for line in trace.lines() {
        let Some(last) = chain.last_mut() else {
            break;
        };
        if let Some(frame) = line.strip_prefix("\tat ").and_then(frame) {
            let (path, label, number) = frame;
            last.push(path, label, number);
            is_message = false;
        } else if let Some(title) = line.strip_prefix(CAUSED_BY) {
            chain.push(Parsed::titled(title));
            is_message = true;
        } else if line.starts_with("\t... ") || line.starts_with("\tSuppressed:") {
            is_message = false;
        } else if is_message {
            last.continue_message(line);
        }
    }
    chain
}

/// `module/package.Class.method(File.java:12)`
pub fn frame(text: &str) -> Option<(&str, &str, u32)> {
    let (label, place) = text.strip_suffix(')')?.split_once('(')?;
    // Before the last slash is the module or the class loader, unless a lambda has it in its name.
    let label = match label.rsplit_once('/') {
        Some((module, rest)) if !module.contains('$') => rest,
        _ => label,
    };
    let (path, line) = path_and_line(place);
    Some((path, label, line))
}
