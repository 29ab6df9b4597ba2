//! CloudWatch's OTLP endpoints: protobuf or JSON, plain or gzip, with limits on the request, on
//! each item and on what items share. What the items say is not looked at.
//!
//! Source: "OpenTelemetry Protocol (OTLP) endpoints", CloudWatch user guide.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::account::{Account, Answer};
use crate::action::{Action, Dialect};
use crate::call::Call;
use crate::faults::Mishap;
use crate::logs::{Rejected, find};
use crate::problem::{Problem, taken};

const TRACES_BYTES_MAX: usize = 5 << 20;
const SPANS_MAX: usize = 10_000;
const SPAN_BYTES_MAX: usize = 200 * 1024;
const SHARED_BYTES_MAX: usize = 16 * 1024;
const LOGS_BYTES_MAX: usize = 1_048_576;
const RECORD_OVERHEAD: usize = 26;
const RECORDS_MAX: usize = 10_000;
const METRICS_BYTES_MAX: usize = 1 << 20;
const POINTS_MAX: usize = 1000;
const LABELS_MAX: usize = 150;
const LABELS_BYTES_MAX: usize = 40 * 1024;

/// `/v1/traces` of X-Ray.
pub fn traces(account: &Account, call: &Call) -> Result<Answer, Problem> {
    let plain = plain(call, TRACES_BYTES_MAX)?;
    let request: ExportTraceServiceRequest = decode(call, &plain)?;
    let mut spans = Vec::new();
    for group in request.resource_spans {
        check_shared("resource", group.resource.as_ref())?;
        for scope in group.scope_spans {
            check_shared("scope", scope.scope.as_ref())?;
            spans.extend(scope.spans);
        }
    }
    limit("spans", spans.len(), SPANS_MAX)?;
    let largest = spans.iter().map(Message::encoded_len).max().unwrap_or(0);
    limit("bytes of a span", largest, SPAN_BYTES_MAX)?;
    let mut state = account.state.lock();
    for span in spans {
        let id = (hex(&span.trace_id), hex(&span.span_id));
        *state.seen.spans.entry(id).or_default() += 1;
    }
    answer(call, &ExportTraceServiceResponse::default())
}

/// `/v1/logs` of CloudWatch Logs.
pub fn logs(account: &Account, call: &Call) -> Result<Answer, Problem> {
    let plain = plain(call, LOGS_BYTES_MAX * 4)?;
    let request: ExportLogsServiceRequest = decode(call, &plain)?;
    let (group, stream) = (call.header("x-aws-log-group"), call.header("x-aws-log-stream"));
    let (mut bytes, mut events) = (0, Vec::new());
    for resource in request.resource_logs {
        check_shared("resource", resource.resource.as_ref())?;
        let resource_bytes = resource.resource.as_ref().map_or(0, Message::encoded_len);
        for scope in resource.scope_logs {
            check_shared("scope", scope.scope.as_ref())?;
            let shared = resource_bytes + scope.scope.as_ref().map_or(0, Message::encoded_len);
            for record in scope.log_records {
                let size = record.encoded_len() + shared;
                limit("bytes of a record", size, LOGS_BYTES_MAX)?;
                bytes += record.encoded_len() + RECORD_OVERHEAD;
                let time = record.time_unix_nano.max(record.observed_time_unix_nano);
                events.push((
                    i64::try_from(time / 1_000_000).unwrap_or(i64::MAX),
                    format!("{:?}", record.body),
                ));
            }
        }
    }
    limit("records", events.len(), RECORDS_MAX)?;
    limit("bytes of all records", bytes, LOGS_BYTES_MAX)?;
    let now = account.now_millis();
    let mut state = account.state.lock();
    if state.denies_group(group) {
        return Err(Problem::denied(Action::OtlpLogs, Dialect::Otlp, group));
    }
    let retention = find(&state, group, stream)?;
    events.sort();
    let times: Vec<i64> = events.iter().map(|(time, _)| *time).collect();
    let rejected = Rejected::of(&times, now, retention);
    rejected.count(&mut state, times.len());
    let kept = rejected.kept();
    let seen = state
        .seen
        .streams
        .entry((group.to_owned(), stream.to_owned()))
        .or_default();
    seen.count += kept.len();
    for event in events.drain(kept.clone()) {
        *seen.events.entry(event).or_default() += 1;
    }
    let partial_success = (kept.len() < times.len()).then(|| ExportLogsPartialSuccess {
        rejected_log_records: count(times.len() - kept.len()),
        error_message: "some records are too old or too new".to_owned(),
    });
    answer(call, &ExportLogsServiceResponse { partial_success })
}

/// `/v1/metrics` of CloudWatch.
pub fn metrics(account: &Account, call: &Call) -> Result<Answer, Problem> {
    let plain = plain(call, METRICS_BYTES_MAX)?;
    let request: ExportMetricsServiceRequest = decode(call, &plain)?;
    let mut points = 0;
    for group in &request.resource_metrics {
        let resource = group
            .resource
            .as_ref()
            .map_or(&[][..], |resource| &resource.attributes);
        for metric in group.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            for attributes in attributes_of(metric) {
                points += 1;
                limit("labels", resource.len() + attributes.len(), LABELS_MAX)?;
                let bytes = resource.iter().chain(attributes).map(Message::encoded_len).sum();
                limit("bytes of labels", bytes, LABELS_BYTES_MAX)?;
            }
        }
    }
    limit("data points", points, POINTS_MAX)?;
    let mut state = account.state.lock();
    let share = state.faults.unprocessed;
    let rejected = (0..points)
        .filter(|_| state.dice.falls(Mishap::Unprocessed, share))
        .count();
    state.seen.points += points - rejected;
    let partial_success = (rejected > 0).then(|| ExportMetricsPartialSuccess {
        rejected_data_points: count(rejected),
        error_message: "Rate exceeded".to_owned(),
    });
    answer(call, &ExportMetricsServiceResponse { partial_success })
}

fn attributes_of(metric: &Metric) -> Vec<&[KeyValue]> {
    match &metric.data {
        None => Vec::new(),
        Some(Data::Gauge(of)) => of.data_points.iter().map(|point| &*point.attributes).collect(),
        Some(Data::Sum(of)) => of.data_points.iter().map(|point| &*point.attributes).collect(),
        Some(Data::Histogram(of)) => of.data_points.iter().map(|point| &*point.attributes).collect(),
        Some(Data::ExponentialHistogram(of)) => {
            of.data_points.iter().map(|point| &*point.attributes).collect()
        }
        Some(Data::Summary(of)) => of.data_points.iter().map(|point| &*point.attributes).collect(),
    }
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

fn plain(call: &Call, bytes_max: usize) -> Result<Bytes, Problem> {
    let plain = call
        .plain()
        .map_err(|error| Problem::shape("SerializationException", error.to_string()))?;
    match plain.len() > bytes_max {
        true => Err(Problem {
            status: 413,
            ..Problem::shape(
                "RequestEntityTooLarge",
                format!("{} bytes, at most {bytes_max}", plain.len()),
            )
        }),
        false => Ok(plain),
    }
}

fn limit(what: &str, found: usize, at_most: usize) -> Result<(), Problem> {
    match found > at_most {
        true => Err(Problem::shape(
            "ValidationException",
            format!("{found} {what}, at most {at_most}"),
        )),
        false => Ok(()),
    }
}

fn check_shared(what: &str, shared: Option<&impl Message>) -> Result<(), Problem> {
    let bytes = shared.map_or(0, Message::encoded_len);
    limit(&format!("bytes of a {what}"), bytes, SHARED_BYTES_MAX)
}

fn is_json(call: &Call) -> bool {
    call.header("content-type").starts_with("application/json")
}

fn decode<T: Message + Default + DeserializeOwned>(call: &Call, plain: &[u8]) -> Result<T, Problem> {
    let unreadable = |why: String| Problem::shape("SerializationException", why);
    if is_json(call) {
        return serde_json::from_slice(plain).map_err(|error| unreadable(error.to_string()));
    }
    if call.header("content-type") != "application/x-protobuf" {
        return Err(unreadable(
            "the content type is neither protobuf nor JSON".to_owned(),
        ));
    }
    T::decode(plain).map_err(|error| unreadable(error.to_string()))
}

fn answer(call: &Call, response: &(impl Message + Serialize)) -> Result<Answer, Problem> {
    match is_json(call) {
        true => {
            let body = serde_json::to_vec(response).expect("an answer is JSON");
            Ok(taken("application/json", body))
        }
        false => Ok(taken("application/x-protobuf", response.encode_to_vec())),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
