//! A datum as it stands in the call, a JSON object, and the call around it.
//!
//! CloudWatch takes AWS's query, JSON 1.0 and CBOR protocols; JSON is the one that is short,
//! readable, and spoken by the stand-ins for it. Source: the service model, `protocols`.

use std::fmt::Write as _;

use meridian_proto::attributes::{push_double, push_json_string};

use super::aggregate::{Group, Sendable};

/// Different values of a datum.
const VALUES_MAX: usize = 150;

/// A datum, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datum {
    /// The JSON object.
    pub json: Box<str>,
}

/// The datums of a group: more than one if it has too many different values. CloudWatch adds them
/// up.
pub fn datums(group: &Group, sendable: &Sendable, storage_resolution: u32) -> Vec<Datum> {
    let datum = |push: &dyn Fn(&mut String)| {
        let mut json = String::with_capacity(group.series.len() + 128);
        json.push('{');
        json.push_str(&group.series);
        push_number(&mut json, ",\"Timestamp\":", group.period);
        push_number(
            &mut json,
            ",\"StorageResolution\":",
            u64::from(storage_resolution),
        );
        json.push_str(",\"Unit\":");
        push_json_string(&mut json, group.unit.name);
        push(&mut json);
        json.push('}');
        Datum {
            json: json.into_boxed_str(),
        }
    };
    match sendable {
        Sendable::Value(value) => vec![datum(&|json| {
            json.push_str(",\"Value\":");
            push_double(json, *value);
        })],
        Sendable::Values(values) => {
            let parts = values.chunks(VALUES_MAX);
            parts.map(|part| datum(&|json| push_values(json, part))).collect()
        }
    }
}

fn push_values(json: &mut String, values: &[(f64, u64)]) {
    let mut before = ",\"Values\":[";
    for (value, _) in values {
        json.push_str(before);
        push_double(json, *value);
        before = ",";
    }
    before = "],\"Counts\":[";
    for (_, count) in values {
        push_number(json, before, *count);
        before = ",";
    }
    json.push(']');
}

fn push_number(json: &mut String, before: &str, number: u64) {
    // Writing to a String cannot fail.
    write!(json, "{before}{number}").unwrap_or_default();
}

/// Bytes of a call before and after its datums.
pub fn body_overhead(namespace: &str) -> usize {
    body(namespace, std::iter::empty()).len()
}

/// The body of a call.
pub fn body<'a>(namespace: &str, datums: impl Iterator<Item = &'a Datum> + Clone) -> String {
    let bytes: usize = datums.clone().map(|datum| datum.json.len() + 1).sum();
    let mut body = String::with_capacity(bytes + 2 * namespace.len() + 64);
    body.push_str("{\"Namespace\":");
    push_json_string(&mut body, namespace);
    body.push_str(",\"MetricData\":[");
    let mut before = "";
    for datum in datums {
        body.push_str(before);
        body.push_str(&datum.json);
        before = ",";
    }
    body.push_str("]}");
    body
}
