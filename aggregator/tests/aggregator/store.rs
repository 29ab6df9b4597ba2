//! Exactly-once in the tables: duplicates, overlaps, two aggregators on one store, conflicts,
//! crashes and a store that cannot be written for a while.

use meridian_proto::signal::Signal;
use object_store::ObjectStoreExt;
use tempfile::TempDir;
use url::Url;

use super::rows::{agent, count, incoming, open};

fn directory() -> (TempDir, Url) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = Url::from_directory_path(directory.path()).expect("an absolute path");
    (directory, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_every_signal_are_seen_at_once_and_once_after_the_commit() {
    let (_directory, url) = directory();
    let store = open(&url).await;
    for signal in Signal::ALL {
        assert_eq!(store.offer(signal, &incoming(signal, agent(1), 1..=3)).rows, 6);
        assert_eq!(count(&store, signal), (0, 6));
    }
    store.commit_all().await.expect("a directory can be written");
    for signal in Signal::ALL {
        assert_eq!(count(&store, signal), (6, 0));
        assert_eq!(count(&open(&url).await, signal), (6, 0));
    }
    let view = store.view(Signal::Spans);
    let file = &view.files[0];
    assert_eq!(file.region, "eu-central-1");
    assert_eq!(
        (file.service_min.as_deref(), file.service_max.as_deref()),
        (Some("checkout"), Some("checkout"))
    );
    let meta = store
        .object_store()
        .head(&file.path)
        .await
        .expect("the path is complete");
    assert_eq!(meta.size, file.size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_is_stored_once() {
    let (_directory, url) = directory();
    let store = open(&url).await;
    store.offer(Signal::Spans, &incoming(Signal::Spans, agent(1), 1..=3));
    store.commit_all().await.expect("committed");
    assert_eq!(
        store
            .offer(Signal::Spans, &incoming(Signal::Spans, agent(1), 1..=3))
            .rows,
        0
    );
    let overlap = store.offer(Signal::Spans, &incoming(Signal::Spans, agent(1), 2..=5));
    assert_eq!((overlap.rows, overlap.duplicates), (4, 4));
    store.commit_all().await.expect("committed");
    assert_eq!(count(&store, Signal::Spans), (10, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_moves_between_aggregators_duplicates_nothing() {
    let (_directory, url) = directory();
    let (first, second) = (open(&url).await, open(&url).await);
    first.offer(Signal::Logs, &incoming(Signal::Logs, agent(1), 1..=3));
    assert!(
        second
            .resume(agent(1))
            .await
            .expect("readable")
            .iter()
            .all(|(_, _, seq)| *seq == 0)
    );
    second.offer(Signal::Logs, &incoming(Signal::Logs, agent(1), 1..=5));
    second.commit_all().await.expect("committed");
    first.refresh().await.expect("readable");
    assert_eq!(
        count(&first, Signal::Logs),
        (10, 0),
        "the first one's copy left its memory"
    );
    first.commit_all().await.expect("nothing to commit");
    let resumed = first.resume(agent(1)).await.expect("readable");
    assert!(
        resumed
            .iter()
            .any(|(signal, _, seq)| *signal == Signal::Logs && *seq == 5)
    );
    assert_eq!(count(&open(&url).await, Signal::Logs), (10, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_aggregators_that_commit_the_same_rows_at_the_same_time_store_them_once() {
    let (_directory, url) = directory();
    let (first, second) = (open(&url).await, open(&url).await);
    for round in 0..8_u64 {
        let from = round * 3 + 1;
        for store in [&first, &second] {
            store.offer(Signal::Spans, &incoming(Signal::Spans, agent(1), from..=from + 2));
        }
        first.offer(Signal::Spans, &incoming(Signal::Spans, agent(2), from..=from + 2));
        second.offer(Signal::Spans, &incoming(Signal::Spans, agent(3), from..=from + 2));
        let (left, right) = tokio::join!(first.commit_all(), second.commit_all());
        left.expect("a conflict is resolved");
        right.expect("a conflict is resolved");
    }
    first.refresh().await.expect("readable");
    assert_eq!(count(&first, Signal::Spans), (8 * 3 * 6, 0));
    assert_eq!(count(&open(&url).await, Signal::Spans), (8 * 3 * 6, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_committed_before_a_crash_is_asked_for_again() {
    let (_directory, url) = directory();
    let store = open(&url).await;
    store.offer(Signal::Spans, &incoming(Signal::Spans, agent(1), 1..=3));
    store.commit_all().await.expect("committed");
    store.offer(Signal::Spans, &incoming(Signal::Spans, agent(1), 4..=9));
    drop(store);
    let store = open(&url).await;
    let resumed = store.resume(agent(1)).await.expect("readable");
    assert!(
        resumed
            .iter()
            .any(|(signal, _, seq)| *signal == Signal::Spans && *seq == 3)
    );
    store.offer(Signal::Spans, &incoming(Signal::Spans, agent(1), 4..=9));
    store.commit_all().await.expect("committed");
    assert_eq!(count(&store, Signal::Spans), (18, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_stay_visible_while_the_store_cannot_be_written_and_are_committed_when_it_heals() {
    let (directory, url) = directory();
    let store = open(&url).await;
    let log = directory.path().join("spans/_delta_log");
    let aside = directory.path().join("aside");
    std::fs::rename(&log, &aside).expect("the log is moved away");
    std::fs::write(&log, b"in the way").expect("a file in its place");
    store.offer(Signal::Spans, &incoming(Signal::Spans, agent(1), 1..=3));
    store.commit_all().await.expect_err("the log is gone");
    assert_eq!(count(&store, Signal::Spans), (0, 6));
    std::fs::remove_file(&log).expect("healed");
    std::fs::rename(&aside, &log).expect("healed");
    store.commit_all().await.expect("committed");
    assert_eq!(count(&store, Signal::Spans), (6, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_read_from_its_checkpoint_after_many_commits() {
    let (directory, url) = directory();
    let store = open(&url).await;
    for seq in 1..=60 {
        store.offer(Signal::Logs, &incoming(Signal::Logs, agent(1), seq..=seq));
        store.commit_all().await.expect("committed");
    }
    assert!(directory.path().join("logs/_delta_log/_last_checkpoint").exists());
    let store = open(&url).await;
    assert_eq!(count(&store, Signal::Logs), (120, 0));
    let resumed = store.resume(agent(1)).await.expect("readable");
    assert!(
        resumed
            .iter()
            .any(|(signal, _, seq)| *signal == Signal::Logs && *seq == 60)
    );
    let files = store.view(Signal::Logs).files;
    assert!(
        files
            .iter()
            .all(|file| file.service_min.as_deref() == Some("checkout") && file.rows == 2)
    );
}
