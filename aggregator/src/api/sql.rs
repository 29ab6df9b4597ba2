//! `POST /api/v1/sql`: one read-only statement, as JSON with parameters or as it is.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ApiState;
use super::accept;
use super::body;
use super::envelope::{self, AnyObject, Whole};
use super::error::{ApiError, ErrorBody};
use crate::query::{Question, params};

/// A statement and the values of its parameters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlRequest {
    /// One SELECT, EXPLAIN, SHOW or DESCRIBE over `spans`, `logs`, `metrics` and `agents`.
    #[schema(example = "SELECT name, duration_ns FROM spans WHERE service_name = $service LIMIT 10")]
    sql: String,
    /// Values for `$name`: strings, numbers, booleans or null.
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
}

/// Answers a statement: JSON by default, CSV or an Arrow stream by `Accept`.
#[utoipa::path(
    post,
    path = "/api/v1/sql",
    operation_id = "ask_sql",
    request_body(content(
        (SqlRequest = "application/json"),
        (String = "text/plain"),
    )),
    responses(
        (status = 200, description = "The envelope; `data` is an array of row objects. As CSV or Arrow: the rows, and the envelope in the headers x-meridian-status, x-meridian-complete-to and x-meridian-warnings", content(
            (Whole<Vec<AnyObject>> = "application/json"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"),
        )),
        (status = 400, description = "The statement is wrong; the message says where", body = ErrorBody),
        (status = 406, description = "None of the accepted representations is there", body = ErrorBody),
        (status = 408, description = "The body took too long to arrive", body = ErrorBody),
        (status = 413, description = "The statement is too long", body = ErrorBody),
        (status = 415, description = "The body is neither JSON nor text, or is compressed", body = ErrorBody),
        (status = 429, description = "Too many queries are running", body = ErrorBody),
        (status = 503, description = "There is no memory for the query or its answer, or the store does not answer", body = ErrorBody),
        (status = 504, description = "The query took too long", body = ErrorBody),
    )
)]
pub(super) async fn post(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let format = accept::format_of(&headers)?;
    check_encoding(&headers)?;
    let body = body::read(request).await?;
    let request = read(&headers, &body)?;
    let params = params::from_json(&request.params)?;
    let question = Question::sql(request.sql, params, format);
    let answer = state.engine.ask(question).await?;
    Ok(envelope::respond(answer, format))
}

/// A compressed body is not read as if it were text.
fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let message = "compressed statements are not read";
            let refusal = ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_encoding",
                message,
            );
            Err(refusal.hint("send the body as it is, without Content-Encoding"))
        }
        _ => Ok(()),
    }
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<SqlRequest, ApiError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("text/plain");
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        accept::JSON => serde_json::from_slice(body).map_err(|fault| {
            let message = format!("the body is not the JSON that is expected: {fault}");
            ApiError::bad_request("bad_json", message).hint("send {\"sql\": \"SELECT …\", \"params\": {}}")
        }),
        // curl calls everything a form unless it is told otherwise.
        "text/plain" | "application/sql" | "application/x-www-form-urlencoded" => {
            let sql = std::str::from_utf8(body)
                .map_err(|_| ApiError::bad_request("bad_encoding", "the statement is not UTF-8"))?;
            Ok(SqlRequest {
                sql: sql.to_owned(),
                params: Map::new(),
            })
        }
        other => {
            let message = format!("statements are not read from {other}");
            let refusal = ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                message,
            );
            Err(refusal.hint("send application/json or text/plain"))
        }
    }
}
