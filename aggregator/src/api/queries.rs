//! `GET /api/v1/queries[/{name}]`: the named queries and their answers.

use std::collections::BTreeMap;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::accept;
use super::envelope::{self, AnyObject, Envelope, Whole};
use super::error::{ApiError, ErrorBody};
use crate::coverage::Window;
use crate::query::Question;
use crate::query::named::{self, NamedQuery};

/// A named query.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueryBody {
    name: &'static str,
    purpose: &'static str,
    used_by: &'static str,
    parameters: Vec<ParameterBody>,
    sql: &'static str,
}

/// A parameter of a named query.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ParameterBody {
    name: &'static str,
    /// `string`, `integer`, `duration` or `timestamp`.
    r#type: &'static str,
    required: bool,
    default: Option<&'static str>,
    description: &'static str,
}

impl From<&NamedQuery> for QueryBody {
    fn from(query: &NamedQuery) -> Self {
        let parameters = query.parameters.iter().map(|parameter| ParameterBody {
            name: parameter.name,
            r#type: parameter.kind.as_str(),
            required: parameter.default.is_none(),
            default: parameter.default,
            description: parameter.description,
        });
        Self {
            name: query.name,
            purpose: query.purpose,
            used_by: query.used_by,
            parameters: parameters.collect(),
            sql: query.sql,
        }
    }
}

/// Lists the named queries.
#[utoipa::path(
    get,
    path = "/api/v1/queries",
    operation_id = "list_queries",
    responses((status = 200, description = "The envelope; `data` is an array of named queries", body = Whole<Vec<QueryBody>>))
)]
pub(super) async fn list(State(state): State<ApiState>) -> Response {
    let queries: Vec<QueryBody> = named::all().iter().map(QueryBody::from).collect();
    Envelope::from(state.engine.report(None, Window::default())).with(queries)
}

/// Answers a named query.
#[utoipa::path(
    get,
    path = "/api/v1/queries/{name}",
    operation_id = "ask_query",
    params(("name" = String, Path, description = "The query's name; its parameters are given as ?parameter=value")),
    responses(
        (status = 200, description = "The envelope; `data` is an array of row objects, or CSV or Arrow by Accept", content(
            (Whole<Vec<AnyObject>> = "application/json"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"),
        )),
        (status = 400, description = "A parameter is unknown, missing or of another type", body = ErrorBody),
        (status = 404, description = "There is no such query", body = ErrorBody),
    )
)]
pub(super) async fn ask(
    State(state): State<ApiState>,
    name: Result<Path<String>, PathRejection>,
    given: Result<Query<BTreeMap<String, String>>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let format = accept::format_of(&headers)?;
    let Path(name) = name?;
    let query = named::find(&name).ok_or_else(|| unknown(&name))?;
    let params = query.params(&given?.0, state.engine.now_unix_nanos())?;
    let question = Question::sql(query.sql, params, format);
    let answer = state.engine.ask(question).await?;
    Ok(envelope::respond(answer, format))
}

fn unknown(name: &str) -> ApiError {
    let list = "GET /api/v1/queries lists the queries";
    let refusal = ApiError::new(
        StatusCode::NOT_FOUND,
        "unknown_query",
        format!("there is no query '{name}'"),
    );
    match named::nearest(name) {
        Some(nearest) => refusal.hint(format!("did you mean '{nearest}'? {list}")),
        None => refusal.hint(list),
    }
}
