//! The stand-in for AWS as the exporters' tests start it, and what the tests ask it and the books.

use aws_standin::{Seen, Settings, Standin};
use meridian_proto::signal::Signal;

use super::rig::sum;

pub const REGION: &str = "eu-central-1";

pub async fn standin(seed: u64) -> Standin {
    let settings = Settings {
        seed,
        ..Settings::of_region(REGION)
    };
    Standin::start(settings).await.expect("a port")
}

/// No request was refused for its shape, nor a part of one.
pub fn assert_well_formed(aws: &Standin) {
    assert_eq!(aws.look(Seen::misshapen), Vec::<String>::new());
}

/// Items of an exporter, in the text of `/metrics`: `delivered` or `dropped`.
pub fn items(metrics: &str, what: &str, exporter: &str, signal: Signal) -> i64 {
    sum(
        metrics,
        &format!("meridian_agent_{what}_items_total"),
        exporter,
        signal,
    )
}

/// A counter without labels, in the text of `/metrics`.
pub fn counter(metrics: &str, name: &str) -> i64 {
    let values = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.map(|value| value.parse::<i64>().expect("a count")).sum()
}

/// Those that were dropped for this reason.
pub fn dropped(metrics: &str, reason: &str, exporter: &str, signal: Signal) -> i64 {
    let label = format!("reason=\"{reason}\"");
    let lines = metrics.lines().filter(|line| line.contains(&label));
    items(&lines.collect::<Vec<_>>().join("\n"), "dropped", exporter, signal)
}
