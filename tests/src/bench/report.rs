//! The results: what was asked and what was found, then a table for each part, for people;
//! the same as JSON for programs. Medians of the rounds, with their spread.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::machine::Machine;
use crate::bench::options::Options;

/// A column of a part's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Column {
    /// With its unit.
    pub name: &'static str,
    /// Digits after the point.
    #[serde(skip)]
    pub decimals: usize,
}

impl Column {
    /// A column.
    pub const fn new(name: &'static str, decimals: usize) -> Self {
        Self { name, decimals }
    }
}

/// What was measured of one subject in one column, in the order of the rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// Which.
    pub column: Column,
    /// The middle one; of an even number the upper middle.
    pub median: f64,
    /// All of them.
    pub rounds: Vec<f64>,
}

/// One line of a part's table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Who or what was measured.
    pub subject: String,
    /// What was measured of it.
    pub cells: Vec<Cell>,
}

/// Which side of the target is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Less is better.
    AtMost,
    /// More is better.
    AtLeast,
}

/// A figure that has a target.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// What, with its unit.
    pub what: String,
    /// Which side is good.
    pub bound: Bound,
    /// The target.
    pub target: f64,
    /// What was found; absent if it could not be measured.
    pub measured: Option<f64>,
}

impl Goal {
    /// Whether the target is reached, if that is known.
    pub fn is_reached(&self) -> Option<bool> {
        self.measured.map(|measured| match self.bound {
            Bound::AtMost => measured <= self.target,
            Bound::AtLeast => measured >= self.target,
        })
    }
}

/// A part of the benchmark and what it found.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Its name on the command line.
    pub name: &'static str,
    /// The command that measures it again.
    pub command: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// What was measured.
    pub rows: Vec<Row>,
    /// The figures that have a target.
    pub goals: Vec<Goal>,
    /// What a reader must know to understand the figures.
    pub notes: Vec<String>,
    /// What could not be measured, and why.
    pub left_out: Vec<String>,
}

impl Part {
    /// An empty part.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            command: format!("make bench PART={name}"),
            seconds: 0.0,
            rows: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Adds a round's figure.
    pub fn record(&mut self, subject: &str, column: Column, value: f64) {
        let row = match self.rows.iter().position(|row| row.subject == subject) {
            Some(index) => &mut self.rows[index],
            None => {
                self.rows.push(Row {
                    subject: subject.to_owned(),
                    cells: Vec::new(),
                });
                self.rows.last_mut().expect("just added")
            }
        };
        match row.cells.iter_mut().find(|cell| cell.column == column) {
            Some(cell) => cell.add(value),
            None => row.cells.push(Cell {
                column,
                median: value,
                rounds: vec![value],
            }),
        }
    }

    /// The median of what was recorded.
    pub fn median(&self, subject: &str, column: Column) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.subject == subject)?;
        let cell = row.cells.iter().find(|cell| cell.column == column)?;
        Some(cell.median)
    }

    /// Adds a figure that has a target.
    pub fn goal(&mut self, what: &str, bound: Bound, target: f64, measured: Option<f64>) {
        self.goals.push(Goal {
            what: what.to_owned(),
            bound,
            target,
            measured,
        });
    }

    /// Says what a reader must know.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The columns of all rows, in the order in which they were recorded.
    fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        for cell in self.rows.iter().flat_map(|row| &row.cells) {
            if !columns.contains(&cell.column) {
                columns.push(cell.column);
            }
        }
        columns
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let columns = self.columns();
        let mut lines = vec![vec![self.name.to_owned()]];
        lines[0].extend(columns.iter().map(|column| column.name.to_owned()));
        for row in &self.rows {
            let mut line = vec![row.subject.clone()];
            line.extend(columns.iter().map(|column| {
                let cell = row.cells.iter().find(|cell| cell.column == *column);
                cell.map_or_else(String::new, Cell::text)
            }));
            lines.push(line);
        }
        lines
    }
}

impl Cell {
    fn add(&mut self, value: f64) {
        self.rounds.push(value);
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        self.median = sorted[sorted.len() / 2];
    }

    /// The median, and from where to where the rounds went.
    fn text(&self) -> String {
        let decimals = self.column.decimals;
        let least = self.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let median = format!("{:.decimals$}", self.median);
        if self.rounds.len() < 2 {
            return median;
        }
        format!("{median} ({least:.decimals$}–{most:.decimals$})")
    }
}

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// When, in nanoseconds since the epoch.
    pub time_unix_nanos: u64,
    /// How thoroughly.
    pub options: Options,
    /// What was measured.
    pub parts: Vec<Part>,
}

impl Report {
    /// All of it for a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("\n{}\n{}\n\n", self.machine.text(), self.options.text());
        let mut answers = vec![
            ["target", "", "", "measured", "", "part"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for part in &self.parts {
            answers.extend(part.goals.iter().map(|goal| answer(part, goal)));
        }
        if answers.len() > 1 {
            text.push_str(&aligned(&answers));
        }
        for part in &self.parts {
            text.push('\n');
            text.push_str(&aligned(&part.lines()));
            for note in part.notes.iter().chain(&part.left_out) {
                // Writing to a string does not fail.
                writeln!(text, "  {note}").ok();
            }
        }
        text
    }
}

fn answer(part: &Part, goal: &Goal) -> Vec<String> {
    let verdict = match goal.is_reached() {
        Some(true) => "reached",
        Some(false) => "NOT REACHED",
        None => "unknown",
    };
    let bound = match goal.bound {
        Bound::AtMost => "at most",
        Bound::AtLeast => "at least",
    };
    vec![
        goal.what.clone(),
        bound.to_owned(),
        number(goal.target),
        goal.measured.map_or_else(|| "-".to_owned(), number),
        verdict.to_owned(),
        part.name.to_owned(),
    ]
}

/// With three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Lines of cells under one another: the first column to the left, the others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let padding = " ".repeat(width - cell.chars().count());
            match column {
                0 => text.extend([gap, cell, &padding]),
                _ => text.extend([gap, &padding, cell]),
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        if index == 0 {
            let total: usize = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
            text.push_str(&"─".repeat(total));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Column = Column::new("CPU µs/span", 2);
    const RATE: Column = Column::new("spans/s", 0);

    #[test]
    fn a_row_shows_the_median_and_the_spread_and_leaves_out_what_was_not_measured() {
        let mut part = Part::new("spans");
        for cpu in [9.0, 1.25, 2.5] {
            part.record("ours", CPU, cpu);
        }
        part.record("theirs", RATE, 1000.0);
        part.goal("CPU beside theirs", Bound::AtMost, 0.25, None);
        part.goal("CPU", Bound::AtMost, 2.0, part.median("ours", CPU));
        let report = Report {
            machine: Machine::default(),
            time_unix_nanos: 0,
            options: Options::default(),
            parts: vec![part],
        };
        let text = report.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.contains(&"ours    2.50 (1.25–9.00)"), "{text}");
        assert!(lines.contains(&"theirs                       1000"), "{text}");
        let goal = |what: &str| lines.iter().find(|line| line.starts_with(what)).expect("a goal");
        assert!(goal("CPU beside").contains("unknown"), "{text}");
        assert!(goal("CPU  ").contains("NOT REACHED"), "{text}");
    }
}
