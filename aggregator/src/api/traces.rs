//! `GET /api/v1/traces/{trace_id}`: one trace across regions, as OTLP JSON.

use std::collections::BTreeMap;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::record_batch::RecordBatch;
use meridian_proto::ids::{TRACE_ID_BYTES, from_hex};
use meridian_proto::rebuild;
use meridian_runtime::tasks;
use serde_json::Value;

use super::envelope::{AnyObject, Envelope, Whole};
use super::error::{ApiError, ErrorBody};
use super::{ApiState, window};
use crate::query::{Lookup, Question};

/// Answers one trace as OTLP JSON.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{trace_id}",
    operation_id = "get_trace",
    params(
        ("trace_id" = String, Path, description = "32 hex digits"),
        ("from" = Option<String>, Query, description = "Where to look: now, -1h or RFC 3339; everywhere by default"),
        ("to" = Option<String>, Query, description = "See from"),
    ),
    responses(
        (status = 200, description = "The envelope; `data` is {\"resourceSpans\": […]}", body = Whole<AnyObject>),
        (status = 400, description = "The id is not 32 hex digits, or a time is none", body = ErrorBody),
        (status = 404, description = "No span of this trace is known; the envelope's fields say how complete the search was", body = ErrorBody),
    )
)]
pub(super) async fn get(
    State(state): State<ApiState>,
    trace_id: Result<Path<String>, PathRejection>,
    given: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Path(trace_id) = trace_id?;
    let lookup = Lookup {
        trace_id: id_of(&trace_id)?,
        window: window::only(given?.0, state.engine.now_unix_nanos())?,
    };
    let question = Question::trace(lookup, state.engine.limits());
    let answer = state.engine.ask(question).await?;
    let envelope = Envelope::from(answer.report);
    if answer.rows.count() == 0 {
        let message = format!("no span of trace {trace_id} is known");
        let refusal = ApiError::new(StatusCode::NOT_FOUND, "unknown_trace", message);
        return Err(refusal
            .hint("the status says whether it could be hidden; spans are visible about two seconds after they ended")
            .envelope(envelope));
    }
    let (batches, memory) = answer.rows.into_batches();
    let rebuilt = tasks::blocking("rebuild trace", move || {
        let _memory = memory;
        otlp_of(&batches)
    })
    .await;
    match rebuilt {
        Ok(Ok(data)) => Ok(envelope.with(data)),
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(error) => Err(unreadable(&error)),
    }
}

fn id_of(trace_id: &str) -> Result<Vec<u8>, ApiError> {
    let bytes = from_hex(trace_id).filter(|bytes| bytes.len() == TRACE_ID_BYTES);
    bytes.ok_or_else(|| {
        let shown: String = trace_id.chars().take(64).collect();
        let message = format!("'{shown}' is not a trace id");
        ApiError::bad_request("bad_id", message).hint("write it as 32 hex digits")
    })
}

#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("the batches of the trace do not fit together")]
    Batches(#[from] datafusion::arrow::error::ArrowError),
    #[error("the spans cannot be turned back into OTLP")]
    Spans(#[from] rebuild::RebuildError),
}

fn otlp_of(batches: &[RecordBatch]) -> Result<Value, Unreadable> {
    let Some(first) = batches.first() else {
        return Ok(Value::Null);
    };
    let rows = concat_batches(&first.schema(), batches)?;
    Ok(rebuild::spans(&rows)?)
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let message = meridian_runtime::chain(error);
    tracing::error!(error = message, "a trace could not be rebuilt");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "trace_unreadable", message)
}
