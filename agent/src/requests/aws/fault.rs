//! What AWS calls an error: its code and message, in the forms that its protocols have, and
//! whether it is about our pace, our permissions, the data or AWS itself. The status alone does not
//! say: throttling is 400, 429 or 503, and so are other things.

use http::StatusCode;
use serde::Deserialize;

use super::CallError;
use crate::requests::client::Answer;
use crate::requests::sink::{Trouble, TroubleKind, Verdict};

/// Of a message so much is told.
const MESSAGE_CHARS_MAX: usize = 300;

const THROTTLING: [&str; 9] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "SlowDown",
];
/// We are not known, may not do it, or are not where we believe to be.
const DENIED: [&str; 17] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAction",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnknownOperationException",
    "UnrecognizedClientException",
];
const UNAVAILABLE: [&str; 9] = [
    "InternalFailure",
    "InternalServiceFault",
    "InternalServerError",
    "InternalServerException",
    "OperationAbortedException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
];

/// An error as AWS tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Like `ThrottlingException`; empty if none was told.
    pub code: String,
    /// For people.
    pub message: String,
    status: StatusCode,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    #[serde(rename = "__type")]
    kind: String,
    code: String,
    message: String,
    #[serde(rename = "Message")]
    capital_message: String,
}

impl Fault {
    /// The fault in an answer; `None` if it is none.
    pub fn of(answer: &Answer) -> Option<Self> {
        if answer.status.is_success() {
            return None;
        }
        let header = answer
            .headers
            .get("x-amzn-errortype")
            .and_then(|value| value.to_str().ok());
        let text = String::from_utf8_lossy(&answer.body);
        let json: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = [
            header.unwrap_or_default(),
            &json.kind,
            &json.code,
            tag(&text, "Code"),
        ]
        .into_iter()
        .find(|code| !code.is_empty())
        .unwrap_or_default();
        let message = [
            json.message.as_str(),
            &json.capital_message,
            tag(&text, "Message"),
        ]
        .into_iter()
        .find(|message| !message.is_empty())
        .unwrap_or(&text);
        Some(Self {
            code: bare(code).to_owned(),
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
            status: answer.status,
        })
    }

    /// What it means for the request; `doing` begins a message, like `PutLogEvents of …`.
    pub fn verdict(&self, doing: &str, answer: &Answer) -> Verdict {
        let code = self.code.as_str();
        let status = self.status.as_u16();
        let kind = if THROTTLING.contains(&code) || status == 429 {
            TroubleKind::Throttled
        } else if DENIED.contains(&code) || self.is_not_of_aws() {
            TroubleKind::Denied
        } else if UNAVAILABLE.contains(&code) || status >= 500 {
            TroubleKind::Unavailable
        } else {
            return Verdict::Refused(format!("{doing} is refused: {}", self.told()));
        };
        let message = match kind {
            TroubleKind::Throttled => format!("{doing} is throttled: {}", self.told()),
            TroubleKind::Unavailable => format!("{doing} fails: {}", self.told()),
            TroubleKind::Denied | TroubleKind::DeniedHere => format!(
                "{doing} is not permitted: {}. It is tried again until it is",
                self.told()
            ),
        };
        Verdict::Later(Trouble {
            kind,
            message,
            pause: answer.retry_after(),
        })
    }

    /// Whether something on the way has answered, or another server: AWS gives each error a code.
    /// Only of a size it can be right without one.
    fn is_not_of_aws(&self) -> bool {
        let is_size = self.status == StatusCode::PAYLOAD_TOO_LARGE;
        self.code.is_empty() && !self.status.is_server_error() && !is_size
    }

    fn told(&self) -> String {
        match self.code.is_empty() {
            true => format!("{} {}", self.status, self.message),
            false => format!("{} {}", self.code, self.message),
        }
    }
}

/// Whether an item's error is about our pace or AWS itself, and not about the item.
pub fn is_passing(code: &str) -> bool {
    let code = bare(code);
    THROTTLING.contains(&code) || UNAVAILABLE.contains(&code)
}

/// What no answer at all means for the request.
pub fn verdict_of_silence(doing: &str, error: &CallError) -> Verdict {
    let kind = match error {
        CallError::Credentials(_) => TroubleKind::Denied,
        _ => TroubleKind::Unavailable,
    };
    Verdict::Later(Trouble {
        kind,
        message: format!("{doing} fails: {}", meridian_runtime::chain(error)),
        pause: None,
    })
}

/// `com.amazonaws.xray#ThrottledException` and `Throttling:http://…` without what is around.
fn bare(code: &str) -> &str {
    let code = code.rsplit('#').next().unwrap_or_default();
    code.split(':').next().unwrap_or_default()
}

/// The text of an XML element without attributes.
fn tag<'a>(xml: &'a str, name: &str) -> &'a str {
    let open = format!("<{name}>");
    let close = format!("</{name}>");
    let after = xml.split_once(&open).map(|(_, after)| after);
    let inside = after.and_then(|after| after.split_once(&close));
    inside.map_or("", |(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderMap;

    fn answer(status: u16, body: &'static str, header: Option<&'static str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(kind) = header {
            headers.insert("x-amzn-errortype", http::HeaderValue::from_static(kind));
        }
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers,
            body: Bytes::from_static(body.as_bytes()),
            trailers: HeaderMap::new(),
        }
    }

    fn kind(answer: &Answer) -> Option<TroubleKind> {
        let fault = Fault::of(answer).expect("a fault");
        match fault.verdict("a call", answer) {
            Verdict::Later(trouble) => Some(trouble.kind),
            _ => None,
        }
    }

    #[test]
    fn the_code_decides_and_not_the_status() {
        use TroubleKind::{Denied, Throttled, Unavailable};
        for (status, body, header, expected) in [
            (
                400,
                r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#,
                None,
                Some(Throttled),
            ),
            (
                429,
                r#"{"Message":"slow"}"#,
                Some("ThrottledException:http://x"),
                Some(Throttled),
            ),
            (
                400,
                "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>",
                None,
                Some(Throttled),
            ),
            (
                400,
                r#"{"__type":"com.amazonaws.logs#UnrecognizedClientException"}"#,
                None,
                Some(Denied),
            ),
            (
                400,
                r#"{"__type":"AccessDeniedException","Message":"not you"}"#,
                None,
                Some(Denied),
            ),
            (
                403,
                "<Error><Code>SignatureDoesNotMatch</Code></Error>",
                None,
                Some(Denied),
            ),
            (503, "", None, Some(Unavailable)),
            (500, r#"{"__type":"InternalFailure"}"#, None, Some(Unavailable)),
            (
                400,
                r#"{"__type":"InvalidParameterException","message":"order"}"#,
                None,
                None,
            ),
            (
                413,
                "<Error><Code>RequestEntityTooLarge</Code></Error>",
                None,
                None,
            ),
        ] {
            let answer = answer(status, body, header);
            assert_eq!(kind(&answer), expected, "{status} {body}");
        }
    }

    #[test]
    fn an_answer_that_is_not_of_the_service_costs_no_data() {
        let denied = Some(TroubleKind::Denied);
        for (status, body, expected) in [
            (404, "<html>no such page</html>", denied),
            (301, "", denied),
            (404, r#"{"__type":"UnknownOperationException"}"#, denied),
            (502, "<html>bad gateway</html>", Some(TroubleKind::Unavailable)),
            (413, "too large", None),
        ] {
            assert_eq!(kind(&answer(status, body, None)), expected, "{status} {body}");
        }
        let conflict = r#"{"__type":"OperationAbortedException","message":"try again"}"#;
        assert_eq!(kind(&answer(400, conflict, None)), Some(TroubleKind::Unavailable));
    }

    #[test]
    fn a_fault_is_told_with_code_and_message() {
        let answer = answer(
            400,
            r#"{"__type":"a.b#InvalidParameterException","message":"Log events out of order"}"#,
            None,
        );
        let fault = Fault::of(&answer).expect("a fault");
        assert_eq!(fault.code, "InvalidParameterException");
        assert_eq!(
            fault.verdict("PutLogEvents", &answer),
            Verdict::Refused(
                "PutLogEvents is refused: InvalidParameterException Log events out of order".to_owned()
            )
        );
    }
}
