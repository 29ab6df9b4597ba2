//! Python's traces: the innermost frame comes last, and the cause before its effect.

use super::Parsed;

/// Between an exception and the one that came of it.
const BETWEEN: [&str; 2] = [
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
];

/// Reads a trace.
pub fn parse(trace: &str) -> Vec<Parsed<'_>> {
    let mut chain = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    for line in trace.lines() {
        if BETWEEN.contains(&line.trim_end()) {
            chain.push(exception(&block));
            block.clear();
        } else {
            block.push(line);
        }
    }
    chain.push(exception(&block));
    chain.reverse();
    chain
}

fn exception<'t>(lines: &[&'t str]) -> Parsed<'t> {
    let is_frame = |line: &&str| line.starts_with("  File ");
    let last_frame = lines.iter().rposition(is_frame);
    // After the frame and its code, which are indented; a message may have several lines.
    let after = last_frame.map_or(0, |place| place + 1);
    let is_title = |line: &&&str| {
        !line.is_empty() && !line.starts_with(' ') && !line.starts_with("Traceback (most recent")
    };
    let mut rest = lines
        .iter()
        .skip(after)
        .skip_while(|line| !is_title(line))
        .copied();
    let mut parsed = Parsed::titled(rest.next().unwrap_or_default());
    let message: Vec<&str> = rest.collect();
    let filled = message
        .iter()
        .rposition(|line| !line.is_empty())
        .map_or(0, |place| place + 1);
    for line in message.iter().take(filled) {
        parsed.continue_message(line);
    }
    for line in lines.iter().rev() {
        if let Some((path, label, number)) = line.strip_prefix("  File ").map(frame) {
            parsed.push(path, label, number);
        }
    }
    parsed
}

/// `"path", line 12, in function`
fn frame(text: &str) -> (&str, &str, u32) {
    let (path, rest) = text.split_once(", line ").unwrap_or((text, ""));
    let (line, label) = rest.split_once(", in ").unwrap_or((rest, ""));
    (path.trim_matches('"'), label, line.trim().parse().unwrap_or(0))
}
