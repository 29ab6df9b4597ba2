//! What each running query holds of the memory that all share, and the last line of defence
//! behind all other limits: when the process itself has grown beyond its bound, by whatever
//! nobody counted, the query that holds the most is ended. Why it grew is not asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::{Condvar, Mutex};
use tokio_util::sync::CancellationToken;

use crate::query::error::QueryError;

/// How often the process's memory is looked at while queries run: what is freed and filled
/// again in between is bounded by how fast pages are given out.
const INTERVAL: Duration = Duration::from_millis(20);

/// How many times a query that is being ended is found not to have ended, until the next one is.
const PATIENCE: u32 = 25;

/// What one query holds in operators. It is the pool that the query's operators ask.
#[derive(Debug)]
pub(in crate::query) struct Account {
    shared: Arc<dyn MemoryPool>,
    held: AtomicUsize,
    overgrown: CancellationToken,
}

impl Account {
    pub(in crate::query) fn new(shared: Arc<dyn MemoryPool>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            held: AtomicUsize::new(0),
            overgrown: CancellationToken::new(),
        })
    }

    /// Ends when the process has grown too large, and this query is the largest.
    pub(in crate::query) async fn overgrown(&self) {
        self.overgrown.cancelled().await;
    }

    fn is_ending(&self) -> bool {
        self.overgrown.is_cancelled()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl MemoryPool for Account {
    fn name(&self) -> &str {
        "account"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.shared.grow(reservation, additional);
        self.held.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.shared.shrink(reservation, shrink);
        self.held.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.shared.try_grow(reservation, additional)?;
        self.held.fetch_add(additional, Ordering::Relaxed);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.shared.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.shared.memory_limit()
    }
}

/// The accounts of all running queries, the oldest first, and the thread that watches them.
#[derive(Debug)]
pub(in crate::query) struct Watch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    running: Mutex<Running>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Running {
    accounts: Vec<Arc<Account>>,
    is_over: bool,
}

/// A query's place among the running ones, until it really is over.
#[derive(Debug)]
pub(in crate::query) struct Entry {
    watched: Arc<Watched>,
    account: Arc<Account>,
}

impl Watch {
    /// Watches from now on that the process's own memory stays below `bytes_max`.
    pub(in crate::query) fn start(bytes_max: usize) -> Result<Self, QueryError> {
        let watched = Arc::new(Watched {
            running: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = Arc::clone(&watched);
        std::thread::Builder::new()
            .name("query-memory".to_owned())
            .spawn(move || thread.run(Line::at(bytes_max)))
            .map_err(|source| QueryError::NotRunning(Some(source)))?;
        Ok(Self(watched))
    }

    pub(in crate::query) fn enter(&self, account: Arc<Account>) -> Entry {
        self.0.running.lock().accounts.push(Arc::clone(&account));
        self.0.changed.notify_one();
        Entry {
            watched: Arc::clone(&self.0),
            account,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.running.lock().is_over = true;
        self.0.changed.notify_one();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // A statement that is planned anew may enter before its first attempt has left.
        let accounts = &mut self.watched.running.lock().accounts;
        let place = accounts
            .iter()
            .position(|account| Arc::ptr_eq(account, &self.account));
        if let Some(place) = place {
            accounts.remove(place);
        }
    }
}

impl Watched {
    fn run(&self, mut line: Line) {
        let mut running = self.running.lock();
        while !running.is_over {
            if running.accounts.is_empty() {
                self.changed.wait(&mut running);
                continue;
            }
            let is_ending = running.accounts.iter().any(|account| account.is_ending());
            let bytes = anonymous_bytes().unwrap_or(0);
            if line.is_crossed(bytes, is_ending) {
                end_largest(&running.accounts, bytes);
            }
            self.changed.wait_for(&mut running, INTERVAL);
        }
    }
}

/// Of those that hold the same, the oldest.
fn end_largest(accounts: &[Arc<Account>], bytes: usize) {
    let held = |account: &Arc<Account>| account.held.load(Ordering::Relaxed);
    let going_on = accounts.iter().rev().filter(|account| !account.is_ending());
    if let Some(largest) = going_on.max_by_key(|account| held(account)) {
        tracing::warn!(
            process_bytes = bytes,
            query_bytes = held(largest),
            "the process has grown beyond limits.process_memory: the largest query is ended"
        );
        largest.overgrown.cancel();
    }
}

/// What may not be crossed: the bound, or what is held without any fault of the queries that
/// run now, with some room. An allocator does not give everything back at once.
#[derive(Debug)]
struct Line {
    bound: usize,
    now: usize,
    /// Whether a query was being ended when it was last looked at.
    was_ending: bool,
    /// How often it was looked at while a query was being ended.
    patience: u32,
}

impl Line {
    fn at(bound: usize) -> Self {
        Self {
            bound,
            now: bound,
            was_ending: false,
            patience: 0,
        }
    }

    /// Looks at `bytes`, and whether a query is still being ended: until it is gone, no other
    /// is, unless it does not end, as one that is being planned.
    fn is_crossed(&mut self, bytes: usize, is_ending: bool) -> bool {
        let with_room = bytes.saturating_add(self.bound / 8);
        let has_ended = self.was_ending && !is_ending;
        self.now = match has_ended {
            true => with_room.max(self.bound),
            false => self.now.min(with_room).max(self.bound),
        };
        self.patience = match is_ending {
            true => (self.patience + 1) % PATIENCE,
            false => 0,
        };
        let is_crossed = bytes > self.now && self.patience == 0;
        self.was_ending = is_ending || is_crossed;
        is_crossed
    }
}

/// The process's memory that is not a file's, by proc_pid_status(5).
fn anonymous_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer};

    #[test]
    fn the_line_is_the_bound_and_rises_only_by_what_an_ended_query_leaves_behind() {
        let mut line = Line::at(800);
        assert!(!line.is_crossed(800, false));
        assert!(line.is_crossed(801, false));
        for _ in 1..PATIENCE {
            assert!(!line.is_crossed(5_000, true), "one is being ended");
        }
        assert!(line.is_crossed(5_000, true), "it does not end");
        assert!(!line.is_crossed(2_000, false), "what it left behind");
        assert!(!line.is_crossed(2_100, false), "with an eighth of the bound");
        assert!(line.is_crossed(2_101, false));
        assert!(!line.is_crossed(2_101, false), "it ended at once");
        assert!(!line.is_crossed(100, false), "everything was given back");
        assert!(line.is_crossed(801, false));
    }

    #[tokio::test]
    async fn the_query_that_holds_the_most_is_ended_and_the_others_are_not() {
        let shared: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let [large, small] = [2_000, 1_000].map(|bytes| {
            let account = Account::new(Arc::clone(&shared));
            let pool: Arc<dyn MemoryPool> = Arc::<Account>::clone(&account);
            let reservation = MemoryConsumer::new("test").register(&pool);
            reservation.try_grow(bytes).expect("room");
            (account, reservation)
        });
        let watch = Watch::start(1).expect("a thread");
        let _entries = [&large, &small].map(|(account, _)| watch.enter(Arc::clone(account)));
        large.0.overgrown().await;
        assert!(!small.0.overgrown.is_cancelled());
        assert_eq!(shared.reserved(), 3_000);
    }
}
