//! The benchmark in miniature, so that it does not rot: every part runs and finds what it looks
//! for. Its figures mean nothing here and are not looked at.

use std::time::Duration;

use system_tests::bench::options::Options;
use system_tests::bench::report::Part;
use system_tests::bench::run::measure;
use system_tests::lab;

fn miniature(part: &str) -> Part {
    let _turn = lab::turn();
    let options = Options {
        parts: vec![part.to_owned()],
        items: 4000,
        rounds: 1,
        paced: Duration::from_millis(500),
        rate: 2000,
        stored: 10_000,
        away: Duration::from_secs(2),
        repeat: 1,
        quiet: Duration::from_millis(500),
        ..Options::default()
    };
    let report = measure(&options).expect("the part is known");
    assert!(report.text().contains(part));
    report.parts.into_iter().next().expect("one part")
}

/// What was left out although it is ours, or is there.
fn faults(part: &Part) -> Vec<&String> {
    let is_missing_peer = |text: &&String| text.contains("installed");
    part.left_out
        .iter()
        .filter(|text| !is_missing_peer(text))
        .collect()
}

#[test]
fn the_agent_is_measured_beside_the_peers_that_are_there() {
    let part = miniature("spans");
    assert_eq!(faults(&part), Vec::<&String>::new());
    let ours = part
        .rows
        .iter()
        .find(|row| row.subject.starts_with("meridian-agent"));
    let columns: Vec<&str> = ours
        .expect("a row of the agent")
        .cells
        .iter()
        .map(|cell| cell.column.name)
        .collect();
    for column in [
        "items/s",
        "CPU µs/item",
        "peak RSS MiB",
        "wire bytes/item",
        "ack p99 ms",
    ] {
        assert!(columns.contains(&column), "{column} is missing: {columns:?}");
    }
    assert!(!columns.contains(&"items missing"), "{part:?}");
    assert!(part.goals.len() >= 6, "{:?}", part.goals);
}

#[test]
fn overload_is_measured() {
    let part = miniature("overload");
    assert_eq!(faults(&part), Vec::<&String>::new());
    assert_eq!(part.rows.len(), 2, "{part:?}");
}

#[test]
fn the_aggregator_is_measured_with_every_signal() {
    let part = miniature("aggregator");
    assert_eq!(faults(&part), Vec::<&String>::new());
    let subjects: Vec<&str> = part.rows.iter().map(|row| row.subject.as_str()).collect();
    assert_eq!(subjects, ["spans", "logs", "metrics"]);
}

#[test]
fn freshness_and_an_outage_are_measured_with_probes() {
    for name in ["freshness", "outage"] {
        let part = miniature(name);
        assert_eq!(faults(&part), Vec::<&String>::new(), "{name}");
        assert!(part.goals.iter().all(|goal| goal.measured.is_some()), "{part:?}");
    }
}

#[test]
fn queries_are_measured_beside_duckdb() {
    let part = miniature("queries");
    assert_eq!(faults(&part), Vec::<&String>::new());
    for row in part.rows.iter().filter(|row| row.subject != "the store") {
        let columns: Vec<&str> = row.cells.iter().map(|cell| cell.column.name).collect();
        for column in ["p50 ms", "DuckDB p50 ms"] {
            assert!(columns.contains(&column), "{}: {columns:?}", row.subject);
        }
    }
    assert!(part.rows.len() > 6, "{part:?}");
}
