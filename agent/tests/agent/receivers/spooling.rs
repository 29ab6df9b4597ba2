//! The receiver in front of a real spool: what was answered is on the disk, and a retry after
//! a restart is known.

use meridian_agent::spool::{Spool, SpoolConfig};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;

use super::client::{PROTOBUF, framed};
use super::requests::protobuf;
use super::rig::Rig;

const EXPORTER: &str = "aggregator";

fn open(directory: &tempfile::TempDir) -> Spool {
    let config = SpoolConfig::new(directory.path());
    Spool::open(config, Clock::system(), &[EXPORTER.to_owned()]).expect("a spool")
}

#[tokio::test]
async fn what_was_answered_is_in_the_spool_and_a_retry_after_a_restart_is_known() {
    let directory = tempfile::tempdir().expect("a directory");
    let body = protobuf(Signal::Logs);
    let spool = open(&directory);
    let rig = Rig::on_spool(spool.clone()).await;
    let answer = rig.http.post(Signal::Logs, &[PROTOBUF], body.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(spool.pending(EXPORTER).items, 1);
    rig.memory_is_free().await;
    rig.shutdown.cancel();
    rig.task.await.expect("the receiver ends");
    spool.close().await;
    drop(spool);

    let spool = open(&directory);
    let rig = Rig::on_spool(spool.clone()).await;
    let answer = rig.grpc.grpc(Signal::Logs, &[], framed(0, &body)).await;
    assert_eq!(answer.grpc_status(), 0);
    assert_eq!(spool.pending(EXPORTER).items, 1, "stored once");
    assert_eq!(rig.counted("duplicate_requests_total", "logs"), 1.0);
    assert_eq!(rig.counted("accepted_items_total", "logs"), 0.0);
}

#[tokio::test]
async fn a_spool_that_is_closed_is_unavailable_and_the_client_may_come_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory);
    let rig = Rig::on_spool(spool.clone()).await;
    spool.close().await;
    let answer = rig
        .http
        .post(Signal::Logs, &[PROTOBUF], protobuf(Signal::Logs))
        .await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "5"));
}
