//! Why a request is not taken, in the words and statuses of the service that was asked.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body_util::Full;
use prost::Message;
use serde_json::json;

use crate::action::{Action, Dialect, Service};

/// Told with every answer; nobody looks it up.
pub const REQUEST_ID: &str = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef";

/// What is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The request itself: it breaks a limit or a rule of the API.
    Shape,
    /// Whoever sent it is not known, or the signature is wrong.
    Identity,
    /// Whoever sent it may not do this.
    Permission,
    /// What it names does not exist, or already does.
    Resource,
    /// There were too many, or it was to be so.
    Throttled,
    /// It was to be so.
    Broken,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is to blame.
    pub cause: Cause,
    /// The HTTP status.
    pub status: u16,
    /// The service's code.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// `google.rpc.Status`, as far as OTLP uses it.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

impl Problem {
    /// A request that breaks a rule.
    pub fn shape(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            cause: Cause::Shape,
            status: 400,
            code,
            message: message.into(),
        }
    }

    /// Something that is not there, or already is.
    pub fn resource(code: &'static str, message: &str) -> Self {
        Self {
            cause: Cause::Resource,
            ..Self::shape(code, message)
        }
    }

    /// Too many requests.
    pub fn throttled(action: Action, dialect: Dialect) -> Self {
        let (status, code) = match (dialect, action.service()) {
            (Dialect::Otlp, _) => (429, "ThrottlingException"),
            (_, Service::Xray) => (429, "ThrottledException"),
            (_, Service::Logs) => (400, "ThrottlingException"),
            (_, Service::CloudWatch | Service::Sts) => (400, "Throttling"),
        };
        Self {
            cause: Cause::Throttled,
            status,
            code,
            message: "Rate exceeded".to_owned(),
        }
    }

    /// Something behind the service is away.
    pub fn broken(action: Action) -> Self {
        let (status, code) = match action.service() {
            Service::Xray => (500, "InternalFailure"),
            Service::Logs => (500, "ServiceUnavailableException"),
            Service::CloudWatch => (500, "InternalServiceFault"),
            Service::Sts => (503, "ServiceUnavailable"),
        };
        Self {
            cause: Cause::Broken,
            status,
            code,
            message: "The service cannot complete the request".to_owned(),
        }
    }

    /// Somebody who may not do this.
    pub fn denied(action: Action, dialect: Dialect, resource: &str) -> Self {
        let permission = action.permission();
        let (status, code) = match dialect {
            Dialect::Query => (403, "AccessDenied"),
            Dialect::RestJson | Dialect::Otlp => (403, "AccessDeniedException"),
            Dialect::Json | Dialect::JsonOfQuery => (400, "AccessDeniedException"),
        };
        Self {
            cause: Cause::Permission,
            status,
            code,
            message: format!(
                "User: arn:aws:iam::123456789012:user/agent is not authorized to perform: {permission} on \
                 resource: {resource} because no identity-based policy allows the {permission} action"
            ),
        }
    }

    /// The answer that tells it.
    pub fn answer(&self, dialect: Dialect, is_json: bool) -> Response<Full<Bytes>> {
        let (code, message) = (self.code, &self.message);
        match dialect {
            Dialect::RestJson => {
                let body = json!({ "Message": message }).to_string();
                self.response("application/json", &[("x-amzn-errortype", code)], body)
            }
            Dialect::Json => {
                let body = json!({ "__type": code, "message": message }).to_string();
                self.response("application/x-amz-json-1.1", &[], body)
            }
            Dialect::JsonOfQuery => {
                let kind = format!(
                    "com.amazonaws.cloudwatch#{}Exception",
                    code.trim_end_matches("Exception")
                );
                let query = format!("{code};Sender");
                let body = json!({ "__type": kind, "message": message }).to_string();
                self.response(
                    "application/x-amz-json-1.0",
                    &[("x-amzn-query-error", &query)],
                    body,
                )
            }
            Dialect::Query => {
                let message = message.replace('&', "&amp;").replace('<', "&lt;");
                let body = format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>\
                     </Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
                );
                self.response("text/xml", &[], body)
            }
            Dialect::Otlp if is_json => {
                self.response("application/json", &[], json!({ "message": message }).to_string())
            }
            Dialect::Otlp => {
                let status = Status {
                    code: 0,
                    message: format!("{code}: {message}"),
                };
                self.response("application/x-protobuf", &[], status.encode_to_vec())
            }
        }
    }

    fn response(
        &self,
        content_type: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Full<Bytes>> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = Response::builder()
            .status(status)
            .header(CONTENT_TYPE, content_type)
            .header("x-amzn-requestid", REQUEST_ID);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response
            .body(Full::new(body.into()))
            .expect("names and values are of our making")
    }
}

/// An answer of success.
pub fn taken(content_type: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder()
        .header(CONTENT_TYPE, content_type)
        .header("x-amzn-requestid", REQUEST_ID)
        .body(Full::new(body.into()))
        .expect("names and values are of our making")
}
