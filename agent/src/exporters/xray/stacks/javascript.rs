//! JavaScript's traces: those of V8, and `function@place` of other browsers.

use super::{Parsed, path_and_line};

/// Reads a trace.
pub fn parse(trace: &str) -> Vec<Parsed<'_>> {
    let mut parsed = Parsed::default();
    for line in trace.lines() {
        let (label, place) = match line.trim_start().strip_prefix("at ") {
            Some(frame) => v8(frame),
            None => match line.split_once('@') {
                Some((label, place)) if ends_in_place(place) => (label, place),
                _ => continue,
            },
        };
        let (path, number) = place_of(place);
        parsed.push(path, label, number);
    }
    vec![parsed]
}

/// `function (place)` or `place`
fn v8(frame: &str) -> (&str, &str) {
    let inner = frame.strip_suffix(')');
    inner
        .and_then(|inner| inner.split_once(" ("))
        .unwrap_or(("", frame))
}

/// `path:line:column`
fn place_of(place: &str) -> (&str, u32) {
    let (without_column, _) = path_and_line(place);
    let (path, line) = path_and_line(without_column);
    if path != without_column {
        (path, line)
    } else {
        // One number is a line.
        path_and_line(place)
    }
}

fn ends_in_place(place: &str) -> bool {
    place_of(place).1 > 0
}
