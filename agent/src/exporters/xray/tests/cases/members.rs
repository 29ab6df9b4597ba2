//! What a document has beside its head: http, sql, aws, cause, metadata, annotations, links.

use serde_json::{Value, json};

use super::super::{document, documents_of, request, span};
use super::{CLIENT, SERVER, child, compare, kind};
use crate::exporters::xray::Mapping;

#[test]
fn http_is_read_by_old_and_new_conventions() {
    let url = |url: &str| json!({"http": {"request": {"url": url}}});
    hold! {
        "old ones":
            json!({}), json!({"http.method": "POST", "http.url": "https://a/b?c", "http.user_agent": "ua",
                "http.client_ip": "1.2.3.4", "http.status_code": 200, "http.response_content_length": 7}),
                child(CLIENT)
            => json!({"http": {"request": {"method": "POST", "url": "https://a/b?c", "user_agent": "ua",
                "client_ip": "1.2.3.4", "x_forwarded_for": true}, "response": {"status": 200,
                "content_length": 7}}, "metadata": {"default": {"http.method": null, "http.url": null,
                "http.status_code": null}}});
        "new ones":
            json!({}), json!({"http.request.method": "POST", "url.full": "https://a/b?c",
                "user_agent.original": "ua", "client.address": "1.2.3.4", "network.peer.address": "1.2.3.4",
                "http.response.status_code": 200, "http.response.body.size": 7}), kind(SERVER)
            => json!({"http": {"request": {"method": "POST", "url": "https://a/b?c", "user_agent": "ua",
                "client_ip": "1.2.3.4", "x_forwarded_for": null}, "response": {"status": 200,
                "content_length": 7}}});
        "a client's URL from its parts":
            json!({}), json!({"http.method": "GET", "url.scheme": "https", "server.address": "h",
                "server.port": 8443, "url.path": "/p", "url.query": "q=1"}), child(CLIENT)
            => url("https://h:8443/p?q=1");
        "the port of the scheme is left out":
            json!({}), json!({"http.method": "GET", "url.scheme": "https", "server.address": "h",
                "server.port": 443}), child(CLIENT)
            => url("https://h/");
        "an old client's URL":
            json!({}), json!({"http.method": "GET", "http.scheme": "http", "net.peer.name": "h",
                "net.peer.port": 8080, "http.target": "/p?q"}), child(CLIENT)
            => url("http://h:8080/p?q");
        "an old server's URL":
            json!({}), json!({"http.method": "GET", "http.scheme": "https", "http.host": "h:8080",
                "http.target": "/p?q"}), kind(SERVER)
            => url("https://h:8080/p?q");
        "a server's URL by its own name":
            json!({}), json!({"http.method": "GET", "net.host.name": "h", "net.host.port": "81"}), kind(SERVER)
            => url("http://h:81/");
        "an address of IPv6":
            json!({}), json!({"http.method": "GET", "server.address": "::1", "server.port": 80, "url.path": "/"}),
                child(CLIENT)
            => url("http://[::1]/");
        "a path without a host":
            json!({}), json!({"http.request.method": "GET", "url.path": "/p", "url.query": "q"}), kind(SERVER)
            => url("/p?q");
        "a method of one's own":
            json!({}), json!({"http.request.method": "_OTHER", "http.request.method_original": "BREW"}),
                child(CLIENT)
            => json!({"http": {"request": {"method": "BREW"}}});
        "a server's peer is its client":
            json!({}), json!({"http.method": "GET", "net.peer.ip": "1.1.1.1"}), kind(SERVER)
            => json!({"http": {"request": {"client_ip": "1.1.1.1", "x_forwarded_for": null}}});
        "a client's peer is not": json!({}), json!({"http.method": "GET", "net.peer.ip": "1.1.1.1"}), child(CLIENT)
            => json!({"http": {"request": {"client_ip": null, "url": "http://1.1.1.1/"}}});
        "an address alone is no HTTP":
            json!({}), json!({"server.address": "db", "server.port": 5432}), child(CLIENT)
            => json!({"http": null, "metadata": {"default": {"server.address": "db", "server.port": 5432}}});
        "a URL that is cut stays whole":
            json!({}), json!({"http.method": "GET", "url.full": format!("https://h/{}", "x".repeat(300))}),
                child(CLIENT)
            => json!({"metadata": {"default": {"url.full": format!("https://h/{}", "x".repeat(300))}}});
    }
}

#[test]
fn statuses_are_errors_throttles_and_faults() {
    let flags = |error: Value, throttle: Value, fault: Value| json!({"error": error, "throttle": throttle, "fault": fault});
    let failed = json!({"status": {"code": 2}});
    let no = Value::Null;
    for key in ["http.status_code", "http.response.status_code"] {
        hold! {
            "200": json!({}), json!({key: 200}), json!({}) => flags(no.clone(), no.clone(), no.clone());
            "404": json!({}), json!({key: 404}), failed => flags(json!(true), no.clone(), no.clone());
            "429": json!({}), json!({key: 429}), json!({}) => flags(json!(true), json!(true), no.clone());
            "503": json!({}), json!({key: "503"}), json!({}) => flags(no.clone(), no.clone(), json!(true));
            "200 with an error": json!({}), json!({key: 200}), failed
                => flags(no.clone(), no.clone(), json!(true));
        }
    }
    hold! {
        "no HTTP": json!({}), json!({}), failed => flags(no.clone(), no, json!(true));
    }
}

#[test]
fn databases_that_speak_sql_have_their_member() {
    hold! {
        "old ones":
            json!({}), json!({"db.system": "mysql", "db.statement": "SELECT ?", "db.user": "u",
                "db.connection_string": "mysql://db:3306", "db.name": "orders"}), child(CLIENT)
            => json!({"sql": {"url": "mysql://db:3306", "sanitized_query": "SELECT ?", "database_type": "mysql",
                "user": "u"}, "metadata": {"default": {"db.name": "orders", "db.statement": null}}});
        "new ones":
            json!({}), json!({"db.system.name": "postgresql", "db.query.text": "SELECT ?", "server.address": "db",
                "server.port": 5432, "db.namespace": "orders"}), child(CLIENT)
            => json!({"sql": {"url": "postgresql://db:5432/orders", "sanitized_query": "SELECT ?",
                "database_type": "postgresql"}});
        "without a connection, the span's name": json!({}), json!({"db.system": "sqlite"}), child(CLIENT)
            => json!({"sql": {"url": "op"}});
        "no SQL": json!({}), json!({"db.system": "redis", "db.statement": "GET k"}), child(CLIENT)
            => json!({"sql": null, "metadata": {"default": {"db.system": "redis", "db.statement": "GET k"}}});
        "a query that is cut stays whole":
            json!({}), json!({"db.system": "mysql", "db.query.text": "s".repeat(400)}), child(CLIENT)
            => json!({"sql": {"sanitized_query": "s".repeat(250)},
                "metadata": {"default": {"db.query.text": "s".repeat(400)}}});
    }
}

#[test]
fn aws_says_where_a_service_runs_also_in_subsegments() {
    let ecs = json!({"cloud.platform": "aws_ecs", "container.name": "c", "container.id": "cid", "aws.ecs.container.arn": "carn",
        "aws.ecs.cluster.arn": "clarn", "aws.ecs.task.arn": "tarn", "aws.ecs.task.family": "f", "aws.ecs.launchtype": "ec2",
        "cloud.availability_zone": "z"});
    for of in [kind(SERVER), child(CLIENT)] {
        hold! {
            "ec2":
                json!({"cloud.platform": "aws_ec2", "host.id": "i-1", "cloud.availability_zone": "z",
                    "host.type": "m5", "host.image.id": "ami-1"}), json!({}), of
                => json!({"aws": {"ec2": {"instance_id": "i-1", "availability_zone": "z", "instance_size": "m5",
                    "ami_id": "ami-1"}}});
            "ecs": ecs, json!({}), of
                => json!({"aws": {"ecs": {"container": "c", "container_id": "cid", "container_arn": "carn",
                    "cluster_arn": "clarn", "task_arn": "tarn", "task_family": "f", "launch_type": "ec2",
                    "availability_zone": "z"}}});
            "eks":
                json!({"cloud.platform": "aws_eks", "k8s.cluster.name": "prod", "k8s.pod.name": "p",
                    "container.id": "c"}), json!({}), of
                => json!({"aws": {"eks": {"cluster_name": "prod", "pod": "p", "container_id": "c"}}});
            "elastic_beanstalk":
                json!({"cloud.platform": "aws_elastic_beanstalk", "service.namespace": "e",
                    "service.instance.id": "32", "service.version": "v"}), json!({}), of
                => json!({"aws": {"elastic_beanstalk": {"environment_name": "e", "deployment_id": 32,
                    "version_label": "v"}}, "service": {"version": "v"}});
            "log groups by ARN":
                json!({"aws.log.group.arns": ["arn:aws:logs:r:1:log-group:g:*"], "aws.log.group.names": "x"}),
                    json!({}), of
                => json!({"aws": {"cloudwatch_logs": [{"log_group": "g", "arn": "arn:aws:logs:r:1:log-group:g:*"}]}});
            "log groups by name": json!({"aws.log.group.names": "a&b"}), json!({}), of
                => json!({"aws": {"cloudwatch_logs": [{"log_group": "a"}, {"log_group": "b"}]}});
            "xray":
                json!({"telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "java",
                    "telemetry.sdk.version": "1", "telemetry.auto.version": "2", "cloud.account.id": "42"}),
                    json!({}), of
                => json!({"aws": {"account_id": "42", "xray": {"sdk": "opentelemetry for java", "sdk_version": "1",
                    "auto_instrumentation": true}}});
        }
    }
}

#[test]
fn calls_of_aws_have_their_members() {
    let aws = |of: Value| json!({"aws": of});
    hold! {
        "an SDK's own":
            json!({}), json!({"aws.operation": "Get", "aws.account_id": "1", "aws.region": "r",
                "aws.request_id": "q", "aws.queue_url": "u", "aws.table_name": "t"}), child(CLIENT)
            => aws(json!({"operation": "Get", "account_id": "1", "region": "r", "request_id": "q",
                "queue_url": "u", "table_name": "t"}));
        "conventions'":
            json!({}), json!({"rpc.system": "aws-api", "rpc.service": "S3", "rpc.method": "PutObject",
                "aws.requestId": "q", "cloud.region": "r", "messaging.url": "u"}), child(CLIENT)
            => aws(json!({"operation": "PutObject", "region": "r", "request_id": "q", "queue_url": "u"}));
        "newer conventions'":
            json!({}), json!({"rpc.system.name": "aws-api", "rpc.method": "S3/PutObject",
                "aws.sqs.queue.url": "u"}), child(CLIENT)
            => aws(json!({"operation": "PutObject", "queue_url": "u"}));
        "one table": json!({}), json!({"aws.dynamodb.table_names": ["t"]}), child(CLIENT)
            => aws(json!({"table_name": "t", "table_names": null}));
        "several tables": json!({}), json!({"aws.dynamodb.table_names": ["t", "u"]}), child(CLIENT)
            => aws(json!({"table_name": null, "table_names": ["t", "u"]}));
        "another's method is no operation":
            json!({}), json!({"rpc.system": "grpc", "rpc.method": "Get"}), child(CLIENT)
            => json!({"aws": null, "metadata": {"default": {"rpc.method": "Get"}}});
        "another cloud's service calls AWS":
            json!({"cloud.provider": "gcp"}), json!({"aws.operation": "Get"}), child(CLIENT)
            => aws(json!({"operation": "Get"}));
    }
}

fn event(name: &str, attributes: &Value) -> Value {
    json!([{"name": name, "timeUnixNano": "1480615200020000000", "attributes": super::super::attributes(attributes)}])
}

#[test]
fn exceptions_are_the_cause() {
    let java = json!({"telemetry.sdk.language": "java"});
    let thrown = json!({"exception.type": "A", "exception.message": "m",
        "exception.stacktrace": "A: m\n\tat x.Y.z(Y.java:3)\nCaused by: B: why\n\tat b.C.d(C.java:4)"});
    let events = json!({"kind": 3, "parentSpanId": "0102030405060708", "status": {"code": 2, "message": "failed"},
        "events": event("exception", &thrown)});
    let found = document(&java, &span(&json!({}), &events));
    let exceptions = &found["cause"]["exceptions"];
    compare(
        "the event",
        &exceptions[0],
        &json!({"type": "A", "message": "m", "remote": true,
        "stack": [{"path": "Y.java", "line": 3, "label": "x.Y.z"}]}),
    );
    compare(
        "its cause",
        &exceptions[1],
        &json!({"type": "B", "message": "why", "remote": true,
        "stack": [{"path": "C.java", "line": 4, "label": "b.C.d"}]}),
    );
    assert_eq!(exceptions[0]["cause"], exceptions[1]["id"]);
    assert_ne!(exceptions[0]["id"], exceptions[1]["id"]);
    compare(
        "the rest",
        &found,
        &json!({"fault": true, "metadata": {"default": {"otel.event.0": null, "otel.status_description": "failed"}}}),
    );
    let other = json!({"events": event("exception", &thrown)});
    let found = document(
        &json!({"telemetry.sdk.language": "rust"}),
        &span(&json!({}), &other),
    );
    let kept = &found["metadata"]["default"]["otel.event.0"]["attributes"];
    assert_eq!(
        kept,
        &json!({"exception.stacktrace": thrown["exception.stacktrace"]}),
        "what is not read stays"
    );
}

#[test]
fn the_message_of_an_error_is_an_exception() {
    let failed = |message: &str| json!({"kind": 2, "status": {"code": 2, "message": message}});
    let found = document(
        &json!({}),
        &span(&json!({"error.type": "Timeout"}), &failed("too slow")),
    );
    compare(
        "a message",
        &found["cause"]["exceptions"][0],
        &json!({"type": "Timeout", "message": "too slow", "remote": false}),
    );
    let found = document(
        &json!({}),
        &span(&json!({"http.status_text": "Bad"}), &failed("")),
    );
    compare(
        "HTTP's",
        &found["cause"]["exceptions"][0],
        &json!({"type": null, "message": "Bad"}),
    );
    let long = "x".repeat(300);
    let found = document(&json!({}), &span(&json!({}), &failed(&long)));
    compare(
        "a long one",
        &found,
        &json!({"metadata": {"default": {"otel.status_description": long}}}),
    );
    let found = document(&json!({}), &span(&json!({}), &failed("")));
    compare("none", &found, &json!({"cause": null, "fault": true}));
}

#[test]
fn events_and_the_rest_are_metadata() {
    let more = json!({"kind": 2, "traceState": "a=b", "droppedEventsCount": 3, "events": event("retry", &json!({"n": 1}))});
    let found = document(
        &json!({"service.name": "shop"}),
        &span(
            &json!({"list": [1, 2.5, null, {"k": true}], "enduser.id": "ann"}),
            &more,
        ),
    );
    compare(
        "metadata",
        &found,
        &json!({"name": "shop", "user": "ann", "metadata": {"default": {
        "list": [1, 2.5, null, {"k": true}], "enduser.id": null, "otel.span.name": "op", "w3c.tracestate": "a=b",
        "otel.dropped_events_count": 3, "otel.event.0": {"name": "retry", "time": 1_480_615_200.02, "attributes": {"n": 1}},
        "otel.resource.service.name": "shop"}}}),
    );
}

#[test]
fn annotations_are_what_was_asked_for() {
    let attributes = json!({"aws.xray.annotations": ["order-id", "otel.resource.host.name", "list"], "order-id": 7, "list": [1],
        "configured": "c", "http.method": "GET", "long": "x".repeat(1200), "other": "o"});
    let indexed = ["configured", "http.method", "long", "otel.resource.service.name"];
    let settings = Mapping {
        indexed_attributes: indexed.map(str::to_owned).to_vec(),
        ..Mapping::default()
    };
    let body = request(
        &json!({"service.name": "shop", "host.name": "h"}),
        &[span(&attributes, &kind(SERVER))],
    );
    let found = documents_of(settings, &body).remove(0);
    assert_eq!(
        found["annotations"],
        json!({"order_id": 7, "configured": "c", "http.method": "GET", "long": "x".repeat(1000),
        "otel.resource.service.name": "shop", "otel.resource.host.name": "h"})
    );
    compare(
        "the others",
        &found["metadata"]["default"],
        &json!({"list": [1], "other": "o", "long": "x".repeat(1200),
        "configured": null, "order-id": null, "aws.xray.annotations": null, "otel.resource.service.name": null}),
    );
}

#[test]
fn all_attributes_are_annotations_as_far_as_x_ray_has_room() {
    let mut attributes = json!({"a-b": 1, "a_b": 2, "http.method": "GET", "map": {"k": 1}});
    for number in 0..60 {
        attributes[format!("key{number:02}")] = json!(number);
    }
    let settings = Mapping {
        index_all_attributes: true,
        ..Mapping::default()
    };
    let body = request(
        &json!({"service.name": "shop"}),
        &[span(&attributes, &child(CLIENT))],
    );
    let found = documents_of(settings, &body).remove(0);
    let annotations = found["annotations"].as_object().expect("an object");
    let metadata = found["metadata"]["default"].as_object().expect("an object");
    assert_eq!(annotations.len(), 50);
    assert_eq!(annotations.get("a_b"), Some(&json!(1)));
    assert_eq!(
        metadata.get("a_b"),
        Some(&json!(2)),
        "two keys became one: the second keeps its own"
    );
    assert!(!annotations.contains_key("http.method") && metadata.contains_key("map"));
    let kept = (0..60).all(|number| {
        let key = format!("key{number:02}");
        annotations.contains_key(&key) != metadata.contains_key(&key)
    });
    assert!(kept, "each is an annotation or metadata");
}

#[test]
fn links_are_kept_up_to_twenty() {
    let link = |number: u32| json!({"traceId": super::super::TRACE, "spanId": format!("{number:016x}"), "attributes": super::super::attributes(&json!({"n": number}))});
    let links: Vec<Value> = (1..=25).map(link).collect();
    let found = document(&json!({}), &span(&json!({}), &json!({"links": links})));
    assert_eq!(found["links"].as_array().map(Vec::len), Some(20));
    assert_eq!(
        found["links"][0],
        json!({"trace_id": "1-5759e988-bd862e3fe1be46a994272793", "id": "0000000000000001", "attributes": {"n": 1}})
    );
    assert_eq!(
        found["metadata"]["default"]["meridian.trimmed"],
        json!(["links: 5 or their attributes left out"])
    );
}
