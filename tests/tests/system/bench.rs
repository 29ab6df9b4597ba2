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
