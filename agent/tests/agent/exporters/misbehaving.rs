//! Aggregators that do wrong, and what becomes of the records and the books.

use std::time::Duration;

use super::fake::{Fake, Fault};
use super::rig::{Rig, eventually};

const SHORT: Duration = Duration::from_millis(300);

/// Streams with these faults, then good ones: everything arrives once and the books balance.
async fn recovers_from(faults: &[Fault]) -> (Fake, Rig) {
    let fake = Fake::start(faults).await;
    let rig = Rig::new(&["aggregator"]);
    rig.export_to(&[&fake]);
    for _ in 0..40 {
        rig.accept_logs(25).await;
    }
    eventually("delivery", || rig.spool.pending("aggregator").items == 0).await;
    assert_eq!(fake.seen.lock().rows(), 1_000);
    assert_eq!(fake.seen.lock().violations, Vec::<String>::new());
    assert_eq!(rig.delivered_logs("aggregator"), 1_000);
    rig.assert_ledger_balances();
    (fake, rig)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_acknowledges_is_left_after_a_timeout() {
    let (_, rig) = recovers_from(&[Fault::NeverAcks]).await;
    assert_eq!(rig.failures("no_ack"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_welcomes_is_left_after_a_timeout() {
    let (fake, rig) = recovers_from(&[Fault::NeverWelcomes, Fault::NeverWelcomes]).await;
    assert_eq!(rig.failures("no_welcome"), 2);
    assert_eq!(fake.seen.lock().streams, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_acknowledges_what_was_not_sent_is_left() {
    let (_, rig) = recovers_from(&[Fault::AcksTooMuch]).await;
    assert_eq!(rig.failures("protocol"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_drops_streams_in_the_middle_gets_everything_once() {
    let faults = [
        Fault::Drops,
        Fault::CommitsAndDrops,
        Fault::Drops,
        Fault::CommitsAndDrops,
    ];
    let (fake, rig) = recovers_from(&faults).await;
    assert_eq!(fake.seen.lock().streams, 5);
    assert_eq!((rig.failures("status"), rig.failures("ended")), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_an_unknown_kind_are_ignored() {
    let (fake, rig) = recovers_from(&[Fault::Babbles]).await;
    assert_eq!(fake.seen.lock().streams, 1);
    let text = meridian_runtime::metrics::text(&rig.registry).expect("text");
    assert!(text.contains("meridian_agent_exporter_ignored_messages_total{exporter=\"aggregator\"}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_speaks_another_revision_is_asked_again_only_after_long() {
    let mut fake = Fake::start(&[Fault::Refuses; 8]).await;
    let rig = Rig::new(&["aggregator"]);
    rig.export_to(&[&fake]);
    rig.accept_logs(5).await;
    eventually("a refusal", || rig.failures("refused") == 1).await;
    // A retry without patience would have followed long before ten heartbeats' worth of work.
    for _ in 0..100 {
        rig.accept_logs(1).await;
    }
    assert_eq!(fake.seen.lock().streams, 1);
    fake.go_away();
    rig.stop(SHORT).await;
    assert_eq!(rig.spool.pending("aggregator").items, 105, "nothing is lost");
    rig.assert_ledger_balances();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_goes_away_and_returns_gets_what_came_meanwhile() {
    let mut fake = Fake::start(&[]).await;
    let rig = Rig::new(&["aggregator"]);
    rig.export_to(&[&fake]);
    rig.accept_logs(10).await;
    eventually("a first delivery", || rig.delivered_logs("aggregator") == 10).await;
    fake.go_away();
    for _ in 0..30 {
        rig.accept_logs(10).await;
    }
    eventually("a failed attempt", || rig.failures("connect") > 0).await;
    fake.come_back().await;
    eventually("the rest", || rig.delivered_logs("aggregator") == 310).await;
    assert_eq!(fake.seen.lock().rows(), 310);
    rig.assert_ledger_balances();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_endpoint_is_tried_when_one_does_not_answer() {
    let (absent, present) = (Fake::absent().await, Fake::start(&[]).await);
    let rig = Rig::new(&["aggregator"]);
    rig.export_to(&[&absent, &present]);
    rig.accept_logs(10).await;
    eventually("delivery", || rig.delivered_logs("aggregator") == 10).await;
    rig.assert_ledger_balances();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_lost_its_store_gets_again_what_the_spool_still_holds() {
    let mut fake = Fake::start(&[]).await;
    let rig = Rig::new(&["aggregator"]);
    rig.export_to(&[&fake]);
    for _ in 0..10 {
        rig.accept_logs(10).await;
    }
    eventually("delivery", || rig.delivered_logs("aggregator") == 100).await;
    fake.go_away();
    fake.seen.lock().records.clear();
    fake.seen.lock().committed = [0; 3];
    fake.come_back().await;
    eventually("the second delivery", || fake.seen.lock().rows() == 100).await;
    eventually("its acknowledgement", || {
        rig.spool.pending("aggregator").items == 0
    })
    .await;
    rig.assert_ledger_balances();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_delivered_is_there_after_a_restart() {
    let absent = Fake::absent().await;
    let rig = Rig::new(&["aggregator"]);
    rig.export_to(&[&absent]);
    rig.accept_logs(10).await;
    rig.stop(SHORT).await;
    rig.assert_ledger_balances();
    rig.spool.close().await;
    let Rig { directory, spool, .. } = rig;
    drop(spool);

    let mut fake = absent;
    fake.come_back().await;
    let rig = Rig::reopen(directory, &["aggregator"]);
    rig.export_to(&[&fake]);
    eventually("delivery", || rig.delivered_logs("aggregator") == 10).await;
    assert_eq!(fake.seen.lock().rows(), 10);
    rig.assert_ledger_balances();
}
