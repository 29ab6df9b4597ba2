//! Go's traces, as `runtime.Stack` writes them: a line with the function, and one with its place.

use super::{Parsed, path_and_line};

/// Reads a trace.
pub fn parse(trace: &str) -> Vec<Parsed<'_>> {
    let mut parsed = Parsed::default();
    let mut function = "";
    for line in trace.lines() {
        if let Some(place) = line.strip_prefix('\t') {
            let place = place.split(' ').next().unwrap_or_default();
            let (path, number) = path_and_line(place);
            parsed.push(path, function, number);
            function = "";
        } else if !is_heading(line) {
            function = line;
        }
    }
    // The recorder cuts long traces in the middle of a frame.
    let is_function = function.ends_with(')');
    parsed.push("", if is_function { function } else { "" }, 0);
    vec![parsed]
}

/// `goroutine 1 [running]:`, or the message before it.
fn is_heading(line: &str) -> bool {
    line.is_empty() || (line.starts_with("goroutine ") && line.ends_with(':'))
}
