//! The results: one table for people, in Markdown, and the same as JSON.

use std::fmt::Write as _;

use meridian_proto::signal::Signal;
use serde::Serialize;

use crate::bench::machine::Machine;
use crate::bench::measure::Figures;
use crate::bench::targets::Kind;

const MIB: f64 = 1024.0 * 1024.0;

/// One line: a target and a signal, and the medians of its rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The target.
    pub target: &'static str,
    /// The signal.
    pub signal: String,
    /// The median of each figure.
    pub median: Figures,
    /// Every round.
    pub rounds: Vec<Figures>,
}

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// When, in nanoseconds since the epoch.
    pub time_unix_nanos: u64,
    /// Items at full speed in each round.
    pub items: u64,
    /// What was measured.
    pub lines: Vec<Line>,
}

impl Line {
    /// The line of these rounds, of which there is at least one.
    pub fn new(kind: Kind, signal: Signal, rounds: Vec<Figures>) -> Self {
        let of = |figure: fn(&Figures) -> Option<f64>| median(rounds.iter().filter_map(figure).collect());
        let median = Figures {
            items_per_second: of(|f| f.items_per_second),
            cpu_micros_per_item: of(|f| f.cpu_micros_per_item),
            system_micros_per_item: of(|f| f.system_micros_per_item),
            resident_bytes_peak: of(|f| f.resident_bytes_peak),
            resident_bytes_idle: of(|f| f.resident_bytes_idle),
            wire_bytes_per_item: of(|f| f.wire_bytes_per_item),
            paced_cpu_micros_per_item: of(|f| f.paced_cpu_micros_per_item),
            ack_millis_p50: of(|f| f.ack_millis_p50),
            ack_millis_p99: of(|f| f.ack_millis_p99),
            refusals: rounds.iter().map(|f| f.refusals).sum(),
            missing_items: rounds.iter().map(|f| f.missing_items).sum(),
        };
        Self {
            target: kind.name(),
            signal: signal.to_string(),
            median,
            rounds,
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

impl Report {
    /// The table.
    pub fn table(&self) -> String {
        let mut table = String::from(
            "| signal | target | items/s | CPU µs/item | of it system | peak RSS MiB | idle RSS MiB | \
             wire bytes/item | CPU µs/item at 20,000/s | ack p50 ms | ack p99 ms |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for line in &self.lines {
            let f = &line.median;
            let cells = [
                cell(f.items_per_second, 1.0, 0),
                cell(f.cpu_micros_per_item, 1.0, 2),
                cell(f.system_micros_per_item, 1.0, 2),
                cell(f.resident_bytes_peak, MIB, 0),
                cell(f.resident_bytes_idle, MIB, 0),
                cell(f.wire_bytes_per_item, 1.0, 1),
                cell(f.paced_cpu_micros_per_item, 1.0, 2),
                cell(f.ack_millis_p50, 1.0, 1),
                cell(f.ack_millis_p99, 1.0, 1),
            ];
            // Writing to a string does not fail.
            writeln!(
                table,
                "| {} | {} | {} |",
                line.signal,
                line.target,
                cells.join(" | ")
            )
            .ok();
        }
        for line in &self.lines {
            let (f, name) = (&line.median, line.target);
            if f.refusals + f.missing_items > 0 {
                let text = format!(
                    "{} requests refused and repeated, {} items missing",
                    f.refusals, f.missing_items
                );
                writeln!(table, "{name}, {}: {text}", line.signal).ok();
            }
        }
        table
    }
}

fn cell(value: Option<f64>, unit: f64, decimals: usize) -> String {
    value.map_or_else(String::new, |value| format!("{:.decimals$}", value / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_the_median_of_its_rounds_and_leaves_out_what_was_not_measured() {
        let round = |cpu| Figures {
            cpu_micros_per_item: Some(cpu),
            ..Figures::default()
        };
        let line = Line::new(
            Kind::Agent,
            Signal::Spans,
            vec![round(9.0), round(1.25), round(2.5)],
        );
        let report = Report {
            machine: Machine::here(),
            time_unix_nanos: 0,
            items: 1,
            lines: vec![line],
        };
        let table = report.table();
        let last = table.lines().last().expect("a line");
        assert_eq!(
            last,
            "| spans | meridian-agent (fsynced spool) |  | 2.50 |  |  |  |  |  |  |  |"
        );
    }
}
