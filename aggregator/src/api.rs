//! The HTTP interface: SQL, named queries, traces and regions, each answer in the envelope
//! that says how complete it is. What is asked is computed in `query` and `coverage`.

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod accept;
mod body;
mod envelope;
mod error;
mod openapi;
mod queries;
mod regions;
mod sql;
mod traces;
mod window;

use axum::Router;
use axum::routing::{MethodRouter, get, post};

use crate::query::Engine;
use error::ApiError;

/// What the handlers share; clones share it.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// Answers the questions.
    pub engine: Engine,
}

/// The routes of the interface, without `/livez`, `/readyz` and `/metrics`.
pub fn router(state: ApiState) -> Router {
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, method)| router.route(path, method));
    router
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .with_state(state)
}

fn routes() -> Vec<(&'static str, MethodRouter<ApiState>)> {
    vec![
        ("/api/v1/sql", post(sql::post)),
        ("/api/v1/queries", get(queries::list)),
        ("/api/v1/queries/{name}", get(queries::ask)),
        ("/api/v1/traces/{trace_id}", get(traces::get)),
        ("/api/v1/regions", get(regions::get)),
        ("/openapi.json", get(openapi::get)),
    ]
}
