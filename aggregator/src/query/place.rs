//! Where in a statement something is wrong: line, column, and the line with a caret under
//! it. Parsing is done by others; this only reads positions out of what they report.

use std::fmt;

use datafusion::common::Span;

/// The most characters of a line that an excerpt shows.
const EXCERPT_CHARS_MAX: usize = 120;

/// A position in a statement, 1-based, and the line it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character within the line.
    pub column: usize,
    excerpt: String,
}

impl Place {
    /// The place at `line` and `column`; `None` if the statement has no such line.
    pub fn new(sql: &str, line: usize, column: usize) -> Option<Self> {
        let text = sql.lines().nth(line.checked_sub(1)?)?;
        Some(Self {
            line,
            column,
            excerpt: excerpt(text, column),
        })
    }

    /// The place where a span of the parser begins.
    pub fn of_span(sql: &str, span: Span) -> Option<Self> {
        let line = usize::try_from(span.start.line).ok()?;
        let column = usize::try_from(span.start.column).ok()?;
        Self::new(sql, line, column)
    }

    /// Splits the parser's "… at Line: 1, Column: 8" into the message and the place.
    pub fn split_message(sql: &str, message: &str) -> (String, Option<Self>) {
        let Some((head, tail)) = message.rsplit_once(" at Line: ") else {
            return (message.to_owned(), None);
        };
        let mut numbers = tail
            .split(|c: char| !c.is_ascii_digit())
            .filter(|part| !part.is_empty());
        let line = numbers.next().and_then(|part| part.parse().ok());
        let column = numbers.next().and_then(|part| part.parse().ok());
        let place = line
            .zip(column)
            .and_then(|(line, column)| Self::new(sql, line, column));
        (head.to_owned(), place)
    }

    /// The end of the statement, where an unfinished one stops making sense.
    pub fn end(sql: &str) -> Option<Self> {
        let text = sql.trim_end();
        let line = text.lines().count();
        let column = text.lines().last()?.chars().count() + 1;
        Self::new(sql, line, column)
    }

    /// The first place where `word` stands by itself.
    pub fn of_word(sql: &str, word: &str) -> Option<Self> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        sql.lines().enumerate().find_map(|(index, line)| {
            let start = line.match_indices(word).find_map(|(start, _)| {
                let before = line.get(..start)?.chars().next_back();
                let after = line.get(start + word.len()..)?.chars().next();
                let alone = !before.is_some_and(is_part) && !after.is_some_and(is_part);
                alone.then_some(start)
            })?;
            let column = line.get(..start)?.chars().count() + 1;
            Self::new(sql, index + 1, column)
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}\n{}", self.line, self.column, self.excerpt)
    }
}

/// The part of the line around the column, and a caret under the column.
fn excerpt(line: &str, column: usize) -> String {
    let offset = column.saturating_sub(1);
    let skipped = offset.saturating_sub(EXCERPT_CHARS_MAX * 2 / 3);
    let shown: String = line
        .chars()
        .skip(skipped)
        .take(EXCERPT_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let caret = " ".repeat(offset - skipped);
    format!("  {shown}\n  {caret}^")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_message_is_split_into_text_and_place() {
        let sql = "SELEC 1";
        let (text, place) = Place::split_message(sql, "Expected: x, found: SELEC at Line: 1, Column: 1");
        assert_eq!(text, "Expected: x, found: SELEC");
        assert_eq!(
            place.map(|place| place.to_string()).as_deref(),
            Some("line 1, column 1\n  SELEC 1\n  ^")
        );
    }

    #[test]
    fn a_word_is_found_only_where_it_stands_alone() {
        let place = Place::of_word("SELECT spanz_id\nFROM spanz", "spanz").expect("found");
        assert_eq!((place.line, place.column), (2, 6));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let sql = format!("SELECT {} oops", "x".repeat(10_000));
        let place = Place::of_word(&sql, "oops").expect("found").to_string();
        assert!(place.len() < 400, "{}", place.len());
        assert!(place.contains("oops"), "{place}");
    }
}
