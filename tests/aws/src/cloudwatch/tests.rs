//! Each rule of a datum and of a call, in both protocols.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Request;
use serde_json::json;

use super::*;
use crate::Settings;

const NOW: i64 = 1_700_000_000_000;

fn datum() -> Value {
    json!({
        "MetricName": "latency", "Unit": "Seconds", "StorageResolution": 60, "Timestamp": 1_700_000_000,
        "Dimensions": [{ "Name": "service", "Value": "orders" }], "Values": [0.5, 1.5], "Counts": [3, 1],
    })
}

/// What is said of the datum with these members instead; a null takes one away.
fn fault(changes: &Value) -> String {
    let mut datum = datum();
    for (key, value) in changes.as_object().expect("an object") {
        datum[key] = value.clone();
    }
    let members = datum.as_object_mut().expect("an object");
    members.retain(|_, value| !value.is_null());
    let request = json!({ "Namespace": "Meridian", "MetricData": [datum] });
    read(&request, NOW).map_or_else(
        |problem| format!("{} {}", problem.code, problem.message),
        |_| String::new(),
    )
}

fn pairs(count: usize) -> Vec<Value> {
    (0..count)
        .map(|number| json!({ "Name": format!("d{number}"), "Value": "v" }))
        .collect()
}

#[test]
fn a_datum_at_the_limits_is_taken() {
    let values: Vec<f64> = (0..150).map(f64::from).collect();
    for changes in [
        json!({}),
        json!({ "Values": values, "Counts": null }),
        json!({ "Dimensions": pairs(30) }),
        json!({ "Dimensions": [{ "Name": "n".repeat(255), "Value": "v".repeat(1024) }] }),
        json!({ "MetricName": "n".repeat(255), "StorageResolution": 1 }),
        json!({ "Timestamp": NOW / 1000 - 14 * 86_400 }),
        json!({ "Timestamp": NOW / 1000 + 2 * 3600 }),
        json!({ "Values": null, "Counts": null, "Value": 2_f64.powi(360) }),
    ] {
        assert_eq!(fault(&changes), "", "{changes}");
    }
}

#[test]
fn each_rule_of_a_datum_strikes() {
    let values: Vec<f64> = (0..151).map(f64::from).collect();
    for (changes, expected) in [
        (json!({ "Values": values, "Counts": null }), "Values"),
        (json!({ "Values": [1.0, 1.0] }), "Values"),
        (json!({ "Counts": [1.0] }), "InvalidParameterCombination"),
        (json!({ "Counts": [1.0, 0.0] }), "Counts"),
        (json!({ "Value": 1.0 }), "InvalidParameterCombination"),
        (json!({ "Values": null, "Counts": null }), "MissingParameter"),
        (json!({ "Values": null, "Counts": null, "Value": "NaN" }), "Value"),
        (json!({ "Values": ["Infinity"], "Counts": [1] }), "Values"),
        (
            json!({ "Values": null, "Counts": null, "Value": 2_f64.powi(361) }),
            "Value",
        ),
        (json!({ "Dimensions": pairs(31) }), "Dimensions"),
        (
            json!({ "Dimensions": [{ "Name": "n".repeat(256), "Value": "v" }] }),
            "Dimensions.Name",
        ),
        (
            json!({ "Dimensions": [{ "Name": ":n", "Value": "v" }] }),
            "Dimensions.Name",
        ),
        (
            json!({ "Dimensions": [{ "Name": "n", "Value": "v".repeat(1025) }] }),
            "Dimensions.Value",
        ),
        (
            json!({ "Dimensions": [{ "Name": "n", "Value": "" }] }),
            "Dimensions.Value",
        ),
        (
            json!({ "Dimensions": [{ "Name": "n", "Value": "ü" }] }),
            "Dimensions.Value",
        ),
        (
            json!({ "Dimensions": [{ "Name": "n", "Value": "a" }, { "Name": "n", "Value": "b" }] }),
            "twice",
        ),
        (json!({ "MetricName": null }), "MetricName"),
        (json!({ "MetricName": "n".repeat(256) }), "MetricName"),
        (json!({ "MetricName": "ü" }), "MetricName"),
        (json!({ "Unit": "Hours" }), "Unit"),
        (json!({ "StorageResolution": 10 }), "StorageResolution"),
        (json!({ "Timestamp": NOW / 1000 - 14 * 86_400 - 1 }), "Timestamp"),
        (json!({ "Timestamp": NOW / 1000 + 2 * 3600 + 1 }), "Timestamp"),
        (json!({ "Timestamp": "yesterday" }), "Timestamp"),
    ] {
        assert!(
            fault(&changes).contains(expected),
            "{changes}: {}",
            fault(&changes)
        );
    }
}

#[test]
fn each_rule_of_a_call_strikes() {
    let said = |namespace: &str, data: Vec<Value>| {
        let problem = read(&json!({ "Namespace": namespace, "MetricData": data }), NOW);
        problem.map_or_else(|problem| problem.message, |data| data.len().to_string())
    };
    assert_eq!(said("Meridian", vec![datum(); 1000]), "1000");
    assert!(said("Meridian", vec![datum(); 1001]).contains("1000"));
    assert!(said("Meridian", vec![]).contains("MetricData is required"));
    assert!(said("", vec![datum()]).contains("Namespace is required"));
    for namespace in ["AWS/EC2", ":a", "ü", &"n".repeat(256)] {
        assert!(
            said(namespace, vec![datum()]).contains("is invalid"),
            "{namespace}"
        );
    }
}

fn call(target: Option<&str>, body: Vec<u8>) -> Call {
    let mut request = Request::post("/");
    if let Some(target) = target {
        request = request.header("x-amz-target", target);
    }
    let (head, ()) = request.body(()).expect("a request").into_parts();
    Call {
        head,
        body: Bytes::from(body),
    }
}

#[test]
fn a_form_and_json_say_the_same() {
    let clock = meridian_runtime::clock::Clock::told(|| 1_700_000_000_000_000_000);
    let account = Account::new(Settings {
        clock,
        ..Settings::of_region("eu-central-1")
    });
    let form = "Action=PutMetricData&Version=2010-08-01&Namespace=Meridian&MetricData.member.1.MetricName=latency\
        &MetricData.member.1.Unit=Seconds&MetricData.member.1.StorageResolution=60\
        &MetricData.member.1.Timestamp=2023-11-14T22%3A13%3A20Z\
        &MetricData.member.1.Dimensions.member.1.Name=service&MetricData.member.1.Dimensions.member.1.Value=orders\
        &MetricData.member.1.Values.member.1=0.5&MetricData.member.1.Values.member.2=1.5\
        &MetricData.member.1.Counts.member.1=3&MetricData.member.1.Counts.member.2=1";
    let json = json!({ "Namespace": "Meridian", "MetricData": [datum()] }).to_string();
    put(&account, &call(None, form.into()), Dialect::Query).expect("it is taken");
    let target = Some("GraniteServiceVersion20100801.PutMetricData");
    put(&account, &call(target, json.into()), Dialect::JsonOfQuery).expect("it is taken");
    let state = account.state.lock();
    assert_eq!(state.seen.data.len(), 2);
    assert_eq!(state.seen.data[0], state.seen.data[1]);
    assert_eq!(
        state.seen.data[0].measured,
        Measured::Values(vec![(0.5, 3.0), (1.5, 1.0)])
    );
}

#[test]
fn a_body_over_a_megabyte_is_413() {
    let account = Account::new(Settings::of_region("eu-central-1"));
    let mut form = String::from("Action=PutMetricData&Version=2010-08-01&Namespace=Meridian");
    for number in 1..=1000 {
        let begin = format!("&MetricData.member.{number}");
        let value = "v".repeat(1000);
        write!(
            form,
            "{begin}.MetricName=m&{begin}.Value=1&{begin}.Dimensions.member.1.Name=d"
        )
        .expect("strings take all");
        write!(form, "{begin}.Dimensions.member.1.Value={value}").expect("strings take all");
    }
    assert!(form.len() > BODY_BYTES_MAX);
    let problem = put(&account, &call(None, form.into_bytes()), Dialect::Query).expect_err("it is too large");
    assert_eq!((problem.status, problem.code), (413, "RequestEntityTooLarge"));
}
