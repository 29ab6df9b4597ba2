//! What was sent comes back equal: the SDK's own encoding of what it sent, noted at the
//! sender, against what the store answers, both as OTLP JSON. Neither side of the
//! comparison is written by us alone: the sender's JSON is made by protobuf's library.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_proto::rebuild;
use meridian_proto::signal::Signal;
use serde_json::{Map, Value, json};
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::answers::Answers;
use system_tests::lab;
use system_tests::peers;

/// The names that one signal's nesting has in OTLP JSON.
struct Names {
    resources: &'static str,
    scopes: &'static str,
    items: &'static str,
}

const TRACES: Names = Names {
    resources: "resourceSpans",
    scopes: "scopeSpans",
    items: "spans",
};
const LOGS: Names = Names {
    resources: "resourceLogs",
    scopes: "scopeLogs",
    items: "logRecords",
};
const METRICS: Names = Names {
    resources: "resourceMetrics",
    scopes: "scopeMetrics",
    items: "metrics",
};

/// The data of a metric, by type.
const METRIC_TYPES: [&str; 5] = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"];

/// Every item of the requests with the resource and scope that it stands under, in an order
/// and a notation that do not depend on how the requests were cut.
fn flatten(requests: &[Value], names: &Names) -> BTreeSet<String> {
    let mut flat = BTreeSet::new();
    for resource in requests
        .iter()
        .flat_map(|request| children(request, names.resources))
    {
        for scope in children(resource, names.scopes) {
            for item in children(scope, names.items).flat_map(split_points) {
                let place = json!({
                    "resource": object(&resource["resource"]), "resourceSchema": text(&resource["schemaUrl"]),
                    "scope": object(&scope["scope"]), "scopeSchema": text(&scope["schemaUrl"]),
                    "item": item,
                });
                flat.insert(canonical(place).to_string());
            }
        }
    }
    flat
}

fn children<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

/// An absent message and an empty one mean the same here: no attribute, no name.
fn object(value: &Value) -> Value {
    value
        .as_object()
        .map_or_else(|| json!({}), |fields| Value::Object(fields.clone()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A metric once for each data point; any other item as it is.
fn split_points(item: &Value) -> Vec<Value> {
    let Some(kind) = METRIC_TYPES.into_iter().find(|kind| item.get(kind).is_some()) else {
        return vec![item.clone()];
    };
    let with_point = |point: &Value| {
        let mut metric = item.clone();
        metric[kind]["dataPoints"] = json!([point]);
        metric
    };
    children(&item[kind], "dataPoints").map(with_point).collect()
}

/// One notation for what protobuf's JSON may write in two ways: a number as `1` or `1.0`, a
/// field with its default value or without.
fn canonical(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(values) => values.into_iter().map(canonical).collect(),
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(key, value)| (key.clone(), in_order(&key, canonical(value))));
            Value::Object(
                fields
                    .filter(|(key, value)| !is_default(key, value))
                    .collect::<Map<_, _>>(),
            )
        }
        other => other,
    }
}

/// Attributes are a set: they come back in another order, those of one key in theirs.
fn in_order(name: &str, mut value: Value) -> Value {
    if let ("attributes" | "filteredAttributes" | "metadata", Some(pairs)) = (name, value.as_array_mut()) {
        pairs.sort_by(|a, b| text(&a["key"]).cmp(text(&b["key"])));
    }
    value
}

/// An attribute without a key or a value, a collection without elements, a status unset, and
/// the least quantile.
fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "key" | "value" | "values" | "status" => *value == "" || *value == json!({}) || *value == json!([]),
        "quantile" => *value == json!(0.0),
        _ => false,
    }
}

/// Fails with the first item of each side that the other lacks.
fn same(what: &str, sent: &BTreeSet<String>, stored: &BTreeSet<String>) -> Result<()> {
    ensure!(!sent.is_empty(), "nothing of {what} was noted");
    let missing: Vec<&String> = sent.difference(stored).collect();
    let foreign: Vec<&String> = stored.difference(sent).collect();
    ensure!(
        missing.is_empty() && foreign.is_empty(),
        "{what}: {} of {} differ; sent and not stored:\n{}\nstored and not sent:\n{}",
        missing.len(),
        sent.len(),
        missing.first().map_or("nothing", |item| item.as_str()),
        foreign.first().map_or("nothing", |item| item.as_str())
    );
    Ok(())
}

async fn stored_traces(answers: &Answers, sent: &[Value]) -> Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for resource in sent
        .iter()
        .flat_map(|request| children(request, TRACES.resources))
    {
        let scopes = children(resource, TRACES.scopes);
        ids.extend(
            scopes
                .flat_map(|scope| children(scope, TRACES.items))
                .map(|span| text(&span["traceId"])),
        );
    }
    let mut stored = BTreeSet::new();
    for id in ids {
        let answer = answers.get(&format!("/api/v1/traces/{id}")).await?;
        stored.extend(flatten(&[answer["data"].clone()], &TRACES));
    }
    Ok(stored)
}

async fn stored_rows(answers: &Answers, signal: Signal) -> Result<BTreeSet<String>> {
    let mut requests = Vec::new();
    for batch in answers.arrow(&format!("SELECT * FROM {signal}")).await? {
        requests.push(match signal {
            Signal::Spans => rebuild::spans(&batch)?,
            Signal::Logs => rebuild::logs(&batch)?,
            Signal::Metrics => rebuild::metrics(&batch)?,
        });
    }
    let names = match signal {
        Signal::Spans => TRACES,
        Signal::Logs => LOGS,
        Signal::Metrics => METRICS,
    };
    Ok(flatten(&requests, &names))
}

async fn compare(answers: &Answers, sent: &Value) -> Result<()> {
    let requests = |signal: &str| sent[signal].as_array().cloned().unwrap_or_default();
    let traces = requests("traces");
    same(
        "traces",
        &flatten(&traces, &TRACES),
        &stored_traces(answers, &traces).await?,
    )?;
    same(
        "spans",
        &flatten(&traces, &TRACES),
        &stored_rows(answers, Signal::Spans).await?,
    )?;
    same(
        "logs",
        &flatten(&requests("logs"), &LOGS),
        &stored_rows(answers, Signal::Logs).await?,
    )?;
    same(
        "metrics",
        &flatten(&requests("metrics"), &METRICS),
        &stored_rows(answers, Signal::Metrics).await?,
    )
}

fn what_an_sdk_sends_comes_back_equal(protocol: &'static str) {
    lab::run(|lab| async move {
        let mut aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let agent = Agent::start(&lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
        let endpoint = if protocol == "grpc" {
            agent.grpc()
        } else {
            agent.http()
        }
        .to_string();
        let capture = lab.path("capture.json");
        let arguments = [protocol, &endpoint, capture.to_str().context("a UTF-8 path")?];
        peers::python(
            &lab,
            "sdk_sends_everything.py",
            &arguments,
            Duration::from_secs(60),
        )
        .await?;
        let sent: Value = serde_json::from_slice(&std::fs::read(&capture)?)?;
        agent.drained(Duration::from_secs(30)).await?;
        compare(&aggregator.answers(), &sent)
            .await
            .context("while some rows may be in memory")?;
        // After a crash everything comes from Parquet.
        aggregator.process.kill_9()?;
        aggregator.restart().await?;
        compare(&aggregator.answers(), &sent)
            .await
            .context("from the tables alone")
    });
}

#[test]
fn lossless_over_grpc() {
    what_an_sdk_sends_comes_back_equal("grpc");
}

#[test]
fn lossless_over_http() {
    what_an_sdk_sends_comes_back_equal("http");
}
