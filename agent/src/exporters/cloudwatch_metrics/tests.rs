//! The way of data points into datums, rule by rule: OTLP JSON in, datums out, judged by
//! CloudWatch's rules. Whether CloudWatch takes the datums is not tested here.

mod cases;
mod histograms;
mod invariants;
mod properties;
mod restart;

use bytes::Bytes;
use meridian_proto::signal::Signal;
use meridian_runtime::config::Document;
use serde_json::{Value, json};

use super::memory::{self, Settled};
use super::settings::Settings;
use super::translate::Translator;
use crate::ledger::DropReason;
use crate::otlp::{CheckLimits, Malformed, json_to_protobuf};
use crate::requests::sink::Pieces;
use crate::spool::Record;

/// When the exporter began, in seconds since the epoch.
pub const BEGUN: u64 = 1_700_000_000;
pub const NANOS: u64 = 1_000_000_000;

pub const DELTA: u32 = 1;
pub const CUMULATIVE: u32 = 2;

/// OTLP's way to write attributes.
pub fn attributes(of: &Value) -> Value {
    let any = |value: Value| match value {
        Value::Number(number) => json!({"intValue": number.to_string()}),
        other => json!({"stringValue": other}),
    };
    let entries = of.as_object().cloned().unwrap_or_default();
    let entries = entries.into_iter();
    entries
        .map(|(key, value)| json!({"key": key, "value": any(value)}))
        .collect()
}

/// A point at so many seconds after the exporter began, of a stream that began with it.
pub fn point(seconds: u64, attributes_of: &Value, more: &Value) -> Value {
    let mut point = json!({
        "startTimeUnixNano": (BEGUN * NANOS).to_string(),
        "timeUnixNano": ((BEGUN + seconds) * NANOS).to_string(),
        "attributes": attributes(attributes_of),
    });
    let members = point.as_object_mut().expect("an object");
    members.extend(more.as_object().cloned().unwrap_or_default());
    point
}

/// A metric with data like `sum` and its points.
pub fn metric(name: &str, unit: &str, data: &str, points: &[Value], temporality: u32) -> Value {
    let monotonic = data == "sum";
    json!({"name": name, "unit": unit, data: {
        "dataPoints": points, "aggregationTemporality": temporality, "isMonotonic": monotonic,
    }})
}

pub fn request(metrics: &[Value]) -> Vec<u8> {
    let request = json!({"resourceMetrics": [{
        "resource": {"attributes": attributes(&json!({"service.name": "shop"}))},
        "scopeMetrics": [{"metrics": metrics}],
    }]});
    let text = request.to_string();
    json_to_protobuf(Signal::Metrics, text.as_bytes(), &CheckLimits::default()).expect("OTLP JSON")
}

pub fn settings(keys: &str) -> Settings {
    let text = format!("cwm: {{ region: eu-central-1, {keys} }}");
    let document = Document::parse("test.yaml", &text, &|_| None).expect("YAML");
    let mut root = document.root();
    let settings = Settings::read(root.section("cwm"));
    root.finish();
    document.finish(settings).expect("no faults")
}

/// Everything is sent, by service.
pub const ALL: &str = "metrics: {'*': {dimensions: [service.name]}}";

/// What became of a record.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Each with the items that it is of.
    pub datums: Vec<(Vec<u32>, Value)>,
    pub drops: Vec<(Vec<u32>, DropReason)>,
}

impl Outcome {
    /// Of all its datums, one by one, what a key holds.
    pub fn each(&self, key: &str) -> Vec<Value> {
        self.datums.iter().map(|(_, datum)| datum[key].clone()).collect()
    }
}

/// A point without attributes.
pub fn one(seconds: u64, more: &Value) -> Value {
    point(seconds, &json!({}), more)
}

/// Values and counts of the only datum.
pub fn values(outcome: &Outcome) -> Value {
    let [(_, datum)] = &outcome.datums[..] else {
        panic!("{outcome:#?}");
    };
    json!([datum["Values"], datum["Counts"]])
}

/// A translator that is given records as the courier does.
pub struct Rig {
    pub translator: Translator,
    pub settled: Settled,
    pub seq: u64,
    /// Seconds since the epoch.
    pub now: u64,
}

impl Rig {
    pub fn new(keys: &str) -> Self {
        Self::reopen(keys, None)
    }

    pub fn reopen(keys: &str, kept: Option<&[u8]>) -> Self {
        let settings = settings(keys);
        let (memory, settled) = memory::open(kept, settings.max_streams, BEGUN * NANOS);
        Self {
            translator: Translator::new(&settings, memory),
            settled,
            seq: 0,
            now: BEGUN + 60,
        }
    }

    /// The next record, of these metrics; each datum is judged.
    pub fn record(&mut self, metrics: &[Value]) -> Outcome {
        self.body(request(metrics))
    }

    pub fn body(&mut self, body: Vec<u8>) -> Outcome {
        self.try_body(body).expect("sound")
    }

    pub fn try_body(&mut self, body: Vec<u8>) -> Result<Outcome, Malformed> {
        self.seq += 1;
        let record = Record {
            seq: self.seq,
            signal: Signal::Metrics,
            items: 0,
            received_unix_nanos: self.now * NANOS,
            overlay: Bytes::new(),
            body: Bytes::from(body),
        };
        let mut pieces = Pieces::of(&record);
        let now = self.now * NANOS;
        self.translator.record(&record, now, &mut pieces)?;
        let datums = pieces.parts().map(|(items, datum)| {
            let value: Value = serde_json::from_str(&datum.json).expect("JSON");
            invariants::hold(&value, self.now);
            (items, value)
        });
        Ok(Outcome {
            datums: datums.collect(),
            drops: pieces.dropped().collect(),
        })
    }

    /// The records up to here are settled: what is kept then, if it has changed.
    pub fn settle(&mut self, seq: u64) -> Option<Vec<u8>> {
        let changes = self.translator.memory().take_changes(seq);
        self.settled.advance(seq, changes)
    }
}
