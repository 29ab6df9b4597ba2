//! How a configuration is read, and what is said about faulty ones.
//!
//! It does not test the keys of the agent or the aggregator; those are theirs.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::units::ByteSize;

#[derive(Debug, PartialEq)]
struct Config {
    region: String,
    node: String,
    grpc: SocketAddr,
    max_bytes: ByteSize,
    linger: Duration,
    drop_oldest: bool,
    endpoints: Vec<HttpUrl>,
    exporters: Vec<(String, u32)>,
}

fn variable(name: &str) -> Option<String> {
    (name == "NODE_NAME").then(|| "ip-10-0-0-1".to_owned())
}

fn read(text: &str) -> Result<Config, ConfigError> {
    let document = Document::parse("agent.yaml", text, &variable)?;
    let mut root = document.root();
    let mut spool = root.section("spool");
    let mut exporters = Vec::new();
    for (name, _line, mut section) in root.entries("exporters") {
        if name.split('/').next() == Some("aggregator") {
            let batch_rows = section.optional("batch_rows", 0);
            if section.has("batch_rows") && batch_rows == 0 {
                section.fault("batch_rows", "must be at least 1");
            }
            exporters.push((name, batch_rows));
        } else {
            section.refuse("is not a type of exporter; there is aggregator");
        }
    }
    let config = Config {
        region: root.required("region"),
        node: root.optional("node", "localhost".to_owned()),
        grpc: root
            .section("receivers")
            .optional("grpc", "0.0.0.0:4317".parse().expect("an address")),
        max_bytes: spool.required("max_bytes"),
        linger: spool.optional("linger", Duration::from_millis(2)),
        drop_oldest: spool.choice("when_full", &[("refuse", false), ("drop_oldest", true)], false),
        endpoints: root.list("endpoints"),
        exporters,
    };
    spool.finish();
    root.finish();
    document.finish(config)
}

fn faults(text: &str) -> String {
    read(text).expect_err("there are faults").to_string()
}

#[test]
fn a_whole_file_is_read() {
    let config = read(
        "region: eu-central-1\n\
         node: ${NODE_NAME}/$$0\n\
         receivers: { grpc: '[::1]:4317' }\n\
         spool: { max_bytes: 4GiB, linger: 5ms, when_full: drop_oldest }\n\
         endpoints: [http://a:4319, https://b]\n\
         exporters:\n  aggregator:\n  aggregator/second: { batch_rows: 7 }\n",
    );
    let config = config.expect("no faults");
    assert_eq!(config.node, "ip-10-0-0-1/$0");
    assert_eq!(config.grpc.to_string(), "[::1]:4317");
    assert_eq!(
        (config.max_bytes, config.linger),
        (ByteSize::gib(4), Duration::from_millis(5))
    );
    assert!(config.drop_oldest);
    assert_eq!(
        config.endpoints.iter().map(HttpUrl::as_str).collect::<Vec<_>>(),
        ["http://a:4319", "https://b"]
    );
    assert_eq!(
        config.exporters,
        [("aggregator".to_owned(), 0), ("aggregator/second".to_owned(), 7)]
    );
}

#[test]
fn every_fault_of_a_file_is_reported_at_once_in_its_order() {
    let text = "regoin: eu-central-1
node: ${POD}
receivers:
  grpc: localhost
spool:
  max_bytes: \"4GB\"
  linger: 5
  when_full: drop-oldest
  maxbytes: 1GiB
endpoints:
  - http://a:4319
  - ftp://b
exporters:
  aggregator: { batch_rows: 0 }
  kafka: { brokers: [a, b] }
  aggregator/x: { batch_rows: -3 }
";
    insta::assert_snapshot!(faults(text), @r#"
    agent.yaml:1:1: region: is required
    agent.yaml:1:1: regoin: is not a key that is known here; did you mean region?
    agent.yaml:2:7: node: environment variable POD is not set
    agent.yaml:4:9: receivers.grpc: "localhost" is not an address; write it like 0.0.0.0:4317 or [::]:4317
    agent.yaml:6:14: spool.max_bytes: "4GB" is a size in decimal units; write it in binary ones, like 256MiB or 4GiB
    agent.yaml:7:11: spool.linger: "5" is a duration without a unit; write it like 500ms, 5s, 10m, 6h or 30d
    agent.yaml:8:14: spool.when_full: "drop-oldest" is not one of refuse, drop_oldest; did you mean drop_oldest?
    agent.yaml:9:3: spool.maxbytes: is not a key that is known here; did you mean max_bytes?
    agent.yaml:12:5: endpoints[1]: "ftp://b" is not a URL; write it like http://host:4319 or https://host
    agent.yaml:14:29: exporters.aggregator.batch_rows: must be at least 1
    agent.yaml:15:3: exporters.kafka: is not a type of exporter; there is aggregator
    agent.yaml:16:31: exporters.aggregator/x.batch_rows: "-3" is not a whole number from 0 to 4294967295
    "#);
}

#[test]
fn an_empty_file_lacks_what_is_required() {
    insta::assert_snapshot!(faults(""), @"
    agent.yaml:1:1: region: is required
    agent.yaml:1:1: spool.max_bytes: is required
    ");
}

#[test]
fn text_that_is_not_yaml_is_reported_where_it_breaks() {
    insta::assert_snapshot!(faults("region: [a\nspool: }"), @"agent.yaml:2:6: is not YAML: illegal placement of ':' indicator");
    insta::assert_snapshot!(faults("region: a\n---\nregion: b"), @"agent.yaml:3:1: a second document begins here; one file has one");
    insta::assert_snapshot!(faults("region: a\n\tspool: 1"), @"agent.yaml:1:9: is not YAML: while scanning a plain scalar, found a tab");
}

#[test]
fn values_of_the_wrong_shape_are_reported() {
    let text =
        "region: [a, b]\nregion: c\nspool: 4GiB\nnode: {}\nendpoints: { a: b }\nexporters: [aggregator]";
    insta::assert_snapshot!(faults(text), @"
    agent.yaml:1:9: region: is not a single value
    agent.yaml:2:1: region: is given twice, first on line 1
    agent.yaml:3:1: spool: is not a mapping of keys to values
    agent.yaml:4:7: node: is not a single value
    agent.yaml:5:12: endpoints: is not a single value
    agent.yaml:6:1: exporters: is not a mapping of keys to values
    ");
}

#[test]
fn variables_are_reported_when_they_are_unset_or_malformed() {
    let text = "region: ${REGION}\nnode: ${0x}\nspool: { max_bytes: '${SIZE' }";
    insta::assert_snapshot!(faults(text), @"
    agent.yaml:1:9: region: environment variable REGION is not set
    agent.yaml:2:7: node: ${0x} is not the name of an environment variable
    agent.yaml:3:21: spool.max_bytes: ${ has no closing }; write $$ for a literal $
    ");
}

#[test]
fn an_explicit_null_is_an_absent_value() {
    insta::assert_snapshot!(faults("region: ~\nnode:\nspool: { max_bytes: }"), @"
    agent.yaml:1:1: region: is required
    agent.yaml:3:10: spool.max_bytes: is required
    ");
}

#[test]
fn deep_nesting_and_exploding_aliases_are_refused() {
    let deep = format!("region: {}", "[".repeat(40));
    assert!(
        faults(&deep).contains("nested deeper than 32 levels"),
        "{}",
        faults(&deep)
    );
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(
        faults(&bomb).contains("more than 20000 values"),
        "{}",
        faults(&bomb)
    );
}

#[test]
fn an_anchor_can_be_used_again() {
    let config = read("region: &r eu\nnode: *r\nspool: { max_bytes: 1B }").expect("no faults");
    assert_eq!(config.node, "eu");
}

#[test]
fn a_missing_file_names_its_path() {
    let error = load(Path::new("/nonexistent/agent.yaml")).expect_err("no such file");
    insta::assert_snapshot!(crate::chain(&error), @"/nonexistent/agent.yaml: cannot be read: No such file or directory (os error 2)");
}
