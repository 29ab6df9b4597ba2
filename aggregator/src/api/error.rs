//! Every refusal has the shape `{"error": {"code", "message", "hint"}}` and a status that
//! says whose fault it is. Causes are logged here and nowhere else.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::Envelope;
use crate::query::QueryError;

/// A refusal. Its body is boxed because it can carry a whole envelope, and nearly every
/// answer is none.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    body: Box<ErrorBody>,
    retry_after_seconds: Option<u32>,
}

/// What a client reads.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorFields,
    /// How complete the search was, where the fault is that nothing was found.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    // Generated as a whole that is null, which a flattened value never is.
    #[schema(ignore)]
    envelope: Option<Envelope>,
}

/// What is wrong, for programs and for people.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ErrorFields {
    /// For programs.
    #[schema(example = "unknown_column")]
    code: &'static str,
    /// For people.
    message: String,
    /// What to do.
    hint: Option<String>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            body: Box::new(ErrorBody {
                error: ErrorFields {
                    code,
                    message: message.into(),
                    hint: None,
                },
                envelope: None,
            }),
            retry_after_seconds: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body.error.hint = Some(hint.into());
        self
    }

    pub(super) fn envelope(mut self, envelope: Envelope) -> Self {
        self.body.envelope = Some(envelope);
        self
    }

    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing at this path",
        )
        .hint("/openapi.json describes the interface")
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "this path does not take this method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
            .hint("/openapi.json describes the interface")
    }

    pub(super) fn not_acceptable(accept: &str) -> Self {
        let message = format!("none of '{accept}' can be answered");
        Self::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message)
            .hint("accept application/json, text/csv or application/vnd.apache.arrow.stream")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let status = status_of(&error);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(
                error = meridian_runtime::chain(&error),
                "a query failed through no fault of its own"
            );
        }
        let mut refusal = Self::new(status, error.code(), error.to_string());
        refusal.body.error.hint = error.hint();
        refusal.retry_after_seconds = match error {
            QueryError::TooMany { .. }
            | QueryError::Memory { .. }
            | QueryError::ProcessMemory { .. }
            | QueryError::AnswersFull { .. } => Some(1),
            QueryError::Store { .. } => Some(5),
            _ => None,
        };
        refusal
    }
}

fn status_of(error: &QueryError) -> StatusCode {
    match error {
        QueryError::Empty
        | QueryError::TooComplex { .. }
        | QueryError::NotReadOnly { .. }
        | QueryError::SeveralStatements
        | QueryError::Syntax { .. }
        | QueryError::UnknownTable { .. }
        | QueryError::UnknownColumn { .. }
        | QueryError::Invalid { .. }
        | QueryError::BadId { .. }
        | QueryError::BadParameter { .. }
        | QueryError::Failed { .. } => StatusCode::BAD_REQUEST,
        QueryError::StatementTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        QueryError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        QueryError::AnswersFull { .. }
        | QueryError::Memory { .. }
        | QueryError::ProcessMemory { .. }
        | QueryError::Store { .. }
        | QueryError::NotRunning(_) => StatusCode::SERVICE_UNAVAILABLE,
        QueryError::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        QueryError::DataFile { .. } | QueryError::Panicked { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request("bad_path", rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request("bad_parameter", rejection.body_text())
    }
}
