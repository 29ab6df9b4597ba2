//! `meridian-agent explain`: reads OTLP JSON and tells what each exporter would send of it, and
//! what it would not. Nothing is sent, and nothing is kept.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use serde_json::Value;

use crate::config::{Config, Exporter, ExporterKind};
use crate::exporters::aws_otlp::AwsOtlp;
use crate::exporters::cloudwatch_logs::CloudwatchLogs;
use crate::exporters::cloudwatch_metrics::CloudwatchMetrics;
use crate::exporters::otlp::Otlp;
use crate::exporters::xray::Xray;
use crate::otlp::{CheckLimits, Origin, check, json_to_protobuf};
use crate::requests::explain::{Explained, explain};
use crate::requests::sink::Sink;
use crate::spool::Record;

/// The configuration if none is given: every exporter to AWS with its defaults.
pub const CONFIG: &str = "
region: eu-central-1
cluster: example
node: node-1
spool: { path: /nonexistent }
exporters:
  xray: { region: eu-central-1 }
  cloudwatch_logs: { region: eu-central-1 }
  cloudwatch_metrics: { region: eu-central-1 }
  otlp: { endpoint: http://localhost:4317 }
";

/// The keys of OTLP JSON, as they are written and as the .proto files have them.
const KEYS: [(&str, &str, Signal); 3] = [
    ("resourceSpans", "resource_spans", Signal::Spans),
    ("resourceLogs", "resource_logs", Signal::Logs),
    ("resourceMetrics", "resource_metrics", Signal::Metrics),
];

/// What would become of this OTLP JSON: one request, or several one after the other.
pub fn run(config: Config, json: &[u8]) -> anyhow::Result<String> {
    let clock = Clock::system();
    let mut text = String::new();
    let records = records(json, clock.now_unix_nanos(), &mut text)?;
    let origin = Origin {
        region: config.region,
        cluster: config.cluster,
        node: config.node,
        agent_id: String::new(),
    };
    for exporter in &config.exporters {
        tell(exporter, &origin, &clock, &records, &mut text)?;
    }
    Ok(text)
}

fn tell(
    exporter: &Exporter,
    origin: &Origin,
    clock: &Clock,
    records: &[Record],
    text: &mut String,
) -> anyhow::Result<()> {
    let told = match &exporter.kind {
        ExporterKind::Aggregator(_) => {
            let items: u32 = records.iter().map(|record| record.items).sum();
            format!("{}: all items, {items}, as rows\n", exporter.name)
        }
        ExporterKind::AwsOtlp(settings) => {
            of(exporter, &AwsOtlp::new(settings, origin, clock.clone())?, records)
        }
        ExporterKind::CloudwatchLogs(settings) => of(
            exporter,
            &CloudwatchLogs::new(settings, origin, clock.clone())?,
            records,
        ),
        ExporterKind::CloudwatchMetrics(settings) => {
            let sink = CloudwatchMetrics::to_explain(settings, clock.clone())?;
            of(exporter, &sink, records)
        }
        ExporterKind::Otlp(settings) => of(exporter, &Otlp::new(settings)?, records),
        ExporterKind::Xray(settings) => of(exporter, &Xray::new(settings, clock.clone())?, records),
    };
    text.push_str(&told);
    Ok(())
}

/// What this exporter would do.
fn of<S: Sink>(exporter: &Exporter, sink: &S, records: &[Record]) -> String {
    let Explained { requests, drops } = explain(sink, records);
    let name = &exporter.name;
    let mut text = format!("{name}: to {}\n", sink.endpoint());
    for request in &requests {
        request
            .lines()
            .for_each(|line| put(&mut text, format_args!("  {line}\n")));
    }
    for (reason, items) in drops {
        let (reason, meaning) = (reason.as_str(), reason.meaning());
        put(
            &mut text,
            format_args!("  dropped as {reason}: {items} ({meaning})\n"),
        );
    }
    text
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    text.write_fmt(arguments).unwrap_or_default();
}

/// The requests in the JSON, as the spool would have them; what intake would reject is told.
fn records(json: &[u8], now_unix_nanos: u64, text: &mut String) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<Value>();
    let mut begin = 0;
    while let Some(value) = values.next() {
        let value = value.context("it is no JSON")?;
        let request = json.get(begin..values.byte_offset()).unwrap_or_default();
        begin = values.byte_offset();
        let has = |key: &str| value.get(key).is_some();
        let found = KEYS.iter().filter(|(key, other, _)| has(key) || has(other));
        let signals: Vec<Signal> = found.map(|(_, _, signal)| *signal).collect();
        if signals.is_empty() {
            bail!(
                "it is JSON, but no OTLP: an object with resourceSpans, resourceLogs or resourceMetrics is expected"
            );
        }
        for signal in signals {
            let limits = CheckLimits::default();
            let body = Bytes::from(json_to_protobuf(signal, request, &limits)?);
            let checked = check(signal, body, &limits)?;
            if checked.rejected > 0 {
                put(
                    text,
                    format_args!("rejected before any exporter: {}\n", checked.reasons),
                );
            }
            records.push(Record {
                seq: records.len() as u64 + 1,
                signal,
                items: checked.items,
                received_unix_nanos: now_unix_nanos,
                overlay: Bytes::new(),
                body: checked.body,
            });
        }
    }
    if records.is_empty() {
        bail!(
            "it is empty: an OTLP request in JSON is expected, with resourceSpans, resourceLogs or resourceMetrics"
        );
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
