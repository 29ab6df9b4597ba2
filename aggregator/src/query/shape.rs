//! The shape of a statement, looked at before anything recurses over it: the parser, the
//! planner and even the drop of a deep tree call themselves once per level, and a stack that
//! overflows ends the process and cannot be caught. What a statement means is not known
//! here; only its tokens are counted, in one pass.
//!
//! A *link* is a token that can make the tree deeper without a parenthesis: an operator or a
//! keyword. A comma begins a new branch, so that long flat lists cost nothing.

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::collections::HashMap;

use datafusion::common::Span;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use super::error::QueryError;
use super::gate::caps::{Breach, Cap, Caps};
use super::params::{Param, Params};
use super::place::Place;

/// Refuses a statement whose shape could exhaust the stack or the planner's patience. What
/// cannot be tokenized is left to the parser, which says where.
pub(super) fn check(sql: &str, params: &Params, caps: &Caps) -> Result<(), QueryError> {
    for param in params.values() {
        if let Param::Text(text) = param {
            check_nesting_of_text(sql, text, caps)?;
        }
    }
    let dialect = PostgreSqlDialect {};
    let Ok(tokens) = Tokenizer::new(&dialect, sql).tokenize_with_location() else {
        return Ok(());
    };
    let tokens = tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)));
    Scan::new(sql, caps).run(tokens)
}

/// What is open: the statement itself, or a parenthesis.
#[derive(Debug, Default)]
struct Frame {
    /// Links since the last comma.
    links: usize,
    /// The depth of the deepest parenthesis since the last comma.
    inside: usize,
    /// The depth of the deepest branch before the last comma.
    beside: usize,
    /// Whether a keyword is here: then it is no list of values.
    has_keywords: bool,
    /// Whether a comma here joins tables.
    in_from: bool,
    /// Whether this is the list of a CUBE.
    is_cube: bool,
    commas: usize,
    /// The common table expression that this is the body of.
    defines: Option<String>,
    /// Reads of common table expressions inside.
    reads: usize,
}

impl Frame {
    fn depth(&self) -> usize {
        self.beside.max(self.links.saturating_add(self.inside))
    }
}

struct Scan<'a> {
    sql: &'a str,
    caps: &'a Caps,
    frames: Vec<Frame>,
    /// Common table expressions by name, with what one read of them costs.
    ctes: HashMap<String, usize>,
    tokens: usize,
    items: usize,
    set_operations: usize,
    joins: usize,
    windows: usize,
    /// A name that may be about to be defined, and how far the definition has got.
    naming: Naming,
}

/// `name AS (`, also with MATERIALIZED.
#[derive(Debug, Default)]
enum Naming {
    #[default]
    Nothing,
    Name(String),
    As(String),
}

impl<'a> Scan<'a> {
    fn new(sql: &'a str, caps: &'a Caps) -> Self {
        Self {
            sql,
            caps,
            frames: vec![Frame::default()],
            ctes: HashMap::new(),
            tokens: 0,
            items: 0,
            set_operations: 0,
            joins: 0,
            windows: 0,
            naming: Naming::Nothing,
        }
    }

    fn run(mut self, tokens: impl Iterator<Item = TokenWithSpan>) -> Result<(), QueryError> {
        let mut before = Token::EOF;
        for TokenWithSpan { token, span } in tokens {
            if let Err(breach) = self.token(&token, &before) {
                let place =
                    Span::try_from_sqlparser_span(span).and_then(|span| Place::of_span(self.sql, span));
                return Err(QueryError::TooComplex { breach, place });
            }
            if let Token::SingleQuotedString(text) = &token {
                check_nesting_of_text(self.sql, text, self.caps)?;
            }
            before = token;
        }
        Ok(())
    }

    fn token(&mut self, token: &Token, before: &Token) -> Result<(), Breach> {
        self.tokens += 1;
        self.caps.check(Cap::Tokens, self.tokens)?;
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => self.open(before)?,
            Token::RParen | Token::RBracket | Token::RBrace => self.close()?,
            Token::Comma => self.comma(before)?,
            Token::SemiColon => self.frames = vec![Frame::default()],
            Token::Word(word) => self.word(word)?,
            token if is_literal(token) => {}
            _ => self.link()?,
        }
        Ok(())
    }

    fn frame(&mut self) -> &mut Frame {
        let last = self.frames.last_mut();
        last.expect("the outermost frame is never closed: a lone `)` is the parser's to complain of")
    }

    fn open(&mut self, before: &Token) -> Result<(), Breach> {
        self.link()?;
        let defines = match std::mem::take(&mut self.naming) {
            Naming::As(name) => Some(name),
            Naming::Nothing | Naming::Name(_) => None,
        };
        let is_cube = matches!(before, Token::Word(word) if word.keyword == Keyword::CUBE);
        self.frames.push(Frame {
            defines,
            is_cube,
            ..Frame::default()
        });
        self.caps.check(Cap::Nesting, self.frames.len() - 1)
    }

    fn close(&mut self) -> Result<(), Breach> {
        self.naming = Naming::Nothing;
        if self.frames.len() < 2 {
            return Ok(());
        }
        let Some(closed) = self.frames.pop() else {
            return Ok(());
        };
        let outer = self.frame();
        outer.inside = outer.inside.max(closed.depth());
        match closed.defines {
            Some(name) => {
                self.ctes.insert(name, closed.reads.saturating_add(1));
            }
            None => self.read(closed.reads)?,
        }
        self.check_links()
    }

    fn comma(&mut self, before: &Token) -> Result<(), Breach> {
        self.naming = Naming::Nothing;
        if self.frame().has_keywords || !is_literal(before) {
            self.items += 1;
            self.caps.check(Cap::Items, self.items)?;
        }
        let frame = self.frame();
        frame.beside = frame.depth();
        (frame.links, frame.inside) = (0, 0);
        frame.commas += 1;
        let (in_from, is_cube, commas) = (frame.in_from, frame.is_cube, frame.commas);
        if is_cube {
            self.caps.check(Cap::CubeColumns, commas + 1)?;
        }
        if in_from {
            self.join()?;
        }
        Ok(())
    }

    fn word(&mut self, word: &Word) -> Result<(), Breach> {
        let naming = std::mem::take(&mut self.naming);
        if word.quote_style.is_none() {
            self.naming = match (word.keyword, naming) {
                (Keyword::AS, Naming::Name(name))
                | (Keyword::MATERIALIZED | Keyword::NOT, Naming::As(name)) => Naming::As(name),
                _ => Naming::Name(word.value.to_lowercase()),
            };
            self.keyword(word.keyword)?;
        } else {
            self.naming = Naming::Name(word.value.clone());
        }
        if let Some(cost) = self.ctes.get(word.value.to_lowercase().as_str()).copied() {
            self.read(cost)?;
        }
        Ok(())
    }

    fn keyword(&mut self, keyword: Keyword) -> Result<(), Breach> {
        match keyword {
            Keyword::NoKeyword => return Ok(()),
            Keyword::JOIN => self.join()?,
            Keyword::OVER => {
                self.windows += 1;
                self.caps.check(Cap::Windows, self.windows)?;
            }
            Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT => {
                self.set_operations += 1;
                self.caps.check(Cap::SetOperations, self.set_operations)?;
                self.frame().in_from = false;
            }
            Keyword::FROM => self.frame().in_from = true,
            Keyword::SELECT
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::WINDOW
            | Keyword::ORDER
            | Keyword::LIMIT => self.frame().in_from = false,
            _ => {}
        }
        self.frame().has_keywords = true;
        self.link()
    }

    fn link(&mut self) -> Result<(), Breach> {
        self.frame().links += 1;
        self.check_links()
    }

    fn check_links(&mut self) -> Result<(), Breach> {
        let inside = self.frame().inside;
        let open: usize = self.frames.iter().map(|frame| frame.links).sum();
        self.caps.check(Cap::Links, open.saturating_add(inside))
    }

    fn join(&mut self) -> Result<(), Breach> {
        self.joins += 1;
        self.caps.check(Cap::Joins, self.joins)
    }

    fn read(&mut self, cost: usize) -> Result<(), Breach> {
        let frame = self.frame();
        frame.reads = frame.reads.saturating_add(cost);
        let reads = frame.reads;
        self.caps.check(Cap::CteReads, reads)
    }
}

fn is_literal(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
            | Token::EOF
    )
}

/// The type in `arrow_cast(x, 'List(…)')` is parsed from a string, recursively.
fn check_nesting_of_text(sql: &str, text: &str, caps: &Caps) -> Result<(), QueryError> {
    if !sql.to_ascii_lowercase().contains("arrow_") {
        return Ok(());
    }
    let opened = text
        .bytes()
        .filter(|byte| matches!(byte, b'(' | b'<' | b'['))
        .count();
    Ok(caps.check(Cap::Nesting, opened)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(sql: &str) -> Option<String> {
        match check(sql, &Params::new(), &Caps::default()) {
            Ok(()) => None,
            Err(QueryError::TooComplex { breach, .. }) => Some(breach.to_string()),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_recurses_without_end_is_refused_before_anything_recurses() {
        let deep = [
            format!("SELECT {}1{}", "(".repeat(2_000), ")".repeat(2_000)),
            format!("SELECT {}", vec!["1"; 2_048].join("+")),
            format!("{}SELECT 1", "EXPLAIN ".repeat(900)),
            format!("SELECT {}'1 day'", "INTERVAL ".repeat(900)),
            format!("SELECT 1{}", "::int".repeat(900)),
            format!("SELECT 1{}", " IS NULL".repeat(900)),
            format!("SELECT CAST(NULL AS INT{})", "[]".repeat(900)),
            format!(
                "SELECT {}1{}",
                "CASE WHEN true THEN ".repeat(900),
                " END".repeat(900)
            ),
            format!("SELECT 1 WHERE {}", vec!["true"; 2_000].join(" OR ")),
            format!("SELECT a{}", ".a".repeat(900)),
            format!("SELECT attributes{} FROM spans", "['x']".repeat(900)),
            // A comma does not hide how deep the branch beside it is.
            format!("SELECT {}1{}", "coalesce(".repeat(49), ", 1)".repeat(49)),
            format!(
                "SELECT arrow_cast(NULL, '{}Int8{}')",
                "List(".repeat(900),
                ")".repeat(900)
            ),
        ];
        for sql in deep {
            assert!(fault(&sql).is_some(), "{sql:.60}");
        }
    }

    #[test]
    fn what_planning_would_never_end_on_is_refused() {
        let doubling: String = (1..30)
            .map(|i| format!(", c{i} AS (SELECT a.x FROM c{0} a, c{0} b)", i - 1))
            .collect();
        let chained: String = (1..400)
            .map(|i| format!(", c{i} AS NOT MATERIALIZED (SELECT x FROM c{})", i - 1))
            .collect();
        let columns: Vec<String> = (0..2_000).map(|i| format!("x + {i} AS c{i}")).collect();
        let endless = [
            format!("WITH c0 AS (SELECT 1 AS x){doubling} SELECT * FROM c29"),
            format!("WITH c0 AS (SELECT 1 AS x){chained} SELECT * FROM c399"),
            vec!["SELECT 1"; 2_000].join(" UNION ALL "),
            format!("SELECT 1 FROM spans{}", ", spans".repeat(500)),
            format!("SELECT 1 FROM spans{}", " CROSS JOIN spans".repeat(500)),
            format!("SELECT {} FROM t", columns.join(", ")),
            format!("SELECT * FROM (SELECT 1{})", ", 2".repeat(2_000)),
            format!("SELECT 1 FROM spans ORDER BY name{}", ", name".repeat(5_000)),
            format!("SELECT 1{}", ", rank() OVER (ORDER BY a)".repeat(65)),
            "SELECT 1 FROM t GROUP BY CUBE (a, b, c, d, e, f, g, h, i, j)".to_owned(),
        ];
        for sql in endless {
            assert!(fault(&sql).is_some(), "{sql:.60}");
        }
    }

    #[test]
    fn what_people_ask_is_not_refused() {
        let numbers: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
        let conditions: Vec<String> = (0..150).map(|i| format!("name = 'n{i}'")).collect();
        let questions = [
            format!(
                "SELECT count(*) FROM spans WHERE duration_ns IN ({})",
                numbers.join(",")
            ),
            format!("SELECT count(*) FROM spans WHERE {}", conditions.join(" OR ")),
            format!("SELECT {}1{}", "abs(".repeat(40), ")".repeat(40)),
            "WITH a AS (SELECT 1 AS x), b AS (SELECT * FROM a) SELECT * FROM a, b, a AS c".to_owned(),
            "SELECT 'an odd ( ( ( string'".to_owned(),
            "SELECT ) FROM".to_owned(),
            "SELECT 'unterminated".to_owned(),
        ];
        for sql in questions {
            assert_eq!(fault(&sql), None, "{sql:.60}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_too_much_and_where() {
        let sql = format!("SELECT\n  {}1{}", "(".repeat(60), ")".repeat(60));
        let error = check(&sql, &Params::new(), &Caps::default()).expect_err("too deep");
        let text = error.to_string();
        assert!(
            text.starts_with("the statement has more than 48 levels of parentheses at line 2, column 51"),
            "{text}"
        );
    }
}
