//! AWS as moto plays it: what the OpenTelemetry SDK sends to the agent is read back with AWS's own
//! client, after signatures and policies that none of us has checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use system_tests::agent::{Agent, AgentSpec};
use system_tests::lab::{self, Lab};
use system_tests::moto::{Moto, REGION};
use system_tests::peers;
use system_tests::wait::eventually;

const WITHIN: Duration = Duration::from_secs(60);

/// Everything that the SDK can say, through an agent with this exporter: what was sent, as OTLP
/// JSON, and what AWS's client reads. `None` if there is no moto.
async fn through(lab: &Arc<Lab>, exporter: &str, keys: &str) -> Result<Option<(Value, Value)>> {
    let Some(moto) = Moto::start(lab, &[exporter]).await? else {
        return Ok(None);
    };
    through_moto(lab, &moto, exporter, keys).await.map(Some)
}

async fn through_moto(lab: &Arc<Lab>, moto: &Moto, exporter: &str, keys: &str) -> Result<(Value, Value)> {
    let keys = format!(
        "region: {REGION}, endpoint_url: \"{}\", linger: 100ms, {keys}",
        moto.url()
    );
    let mut spec = AgentSpec::with_others("agent", "eu", &[(exporter, &keys)]);
    spec.environment = moto.environment();
    let agent = Agent::start(lab, spec).await?;
    let (endpoint, capture) = (agent.grpc().to_string(), lab.path("capture.json"));
    let arguments = ["grpc", &endpoint, capture.to_str().context("a UTF-8 path")?];
    peers::python(lab, "sdk_sends_everything.py", &arguments, WITHIN).await?;
    agent.drained(WITHIN).await?;
    let sent = serde_json::from_slice(&std::fs::read(&capture)?)?;
    Ok((sent, moto.read(lab).await?))
}

/// What is at this path, where a star is each member of a list.
fn each<'a>(of: &'a Value, path: &[&str]) -> Vec<&'a Value> {
    let Some((first, rest)) = path.split_first() else {
        return vec![of];
    };
    let next: Vec<&Value> = match *first {
        "*" => of.as_array().into_iter().flatten().collect(),
        key => of.get(key).into_iter().collect(),
    };
    next.into_iter().flat_map(|next| each(next, rest)).collect()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What an event must tell of a record.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    millis: u64,
    severity: String,
    trace_id: String,
    /// The keys of its attributes.
    attributes: BTreeSet<String>,
    /// If it is a text.
    body: Option<String>,
}

fn told_by_record(record: &Value) -> Result<Told> {
    let nanos = |key: &str| string(&record[key]).parse::<u64>().unwrap_or_default();
    let nanos = [nanos("timeUnixNano"), nanos("observedTimeUnixNano")];
    let nanos = nanos.into_iter().find(|nanos| *nanos > 0);
    let attributes = each(record, &["attributes", "*"]).into_iter();
    Ok(Told {
        millis: nanos.context("a time")? / 1_000_000,
        severity: string(&record["severityText"]),
        trace_id: string(&record["traceId"]),
        attributes: attributes.map(|attribute| string(&attribute["key"])).collect(),
        body: record["body"]["stringValue"].as_str().map(str::to_owned),
    })
}

fn told_by_event(event: &Value) -> Result<Told> {
    let message: Value = serde_json::from_str(event["message"].as_str().context("a text")?)?;
    let attributes = message["attributes"].as_object().into_iter().flatten();
    Ok(Told {
        millis: event["timestamp"].as_u64().context("a time")?,
        severity: string(&message["severity"]),
        trace_id: string(&message["trace_id"]),
        attributes: attributes.map(|(key, _)| key.clone()).collect(),
        body: message["body"].as_str().map(str::to_owned),
    })
}

fn counted(all: impl Iterator<Item = Result<Told>>) -> Result<BTreeMap<Told, usize>> {
    let mut counted = BTreeMap::new();
    for one in all {
        *counted.entry(one?).or_default() += 1;
    }
    Ok(counted)
}

#[test]
fn logs_of_the_sdk_are_read_back_from_cloudwatch_logs() {
    lab::run(|lab| async move {
        let keys = "log_group: \"/meridian/{service.name}\", retention_days: 7";
        let Some((sent, read)) = through(&lab, "cloudwatch_logs", keys).await? else {
            return Ok(());
        };
        let records = ["*", "resourceLogs", "*", "scopeLogs", "*", "logRecords", "*"];
        let records = each(&sent["logs"], &records);
        ensure!(records.len() > 10, "{} records", records.len());
        let mut expected = counted(records.into_iter().map(told_by_record))?;
        for event in each(&read["logs"], &["*", "events", "*"]) {
            let mut told = told_by_event(event)?;
            if !expected.contains_key(&told) {
                // A body of bytes is a text here, and was none.
                told.body = None;
            }
            let left = expected.get_mut(&told);
            *left.with_context(|| format!("{event} was not sent"))? -= 1;
            expected.retain(|_, left| *left > 0);
        }
        ensure!(expected.is_empty(), "did not arrive: {expected:?}");
        let groups = each(&read["logs"], &["*", "name"]);
        ensure!(
            groups == ["/meridian/by-hand", "/meridian/lossless-grpc"],
            "{groups:?}"
        );
        let retentions = each(&read["logs"], &["*", "retention"]);
        ensure!(retentions.iter().all(|days| **days == 7), "{retentions:?}");
        Ok(())
    });
}

/// Whether the document is of the span.
fn check_segment(span: &Value, document: &Value) -> Result<()> {
    let trace = string(&span["traceId"]);
    let (time, random) = trace.split_at_checked(8).context("a trace id")?;
    ensure!(document["trace_id"] == format!("1-{time}-{random}"), "{document}");
    ensure!(
        string(&document["parent_id"]) == string(&span["parentSpanId"]),
        "{span}: {document}"
    );
    let nanos: f64 = string(&span["startTimeUnixNano"]).parse()?;
    let seconds = document["start_time"].as_f64().context("a time")?;
    ensure!((seconds - nanos / 1e9).abs() < 0.001, "{span}: {document}");
    let exceptions = each(document, &["cause", "exceptions", "*", "type"]);
    let is_exception = |event: &&Value| event["name"] == "exception";
    let events = each(span, &["events", "*"]);
    ensure!(
        events.iter().filter(|event| is_exception(event)).count() <= exceptions.len(),
        "{span}: {document}"
    );
    Ok(())
}

/// The message that an agent tells of a server whose certificate nobody vouches for.
async fn told_of_a_stranger(lab: &Arc<Lab>, moto: &Moto) -> Result<()> {
    let keys = format!(
        "region: {REGION}, endpoint_url: \"{}\", linger: 100ms",
        moto.url()
    );
    let mut spec = AgentSpec::with_others("stranger", "eu", &[("xray", &keys)]);
    spec.environment = moto.environment();
    spec.environment.retain(|(name, _)| name != "SSL_CERT_FILE");
    let agent = Agent::start(lab, spec).await?;
    let endpoint = agent.grpc().to_string();
    let capture = lab.path("stranger.json");
    let arguments = ["grpc", &endpoint, capture.to_str().context("a UTF-8 path")?];
    peers::python(lab, "sdk_sends_everything.py", &arguments, WITHIN).await?;
    eventually(WITHIN, "the certificate is named", || async {
        let log = agent.process.log()?;
        ensure!(log.contains("certificate"), "{log}");
        Ok(())
    })
    .await?;
    let lost = agent
        .metrics()
        .await?
        .sum("meridian_agent_dropped_items_total", &[]);
    ensure!(lost == 0.0, "{lost} items were dropped");
    Ok(())
}

#[test]
fn spans_of_the_sdk_are_read_back_from_x_ray_over_tls() {
    lab::run(|lab| async move {
        let Some(moto) = Moto::start_tls(&lab, &["xray"]).await? else {
            return Ok(());
        };
        told_of_a_stranger(&lab, &moto).await?;
        let (sent, read) = through_moto(&lab, &moto, "xray", "rate: 100").await?;
        let spans = ["*", "resourceSpans", "*", "scopeSpans", "*", "spans", "*"];
        let spans = each(&sent["traces"], &spans);
        ensure!(spans.len() > 10, "{} spans", spans.len());
        let traces = read["traces"].as_object().context("traces")?;
        let documents = traces.values().flat_map(|trace| each(trace, &["*"]));
        let mut documents: BTreeMap<String, &Value> = documents
            .map(|document| (string(&document["id"]), document))
            .collect();
        for span in spans {
            let id = string(&span["spanId"]);
            let document = documents.remove(&id);
            check_segment(span, document.with_context(|| format!("{span} did not arrive"))?)?;
        }
        ensure!(documents.is_empty(), "were not sent: {documents:?}");
        Ok(())
    });
}
#[test]
fn metrics_of_the_sdk_are_read_back_from_cloudwatch() {
    lab::run(|lab| async move {
        // moto decompresses a body before it checks the signature, which is of the compressed one.
        let keys = "compression: none, rate: 100, namespace: Test, metrics: { \"*\": { dimensions: [service.name] } }";
        let Some((_, read)) = through(&lab, "cloudwatch_metrics", keys).await? else {
            return Ok(());
        };
        let metrics = each(&read["metrics"], &["*"]);
        // What `sdk_sends_everything.py` counts and records: the sums and counts of its own values.
        for (name, statistic, expected) in [
            ("counter", "Sum", 12.0),
            ("observed", "Sum", 0.25),
            ("classic", "SampleCount", 7.0),
            ("exponential", "SampleCount", 7.0),
        ] {
            let mut found = metrics.iter().filter(|metric| metric["name"] == name);
            let metric = found.next().with_context(|| format!("{name}: {read}"))?;
            ensure!(found.next().is_none(), "{name} is there twice: {read}");
            ensure!(metric["namespace"] == "Test", "{metric}");
            ensure!(
                metric["dimensions"] == json!({ "service.name": "lossless-grpc" }),
                "{metric}"
            );
            let values = each(metric, &["points", "*", statistic]);
            let sum: f64 = values.iter().filter_map(|value| value.as_f64()).sum();
            ensure!((sum - expected).abs() < 1e-6, "{name}: {metric}");
        }
        Ok(())
    });
}
