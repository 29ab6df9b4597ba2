//! The policy documents of deploy/iam against the calls that are made: they allow what is called,
//! and nothing else. Resources and conditions are not evaluated.

use std::collections::BTreeSet;
use std::path::Path;

use aws_standin::{Action, Seen};

/// The actions that the policy of an exporter allows.
pub fn allowed(name: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/iam/{name}.json"));
    let text = std::fs::read_to_string(&path).expect("a policy");
    let policy: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(policy["Version"], "2012-10-17");
    let mut actions = BTreeSet::new();
    for statement in policy["Statement"].as_array().expect("statements") {
        assert_eq!(statement["Effect"], "Allow");
        assert!(!statement["Resource"].is_null(), "{statement}");
        let names = statement["Action"].as_array().expect("a list");
        actions.extend(names.iter().map(|name| name.as_str().expect("a name").to_owned()));
    }
    actions
}

/// The permissions that the calls needed.
pub fn needed(seen: &Seen) -> BTreeSet<String> {
    seen.calls
        .keys()
        .map(|action| action.permission().to_owned())
        .collect()
}

#[test]
fn a_policy_allows_the_calls_of_its_exporter_and_no_others() {
    let logs = [
        Action::PutLogEvents,
        Action::CreateLogGroup,
        Action::CreateLogStream,
        Action::PutRetentionPolicy,
    ];
    for (name, actions) in [
        ("xray", &[Action::PutTraceSegments][..]),
        ("xray_otlp", &[Action::OtlpTraces]),
        ("cloudwatch_logs", &logs),
        ("cloudwatch_metrics", &[Action::PutMetricData]),
        ("assume_role", &[Action::AssumeRole]),
    ] {
        let expected: BTreeSet<String> = actions
            .iter()
            .map(|action| action.permission().to_owned())
            .collect();
        assert_eq!(allowed(name), expected, "{name}");
    }
}
