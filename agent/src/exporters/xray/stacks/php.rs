//! PHP's traces: its SDK writes them as Java does, and PHP itself as `#0 file.php(12): function()`.

use super::{Parsed, java};

/// Reads a trace.
pub fn parse(trace: &str) -> Vec<Parsed<'_>> {
    let mut chain = java::parse(trace);
    if chain.iter().all(|parsed| parsed.frames.is_empty()) {
        let mut native = Parsed::default();
        for (path, label, line) in trace.lines().filter_map(frame) {
            native.push(path, label, line);
        }
        chain = vec![native];
    }
    chain
}

fn frame(text: &str) -> Option<(&str, &str, u32)> {
    let (_, rest) = text.strip_prefix('#')?.split_once(' ')?;
    let Some((place, label)) = rest.split_once(": ") else {
        return Some(("", rest, 0));
    };
    let numbered = place.strip_suffix(')').and_then(|place| place.rsplit_once('('));
    let (path, line) = numbered.unwrap_or((place, ""));
    Some((path, label, line.parse().unwrap_or(0)))
}
