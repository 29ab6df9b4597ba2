//! Inputs that other exporters panic at, or answer by dropping the span; and the pairs of documents
//! that a local root which calls out becomes.

use serde_json::{Value, json};

use super::{attributes, document, documents_of, request, span};
use crate::exporters::xray::{Mapped, Mapper, Mapping, Unmappable};
use crate::sampling::{Sampler, Sampling};

fn local_root(kind: i32, more: &Value) -> Vec<Value> {
    let resource = json!({"service.name": "shop", "cloud.provider": "gcp"});
    let mut of = json!({"aws.span.kind": "LOCAL_ROOT", "http.method": "GET", "http.status_code": 500, "peer.service": "pay"});
    of.as_object_mut()
        .expect("an object")
        .extend(more.as_object().cloned().unwrap_or_default());
    let parent = json!({"kind": kind, "parentSpanId": "0102030405060708", "links": [{"traceId": super::TRACE, "spanId": "0000000000000001"}],
        "status": {"code": 2, "message": "failed"}});
    documents_of(Mapping::default(), &request(&resource, &[span(&of, &parent)]))
}

#[test]
fn a_local_root_that_calls_out_is_a_service_and_a_call() {
    for kind in [3, 4, 5] {
        let documents = local_root(kind, &json!({}));
        let [call, service] = documents.as_slice() else {
            panic!("{documents:#?}");
        };
        assert_eq!(
            (&call["type"], &call["name"]),
            (&json!("subsegment"), &json!("pay"))
        );
        assert_eq!(
            (&call["namespace"], &call["id"]),
            (&json!("remote"), &json!("53995c3f42cd8ad8"))
        );
        assert_eq!(
            (&service["type"], &service["name"]),
            (&Value::Null, &json!("shop"))
        );
        assert_eq!(call["parent_id"], service["id"]);
        assert_eq!(service["parent_id"], "0102030405060708");
        assert_eq!(
            (&service["namespace"], &service["http"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!((&call["fault"], &service["fault"]), (&json!(true), &json!(true)));
        assert_eq!(service["cause"], call["cause"]["exceptions"][0]["id"]);
        assert_eq!(call["http"]["request"]["method"], "GET");
        assert_eq!(
            service["metadata"]["default"]["otel.resource.service.name"],
            "shop"
        );
        assert_eq!(
            call["metadata"]["default"]["otel.resource.service.name"],
            Value::Null
        );
        let linked = if kind == 5 { [false, true] } else { [true, false] };
        assert_eq!([call["links"].is_array(), service["links"].is_array()], linked);
    }
}

#[test]
fn a_local_root_that_calls_out_has_the_names_that_were_set_for_it() {
    let set = json!({"aws.local.service": "front", "aws.remote.service": "AWS.SDK.S3", "rpc.system": "aws-api", "aws.operation": "Put",
        "aws.xray.annotations": ["aws.remote.service", "aws.local.service"]});
    let documents = local_root(3, &set);
    assert_eq!(
        (&documents[0]["name"], &documents[0]["namespace"]),
        (&json!("S3"), &json!("aws"))
    );
    assert_eq!(
        (&documents[0]["aws"]["operation"], &documents[1]["aws"]),
        (&json!("Put"), &Value::Null)
    );
    assert_eq!(documents[1]["name"], "front");
    assert_eq!(documents[0]["annotations"]["aws.remote.service"], "AWS.SDK.S3");
    assert_eq!(documents[1]["annotations"], json!({"aws.local.service": "front"}));
}

#[test]
fn numbers_that_json_does_not_have_are_strings() {
    let special = |value: &str| json!({"doubleValue": value});
    let mut span = span(&json!({"aws.xray.annotations": ["nan"]}), &json!({}));
    let list = span["attributes"].as_array_mut().expect("an array");
    list.push(json!({"key": "nan", "value": special("NaN")}));
    list.push(json!({"key": "list", "value": {"arrayValue": {"values": [special("Infinity"), special("-Infinity")]}}}));
    let found = document(&json!({}), &span);
    let metadata = &found["metadata"]["default"];
    assert_eq!(
        (&metadata["nan"], &metadata["list"]),
        (&json!("NaN"), &json!(["Infinity", "-Infinity"]))
    );
    assert_eq!(found["annotations"], Value::Null);
}

#[test]
fn traces_of_calls_that_are_cut_or_odd_are_no_trap() {
    let traces = [
        ("java", "X: y\nCaused by: Z:"),
        ("dotnet", "X\n   at A.B() in C:\\c.cs:line"),
        ("python", "Traceback\n  File \nE"),
        (
            "python",
            "During handling of the above exception, another exception occurred:\nE: m",
        ),
        ("nodejs", "E\n    at ("),
        ("php", "#"),
        ("go", "goroutine 1 [running]:\n\t"),
    ];
    for (language, trace) in traces {
        let events =
            json!([{"name": "exception", "attributes": attributes(&json!({"exception.stacktrace": trace}))}]);
        let found = document(
            &json!({"telemetry.sdk.language": language}),
            &span(&json!({}), &json!({"events": events})),
        );
        assert_eq!(found["cause"]["exceptions"][0]["remote"], true, "{language}");
    }
}

#[test]
fn attributes_of_the_wrong_type_are_metadata() {
    let of = json!({"http.method": 7, "http.url": ["u"], "http.status_code": "x", "db.system": 1, "aws.span.kind": true, "peer.service": 3,
        "aws.xray.annotations": 5, "enduser.id": 1.5, "server.port": "http", "aws.dynamodb.table_names": 9, "url.path": {"a": "b"}});
    let found = document(
        &json!({"telemetry.sdk.language": 1, "cloud.platform": [1], "service.name": false}),
        &span(&of, &json!({})),
    );
    let metadata = found["metadata"]["default"].as_object().expect("an object");
    for (key, value) in of.as_object().expect("an object") {
        let is_listing = key == "aws.xray.annotations";
        assert_eq!(metadata.get(key), Some(value).filter(|_| !is_listing), "{key}");
    }
}

#[test]
fn a_span_that_cannot_be_mapped_says_why_and_harms_no_other() {
    let no_time = span(
        &json!({}),
        &json!({"startTimeUnixNano": "0", "endTimeUnixNano": "0"}),
    );
    let old = span(
        &json!({}),
        &json!({"traceId": "00000001bd862e3fe1be46a994272793"}),
    );
    let body = request(&json!({}), &[span(&json!({}), &json!({})), no_time, old]);
    let mut seen = Vec::new();
    let count = Mapper::new(Mapping::default()).documents(&body, |mapped| match mapped {
        Mapped::Document(document) => seen.push((document.item, None, document.trace_id >> 96)),
        Mapped::Dropped { item, reason } => seen.push((item, Some(reason), 0)),
        Mapped::Sampled { item } => panic!("{item}"),
    });
    assert_eq!(count, Ok(3));
    let expected = [
        (0, None, 0x5759_e988),
        (1, Some(Unmappable::Times), 0),
        (2, None, 1),
    ];
    assert_eq!(seen, expected, "the age of a trace is no reason");
}

#[test]
fn times_have_all_their_digits() {
    let body = request(
        &json!({}),
        &[span(
            &json!({}),
            &json!({"startTimeUnixNano": "1480615200010000001"}),
        )],
    );
    let mut found = String::new();
    let mapped = Mapper::new(Mapping::default()).documents(&body, |mapped| {
        if let Mapped::Document(document) = mapped {
            document.json.clone_into(&mut found);
        }
    });
    assert_eq!(mapped, Ok(1));
    let times = "\"start_time\":1480615200.010000001,\"end_time\":1480615200.090000000";
    assert!(found.contains(times), "{found}");
}

#[test]
fn what_sampling_leaves_out_is_named_and_what_it_keeps_says_so() {
    let states = [
        "ot=rv:80000000000000",
        "ot=rv:7fffffffffffff",
        "a=b,ot=rv:f0000000000000;th:c",
    ];
    let spans = states.map(|state| span(&json!({}), &json!({ "traceState": state })));
    let failed = span(
        &json!({}),
        &json!({"traceState": states[1], "status": {"code": 2}}),
    );
    let body = request(&json!({}), &[&spans[..], &[failed]].concat());
    let sampler = Sampler::new(Sampling {
        ratio: 0.5,
        keep_errors: true,
    });
    let mut seen = Vec::new();
    let count = Mapper::new(Mapping::default())
        .sampled(sampler)
        .documents(&body, |mapped| match mapped {
            Mapped::Document(document) => {
                let document: Value = serde_json::from_str(document.json).expect("JSON");
                let state = document["metadata"]["default"]["w3c.tracestate"].as_str();
                seen.push(state.expect("a tracestate").to_owned());
            }
            Mapped::Sampled { item } => seen.push(format!("left out: {item}")),
            Mapped::Dropped { item, reason } => panic!("{item} {reason}"),
        });
    assert_eq!(count, Ok(4));
    assert_eq!(
        seen,
        [
            "ot=th:8;rv:80000000000000",
            "left out: 1",
            "ot=th:c;rv:f0000000000000,a=b",
            "ot=rv:7fffffffffffff"
        ]
    );
}
