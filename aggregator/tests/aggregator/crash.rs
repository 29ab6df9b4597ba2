//! A crash at the step that decides: the rows' file is written, the log's entry is not, or
//! nobody knows. Real processes are killed in the package system-tests.

use std::path::Path;

use meridian_aggregator::store::Store;
use meridian_proto::signal::Signal;
use meridian_runtime::tasks;
use tempfile::TempDir;
use url::Url;

use super::faults::{Fault, Faulty};
use super::rows::{agent, count, incoming, open};

fn faulty() -> (TempDir, Url, std::sync::Arc<Faulty>) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = Url::from_directory_path(directory.path()).expect("an absolute path");
    let faulty = Faulty::new(directory.path().to_path_buf());
    (directory, url, faulty)
}

fn offer(store: &Store, seqs: std::ops::RangeInclusive<u64>) -> usize {
    store
        .offer(Signal::Spans, &incoming(Signal::Spans, agent(1), seqs))
        .rows
}

async fn committed(store: &Store) -> u64 {
    let resumed = store.resume(agent(1)).await.expect("readable");
    let of_spans = resumed.iter().filter(|(signal, _, _)| *signal == Signal::Spans);
    of_spans.map(|(_, _, seq)| *seq).max().unwrap_or(0)
}

/// The Parquet files that are there, whether or not the log knows them.
fn data_files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| match path.is_dir() {
            true if path.ends_with("_delta_log") => 0,
            true => data_files(&path),
            false => usize::from(path.extension().is_some_and(|end| end == "parquet")),
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_rows_file_and_the_logs_entry_stores_every_row_once() {
    let (directory, url, faulty) = faulty();
    let store = faulty.open(&url).await;
    offer(&store, 1..=3);
    store.commit_all().await.expect("committed");
    offer(&store, 4..=9);
    faulty.set(Fault::EntryStuck);
    let commit = tasks::spawn("commit", async move { store.commit_all().await });
    faulty.met().await;
    drop(commit);
    let spans = directory.path().join("spans");
    assert_eq!(data_files(&spans), 2, "the second one is the orphan");

    let store = open(&url).await;
    assert_eq!(
        (committed(&store).await, count(&store, Signal::Spans)),
        (3, (6, 0))
    );
    assert_eq!(
        offer(&store, 1..=9),
        12,
        "what was acknowledged is cut, the rest is new"
    );
    store.commit_all().await.expect("committed");
    for store in [store, open(&url).await] {
        assert_eq!(
            (committed(&store).await, count(&store, Signal::Spans)),
            (9, (18, 0))
        );
        assert_eq!(
            store.view(Signal::Spans).files.len(),
            2,
            "the orphan is in no view"
        );
    }
    assert_eq!(data_files(&spans), 3);
    faulty.set(Fault::Nothing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_found_in_the_log_and_not_repeated() {
    let (directory, url, faulty) = faulty();
    let store = faulty.open(&url).await;
    offer(&store, 1..=3);
    faulty.set(Fault::EntryAnswerLost);
    store.commit_all().await.expect("the log itself was asked");
    faulty.set(Fault::Nothing);
    store.commit_all().await.expect("nothing to commit");
    assert_eq!(count(&store, Signal::Spans), (6, 0));
    assert_eq!(count(&open(&url).await, Signal::Spans), (6, 0));
    assert_eq!(data_files(&directory.path().join("spans")), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_refused_keeps_its_rows_and_is_tried_again() {
    let (_directory, url, faulty) = faulty();
    let store = faulty.open(&url).await;
    offer(&store, 1..=3);
    faulty.set(Fault::EntryRefused);
    store.commit_all().await.expect_err("refused");
    assert_eq!(
        (committed(&store).await, count(&store, Signal::Spans)),
        (0, (0, 6))
    );
    faulty.set(Fault::Nothing);
    store.commit_all().await.expect("committed");
    assert_eq!(
        (committed(&store).await, count(&store, Signal::Spans)),
        (3, (6, 0))
    );
}
