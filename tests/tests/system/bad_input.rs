//! Bad input gets a clear error and costs only itself. What it does not prove: that no
//! other hostile input exists.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use meridian_proto::signal::Signal;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::fake_agent::{FakeAgent, hello};
use system_tests::lab::{self, Lab};
use system_tests::otlp::{self, now_unix_nanos};
use system_tests::ports::free_address;
use system_tests::process::Process;
use system_tests::wait::eventually;

const VISIBLE_WITHIN: Duration = Duration::from_secs(30);
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

async fn system(lab: &Arc<Lab>) -> Result<(Aggregator, Agent)> {
    let aggregator = Aggregator::start(lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
    let agent = Agent::start(lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
    Ok((aggregator, agent))
}

/// Posts and answers (status, text).
async fn post(agent: &Agent, content_type: &str, encoding: &str, body: Vec<u8>) -> Result<(u16, String)> {
    let request = reqwest::Client::new().post(format!("http://{}/v1/traces", agent.http()));
    let request = request
        .header("content-type", content_type)
        .timeout(Duration::from_secs(20));
    let request = if encoding.is_empty() {
        request
    } else {
        request.header("content-encoding", encoding)
    };
    let response = request.body(body).send().await?;
    let status = response.status().as_u16();
    Ok((
        status,
        String::from_utf8_lossy(&response.bytes().await?).into_owned(),
    ))
}

fn good() -> Vec<u8> {
    otlp::request(Signal::Spans, "good", 3)
}

fn gzip(length: u64) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), length), &mut encoder)?;
    Ok(encoder.finish()?)
}

#[test]
fn bad_input_over_http_is_refused_with_its_reason_and_costs_only_itself() {
    lab::run(|lab| async move {
        let (aggregator, agent) = system(&lab).await?;
        let bom = b"\xef\xbb\xbf{}".to_vec();
        let mut truncated = good();
        truncated.truncate(truncated.len() - 7);
        let cases: Vec<(&str, &str, Vec<u8>, u16)> = vec![
            (PROTOBUF, "", b"this is no protobuf".to_vec(), 400),
            (PROTOBUF, "", truncated, 400),
            (JSON, "", b"{\"resourceSpans\": [{]}".to_vec(), 400),
            (JSON, "", b"{} trailing".to_vec(), 400),
            (JSON, "", bom, 400),
            ("text/plain", "", b"hello".to_vec(), 415),
            (PROTOBUF, "br", good(), 415),
            (PROTOBUF, "gzip", b"this is no gzip".to_vec(), 400),
            (PROTOBUF, "", vec![0; 64 << 20], 413),
            (PROTOBUF, "gzip", gzip(1 << 30)?, 413),
            (
                PROTOBUF,
                "zstd",
                zstd::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 30), 1)?,
                413,
            ),
        ];
        for (content_type, encoding, body, expected) in cases {
            let what = format!("{content_type} {encoding} of {} bytes", body.len());
            let (status, text) = post(&agent, content_type, encoding, body).await?;
            ensure!(
                status == expected,
                "{what}: {status} instead of {expected}: {text}"
            );
            ensure!(text.len() > 10, "{what}: no reason is given: {text}");
            let (status, text) = post(&agent, PROTOBUF, "", good()).await?;
            ensure!(status == 200, "after {what}: {status}: {text}");
        }
        let (status, text) = post(&agent, "application/json; charset=utf-8", "", b"{}".to_vec()).await?;
        ensure!(status == 200, "{status}: {text}");
        aggregator
            .answers()
            .has_rows("spans", 11 * 3, VISIBLE_WITHIN)
            .await?;
        agent.drained(VISIBLE_WITHIN).await
    });
}

#[test]
fn a_message_over_the_limit_of_grpc_is_refused_for_good() {
    lab::run(|lab| async move {
        let (aggregator, agent) = system(&lab).await?;
        let mut span = otlp::span("huge");
        span.attributes
            .push(otlp::attribute("huge", &"x".repeat(64 << 20)));
        let outcome = otlp::export_spans_grpc(agent.grpc(), &otlp::spans_request("huge", vec![span])).await?;
        let status = outcome.err().context("accepted")?;
        ensure!(status.code() == tonic::Code::ResourceExhausted, "{status:?}");
        let details = String::from_utf8_lossy(status.details()).into_owned();
        ensure!(
            !details.contains("RetryInfo"),
            "an SDK would repeat it for ever: {status:?}"
        );
        let answer = otlp::export_spans_grpc(agent.grpc(), &good()).await??;
        ensure!(answer.partial_success.is_none(), "{answer:?}");
        aggregator.answers().has_rows("spans", 3, VISIBLE_WITHIN).await
    });
}

#[test]
fn bad_items_are_rejected_alone_and_the_rest_of_their_request_is_kept() {
    lab::run(|lab| async move {
        let (aggregator, agent) = system(&lab).await?;
        let mut spans: Vec<_> = (0..6)
            .map(|number| otlp::span(&format!("span {number}")))
            .collect();
        spans[1].trace_id = vec![0; 16];
        spans[3].span_id.truncate(7);
        spans[4].trace_id.clear();
        let answer = otlp::export_spans_grpc(agent.grpc(), &otlp::spans_request("mixed", spans)).await??;
        let partial = answer.partial_success.context("no partial success")?;
        ensure!(partial.rejected_spans == 3, "{partial:?}");
        ensure!(partial.error_message.contains("trace_id"), "{partial:?}");
        ensure!(partial.error_message.contains("span_id"), "{partial:?}");
        let answers = aggregator.answers();
        answers.has_rows("spans", 3, VISIBLE_WITHIN).await?;

        let mut old = otlp::span("old");
        (old.start_time_unix_nano, old.end_time_unix_nano) = (1, 2);
        let mut future = otlp::span("future");
        future.start_time_unix_nano = now_unix_nanos() + 50 * 365 * 86_400 * 1_000_000_000;
        future.end_time_unix_nano = future.start_time_unix_nano + 1;
        let mut zero = otlp::span("zero");
        (zero.start_time_unix_nano, zero.end_time_unix_nano) = (0, 0);
        let request = otlp::spans_request("times", vec![old, future, zero]);
        let answer = otlp::export_spans_grpc(agent.grpc(), &request).await??;
        ensure!(answer.partial_success.is_none(), "{answer:?}");
        answers.has_rows("spans", 6, VISIBLE_WITHIN).await?;
        agent.drained(VISIBLE_WITHIN).await?;
        let rows = answers
            .rows("SELECT count(DISTINCT date) AS days FROM spans")
            .await?;
        ensure!(
            rows[0]["days"].as_i64() <= Some(2),
            "hostile times make partitions: {rows:?}"
        );
        Ok(())
    });
}

#[test]
fn a_stream_that_speaks_another_version_is_told_which_are_served() {
    lab::run(|lab| async move {
        let (aggregator, agent) = system(&lab).await?;
        let mut future = hello("eu", "future", now_unix_nanos());
        future.protocol = 999;
        let fault = FakeAgent::connect(aggregator.ingest(), future)
            .await
            .err()
            .context("welcomed")?;
        let status: &tonic::Status = fault.downcast_ref().context("a status")?;
        ensure!(status.code() == tonic::Code::FailedPrecondition, "{status:?}");
        ensure!(
            status.message().contains("999") && status.message().contains('1'),
            "{status:?}"
        );
        let (status, text) = post(&agent, PROTOBUF, "", good()).await?;
        ensure!(status == 200, "{status}: {text}");
        aggregator.answers().has_rows("spans", 3, VISIBLE_WITHIN).await
    });
}

async fn faults_of(lab: &Lab, binary: &str, yaml: &str) -> Result<String> {
    let config = lab.write(&format!("{binary}-faults.yaml"), yaml)?;
    let mut command = Command::new(Process::binary(binary)?);
    command.arg("--check").arg("--config").arg(config);
    let mut process = Process::start(binary, &mut command, &lab.path(&format!("{binary}.log")))?;
    let status = process.exit_status(Duration::from_secs(10)).await?;
    ensure!(status.code() == Some(2), "{binary}: {status}\n{}", process.log()?);
    process.log()
}

#[test]
fn every_fault_of_a_configuration_is_told_at_once_with_its_line() {
    lab::run(|lab| async move {
        let agent = "cluster: c\nnode: n\nreceivers:\n  otlp: { grpc: nowhere, http: 127.0.0.1:1 }\n\
                     spool: { path: /tmp/x, max_bytes: 4GB, when_full: explode }\n\
                     exporters:\n  aggregator: { endpiont: http://a:1 }\nadmin: { listen: 127.0.0.1:2 }\n";
        let told = faults_of(&lab, "meridian-agent", agent).await?;
        for part in [
            "region", ":4:", "nowhere", ":5:", "4GB", "explode", ":7:", "endpiont",
        ] {
            ensure!(told.contains(part), "`{part}` is not in:\n{told}");
        }
        let aggregator = "listen: { ingest: 127.0.0.1:1, http: 127.0.0.1:2 }\n\
                          store: { url: ftp://x, commit_interval: soon }\nregions: []\nlimitz: {}\n";
        let told = faults_of(&lab, "meridian-aggregator", aggregator).await?;
        for part in [
            ":2:",
            "store.url",
            "s3://",
            "soon",
            ":3:",
            "regions",
            ":4:",
            "limitz",
        ] {
            ensure!(told.contains(part), "`{part}` is not in:\n{told}");
        }
        Ok(())
    });
}

#[test]
fn an_agent_whose_log_cannot_be_written_goes_on_and_ends_when_it_is_told_to() {
    lab::run(|lab| async move {
        let admin = free_address();
        let yaml = format!(
            "region: r\ncluster: c\nnode: n\nreceivers: {{ otlp: {{ grpc: {}, http: {} }} }}\n\
             spool: {{ path: {} }}\nexporters: {{ aggregator: {{ endpoint: \"http://{}\" }} }}\n\
             admin: {{ listen: {admin} }}\nshutdown_timeout: 2s\n",
            free_address(),
            free_address(),
            lab.path("spool").display(),
            free_address(),
        );
        let mut command = Command::new(Process::binary("meridian-agent")?);
        command.arg("--config").arg(lab.write("agent.yaml", &yaml)?);
        let mut process = Process::start("meridian-agent", &mut command, Path::new("/dev/full"))?;
        eventually(VISIBLE_WITHIN, "the agent is ready", || async {
            Ok(reqwest::get(format!("http://{admin}/readyz"))
                .await?
                .error_for_status()?)
        })
        .await?;
        let status = process.terminate(Duration::from_secs(20)).await?;
        ensure!(status.success(), "{status}");
        Ok(())
    });
}

/// Every file under a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?)
        } else {
            found.push(path)
        }
    }
    Ok(found)
}

/// The spool file that holds this text, and where in it.
fn place_of(spool: &Path, text: &[u8]) -> Result<(PathBuf, usize)> {
    for path in files(spool)? {
        let bytes = std::fs::read(&path)?;
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text) {
            return Ok((path, at));
        }
    }
    anyhow::bail!("the spool does not hold it")
}

/// Leaves what a loss of power in the middle of the next record would: its beginning. What
/// follows the last record of an open segment is zeros.
fn tear(segment: &mut Vec<u8>, somewhere: usize) {
    let header = segment[..somewhere]
        .windows(4)
        .rposition(|window| window == b"MRec");
    let header = header.expect("a record begins before its body");
    let begin = segment[header..header + 48].to_vec();
    let end = segment
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let end = end.next_multiple_of(8);
    segment.resize(segment.len().max(end + begin.len()), 0);
    segment[end..end + begin.len()].copy_from_slice(&begin);
}

#[test]
fn a_corrupt_record_and_a_torn_tail_of_the_spool_cost_only_themselves() {
    lab::run(|lab| async move {
        let (mut aggregator, mut agent) = system(&lab).await?;
        aggregator.process.kill_9()?;
        for name in ["first", "flipped-by-cosmic-rays", "third"] {
            let body = otlp::spans_request("spool", vec![otlp::span(name)]);
            let (status, text) = post(&agent, PROTOBUF, "", body).await?;
            ensure!(status == 200, "{status}: {text}");
        }
        agent.process.kill_9()?;
        let (path, at) = place_of(&agent.spool(), b"flipped-by-cosmic-rays")?;
        let mut bytes = std::fs::read(&path)?;
        bytes[at] ^= 1;
        tear(&mut bytes, at);
        std::fs::write(&path, bytes)?;

        aggregator.restart().await?;
        agent.restart().await?;
        let (status, text) = post(
            &agent,
            PROTOBUF,
            "",
            otlp::spans_request("spool", vec![otlp::span("fourth")]),
        )
        .await?;
        ensure!(status == 200, "{status}: {text}");
        let answers = aggregator.answers();
        answers.has_rows("spans", 3, VISIBLE_WITHIN).await?;
        let rows = answers.rows("SELECT name FROM spans ORDER BY start_time").await?;
        let names: Vec<_> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
        ensure!(names == ["first", "third", "fourth"], "{names:?}");
        agent.drained(VISIBLE_WITHIN).await?;
        ensure!(
            agent.process.log()?.contains("corrupt"),
            "nothing is said of it:\n{}",
            agent.process.log()?
        );
        Ok(())
    });
}

#[test]
fn bad_sql_is_refused_with_a_message_that_helps_and_the_server_goes_on() {
    lab::run(|lab| async move {
        let aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let answers = aggregator.answers();
        let cases = [
            ("DELETE FROM spans", vec!["questions"]),
            ("DROP TABLE spans", vec!["questions"]),
            ("INSERT INTO spans SELECT * FROM spans", vec!["questions"]),
            ("COPY spans TO '/tmp/x'", vec!["questions"]),
            ("SELECT * FROM spanz", vec!["spanz", "spans"]),
            ("SELECT regoin FROM spans", vec!["regoin", "region"]),
            ("SELECT *\nFROM spans\nWHER region = 'eu'", vec!["3"]),
            ("SELECT count(*) FRM spans", vec!["1"]),
            (&format!("{} SELECT 1", "EXPLAIN ".repeat(400)), vec![]),
            (
                &format!("SELECT {}1{}", "(".repeat(3000), ")".repeat(3000)),
                vec![],
            ),
        ];
        for (sql, parts) in cases {
            let refusal = answers.sql_refused(sql).await?;
            let shown: String = sql.chars().take(60).collect();
            ensure!((400..500).contains(&refusal.status), "{shown}: {refusal:?}");
            ensure!(
                !refusal.code.is_empty() && refusal.message.len() > 10,
                "{shown}: {refusal:?}"
            );
            for part in parts {
                let message = refusal.message.to_lowercase();
                ensure!(message.contains(part), "{shown}: `{part}` is not in {refusal:?}");
            }
        }
        ensure!(
            answers.number("SELECT count(*) AS n FROM spans").await? == 0,
            "the server answers"
        );
        Ok(())
    });
}
