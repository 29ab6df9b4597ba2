//! CloudWatch's PutMetricData, as a form and as JSON: one rule broken by one datum, and nothing of
//! the call is taken. Nothing is aggregated.
//!
//! Source: PutMetricData and MetricDatum, CloudWatch API reference; "CloudWatch service quotas".

mod datum;
pub mod form;

use serde_json::Value;

use crate::account::{Account, Answer};
use crate::action::Dialect;
use crate::call::Call;
use crate::problem::{Problem, REQUEST_ID, taken};
pub use datum::{Datum, METRIC_UNITS, Measured};

/// Of a body as it was sent.
const BODY_BYTES_MAX: usize = 1_048_576;
const DATA_MAX: usize = 1000;
const NAME_CHARS_MAX: usize = 255;
const INVALID: &str = "InvalidParameterValue";

/// PutMetricData.
pub fn put(account: &Account, call: &Call, dialect: Dialect) -> Result<Answer, Problem> {
    if call.body.len() > BODY_BYTES_MAX {
        return Err(Problem {
            status: 413,
            ..Problem::shape("RequestEntityTooLarge", format!("{} bytes", call.body.len()))
        });
    }
    let unreadable = |why: String| Problem::shape("MalformedInput", why);
    let plain = call.plain().map_err(|error| unreadable(error.to_string()))?;
    let request = match dialect {
        Dialect::JsonOfQuery => {
            serde_json::from_slice(&plain).map_err(|error| unreadable(error.to_string()))?
        }
        _ => form::tree(&plain).ok_or_else(|| unreadable("this is no form".to_owned()))?,
    };
    let data = read(&request, account.now_millis())?;
    let mut state = account.state.lock();
    state.seen.data_count += data.len();
    if account.settings.keeps {
        state.seen.data.extend(data);
    }
    Ok(match dialect {
        Dialect::JsonOfQuery => taken("application/x-amz-json-1.0", "{}"),
        _ => taken(
            "text/xml",
            format!(
                "<PutMetricDataResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\">\
                 <ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></PutMetricDataResponse>"
            ),
        ),
    })
}

fn read(request: &Value, now: i64) -> Result<Vec<Datum>, Problem> {
    let namespace = request
        .get("Namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte);
    if namespace.is_empty() {
        return Err(Problem::shape(
            "MissingParameter",
            "The parameter Namespace is required.",
        ));
    }
    let is_name = namespace.len() <= NAME_CHARS_MAX && namespace.bytes().all(is_allowed);
    if !is_name || namespace.starts_with("AWS/") || namespace.starts_with(':') {
        return Err(Problem::shape(
            INVALID,
            format!("The value {namespace} for parameter Namespace is invalid."),
        ));
    }
    let data = request.get("MetricData").and_then(Value::as_array);
    let data = data.filter(|data| !data.is_empty());
    let data =
        data.ok_or_else(|| Problem::shape("MissingParameter", "The parameter MetricData is required."))?;
    if data.len() > DATA_MAX {
        let message = format!("The collection MetricData must not have a size greater than {DATA_MAX}.");
        return Err(Problem::shape(INVALID, message));
    }
    let data = data.iter().enumerate();
    data.map(|(index, datum)| Datum::read(namespace, datum, now).map_err(|fault| fault.problem(index)))
        .collect()
}

#[cfg(test)]
mod tests;
