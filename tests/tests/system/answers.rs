//! What a person asks of a running system: SQL over fresh rows, one trace across regions,
//! the named queries, the description of the interface.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_proto::ids::to_hex;
use meridian_proto::signal::Signal;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::lab;
use system_tests::otlp::{self, attribute};

const VISIBLE_WITHIN: Duration = Duration::from_secs(20);

async fn send_span(
    agent: &Agent,
    service: &str,
    span: opentelemetry_proto::tonic::trace::v1::Span,
) -> Result<()> {
    let body = otlp::spans_request(service, vec![span]);
    let response = otlp::post_protobuf(&reqwest::Client::new(), agent.http(), Signal::Spans, body).await?;
    ensure!(response.status().is_success(), "{response:?}");
    Ok(())
}

#[test]
fn a_trace_across_regions_is_one_and_visible_before_any_commit() {
    lab::run(|lab| async move {
        let mut spec = AggregatorSpec::new("aggregator", &["eu", "us"]);
        spec.commit_interval = "10m".to_owned();
        let aggregator = Aggregator::start(&lab, spec).await?;
        let eu = Agent::start(&lab, AgentSpec::new("eu", "eu", aggregator.ingest())).await?;
        let us = Agent::start(&lab, AgentSpec::new("us", "us", aggregator.ingest())).await?;
        let mut parent = otlp::span("GET /checkout");
        parent.attributes.push(attribute("cart", "full"));
        let mut child = otlp::span("GET /stock");
        child.trace_id.clone_from(&parent.trace_id);
        child.parent_span_id.clone_from(&parent.span_id);
        let trace_id = to_hex(&parent.trace_id);
        send_span(&eu, "checkout", parent).await?;
        send_span(&us, "stock", child).await?;

        let answers = aggregator.answers();
        answers.has_rows("spans", 2, VISIBLE_WITHIN).await?;
        let answer = answers.get(&format!("/api/v1/traces/{trace_id}")).await?;
        let text = answer["data"].to_string();
        ensure!(
            text.contains("GET /checkout") && text.contains("GET /stock"),
            "{answer}"
        );
        let sql = format!(
            "SELECT region, service_name, attributes['cart'] AS cart, trace_id FROM spans \
             WHERE trace_id = '{trace_id}' ORDER BY region"
        );
        let rows = answers.rows(&sql).await?;
        ensure!(
            rows.len() == 2 && rows[0]["region"] == "eu" && rows[1]["region"] == "us",
            "{rows:?}"
        );
        ensure!(
            rows[0]["cart"] == "full" && rows[0]["service_name"] == "checkout",
            "{rows:?}"
        );
        ensure!(rows[0]["trace_id"] == trace_id.as_str(), "{rows:?}");
        Ok(())
    });
}

#[test]
fn every_named_query_answers_on_a_running_system() {
    lab::run(|lab| async move {
        let aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let agent = Agent::start(&lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
        let span = otlp::span("GET /orders");
        let trace_id = to_hex(&span.trace_id);
        send_span(&agent, "orders", span).await?;
        let answers = aggregator.answers();
        answers.has_rows("spans", 1, VISIBLE_WITHIN).await?;
        let queries = answers.get("/api/v1/queries").await?;
        let queries = queries["data"].as_array().context("a list of queries")?;
        ensure!(queries.len() >= 8, "only {} queries", queries.len());
        for query in queries {
            let name = query["name"].as_str().context("a name")?;
            let answer = answers
                .get(&format!("/api/v1/queries/{name}?trace_id={trace_id}"))
                .await;
            let answer = match answer {
                Ok(answer) => answer,
                // Only some take a trace; an unknown parameter is refused.
                Err(_) => answers.get(&format!("/api/v1/queries/{name}")).await?,
            };
            ensure!(
                answer["data"].is_array() && answer["regions"].is_array(),
                "{name}: {answer}"
            );
        }
        Ok(())
    });
}

#[test]
fn every_refusal_over_http_has_a_code_and_a_message() {
    lab::run(|lab| async move {
        let aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let url = |path: &str| format!("http://{}{path}", aggregator.http());
        let client = reqwest::Client::new();
        let sql = || client.post(url("/api/v1/sql"));
        let refused = [
            (client.get(url("/api/v1/traces/%FF")), 400, "bad_path"),
            (client.get(url("/api/v1/queries/%FF")), 400, "bad_path"),
            (client.get(url("/api/v1/nothing")), 404, "not_found"),
            (client.get(url("/api/v1/sql")), 405, "method_not_allowed"),
            (client.get(url("/api/v1/regions?from=%FF")), 400, "bad_parameter"),
            (sql().body("-- nothing"), 400, "empty_statement"),
            (
                sql().body("SELECT 1").header("content-encoding", "gzip"),
                415,
                "unsupported_encoding",
            ),
            (
                sql().body(format!("{}SELECT 1", "EXPLAIN ".repeat(8_000))),
                400,
                "statement_too_complex",
            ),
        ];
        for (request, status, code) in refused {
            let response = request.send().await?;
            ensure!(response.status() == status, "{code}: {response:?}");
            let text = response.text().await?;
            let body: serde_json::Value = serde_json::from_str(&text).context(text)?;
            ensure!(
                body["error"]["code"] == code && body["error"]["message"].is_string(),
                "{body}"
            );
        }
        let answer = aggregator
            .answers()
            .get("/api/v1/regions?from=2200-01-01T00:00:00Z")
            .await?;
        ensure!(answer["status"] == "unknown", "{answer}");
        Ok(())
    });
}

#[test]
fn the_interface_describes_itself_and_both_processes_tell_how_they_are() {
    lab::run(|lab| async move {
        let aggregator = Aggregator::start(&lab, AggregatorSpec::new("aggregator", &["eu"])).await?;
        let agent = Agent::start(&lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
        let description = aggregator.answers().get("/openapi.json").await?;
        for path in [
            "/api/v1/regions",
            "/api/v1/sql",
            "/api/v1/queries",
            "/api/v1/traces/{trace_id}",
        ] {
            ensure!(
                description["paths"].get(path).is_some(),
                "{path} is not described"
            );
        }
        for address in [aggregator.http(), agent.admin()] {
            for path in ["livez", "readyz", "metrics"] {
                let response = reqwest::get(format!("http://{address}/{path}")).await?;
                ensure!(response.status().is_success(), "{path}: {response:?}");
            }
        }
        agent.balanced().await
    });
}
