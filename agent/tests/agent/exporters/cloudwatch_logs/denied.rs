//! Whoever is not let in: nothing is dropped while it is all of us, people are told once and
//! clearly, and one group that is refused costs the others nothing.

use aws_standin::Denied;

use super::*;

fn denying(denied: Vec<Denied>) -> Faults {
    Faults {
        denied,
        ..Faults::default()
    }
}

/// The agent's errors.
fn errors(agent: &Child) -> Vec<String> {
    agent.logged(&["ERROR"])
}

async fn send_to_three(agent: &Child) {
    for service in ["one", "two", "three"] {
        agent.send_logs(&logs(service, numbered(service, 0..10))).await;
    }
}

/// Waits for so many requests that were denied; nothing may be settled by then.
async fn waits(agent: &Child, requests: i64) {
    let denied = |metrics: &str| {
        let line = metrics
            .lines()
            .find(|line| line.contains("exporter_requests_total") && line.contains("outcome=\"denied\""));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.and_then(|value| value.parse().ok()).unwrap_or(0_i64)
    };
    let metrics = agent
        .shows("it is denied", |metrics| denied(metrics) >= requests)
        .await;
    assert_eq!(
        count(&metrics, "delivered") + count(&metrics, "dropped"),
        0,
        "it waits"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_denies_everything_is_waited_for_and_told_once() {
    let aws = standin(1).await;
    aws.fail(denying(vec![Denied::Everything]));
    let agent = agent(&aws, ", linger: 10ms, denied_wait: 1ms").await;
    send_to_three(&agent).await;
    waits(&agent, 8).await;
    let errors = errors(&agent);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("not authorized to perform: logs:PutLogEvents"),
        "{errors:?}"
    );
    aws.fail(Faults::default());
    let metrics = agent.settled(NAME, Signal::Logs, 30).await;
    assert_eq!(count(&metrics, "dropped"), 0);
    assert_eq!(arrived(&aws).len(), 30);
    assert_well_formed(&aws);
}

/// One group of three gets nothing, because of this.
async fn one_group_is_dropped_after_a_wait(denied: Denied, said: &str) {
    let aws = standin(1).await;
    for service in ["one", "three"] {
        aws.create_log_group(&format!("/meridian/{service}"), &[]);
    }
    aws.fail(denying(vec![denied]));
    let agent = agent(&aws, ", linger: 10ms, denied_wait: 2s").await;
    agent.send_logs(&logs("two", numbered("two", 0..10))).await;
    waits(&agent, 2).await;
    for service in ["one", "three"] {
        agent.send_logs(&logs(service, numbered(service, 0..10))).await;
    }
    agent.says("only this log group").await;
    let metrics = agent.settled(NAME, Signal::Logs, 30).await;
    assert_eq!(
        (count(&metrics, "delivered"), dropped(&metrics, "denied")),
        (20, 10)
    );
    // Also of what comes later, and without asking for each.
    for number in 0..20 {
        agent
            .send_logs(&logs("two", numbered("later", number..number + 1)))
            .await;
        agent
            .send_logs(&logs("one", numbered("later", number..number + 1)))
            .await;
    }
    let metrics = agent.settled(NAME, Signal::Logs, 70).await;
    assert_eq!(
        (count(&metrics, "delivered"), dropped(&metrics, "denied")),
        (40, 30)
    );
    assert_well_formed(&aws);
    let alone = agent.logged(&["only this log group"]);
    assert_eq!(alone.len(), 1, "{alone:?}");
    assert!(
        alone[0].contains("/meridian/two") && alone[0].contains(said),
        "{alone:?}"
    );
    let errors = errors(&agent);
    assert!(
        errors.len() <= 2,
        "that it is denied, and that it is alone: {errors:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_group_that_is_denied_costs_only_its_own_events() {
    let group = "/meridian/two".to_owned();
    one_group_is_dropped_after_a_wait(Denied::LogGroup(group), "logs:PutLogEvents").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_may_not_be_created_costs_only_its_own_events() {
    let denied = Denied::Action(Action::CreateLogGroup);
    one_group_is_dropped_after_a_wait(denied, "logs:CreateLogGroup").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_allowed_again_is_written_to_again() {
    let aws = standin(1).await;
    let group = "/meridian/two".to_owned();
    aws.fail(denying(vec![Denied::LogGroup(group)]));
    let agent = agent(&aws, ", linger: 10ms, denied_wait: 2s").await;
    agent.send_logs(&logs("two", numbered("two", 0..10))).await;
    waits(&agent, 1).await;
    agent.send_logs(&logs("one", numbered("one", 0..10))).await;
    agent.says("only this log group").await;
    aws.fail(Faults::default());
    agent.settled(NAME, Signal::Logs, 20).await;
    // Within a wait it is tried again.
    let mut sent = 0;
    while arrived(&aws).keys().all(|text| !text.starts_with("again")) {
        agent
            .send_logs(&logs("two", numbered("again", sent..sent + 1)))
            .await;
        sent += 1;
        let accepted = 20 + i64::try_from(sent).expect("a few");
        agent.settled(NAME, Signal::Logs, accepted).await;
    }
    assert_well_formed(&aws);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_not_to_be_created_is_waited_for() {
    let aws = standin(1).await;
    let agent = agent(&aws, ", linger: 10ms, create: false").await;
    agent.send_logs(&logs("one", numbered("one", 0..10))).await;
    waits(&agent, 3).await;
    let errors = errors(&agent);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("`create` is false"), "{errors:?}");
    aws.create_log_group("/meridian/one", &["node-1"]);
    let metrics = agent.settled(NAME, Signal::Logs, 10).await;
    assert_eq!(count(&metrics, "dropped"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_come_late_are_found_and_nothing_was_dropped() {
    let aws = standin(1).await;
    let mut environment = aws.environment();
    environment.retain(|(name, _)| !name.contains("KEY"));
    let agent = Child::start(&exporter(&aws, ", linger: 10ms"), &environment).await;
    agent.send_logs(&logs("one", numbered("one", 0..10))).await;
    waits(&agent, 3).await;
    let errors = errors(&agent);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("no credentials") && errors[0].contains("AWS_ACCESS_KEY_ID"),
        "{errors:?}"
    );
    let settings = Settings::of_region(REGION);
    let (id, secret) = (settings.access_key_id, settings.secret_access_key);
    let profile = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    std::fs::create_dir(agent.home().join(".aws")).expect("a folder");
    std::fs::write(agent.home().join(".aws/credentials"), profile).expect("written");
    let metrics = agent.settled(NAME, Signal::Logs, 10).await;
    assert_eq!(count(&metrics, "dropped"), 0);
    assert_well_formed(&aws);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_for_another_region_or_by_another_secret_is_waited_for() {
    let aws = standin(1).await;
    let elsewhere = exporter(&aws, ", linger: 10ms").replace("region: eu-central-1", "region: us-east-1");
    let mut forged = aws.environment();
    forged.retain(|(name, _)| name != "AWS_SECRET_ACCESS_KEY");
    forged.push(("AWS_SECRET_ACCESS_KEY".to_owned(), "another".to_owned()));
    for (exporter, environment, said) in [
        (elsewhere, aws.environment(), "valid region"),
        (exporter(&aws, ", linger: 10ms"), forged, "does not match"),
    ] {
        let agent = Child::start(&exporter, &environment).await;
        agent.send_logs(&logs("one", numbered("one", 0..10))).await;
        waits(&agent, 3).await;
        let errors = errors(&agent);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains("InvalidSignatureException") && errors[0].contains(said),
            "{errors:?}"
        );
    }
    assert!(aws.look(|seen| seen.refused(Cause::Identity)) >= 6);
    assert_well_formed(&aws);
}
