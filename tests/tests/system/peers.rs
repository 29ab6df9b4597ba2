//! Real peers on both sides: what sends OTLP to the agent, and what reads the tables.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_proto::signal::Signal;
use serde_json::{Value, json};
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::answers::Answers;
use system_tests::lab::{self, Lab};
use system_tests::load::{Load, Told};
use system_tests::ports::free_address;
use system_tests::process::Process;
use system_tests::wait::eventually;
use system_tests::{otlp, peers};

const VISIBLE_WITHIN: Duration = Duration::from_secs(30);

async fn system(lab: &Arc<Lab>) -> Result<(Aggregator, Agent)> {
    let aggregator = Aggregator::start(lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
    let agent = Agent::start(lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
    Ok((aggregator, agent))
}

#[test]
fn telemetrygen_sends_every_signal_and_metric_type_over_both_protocols() {
    lab::run(|lab| async move {
        let Some(telemetrygen) = peers::find("telemetrygen")? else {
            return Ok(());
        };
        let (aggregator, agent) = system(&lab).await?;
        let metrics = ["Gauge", "Sum", "Histogram", "ExponentialHistogram"];
        for (protocol, endpoint) in [("--otlp-http=false", agent.grpc()), ("--otlp-http", agent.http())] {
            let mut kinds = vec![vec!["traces", "--traces=10"], vec!["logs", "--logs=10"]];
            let types: Vec<String> = metrics
                .iter()
                .map(|kind| format!("--metric-type={kind}"))
                .collect();
            kinds.extend(types.iter().map(|kind| vec!["metrics", "--metrics=10", kind]));
            for arguments in kinds {
                let mut command = Command::new(&telemetrygen);
                command
                    .args(&arguments)
                    .args([protocol, "--otlp-insecure", "--workers=1", "--rate=0"]);
                command.arg(format!("--otlp-endpoint={endpoint}"));
                peers::run(&lab, "telemetrygen", &mut command, VISIBLE_WITHIN).await?;
            }
        }
        let answers = aggregator.answers();
        // A trace of telemetrygen has a client's and a server's span.
        answers.has_rows("spans", 2 * 2 * 10, VISIBLE_WITHIN).await?;
        answers.has_rows("logs", 2 * 10, VISIBLE_WITHIN).await?;
        answers.has_rows("metrics", 2 * 4 * 10, VISIBLE_WITHIN).await?;
        let types = answers
            .rows("SELECT metric_type, count(*) AS n FROM metrics GROUP BY 1 ORDER BY 1")
            .await?;
        let names: Vec<&str> = types
            .iter()
            .filter_map(|row| row["metric_type"].as_str())
            .collect();
        ensure!(
            names == ["exponential_histogram", "gauge", "histogram", "sum"],
            "{types:?}"
        );
        agent.drained(VISIBLE_WITHIN).await
    });
}

/// A Collector that receives by `receivers`, the protocols of its OTLP receiver.
fn collector_yaml(receivers: &str, protocol: &str, agent: &Agent) -> String {
    let exporter = match protocol {
        "grpc" => format!(
            "  otlp_grpc: {{ endpoint: \"{}\", tls: {{ insecure: true }} }}",
            agent.grpc()
        ),
        _ => format!(
            "  otlp_http: {{ endpoint: \"http://{}\", compression: zstd }}",
            agent.http()
        ),
    };
    let pipeline = format!("{{ receivers: [otlp], exporters: [otlp_{protocol}] }}");
    format!(
        "receivers: {{ otlp: {{ protocols: {{ {receivers} }} }} }}\n\
         exporters:\n{exporter}\n\
         service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  \
         pipelines: {{ traces: {pipeline}, logs: {pipeline}, metrics: {pipeline} }}\n"
    )
}

#[test]
fn a_stock_collector_forwards_over_both_protocols() {
    lab::run(|lab| async move {
        let Some(collector) = peers::find("otelcol")? else {
            return Ok(());
        };
        let (aggregator, agent) = system(&lab).await?;
        let mut told = [0; 3];
        for protocol in ["grpc", "http"] {
            let listen = free_address();
            let yaml = collector_yaml(&format!("http: {{ endpoint: \"{listen}\" }}"), protocol, &agent);
            let mut process = start_collector(&lab, &collector, protocol, &yaml)?;
            let Told { acknowledged, .. } = send_through(listen).await?;
            add(&mut told, acknowledged);
            // Its shutdown drains its queue.
            process.terminate(VISIBLE_WITHIN).await?;
        }
        all_visible(&aggregator.answers(), told).await?;
        agent.drained(VISIBLE_WITHIN).await
    });
}

fn add(sums: &mut [u64; 3], counts: [u64; 3]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

/// Waits until the tables have exactly these rows, by [`Signal::index`].
async fn all_visible(answers: &Answers, rows: [u64; 3]) -> Result<()> {
    for signal in Signal::ALL {
        answers
            .has_rows(signal.as_str(), rows[signal.index()], VISIBLE_WITHIN)
            .await?;
    }
    Ok(())
}

fn start_collector(lab: &Lab, collector: &Path, name: &str, yaml: &str) -> Result<Process> {
    let config = lab.write(&format!("collector-{name}.yaml"), yaml)?;
    let mut command = Command::new(collector);
    command.arg(format!("--config={}", config.display()));
    let log = lab.path(&format!("collector-{name}.log"));
    Process::start("the Collector", &mut command, &log)
}

/// The way: an agent, a stock Collector that decodes everything, another agent, the tables.
#[test]
fn a_stock_collector_takes_what_the_agent_exports_over_both_protocols() {
    lab::run(|lab| async move {
        let Some(collector) = peers::find("otelcol")? else {
            return Ok(());
        };
        let (aggregator, central) = system(&lab).await?;
        let (grpc, http) = (free_address(), free_address());
        let receivers = format!("grpc: {{ endpoint: \"{grpc}\" }}, http: {{ endpoint: \"{http}\" }}");
        let yaml = collector_yaml(&receivers, "grpc", &central);
        let mut process = start_collector(&lab, &collector, "between", &yaml)?;
        let mut told = [0; 3];
        for (name, backend, keys) in [
            ("grpc-gzip", grpc, ""),
            ("grpc-zstd", grpc, "compression: zstd"),
            ("http-zstd", http, "protocol: http, compression: zstd"),
            ("http-plain", http, "protocol: http, compression: none"),
        ] {
            let mut spec = AgentSpec::new(name, "eu", backend);
            spec.exporters = vec![("otlp".to_owned(), vec![backend])];
            keys.clone_into(&mut spec.exporter);
            let edge = Agent::start(&lab, spec).await?;
            let Told { acknowledged, .. } = send_through(edge.http()).await?;
            add(&mut told, acknowledged);
            edge.drained(VISIBLE_WITHIN).await?;
        }
        process.terminate(VISIBLE_WITHIN).await?;
        all_visible(&aggregator.answers(), told).await?;
        central.drained(VISIBLE_WITHIN).await
    });
}

async fn send_through(listen: std::net::SocketAddr) -> Result<Told> {
    eventually(VISIBLE_WITHIN, "the Collector listens", || async {
        tokio::net::TcpStream::connect(listen).await?;
        Ok(())
    })
    .await?;
    let load = Load::start(listen, 2, Duration::from_millis(50));
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.finish().await
}

/// The examples of the OTLP specification: file, signal, items.
const EXAMPLES: [(&str, Signal, u64); 4] = [
    ("trace.json", Signal::Spans, 1),
    ("logs.json", Signal::Logs, 1),
    ("events.json", Signal::Logs, 1),
    ("metrics.json", Signal::Metrics, 4),
];

#[test]
fn the_json_examples_of_the_otlp_specification_are_taken() {
    lab::run(|lab| async move {
        let (aggregator, agent) = system(&lab).await?;
        let http = reqwest::Client::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/otlp");
        for (file, signal, _) in EXAMPLES {
            let body = std::fs::read(folder.join(file))?;
            let response = otlp::post(&http, agent.http(), signal, "application/json", body).await?;
            let status = response.status();
            ensure!(
                status.is_success(),
                "{file}: {status}: {}",
                response.text().await?
            );
            let answer: Value = response.json().await?;
            ensure!(
                answer
                    .get("partialSuccess")
                    .is_none_or(|partial| partial == &serde_json::json!({})),
                "{answer}"
            );
        }
        let answers = aggregator.answers();
        for signal in Signal::ALL {
            let of_signal = EXAMPLES.iter().filter(|(_, of, _)| *of == signal);
            let items = of_signal.map(|(_, _, items)| items).sum();
            answers.has_rows(signal.as_str(), items, VISIBLE_WITHIN).await?;
        }
        let rows = answers.rows("SELECT name, service_name FROM spans").await?;
        ensure!(
            rows[0]["name"] == "I'm a server span" && rows[0]["service_name"] == "my.service",
            "{rows:?}"
        );
        agent.drained(VISIBLE_WITHIN).await
    });
}

#[test]
fn delta_and_parquet_readers_that_are_not_ours_read_the_tables() {
    lab::run(|lab| async move {
        let (aggregator, agent) = system(&lab).await?;
        let load = Load::start(agent.http(), 2, Duration::from_millis(50));
        tokio::time::sleep(Duration::from_secs(3)).await;
        let told = load.finish().await?;
        agent.drained(VISIBLE_WITHIN).await?;
        let store = aggregator.store();
        let store = store.to_str().context("a UTF-8 path")?;
        let printed = peers::python(&lab, "read_tables.py", &[store], Duration::from_secs(60)).await?;
        let read: Value = serde_json::from_str(printed.lines().last().context("an answer")?)?;
        for signal in Signal::ALL {
            let (table, expected) = (&read[signal.as_str()], told.acknowledged[signal.index()]);
            ensure!(
                table["deltalake"] == expected && table["duckdb"] == expected,
                "{expected}: {table}"
            );
            ensure!(table["regions"] == serde_json::json!(["eu"]), "{table}");
            ensure!(
                table["partitions"] == serde_json::json!(["date", "region"]),
                "{table}"
            );
        }
        ensure!(read["spans"]["services"] == 2, "{read}");
        ensure!(
            read["spans"]["attributes"] == told.acknowledged[0],
            "attributes are missing: {read}"
        );
        Ok(())
    });
}

/// What was sent by hand, the last request of its signal, at a place in OTLP JSON.
fn sent_by_hand<'a>(sent: &'a Value, pointer: &str) -> Result<&'a Value> {
    let signal = pointer.split('/').nth(1).context("a signal")?;
    let last = sent[signal].as_array().and_then(|requests| requests.last());
    let rest = pointer
        .strip_prefix(&format!("/{signal}"))
        .context("a signal first")?;
    last.and_then(|request| request.pointer(rest))
        .with_context(|| format!("{pointer} was not sent"))
}

/// Whether it is the second and microsecond of that moment, as Python writes them: without a
/// fraction where there is none.
fn is_time(time: &str, nanos: i64) -> bool {
    let (second, micros) = (nanos / 1_000_000_000 % 60, nanos / 1000 % 1_000_000);
    let expected = match micros {
        0 => format!(":{second:02}+00:00"),
        _ => format!(":{second:02}.{micros:06}+00:00"),
    };
    time.ends_with(&expected)
}

/// Rows of a table as one reader found them, against what was sent.
fn check_by_hand(read: &Value, sent: &Value) -> Result<()> {
    let span = sent_by_hand(sent, "/traces/resourceSpans/0/scopeSpans/0/spans/0")?;
    let row = &read["spans"][0];
    ensure!(row["trace_id"] == span["traceId"], "{row}");
    let nanos: i64 = span["startTimeUnixNano"].as_str().context("a time")?.parse()?;
    ensure!(row["start_time_ns"] == nanos % 1000, "{row}");
    let time = row["start_time"].as_str().context("a time")?;
    ensure!(is_time(time, nanos), "{time} is not {nanos}");
    ensure!(
        row["duration_ns"] == -5 && row["dropped_links_count"] == u32::MAX,
        "{row}"
    );
    for attributes in [
        &row["attributes"],
        &row["events"][0]["attributes"],
        &row["links"][0]["attributes"],
    ] {
        let pairs = attributes.as_array().context("a map")?;
        for pair in [
            json!(["bytes", "AAE="]),
            json!(["twice", "again"]),
            json!(["no value", null]),
        ] {
            ensure!(pairs.contains(&pair), "{pair} is not in {attributes}");
        }
    }
    ensure!(
        row["events"].as_array().map(Vec::len) == Some(2) && row["events"][0]["name"] == "e",
        "{row}"
    );
    let link = &row["links"][0];
    ensure!(
        link["trace_id"] == span["links"][0]["traceId"] && link["flags"] == -1,
        "{link}"
    );
    let log = &read["logs"][0];
    ensure!(log["trace_id"] == span["traceId"], "{log}");
    ensure!(
        log["body"].as_str().is_some_and(|body| body.contains("$kvlist")),
        "{log}"
    );
    let point = &read["metrics"][0];
    ensure!(
        point["explicit_bounds"] == json!([-1.0, 1e300]) && point["bucket_counts"] == json!([1, 2, 3]),
        "{point}"
    );
    let exemplar = &point["exemplars"][1];
    ensure!(
        exemplar["value_int"] == i64::MIN && exemplar["trace_id"].is_null(),
        "{exemplar}"
    );
    ensure!(point["exemplars"][0]["trace_id"] == span["traceId"], "{point}");
    Ok(())
}

#[test]
fn readers_that_are_not_ours_read_the_values_of_every_type() {
    lab::run(|lab| async move {
        let (aggregator, agent) = system(&lab).await?;
        let (endpoint, capture) = (agent.grpc().to_string(), lab.path("capture.json"));
        let arguments = ["grpc", &endpoint, capture.to_str().context("a UTF-8 path")?];
        peers::python(&lab, "sdk_sends_everything.py", &arguments, VISIBLE_WITHIN * 2).await?;
        agent.drained(VISIBLE_WITHIN).await?;
        let sent: Value = serde_json::from_slice(&std::fs::read(&capture)?)?;
        let store = aggregator.store();
        let arguments = [store.to_str().context("a UTF-8 path")?, "--by-hand"];
        let printed = peers::python(&lab, "read_tables.py", &arguments, VISIBLE_WITHIN * 2).await?;
        let read: Value = serde_json::from_str(printed.lines().last().context("an answer")?)?;
        for reader in ["deltalake", "duckdb"] {
            check_by_hand(&read[reader], &sent).with_context(|| reader.to_owned())?;
        }
        ensure!(
            read["deltalake"] == read["duckdb"],
            "the readers disagree: {read}"
        );
        Ok(())
    });
}
