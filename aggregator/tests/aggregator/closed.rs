//! Backlogs that are set aside: each record comes once, by the live or by the catch-up lane,
//! whoever holds what in memory and whoever dies. The agent here is made by hand.

use meridian_aggregator::store::{Books, Lane, SetAside, Store};
use meridian_proto::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use url::Url;

use super::rows::{agent, count, incoming, open};

fn directory() -> (TempDir, Url) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = Url::from_directory_path(directory.path()).expect("an absolute path");
    (directory, url)
}

async fn books(store: &Store, request: Option<SetAside>) -> Books {
    let books = store
        .books(agent(1), [request, None, None])
        .await
        .expect("readable");
    books
        .into_iter()
        .find(|(signal, _)| *signal == Signal::Spans)
        .expect("there is a table of spans")
        .1
}

fn ask(to: u64) -> Option<SetAside> {
    Some(SetAside { to, caught_up: 0 })
}

fn offer(store: &Store, lane: Lane, seqs: std::ops::RangeInclusive<u64>) -> usize {
    let mut rows = incoming(Signal::Spans, agent(1), seqs);
    rows.lane.lane = lane;
    store.offer(Signal::Spans, &rows).rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_in_memory_that_are_set_aside_come_once_by_the_catch_up_lane() {
    let (_directory, url) = directory();
    let (here, elsewhere) = (open(&url).await, open(&url).await);
    for store in [&here, &elsewhere] {
        assert_eq!(offer(store, Lane::Live, 1..=3), 6);
    }
    let after = books(&here, ask(5)).await;
    assert_eq!((after.live, after.open_ranges().len()), (5, 1));
    assert_eq!(count(&here, Signal::Spans), (0, 0), "they left its memory");
    elsewhere.commit_all().await.expect("nothing is left to commit");
    assert_eq!(offer(&here, Lane::CatchUp, 1..=5), 10);
    assert_eq!(offer(&here, Lane::Live, 6..=7), 4);
    here.commit_all().await.expect("committed");
    let after = books(&here, None).await;
    assert_eq!((after.live, after.open_ranges()), (7, vec![]));
    for store in [&here, &elsewhere, &open(&url).await] {
        store.refresh().await.expect("readable");
        assert_eq!(count(store, Signal::Spans), (14, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_faster_than_the_request_is_kept_out_of_the_range() {
    let (_directory, url) = directory();
    let (here, elsewhere) = (open(&url).await, open(&url).await);
    offer(&elsewhere, Lane::Live, 1..=3);
    elsewhere.commit_all().await.expect("committed");
    let after = books(&here, ask(5)).await;
    let range = after.open_ranges()[0];
    assert_eq!((range.after, range.to), (3, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_late_changes_nothing() {
    let (_directory, url) = directory();
    let (here, elsewhere) = (open(&url).await, open(&url).await);
    let answered = books(&here, ask(9)).await;
    assert_eq!(books(&elsewhere, ask(7)).await, answered);
    assert_eq!(books(&elsewhere, ask(9)).await, answered);
}

/// An agent that forgets everything but what the log tells it.
struct Agent {
    accepted: u64,
    asked: u64,
    connected: usize,
    live: u64,
    catch_up: u64,
    ranges: Vec<(u64, u64)>,
}

impl Agent {
    async fn connect(&mut self, stores: &[Store; 2], to: usize, set_aside: bool) {
        self.connected = to;
        let caught_up = self.ranges.first().map_or(0, |range| range.0);
        self.asked = if set_aside { self.accepted } else { self.asked };
        let request = set_aside.then_some(SetAside {
            to: self.accepted,
            caught_up,
        });
        let books = books(&stores[to], request).await;
        self.live = books.live;
        self.catch_up = books.catch_up;
        let ranges = books.open_ranges().into_iter();
        self.ranges = ranges.map(|range| (range.after, range.to)).collect();
    }

    fn send_live(&mut self, stores: &[Store; 2], records: u64) {
        let last = self.accepted.min(self.live + records);
        if last > self.live {
            offer(&stores[self.connected], Lane::Live, self.live + 1..=last);
            self.live = last;
        }
    }

    fn send_late(&mut self, stores: &[Store; 2], records: u64) {
        let catch_up = self.catch_up;
        let next = self.ranges.iter().find(|range| range.1 > catch_up);
        let Some((after, to)) = next.copied() else { return };
        let first = after.max(catch_up) + 1;
        let last = to.min(first + records - 1);
        offer(&stores[self.connected], Lane::CatchUp, first..=last);
        self.catch_up = last;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_order_of_events_loses_or_doubles_a_record() {
    for seed in 0..12 {
        let (_directory, url) = directory();
        let mut stores = [open(&url).await, open(&url).await];
        let mut random = StdRng::seed_from_u64(seed);
        let mut agent = Agent {
            accepted: 0,
            asked: 0,
            connected: 0,
            live: 0,
            catch_up: 0,
            ranges: Vec::new(),
        };
        let mut ranges_max = 0;
        for _ in 0..60 {
            let one = random.random_range(0..2);
            match random.random_range(0..9) {
                0 | 1 => agent.accepted += random.random_range(1..6),
                2 => agent.connect(&stores, one, true).await,
                3 => agent.connect(&stores, one, false).await,
                4 => agent.send_live(&stores, random.random_range(1..5)),
                5 => agent.send_late(&stores, random.random_range(1..5)),
                6 => stores[one].commit_all().await.expect("committed"),
                7 => drop(books(&stores[one], ask(agent.asked)).await),
                _ => {
                    // What it had in memory is lost, and the agent's stream with it.
                    stores[one] = open(&url).await;
                    if agent.connected == one {
                        agent.connect(&stores, one, false).await;
                    }
                }
            }
            ranges_max = ranges_max.max(agent.ranges.len());
        }
        agent.connect(&stores, 0, false).await;
        agent.send_live(&stores, u64::MAX / 2);
        while agent.ranges.iter().any(|range| range.1 > agent.catch_up) {
            agent.send_late(&stores, 100);
        }
        stores[0].commit_all().await.expect("committed");
        stores[1].commit_all().await.expect("nothing is new in it");
        stores[0].refresh().await.expect("readable");
        let expected = (agent.accepted * 2, 0);
        assert_eq!(
            count(&stores[0], Signal::Spans),
            expected,
            "seed {seed}, up to {ranges_max} ranges"
        );
    }
}
