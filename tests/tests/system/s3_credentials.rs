//! Where the credentials of a bucket come from: profiles of the shared files, a role assumed
//! at STS, a program, a container's endpoint that gives short-lived ones. An aggregator that
//! is ready has made its tables in the bucket with them. IMDSv2 and web identities are
//! `object_store`'s own work, and are not tried here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use meridian_proto::signal::Signal;
use serde_json::Value;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::lab::{self, Lab};
use system_tests::load::{Load, exactly_once, stored};
use system_tests::minio::{self, KEY, Minio};
use system_tests::peers;
use system_tests::ports::free_address;
use system_tests::wait::eventually;
use tokio::task::JoinSet;

/// An aggregator on MinIO to which nobody gave keys.
fn without_keys(lab: &Lab, minio: &Minio) -> AggregatorSpec {
    let mut spec = AggregatorSpec::new("aggregator", &["eu"]);
    spec.store_url = Minio::store_url();
    spec.environment = minio::endpoint_of(minio.address());
    for (variable, file) in [
        ("AWS_CONFIG_FILE", "config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    ] {
        let path = lab.path(file).display().to_string();
        spec.environment.push((variable.to_owned(), path));
    }
    spec
}

fn with(mut spec: AggregatorSpec, variable: &str, value: &str) -> AggregatorSpec {
    spec.environment.push((variable.to_owned(), value.to_owned()));
    spec
}

#[test]
fn a_profile_of_the_shared_files_opens_the_bucket() {
    lab::run(|lab| async move {
        let Some(minio) = Minio::start(&lab).await? else {
            return Ok(());
        };
        let program =
            format!("echo '{{\"Version\": 1, \"AccessKeyId\": \"{KEY}\", \"SecretAccessKey\": \"{KEY}\"}}'");
        lab.write(
            "config",
            &format!(
                "[profile keys]\nregion = eu-central-1\n[profile role]\nrole_arn = arn:minio:iam:::role/x\n\
                 source_profile = keys\n[profile program]\ncredential_process = {program}\n"
            ),
        )?;
        lab.write(
            "credentials",
            &format!("[keys]\naws_access_key_id = {KEY}\naws_secret_access_key = {KEY}\n"),
        )?;
        for profile in ["keys", "role", "program"] {
            let mut spec = with(without_keys(&lab, &minio), "AWS_PROFILE", profile);
            spec.name = profile.to_owned();
            spec.store_url = format!("s3://{}/{profile}", minio::BUCKET);
            let aggregator = Aggregator::start(&lab, spec).await?;
            drop(aggregator);
        }
        Ok(())
    });
}

#[test]
fn a_bucket_without_valid_credentials_is_named_with_the_reason() {
    lab::run(|lab| async move {
        let Some(minio) = Minio::start(&lab).await? else {
            return Ok(());
        };
        let spec = with(without_keys(&lab, &minio), "AWS_ACCESS_KEY_ID", KEY);
        let spec = with(spec, "AWS_SECRET_ACCESS_KEY", "wrong");
        let aggregator = Aggregator::begin(&lab, spec)?;
        eventually(Duration::from_secs(30), "/readyz says why", || async {
            let (status, text) = aggregator.says("/readyz").await?;
            ensure!(
                status == 503 && text.contains("SignatureDoesNotMatch"),
                "{status}: {text}"
            );
            Ok(())
        })
        .await
    });
}

/// What a container's agent gives: temporary keys of MinIO's STS in turn, which it says have
/// expired already, so that nobody keeps them.
#[derive(Clone)]
struct Container {
    keys: Arc<Vec<Value>>,
    asked: Arc<AtomicUsize>,
}

const TOKEN: &str = "let-me-in";

async fn container_credentials(State(container): State<Container>, headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|value| value != TOKEN) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let turn = container.asked.fetch_add(1, Ordering::Relaxed);
    let mut keys = container.keys[turn % container.keys.len()].clone();
    keys["Expiration"] = "2020-01-01T00:00:00Z".into();
    Json(keys).into_response()
}

async fn temporary_keys(lab: &Lab, minio: &Minio) -> Result<Value> {
    let endpoint = format!("http://{}", minio.address());
    let arguments = [endpoint.as_str(), KEY, KEY];
    let printed = peers::python(lab, "assume_role.py", &arguments, Duration::from_secs(60)).await?;
    Ok(serde_json::from_str(printed.lines().last().context("keys")?)?)
}

#[test]
fn a_containers_credentials_are_asked_for_again_when_they_expire() {
    lab::run(|lab| async move {
        let Some(minio) = Minio::start(&lab).await? else {
            return Ok(());
        };
        let keys = vec![
            temporary_keys(&lab, &minio).await?,
            temporary_keys(&lab, &minio).await?,
        ];
        let container = Container {
            keys: Arc::new(keys),
            asked: Arc::default(),
        };
        let address = free_address();
        let listener = tokio::net::TcpListener::bind(address).await?;
        let router = Router::new()
            .route("/role", get(container_credentials))
            .with_state(container.clone());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await });
        let token = lab.write("token", TOKEN)?;
        let token = token.to_str().context("a UTF-8 path")?;
        let uri = format!("http://{address}/role");
        let spec = without_keys(&lab, &minio);
        let spec = with(spec, "AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri);
        let spec = with(spec, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token);
        let aggregator = Aggregator::start(&lab, spec).await?;
        let agent = Agent::start(&lab, AgentSpec::new("agent", "eu", aggregator.ingest())).await?;
        let load = Load::start(agent.http(), 1, Duration::from_millis(50));
        let answers = aggregator.answers();
        eventually(Duration::from_secs(30), "every table has rows", || async {
            for signal in Signal::ALL {
                let count = answers.number(&format!("SELECT count(*) FROM {signal}")).await?;
                ensure!(count > 0, "no {signal}");
            }
            Ok(())
        })
        .await?;
        let before = container.asked.load(Ordering::Relaxed);
        eventually(Duration::from_secs(30), "it asks again", || async {
            let asked = container.asked.load(Ordering::Relaxed);
            ensure!(asked > before + 2, "asked {asked} times");
            Ok(())
        })
        .await?;
        let told = load.finish().await?;
        agent.drained(Duration::from_secs(30)).await?;
        exactly_once(&told, &stored(&answers).await?)
    });
}
