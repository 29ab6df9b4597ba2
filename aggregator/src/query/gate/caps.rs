//! The table of limits on what a statement may look like and what one call in it may make:
//! each with its key, its default, and what to write instead. Nothing is measured here.

use std::fmt;

use datafusion::common::DataFusionError;
use thiserror::Error;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cap {
    /// Words and signs: everything after the tokenizer takes time by them.
    Tokens,
    /// Parentheses inside each other: the parser and the planner call themselves for each.
    Nesting,
    /// Operators and keywords in a row: the syntax tree is as deep as these are many.
    Links,
    /// Columns, sort keys, arguments: planning takes more than linear time in them.
    Items,
    /// UNION, INTERSECT, EXCEPT: each is a level of the plan.
    SetOperations,
    /// Tables joined: planning takes more than linear time in them.
    Joins,
    /// Functions over windows: what is sorted by each is compared with all others.
    Windows,
    /// Reads of common table expressions, each planned anew: chains multiply them.
    CteReads,
    /// Columns of a CUBE: each doubles the grouping sets.
    CubeColumns,
    /// Grouping sets: each row is grouped once for each.
    GroupingSets,
    /// Columns of all steps of the plan: `*` multiplies them without a token.
    PlanColumns,
    /// Centroids of an approximate percentile: they are allocated at once, outside the pool.
    Centroids,
    /// Bytes of a pattern: it is compiled while planning.
    PatternBytes,
    /// Bytes of a compiled pattern: a text is read once for each of its states, at worst.
    ProgramBytes,
    /// Bytes of a type of fixed size: one null of it takes them.
    FixedBytes,
    /// Bytes of literals in functions over windows: each row of a partition gets them at once.
    WindowLiterals,
    /// Bytes of one value that a function makes.
    ValueBytes,
    /// Bytes that functions make for one batch of rows, or while planning, outside the pool.
    CallBytes,
    /// Steps for one row in a call whose cost is a product: a call cannot be interrupted.
    CallSteps,
}

/// How a limit is configured, and what is said when it strikes.
#[derive(Debug)]
pub struct Row {
    /// What is limited.
    pub cap: Cap,
    /// The key below `limits.statement`.
    pub key: &'static str,
    /// What holds where nothing is configured.
    pub default: usize,
    /// Whether it is a size, written with its unit.
    pub is_bytes: bool,
    what: &'static str,
    rewrite: &'static str,
}

const fn count(
    cap: Cap,
    key: &'static str,
    default: usize,
    what: &'static str,
    rewrite: &'static str,
) -> Row {
    Row {
        cap,
        key,
        default,
        is_bytes: false,
        what,
        rewrite,
    }
}

impl Row {
    const fn in_bytes(self) -> Self {
        Self {
            is_bytes: true,
            ..self
        }
    }
}

/// How many limits there are.
const COUNT: usize = 19;

/// Every limit, in the order of [`Cap`].
pub const TABLE: [Row; COUNT] = [
    count(
        Cap::Tokens,
        "tokens",
        25_000,
        "words and signs",
        "ask for less at once; many values fit into one IN list",
    ),
    count(
        Cap::Nesting,
        "nesting",
        48,
        "levels of parentheses",
        "give inner parts a name with WITH, or ask in several statements",
    ),
    count(
        Cap::Links,
        "links",
        800,
        "operators and keywords in a row",
        "write many alternatives as one IN list",
    ),
    count(
        Cap::Items,
        "items",
        1_000,
        "items in its lists",
        "name fewer columns or sort keys; an IN list of literals is free",
    ),
    count(
        Cap::SetOperations,
        "set_operations",
        100,
        "set operations",
        "replace UNIONs of one table by one SELECT with IN or GROUP BY",
    ),
    count(
        Cap::Joins,
        "joins",
        32,
        "joins",
        "join fewer tables at once, or aggregate before joining",
    ),
    count(
        Cap::Windows,
        "windows",
        64,
        "functions over windows",
        "compute fewer of them at once, or join the answers of several statements",
    ),
    count(
        Cap::CteReads,
        "cte_reads",
        250,
        "reads of its common table expressions",
        "read each common table expression fewer times",
    ),
    count(
        Cap::CubeColumns,
        "cube_columns",
        8,
        "columns in a CUBE",
        "name the combinations that are wanted with GROUPING SETS",
    ),
    count(
        Cap::GroupingSets,
        "grouping_sets",
        256,
        "grouping sets",
        "name only the combinations that are wanted with GROUPING SETS",
    ),
    count(
        Cap::PlanColumns,
        "plan_columns",
        50_000,
        "columns in all steps of its plan",
        "name the columns that are needed instead of *",
    ),
    count(
        Cap::Centroids,
        "centroids",
        10_000,
        "centroids",
        "give a literal of at most 10000, or use quantile(x, 0.99)",
    ),
    count(
        Cap::PatternBytes,
        "pattern_bytes",
        4 << 10,
        "bytes in a pattern, or a pattern that is no literal",
        "write a short pattern as a literal or a parameter",
    )
    .in_bytes(),
    count(
        Cap::ProgramBytes,
        "program_bytes",
        256 << 10,
        "bytes in a compiled pattern",
        "use a simpler pattern with smaller counts of repetition",
    )
    .in_bytes(),
    count(
        Cap::FixedBytes,
        "fixed_bytes",
        4 << 10,
        "bytes in a type of fixed size",
        "cast to a type of variable size",
    )
    .in_bytes(),
    count(
        Cap::WindowLiterals,
        "window_literals",
        4 << 10,
        "bytes of literals in functions over windows",
        "use shorter literals there: they are repeated for each row",
    )
    .in_bytes(),
    count(
        Cap::ValueBytes,
        "value_bytes",
        1 << 20,
        "bytes in a value that a function makes",
        "make shorter values, or use substr before",
    )
    .in_bytes(),
    count(
        Cap::CallBytes,
        "call_bytes",
        64 << 20,
        "bytes that functions make for one batch of rows",
        "make fewer or shorter values at once, or filter and aggregate in a subquery before",
    )
    .in_bytes(),
    count(
        Cap::CallSteps,
        "call_steps",
        64 << 20,
        "steps in a function for one row",
        "compare shorter texts, with substr or left before, or use a simpler pattern",
    ),
];

/// A value for each limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caps([usize; COUNT]);

impl Default for Caps {
    fn default() -> Self {
        Self(std::array::from_fn(|index| TABLE[index].default))
    }
}

impl Caps {
    /// The value of a limit.
    pub fn get(&self, cap: Cap) -> usize {
        self.0[cap as usize]
    }

    /// The same with another value for one limit.
    #[must_use]
    pub fn with(mut self, cap: Cap, value: usize) -> Self {
        self.0[cap as usize] = value;
        self
    }

    /// Refuses a `count` beyond the limit.
    pub(in crate::query) fn check(&self, cap: Cap, count: usize) -> Result<(), Breach> {
        if count > self.get(cap) {
            return Err(self.breach(cap));
        }
        Ok(())
    }

    /// The refusal by a limit.
    pub(in crate::query) fn breach(&self, cap: Cap) -> Breach {
        Breach {
            cap,
            max: self.get(cap),
        }
    }
}

/// A statement is beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub struct Breach {
    cap: Cap,
    max: usize,
}

impl Breach {
    fn row(&self) -> &'static Row {
        &TABLE[self.cap as usize]
    }

    /// Which limit it was, as it is configured.
    pub(in crate::query) fn key(&self) -> String {
        format!("limits.statement.{}", self.row().key)
    }

    /// What to write instead.
    pub(in crate::query) fn rewrite(&self) -> &'static str {
        self.row().rewrite
    }
}

/// A refusal on its way through the engine.
impl From<Breach> for DataFusionError {
    fn from(breach: Breach) -> Self {
        Self::External(Box::new(breach))
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {} {}", self.max, self.row().what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_stands_in_its_own_row() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.cap as usize, index, "{}", row.key);
        }
    }
}
