//! What an operator and Kubernetes ask a process: `/livez`, `/readyz`, `/metrics`.
//!
//! It judges nothing: each part sets its own check in [`Health`], and readiness is all of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::RwLock;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use crate::net::Listener;
use crate::{http, metrics};

/// The named checks of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<RwLock<BTreeMap<String, Result<(), String>>>>);

/// One part's own check: not ready ("starting") until the part says otherwise.
#[derive(Clone, Debug)]
pub struct Check {
    name: String,
    health: Health,
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check that is not ready yet.
    pub fn check(&self, name: impl Into<String>) -> Check {
        let check = Check {
            name: name.into(),
            health: self.clone(),
        };
        check.not_ready("starting");
        check
    }

    /// Why the process is not ready, one `name: reason` per check; empty when it is.
    pub fn reasons(&self) -> Vec<String> {
        let checks = self.0.read();
        checks
            .iter()
            .filter_map(|(name, state)| Some(format!("{name}: {}", state.as_ref().err()?)))
            .collect()
    }
}

impl Check {
    pub fn ready(&self) {
        self.set(Ok(()));
    }

    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Err(reason.into()));
    }

    fn set(&self, state: Result<(), String>) {
        self.health.0.write().insert(self.name.clone(), state);
    }
}

/// The admin endpoints over a process's registry and checks.
pub fn router(registry: Registry, health: Health) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(health))
        .route("/metrics", get(metrics_text).with_state(registry))
}

/// Serves a router with the default limits until the token is cancelled.
pub async fn serve(
    listener: Listener,
    router: Router,
    metrics: http::ListenerMetrics,
    shutdown: CancellationToken,
) -> Result<(), Infallible> {
    let options = http::Options {
        metrics,
        ..http::Options::default()
    };
    http::serve(listener, router, options, shutdown).await
}

async fn readyz(State(health): State<Health>) -> Response {
    let reasons = health.reasons();
    if reasons.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response()
}

async fn metrics_text(State(registry): State<Registry>) -> Response {
    match metrics::text(&registry) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    async fn text_of(response: Response) -> (StatusCode, String) {
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20)
            .await
            .expect("a short body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn readiness_lists_the_reason_of_every_check_that_is_not_ready() {
        let health = Health::new();
        let (spool, store) = (health.check("spool"), health.check("store"));
        let _ingest = health.check("ingest");
        store.not_ready("s3://bucket answers 403");
        spool.ready();
        let (status, text) = text_of(readyz(State(health)).await).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        insta::assert_snapshot!(text, @"
        ingest: starting
        store: s3://bucket answers 403
        ");
    }

    #[tokio::test]
    async fn a_process_whose_checks_are_all_ready_is_ready() {
        let health = Health::new();
        health.check("spool").ready();
        let (status, text) = text_of(readyz(State(health)).await).await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, "ok\n"));
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let registry = Registry::new();
        let help = "Items answered as accepted.";
        let accepted = metrics::counter_vec(&registry, "accepted_items_total", help, &["signal"]);
        accepted
            .expect("a new name")
            .with_label_values(&["logs"])
            .inc_by(3);
        let response = metrics_text(State(registry)).await;
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/plain; version=0.0.4"
        );
        let (_, text) = text_of(response).await;
        insta::assert_snapshot!(text, @r#"
        # HELP accepted_items_total Items answered as accepted.
        # TYPE accepted_items_total counter
        accepted_items_total{signal="logs"} 3
        "#);
    }
}
