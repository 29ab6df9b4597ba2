//! Merging, retention and vacuum beside commits and readers: every row stays once, or is
//! removed with a word. Real processes that are killed meanwhile are in the system tests.

use std::time::Duration;

use meridian_aggregator::config::StoreConfig;
use meridian_aggregator::store::{Maintenance, Store, View};
use meridian_proto::signal::Signal;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::rows::{agent, count, incoming, open, open_with, store_config};

const KEEP: Duration = Duration::from_millis(1_500);

fn directory() -> (TempDir, StoreConfig) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = Url::from_directory_path(directory.path()).expect("an absolute path");
    let mut config = store_config(&url);
    config.maintenance.merge.merge_files = 4;
    config.maintenance.keep_removed = KEEP;
    config.maintenance.keep_log = KEEP;
    (directory, config)
}

fn maintenance(store: &Store) -> Maintenance {
    Maintenance::new(store.clone(), CancellationToken::new())
}

/// So many commits of six rows each, by one agent.
async fn commits(store: &Store, number: u8, from: u64, count: u64) {
    for commit in from..from + count {
        let first = commit * 3 + 1;
        store.offer(
            Signal::Spans,
            &incoming(Signal::Spans, agent(number), first..=first + 2),
        );
        store.commit_all().await.expect("committed");
    }
}

async fn is_readable(store: &Store, view: &View) -> bool {
    let heads = view
        .files
        .iter()
        .map(|file| async { store.object_store().head(&file.path).await.is_ok() });
    futures::future::join_all(heads)
        .await
        .into_iter()
        .all(|there| there)
}

/// Parquet files that are really there.
async fn stored_files(store: &Store, url: &Url) -> usize {
    use futures::TryStreamExt;
    let path = object_store::path::Path::from_url_path(format!("{}spans", url.path())).expect("a path");
    let objects: Vec<_> = store
        .object_store()
        .list(Some(&path))
        .try_collect()
        .await
        .expect("listed");
    let is_data = |path: &str| path.ends_with(".parquet") && !path.contains("_delta_log");
    objects
        .iter()
        .filter(|object| is_data(object.location.as_ref()))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merged_files_hold_every_row_once_and_what_a_query_reads_stays() {
    let (_directory, config) = directory();
    let store = open_with(&config).await;
    commits(&store, 1, 0, 9).await;
    let before = store.view(Signal::Spans);
    let mut maintenance = maintenance(&store);
    maintenance.round().await;
    let after = store.view(Signal::Spans);
    assert_eq!((before.files.len(), after.files.len()), (9, 3));
    assert_eq!(count(&store, Signal::Spans), (54, 0));
    let bounds = |view: &View| {
        let files = view.files.iter();
        files
            .map(|file| (file.time_min, file.time_max))
            .fold((i64::MAX, 0), |all, one| (all.0.min(one.0), all.1.max(one.1)))
    };
    assert_eq!(bounds(&before), bounds(&after));
    assert_eq!(stored_files(&store, &config.url).await, 9 + 2);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let orphan = after.files[0].path.as_ref().replace("part-", "part-orphan-");
    let orphan = object_store::path::Path::from(orphan);
    store.object_store().put(&orphan, "x".into()).await.expect("put");
    while store.object_store().head(&orphan).await.is_ok() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the orphan is still there"
        );
        tokio::time::sleep(KEEP / 8).await;
        maintenance.round().await;
    }
    assert!(
        is_readable(&store, &before).await,
        "a view's files are kept for it"
    );
    drop(before);
    while stored_files(&store, &config.url).await > 3 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "replaced files are still there"
        );
        tokio::time::sleep(KEEP / 8).await;
        maintenance.round().await;
    }
    assert!(is_readable(&store, &after).await);
    assert_eq!(count(&open(&config.url).await, Signal::Spans), (54, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_aggregators_that_merge_and_commit_at_the_same_time_keep_every_row_once() {
    let (_directory, config) = directory();
    let (first, second) = (open_with(&config).await, open_with(&config).await);
    let (mut tidy_first, mut tidy_second) = (maintenance(&first), maintenance(&second));
    for round in 0..6 {
        tokio::join!(
            commits(&first, 1, round * 4, 4),
            commits(&second, 2, round * 4, 4)
        );
        tokio::join!(
            tidy_first.round(),
            tidy_second.round(),
            commits(&first, 3, round, 1)
        );
    }
    for store in [&first, &second] {
        store.refresh().await.expect("readable");
        assert_eq!(count(store, Signal::Spans), (6 * (24 + 24 + 6), 0));
        assert!(is_readable(store, &store.view(Signal::Spans)).await);
    }
    let resumed = open(&config.url).await.resume(agent(2)).await.expect("readable");
    assert!(
        resumed
            .iter()
            .any(|(signal, _, seq)| *signal == Signal::Spans && *seq == 72)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_or_too_much_is_removed_and_every_view_says_so() {
    let (_directory, mut config) = directory();
    config.maintenance.retention = [Some(Duration::from_nanos(1)), None, None];
    let store = open_with(&config).await;
    for signal in [Signal::Spans, Signal::Logs] {
        store.offer(signal, &incoming(signal, agent(1), 1..=3));
    }
    store.commit_all().await.expect("committed");
    let newest = store.view(Signal::Spans).files[0].time_max;
    assert_eq!(store.view(Signal::Spans).removed_to, None);
    maintenance(&store).round().await;
    assert_eq!(
        (count(&store, Signal::Spans), count(&store, Signal::Logs)),
        ((0, 0), (6, 0))
    );
    assert_eq!(store.view(Signal::Spans).removed_to, Some(newest));
    assert_eq!(store.view(Signal::Logs).removed_to, None);
    config.maintenance.bytes_max = Some(1);
    let store = open_with(&config).await;
    assert_eq!(
        store.view(Signal::Spans).removed_to.map(|to| to / 1_000),
        Some(newest / 1_000)
    );
    maintenance(&store).round().await;
    assert_eq!(count(&store, Signal::Logs), (0, 0));
    let offered = store.offer(Signal::Spans, &incoming(Signal::Spans, agent(1), 1..=4));
    assert_eq!(
        (offered.rows, offered.duplicates),
        (8, 0),
        "before it resumes it knows no better"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_entry_that_was_cut_off_is_named_and_the_store_opens() {
    let (_directory, config) = directory();
    let store = open_with(&config).await;
    commits(&store, 1, 0, 2).await;
    let path = format!("{}spans/_delta_log/00000000000000000002.json", config.url.path());
    let entry = std::fs::read(&path).expect("the second commit's entry");
    std::fs::write(&path, &entry[..entry.len() / 2]).expect("cut off");
    let damage = open_with(&config).await.view(Signal::Spans).damage;
    let named: Vec<String> = damage
        .log_entries
        .iter()
        .map(|(path, _)| path.to_string())
        .collect();
    assert!(
        matches!(&named[..], [path] if path.ends_with("_delta_log/00000000000000000002.json")),
        "{damage:?}"
    );
}
