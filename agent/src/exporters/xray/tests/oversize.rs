//! Spans that are larger than a document: they go on in further subsegments, and what no document
//! can take is named in one.

use serde_json::{Value, json};

use super::{attributes, documents_of, request, span};
use crate::exporters::xray::Mapping;

fn mapped(of: &Value, more: &Value) -> Vec<Value> {
    documents_of(
        Mapping::default(),
        &request(&json!({"service.name": "shop"}), &[span(of, more)]),
    )
}

fn notes(document: &Value) -> String {
    document["metadata"]["default"]["meridian.trimmed"].to_string()
}

#[test]
fn what_does_not_fit_goes_on_in_subsegments_with_nothing_lost() {
    let mut of = json!({});
    for number in 0..20 {
        of[format!("key{number}")] = json!(format!("{number}").repeat(10_000));
    }
    let documents = mapped(&of, &json!({"kind": 2}));
    assert!(documents.len() > 2, "{}", documents.len());
    for part in &documents[1..] {
        assert_eq!(
            (&part["type"], &part["parent_id"]),
            (&json!("subsegment"), &documents[0]["id"])
        );
        assert_eq!(
            (&part["trace_id"], &part["name"]),
            (&documents[0]["trace_id"], &json!("shop"))
        );
        assert_eq!(
            (&part["start_time"], &part["end_time"]),
            (&documents[0]["start_time"], &documents[0]["end_time"])
        );
        assert_eq!((&part["http"], &part["fault"]), (&Value::Null, &Value::Null));
    }
    let ids: std::collections::BTreeSet<String> =
        documents.iter().map(|part| part["id"].to_string()).collect();
    assert_eq!(ids.len(), documents.len(), "ids of their own");
    for (key, value) in of.as_object().expect("an object") {
        let holders = documents
            .iter()
            .filter(|part| part["metadata"]["default"][key] == *value)
            .count();
        assert_eq!(holders, 1, "{key}");
    }
    let holders = documents
        .iter()
        .filter(|part| part["metadata"]["default"]["otel.resource.service.name"] == "shop");
    assert_eq!(holders.count(), 1);
    assert!(
        documents.iter().all(|part| notes(part) == "null"),
        "nothing was trimmed"
    );
}

#[test]
fn an_attribute_of_two_megabytes_is_cut_and_named() {
    let documents = mapped(
        &json!({"http.request.body": "ä".repeat(1 << 20), "small": 1}),
        &json!({}),
    );
    assert_eq!(documents.len(), 1);
    let kept = documents[0]["metadata"]["default"]["http.request.body"]
        .as_str()
        .expect("a text");
    assert!(kept.len() > 8000 && kept.chars().all(|character| character == 'ä'));
    assert!(
        notes(&documents[0]).contains("http.request.body: 2097"),
        "{}",
        notes(&documents[0])
    );
    assert_eq!(documents[0]["metadata"]["default"]["small"], 1);
}

#[test]
fn a_list_that_is_too_large_is_cut_as_its_text() {
    let documents = mapped(&json!({"list": vec!["\u{1}".repeat(100); 1000]}), &json!({}));
    let kept = documents[0]["metadata"]["default"]["list"]
        .as_str()
        .expect("a text");
    assert!(kept.starts_with("[\"\\u0001"), "{kept}");
}

#[test]
fn there_are_only_so_many_parts_and_the_rest_is_named() {
    let mut of = json!({});
    for number in 0..30 {
        of[format!("key{number:02}")] = json!("x".repeat(40_000));
    }
    let documents = mapped(&of, &json!({}));
    assert_eq!(documents.len(), 8);
    assert!(
        notes(&documents[7]).contains("40010 bytes left out"),
        "{}",
        notes(&documents[7])
    );
}

#[test]
fn every_member_has_an_end() {
    let wild = "\u{1}".repeat(700);
    let mut keys = json!({"aws.dynamodb.table_names": vec![wild.as_str(); 50], "db.system": "mysql"});
    for key in [
        "http.method",
        "url.full",
        "user_agent.original",
        "client.address",
        "db.query.text",
        "db.user",
        "enduser.id",
        "aws.operation",
        "aws.region",
        "peer.service",
        wild.as_str(),
    ] {
        keys[key] = json!(wild);
    }
    let frames = "\tat a.b(C.java:1)\n".repeat(300);
    let stack = format!("X\n{}", format!("{frames}Caused by: {wild}: {wild}\n").repeat(20));
    let exception = json!({"name": "exception", "attributes": attributes(&json!({"exception.type": wild, "exception.message": wild,
        "exception.stacktrace": stack}))});
    let link = json!({"traceId": super::TRACE, "spanId": "0000000000000001", "attributes": attributes(&json!({"k": wild}))});
    let more = json!({"events": vec![exception; 20], "links": vec![link; 30], "name": wild, "traceState": wild,
        "status": {"code": 2, "message": wild}});
    let settings = Mapping {
        index_all_attributes: true,
        ..Mapping::default()
    };
    let resource = json!({"telemetry.sdk.language": "java", "service.version": wild, "aws.log.group.names": wild.repeat(3), "host.id": "i-1", "host.type": wild});
    let documents = documents_of(settings, &request(&resource, &[span(&keys, &more)]));
    let noted: String = documents.iter().map(notes).collect();
    assert!(noted.contains("cause: ") && noted.contains("links: "), "{noted}");
}
