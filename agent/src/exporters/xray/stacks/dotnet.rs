//! .NET's traces. Inner exceptions come first, between ` ---> ` and a line that says where they
//! end.

use super::{Parsed, path_and_line};

/// Reads a trace.
pub fn parse(trace: &str) -> Vec<Parsed<'_>> {
    let mut chain = vec![Parsed::default()];
    // Exceptions whose frames have not begun or have not ended: the last one's are read now.
    let mut open = 1_usize;
    for line in trace.lines().map(str::trim) {
        if let Some(frame) = line.strip_prefix("at ") {
            let (path, label, number) = frame_of(frame);
            if let Some(parsed) = chain.get_mut(open.saturating_sub(1)) {
                parsed.push(path, label, number);
            }
        } else if let Some((_, title)) = line.split_once("---> ") {
            // Runtimes before .NET 5 write it in the line of the outer exception.
            chain.push(Parsed::titled(title));
            open = chain.len();
        } else if line.starts_with("--- End of inner exception") {
            open = open.saturating_sub(1).max(1);
        }
    }
    chain
}

/// `Type.Method(Argument argument) in path:line 12`
fn frame_of(text: &str) -> (&str, &str, u32) {
    let Some(label_end) = text.find(") in ") else {
        return ("", text, 0);
    };
    let (label, rest) = text.split_at(label_end + 1);
    let place = rest.strip_prefix(" in ").unwrap_or(rest);
    match place.rsplit_once(":line") {
        Some((path, line)) => (path, label, line.trim().parse().unwrap_or(0)),
        None => {
            let (path, line) = path_and_line(place);
            (path, label, line)
        }
    }
}
