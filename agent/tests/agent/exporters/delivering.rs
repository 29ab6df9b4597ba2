//! An aggregator that behaves: what is delivered, in which order, and how it ends.

use std::time::Duration;

use meridian_proto::signal::Signal;

use super::fake::{Fake, WINDOW_BYTES};
use super::rig::{Rig, eventually};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_once_in_order_within_the_window() {
    let fake = Fake::start(&[]).await;
    let rig = Rig::new(&["aggregator"]);
    rig.export_to(&[&fake]);
    for _ in 0..300 {
        rig.accept_logs(7).await;
    }
    eventually("delivery", || rig.delivered_logs("aggregator") == 2_100).await;
    let seen = fake.seen.lock();
    assert_eq!(seen.rows(), 2_100);
    assert_eq!(seen.violations, Vec::<String>::new());
    assert!(seen.in_flight_bytes_max <= WINDOW_BYTES);
    drop(seen);
    rig.assert_ledger_balances();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_asks_for_a_commit_waits_for_it_and_says_goodbye() {
    let fake = Fake::start(&[]).await;
    let rig = Rig::new(&["aggregator"]);
    for _ in 0..20 {
        rig.accept_logs(3).await;
    }
    rig.export_to(&[&fake]);
    rig.stop(LONG).await;
    let seen = fake.seen.lock();
    assert_eq!(seen.rows(), 60);
    assert_eq!(seen.goodbyes, [0]);
    drop(seen);
    assert_eq!(rig.spool.pending("aggregator").items, 0);
    rig.assert_ledger_balances();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_is_heard_every_second_and_its_watermark_moves() {
    let fake = Fake::start(&[]).await;
    let rig = Rig::new(&["aggregator"]);
    rig.export_to(&[&fake]);
    eventually("a first heartbeat", || fake.seen.lock().heartbeats > 0).await;
    let first = fake.seen.lock().watermark;
    eventually("a later watermark", || fake.seen.lock().watermark > first).await;
    assert!(fake.seen.lock().heartbeats > 1);
    assert_eq!(fake.seen.lock().batches, 0);
    assert_eq!(
        fake.seen.lock().hellos[0].agent_id.as_ref(),
        rig.spool.identity().as_bytes()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_of_the_process_is_reported_as_a_gap() {
    let fake = Fake::start(&[]).await;
    let rig = Rig::new(&["aggregator"]);
    rig.export_to(&[&fake]);
    // As if this process had shown no life between these two.
    let now = rig.clock.now_unix_nanos();
    rig.stalls.observe(now - 20_000_000_000);
    rig.stalls.observe(now);
    eventually("a gap", || !fake.seen.lock().gaps.is_empty()).await;
    let gap = fake.seen.lock().gaps[0].clone();
    assert_eq!(
        (gap.from_unix_nanos, gap.to_unix_nanos),
        (now - 20_000_000_000, now)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_otlp_is_dropped_and_the_rest_arrives() {
    let fake = Fake::start(&[]).await;
    let rig = Rig::new(&["aggregator"]);
    rig.accept_logs(5).await;
    rig.accept(Signal::Logs, 9, vec![0xff; 30]).await;
    rig.accept_logs(5).await;
    rig.accept(Signal::Spans, 4, vec![0xff; 30]).await;
    rig.export_to(&[&fake]);
    eventually("delivery", || {
        rig.delivered_logs("aggregator") == 10 && rig.spool.pending("aggregator").items == 0
    })
    .await;
    let dropped = |signal| rig.sum("meridian_agent_dropped_items_total", "aggregator", signal);
    assert_eq!((dropped(Signal::Logs), dropped(Signal::Spans)), (9, 4));
    assert_eq!(fake.seen.lock().rows(), 10);
    rig.assert_ledger_balances();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_aggregators_have_a_pace_and_a_ledger_each() {
    let fake = Fake::start(&[]).await;
    let rig = Rig::new(&["aggregator", "aggregator/second"]);
    rig.export_to(&[&fake]);
    rig.accept_logs(5).await;
    eventually("both deliveries", || {
        rig.delivered_logs("aggregator") == 5 && rig.delivered_logs("aggregator/second") == 5
    })
    .await;
    assert_eq!(fake.seen.lock().rows(), 5, "one store behind both has it once");
    rig.assert_ledger_balances();
}
