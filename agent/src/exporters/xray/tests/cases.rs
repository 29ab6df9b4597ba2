//! The golden cases, one per rule, by old and new semantic conventions. Of a document only the
//! members that a case names are compared; `null` is a member that must not be there.

use serde_json::{Value, json};

use super::{document, span};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// Every member of `expected` is so in `found`; of objects, their members.
fn compare(rule: &str, found: &Value, expected: &Value) {
    match expected {
        Value::Object(members) if !members.is_empty() => {
            for (member, expected) in members {
                compare(&format!("{rule}: {member}"), &found[member], expected);
            }
        }
        _ => assert_eq!(found, expected, "{rule}"),
    }
}

/// Cases, each `rule: resource, attributes, more => members`: the attributes of the resource and of
/// the span, what else the span is, and what its document has.
macro_rules! hold {
    ($($rule:literal: $resource:expr, $attributes:expr, $more:expr => $expected:expr;)*) => {
        $(compare($rule, &document(&$resource, &span(&$attributes, &$more)), &$expected);)*
    };
}

fn kind(kind: i32) -> Value {
    json!({"kind": kind})
}

fn child(kind: i32) -> Value {
    json!({"kind": kind, "parentSpanId": "0102030405060708"})
}

mod members;

#[test]
fn a_whole_document_is_as_x_ray_describes_it() {
    let resource = json!({"service.name": "shop", "service.version": "1.2", "cloud.provider": "aws",
        "cloud.platform": "aws_eks", "k8s.cluster.name": "prod", "k8s.pod.name": "shop-1",
        "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "go", "telemetry.sdk.version": "1.30.0"});
    let attributes = json!({"http.request.method": "GET", "url.scheme": "https", "server.address": "shop.example",
        "url.path": "/cart", "url.query": "id=1", "http.response.status_code": 503, "user_agent.original": "curl",
        "client.address": "203.0.113.9", "network.peer.address": "10.0.0.1", "http.route": "/cart", "enduser.id": "ann"});
    let found = document(&resource, &span(&attributes, &child(SERVER)));
    insta::assert_json_snapshot!(found, @r#"
    {
      "aws": {
        "eks": {
          "cluster_name": "prod",
          "pod": "shop-1"
        },
        "xray": {
          "sdk": "opentelemetry for go",
          "sdk_version": "1.30.0"
        }
      },
      "end_time": 1480615200.09,
      "fault": true,
      "http": {
        "request": {
          "client_ip": "203.0.113.9",
          "method": "GET",
          "url": "https://shop.example/cart?id=1",
          "user_agent": "curl",
          "x_forwarded_for": true
        },
        "response": {
          "status": 503
        }
      },
      "id": "53995c3f42cd8ad8",
      "metadata": {
        "default": {
          "http.route": "/cart",
          "network.peer.address": "10.0.0.1",
          "otel.resource.cloud.platform": "aws_eks",
          "otel.resource.cloud.provider": "aws",
          "otel.resource.k8s.cluster.name": "prod",
          "otel.resource.k8s.pod.name": "shop-1",
          "otel.resource.service.name": "shop",
          "otel.resource.service.version": "1.2",
          "otel.resource.telemetry.sdk.language": "go",
          "otel.resource.telemetry.sdk.name": "opentelemetry",
          "otel.resource.telemetry.sdk.version": "1.30.0",
          "otel.span.name": "op"
        }
      },
      "name": "shop",
      "origin": "AWS::EKS::Container",
      "parent_id": "0102030405060708",
      "service": {
        "version": "1.2"
      },
      "start_time": 1480615200.01,
      "trace_id": "1-5759e988-bd862e3fe1be46a994272793",
      "user": "ann"
    }
    "#);
}

#[test]
fn kind_and_parent_decide_what_a_document_is() {
    let parent = "0102030405060708";
    hold! {
        "a root is a segment": json!({}), json!({}), kind(CLIENT) => json!({"type": null, "parent_id": null});
        "a server is a segment": json!({}), json!({}), child(SERVER) => json!({"type": null, "parent_id": parent});
        "a child is a subsegment": json!({}), json!({}), child(CLIENT)
            => json!({"type": "subsegment", "parent_id": parent});
        "so is an internal one": json!({}), json!({}), child(1) => json!({"type": "subsegment"});
        "ids and times are X-Ray's": json!({}), json!({}), child(1)
            => json!({ "id": "53995c3f42cd8ad8", "trace_id": "1-5759e988-bd862e3fe1be46a994272793",
                "start_time": 1_480_615_200.01, "in_progress": null});
        "a server that is a local root is one segment":
            json!({}), json!({"aws.span.kind": "LOCAL_ROOT"}), child(SERVER)
            => json!({"type": null, "namespace": null});
        "so is an internal one": json!({"service.name": "shop"}), json!({"aws.span.kind": "LOCAL_ROOT"}), child(1)
            => json!({"type": null, "name": "shop",
                "metadata": {"default": {"otel.resource.service.name": "shop"}}});
        "only segments have the resource": json!({"service.name": "shop"}), json!({}), child(CLIENT)
            => json!({ "metadata": {"default": {"otel.resource.service.name": null}}});
        "an end before the start is the start": json!({}), json!({}), json!({"endTimeUnixNano": "5"})
            => json!({"end_time": 1_480_615_200.01});
        "a start that is missing is the end": json!({}), json!({}), json!({"startTimeUnixNano": "0"})
            => json!({"start_time": 1_480_615_200.09});
    }
}

#[test]
fn names_come_in_their_order() {
    let all = json!({"aws.local.service": "local", "aws.remote.service": "remote", "peer.service": "peer", "aws.service": "S3",
        "db.name": "orders", "net.peer.name": "db.example", "rpc.service": "Rpc", "http.host": "host.example"});
    let without = |keys: &[&str]| {
        let mut left = all.clone();
        keys.iter()
            .for_each(|key| drop(left.as_object_mut().expect("an object").remove(*key)));
        left
    };
    let set = ["aws.local.service", "aws.remote.service"];
    let db = [&set[..], &["peer.service", "aws.service"]].concat();
    let rest = [&db[..], &["db.name"]].concat();
    let shop = json!({"service.name": "shop"});
    let named = |name: &str| json!({"name": name});
    hold! {
        "aws.local.service of a server": shop, all, kind(SERVER) => named("local");
        "aws.remote.service of a client": shop, all, child(CLIENT) => named("remote");
        "aws.remote.service of a producer": shop, all, child(4) => named("remote");
        "neither of an internal span": shop, all, child(1) => named("peer");
        "peer.service": shop, without(&set), child(CLIENT) => named("peer");
        "aws.service": shop, without(&[&set[..], &["peer.service"]].concat()), child(CLIENT) => named("S3");
        "the database at its host": shop, without(&db), child(CLIENT) => named("orders@db.example");
        "service.name of a server": shop, without(&rest), kind(SERVER) => named("shop");
        "rpc.service": shop, without(&rest), child(CLIENT) => named("Rpc");
        "http.host": json!({}), without(&[&rest[..], &["rpc.service"]].concat()), child(CLIENT)
            => named("host.example");
        "net.peer.name": json!({}), json!({"net.peer.name": "peer.example"}), child(CLIENT)
            => named("peer.example");
        "the span's own name": shop, json!({}), child(CLIENT) => named("op");
        "server.address": json!({}), json!({"server.address": "new.example"}), child(CLIENT)
            => named("new.example");
        "db.namespace at server.address":
            json!({}), json!({"db.namespace": "n", "server.address": "h"}), child(CLIENT)
            => named("n@h");
        "the host of a connection":
            json!({}), json!({"db.name": "n", "db.connection_string": "jdbc:mysql://u:p@db.dev:3306/x"}),
                child(CLIENT)
            => named("n@db.dev");
        "a database without a host": json!({}), json!({"db.name": "n"}), child(CLIENT) => named("n");
        "AWS's prefixes are no names":
            json!({}), json!({"aws.remote.service": "AWS::S3", "rpc.system": "aws-api"}), child(CLIENT)
            => named("S3");
        "the service in a newer method":
            json!({}), json!({"rpc.system.name": "aws-api", "rpc.method": "SQS/Send"}), child(CLIENT)
            => named("SQS");
        "peer.service is cleaned": json!({}), json!({"peer.service": "a{b}*c\n"}), child(CLIENT) => named("abc");
        "service.name is cleaned": json!({"service.name": "shop (eu)"}), json!({}), kind(SERVER)
            => named("shop eu");
        "letters of all scripts, and a backslash":
            json!({}), json!({"peer.service": "жук \\ 日本 a_.:/%&#=+-@"}), child(CLIENT)
            => named("жук \\ 日本 a_.:/%&#=+-@");
        "marks are no letters": json!({}), json!({"peer.service": "e\u{301}\u{93e}"}), child(CLIENT) => named("e");
        "nothing valid is left": json!({}), json!({}), json!({"name": "{}"}) => named("span");
        "characters are counted, not bytes": json!({}), json!({"peer.service": "ж".repeat(300)}), child(CLIENT)
            => named(&"ж".repeat(200));
    }
}

#[test]
fn the_namespace_tells_aws_from_other_remotes() {
    hold! {
        "a client": json!({}), json!({}), child(CLIENT) => json!({"namespace": "remote"});
        "a call of AWS": json!({}), json!({"rpc.system": "aws-api"}), child(CLIENT) => json!({"namespace": "aws"});
        "the same by new conventions": json!({}), json!({"rpc.system.name": "aws-api"}), child(CLIENT)
            => json!({"namespace": "aws"});
        "a server": json!({}), json!({}), kind(SERVER) => json!({"namespace": null});
        "an internal span": json!({}), json!({}), child(1) => json!({"namespace": null});
        "a producer whose remote is known": json!({}), json!({"aws.remote.service": "q"}), child(4)
            => json!({"namespace": "remote"});
    }
}

#[test]
fn the_origin_is_where_the_service_runs() {
    let cases = [
        ("aws_eks", "", json!("AWS::EKS::Container")),
        ("aws_ecs", "ec2", json!("AWS::ECS::EC2")),
        ("aws_ecs", "fargate", json!("AWS::ECS::Fargate")),
        ("aws_ecs", "", json!("AWS::ECS::Container")),
        ("aws_ec2", "", json!("AWS::EC2::Instance")),
        (
            "aws_elastic_beanstalk",
            "",
            json!("AWS::ElasticBeanstalk::Environment"),
        ),
        ("aws_app_runner", "", json!("AWS::AppRunner::Service")),
        ("gcp_kubernetes_engine", "", Value::Null),
    ];
    for (platform, launch, origin) in cases {
        let resource = json!({"cloud.platform": platform, "aws.ecs.launchtype": launch});
        for of in [kind(SERVER), child(CLIENT)] {
            compare(
                platform,
                &document(&resource, &span(&json!({}), &of)),
                &json!({"origin": origin}),
            );
        }
    }
    let elsewhere = json!({"cloud.provider": "gcp", "cloud.platform": "aws_eks", "telemetry.sdk.name": "x"});
    compare(
        "another cloud",
        &document(&elsewhere, &span(&json!({}), &child(CLIENT))),
        &json!({"origin": null, "aws": null}),
    );
}
