//! The tables of spans, logs and metrics: rows that are committed in Delta tables, and rows
//! that are still in memory, together as one consistent view. Queries are not run here.
//!
//! ```text
//!  offer ──► hot rows ──(date, region; sorted)──► Parquet ──► Delta log ──► acknowledged
//!                 └──────── view = files of one version + rows it lacks ────┘
//! ```
//!
//! Exactly-once: a commit records the last sequence of every lane whose rows it adds, and
//! the log refuses it if another aggregator moved one of these lanes meanwhile. Then the
//! rows that are now in the table are cut, and the rest is tried again.

mod bucket;
mod closed;
mod columns;
mod commit;
mod compaction;
mod damage;
mod durable;
mod gather;
mod hot;
mod layout;
mod location;
mod log;
mod maintenance;
mod merge;
mod metrics;
mod new_file;
mod order;
mod outage;
mod parquet_file;
mod retention;
mod salvage;
mod stats;
mod table;
mod texts;
mod vacuum;
pub mod view;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use meridian_proto::ids::AgentId;
use meridian_proto::signal::Signal;
use meridian_runtime::backoff::Backoff;
use meridian_runtime::clock::Clock;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{MaintenanceConfig, StoreConfig};
use location::Location;
use outage::Troubles;
use table::Table;

pub use bucket::BucketError;
pub use closed::{Books, ClosedRange, SetAside};
pub use compaction::plan::Limits as MergeLimits;
pub use damage::{Damage, Fault};
pub use durable::Durable;
pub use hot::{Incoming, Lane, LaneKey, Offered, Record};
pub use location::LocationError;
pub use maintenance::Maintenance;
pub use metrics::StoreMetrics;
pub use outage::Outage;
pub use table::{Moved, StoreError};
pub use view::{DataFile, HotBatch, View};

const RETRY_INITIAL: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// A store that has not answered for so long is in trouble, whatever comes of the request.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A handle on the three tables; clones share them.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    object_store: Arc<dyn ObjectStore>,
    object_store_url: Url,
    location: Option<Location>,
    clock: Clock,
    /// In the order of `Signal::index`; unset until the store could be reached.
    tables: OnceLock<Vec<Table>>,
    /// Whether everything that must be known before the first row is: the tables, and who is
    /// expected.
    serving: watch::Sender<bool>,
    commit_interval: Duration,
    commit_bytes: usize,
    maintenance: MaintenanceConfig,
    metrics: StoreMetrics,
    /// Counts the changes of committed sequences.
    commits: watch::Sender<u64>,
    /// One per table: there is reason to commit before the interval is over.
    wake: [Notify; 3],
    troubles: Troubles,
}

impl Store {
    /// A store at its place, of which nothing was read yet. [`Store::open_tables`] does, as
    /// often as it takes, and [`Store::serve`] ends the beginning.
    pub fn closed(config: &StoreConfig, clock: Clock, metrics: StoreMetrics) -> Result<Self, StoreError> {
        Self::closed_on(None, config, clock, metrics)
    }

    /// The same through an object store of the caller's, if there is one; it is rooted at the
    /// root of the file system or bucket of `config.url`.
    pub fn closed_on(
        objects: Option<Arc<dyn ObjectStore>>,
        config: &StoreConfig,
        clock: Clock,
        metrics: StoreMetrics,
    ) -> Result<Self, StoreError> {
        let location = match objects {
            Some(objects) => Location::on(&config.url, objects)?,
            None => Location::open(config)?,
        };
        Ok(Self::at(location, config, clock, metrics))
    }

    /// Opens the tables, and makes those that are not there.
    pub async fn open(config: &StoreConfig, clock: Clock, metrics: StoreMetrics) -> Result<Self, StoreError> {
        Self::closed(config, clock, metrics)?.opened().await
    }

    /// The same through an object store of the caller's.
    pub async fn open_on(
        objects: Arc<dyn ObjectStore>,
        config: &StoreConfig,
        clock: Clock,
        metrics: StoreMetrics,
    ) -> Result<Self, StoreError> {
        Self::closed_on(Some(objects), config, clock, metrics)?
            .opened()
            .await
    }

    async fn opened(self) -> Result<Self, StoreError> {
        self.open_tables().await?;
        self.serve();
        Ok(self)
    }

    fn at(location: Location, config: &StoreConfig, clock: Clock, metrics: StoreMetrics) -> Self {
        Self(Arc::new(Inner {
            object_store: Arc::clone(location.root()),
            object_store_url: location.root_url().clone(),
            location: Some(location),
            clock,
            tables: OnceLock::new(),
            serving: watch::Sender::new(false),
            commit_interval: config.commit_interval,
            commit_bytes: config.commit_bytes,
            maintenance: config.maintenance.clone(),
            metrics,
            commits: watch::Sender::new(0),
            wake: Default::default(),
            troubles: Troubles::default(),
        }))
    }

    /// Opens the tables, and makes those that are not there; nothing if they are open.
    pub async fn open_tables(&self) -> Result<(), StoreError> {
        let Some(location) = self.0.location.as_ref().filter(|_| self.0.tables.get().is_none()) else {
            return Ok(());
        };
        let mut tables = Vec::with_capacity(Signal::ALL.len());
        for signal in Signal::ALL {
            // Files that no version knows are deleted after this time: half of it is safe.
            let commit_within = self.0.maintenance.keep_removed / 2;
            tables.push(Table::open(signal, location, self.0.clock.clone(), commit_within).await?);
        }
        // Whoever was faster opened the same.
        self.0.tables.get_or_init(|| tables);
        Ok(())
    }

    /// All is known that must be: rows are taken and questions answered from here on.
    pub fn serve(&self) {
        self.0.troubles.not_opened(None);
        self.0.serving.send_replace(true);
    }

    /// Why the tables cannot be opened, until they are.
    pub fn note_not_opened(&self, reason: String) {
        self.0.troubles.not_opened(Some(reason));
    }

    /// A store without tables, for tests of what reads it.
    pub fn empty() -> Self {
        let registry = meridian_runtime::metrics::Registry::new();
        Self(Arc::new(Inner {
            object_store: Arc::new(object_store::memory::InMemory::new()),
            object_store_url: Url::parse("memory:///").expect("a constant URL parses"),
            location: None,
            clock: Clock::system(),
            tables: OnceLock::from(Vec::new()),
            serving: watch::Sender::new(true),
            commit_interval: Duration::from_secs(5),
            commit_bytes: 1,
            maintenance: MaintenanceConfig::default(),
            metrics: StoreMetrics::new(&registry).expect("a registry of its own has no such names"),
            commits: watch::Sender::new(0),
            wake: Default::default(),
            troubles: Troubles::default(),
        }))
    }

    /// What one table holds at this moment, each row exactly once.
    pub fn view(&self, signal: Signal) -> View {
        self.table(signal).map(Table::view).unwrap_or_default()
    }

    /// Where the files of every view are read from; their paths are full paths in it.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.0.object_store)
    }

    /// The URL of the root of [`Store::object_store`], as DataFusion's registry wants it:
    /// `file:///` or `s3://bucket`.
    pub fn object_store_url(&self) -> &Url {
        &self.0.object_store_url
    }

    fn tables(&self) -> &[Table] {
        self.0.tables.get().map(Vec::as_slice).unwrap_or_default()
    }

    fn table(&self, signal: Signal) -> Option<&Table> {
        self.tables().get(signal.index())
    }

    /// Takes rows into memory, where queries see them at once.
    pub fn offer(&self, signal: Signal, incoming: &Incoming) -> Offered {
        let Some(table) = self.table(signal) else {
            return Offered {
                rows: 0,
                duplicates: incoming.batch.num_rows(),
            };
        };
        let (offered, rows, bytes) = {
            let mut state = table.state.write();
            (state.offer(incoming), state.held_rows(), state.held_bytes())
        };
        self.0.metrics.hot(signal, rows, bytes);
        if bytes >= self.0.commit_bytes {
            self.wake(signal);
        }
        offered
    }

    /// What is committed of both lanes of an agent, read from the log as it is now: the
    /// agent may have delivered to another aggregator before. Waits while the store is closed.
    pub async fn resume(&self, agent: AgentId) -> Result<Vec<(Signal, LaneKey, u64)>, StoreError> {
        let books = self.books(agent, [None; 3]).await?;
        let of_signal = |(signal, books): (Signal, Books)| {
            let seqs = [(Lane::Live, books.live), (Lane::CatchUp, books.catch_up)];
            seqs.map(|(lane, seq)| (signal, LaneKey { agent, lane }, seq))
        };
        Ok(books.into_iter().flat_map(of_signal).collect())
    }

    /// The same with the closed ranges, after backlogs were set aside (by [`Signal::index`]).
    pub async fn books(
        &self,
        agent: AgentId,
        requests: [Option<SetAside>; 3],
    ) -> Result<Vec<(Signal, Books)>, StoreError> {
        // The sender is in `self`: it cannot be gone.
        let mut serving = self.0.serving.subscribe();
        serving.wait_for(|serving| *serving).await.ok();
        let tables = self.tables().iter();
        let asked = tables.map(|table| async {
            let books = table.books(agent, requests[table.signal.index()]).await?;
            Ok::<_, StoreError>((table.signal, books))
        });
        let books = futures::future::try_join_all(asked).await;
        if requests.iter().any(Option::is_some) {
            self.announce();
        }
        books
    }

    /// What is known to be committed of a lane.
    pub fn committed(&self, signal: Signal, lane: &LaneKey) -> u64 {
        self.table(signal)
            .and_then(|table| table.state.read().committed(lane))
            .unwrap_or(0)
    }

    /// Changes whenever a committed sequence may have changed.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.0.commits.subscribe()
    }

    fn wake(&self, signal: Signal) {
        self.0.wake[signal.index()].notify_one();
    }

    /// Asks for a commit at once.
    pub fn flush(&self) {
        Signal::ALL.into_iter().for_each(|signal| self.wake(signal));
    }

    /// Reads what other aggregators committed.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        for table in self.tables() {
            table.refresh().await?;
        }
        self.announce();
        Ok(())
    }

    /// Commits every row that is in memory now.
    pub async fn commit_all(&self) -> Result<(), StoreError> {
        for signal in Signal::ALL {
            self.commit(signal).await?;
        }
        Ok(())
    }

    async fn commit(&self, signal: Signal) -> Result<(), StoreError> {
        let Some(table) = self.table(signal) else {
            return Ok(());
        };
        loop {
            let timer = self.0.metrics.commit_seconds.start_timer();
            let result = table.commit(self.0.commit_bytes).await;
            let (rows, bytes) = {
                let state = table.state.read();
                (state.held_rows(), state.held_bytes())
            };
            self.0.metrics.hot(signal, rows, bytes);
            self.announce();
            match result {
                Ok(moved) if moved.rows == 0 => {
                    timer.stop_and_discard();
                    return Ok(());
                }
                Ok(moved) => {
                    timer.observe_duration();
                    let rows = self
                        .0
                        .metrics
                        .rows_committed
                        .with_label_values(&[signal.as_str()]);
                    rows.inc_by(moved.rows as u64);
                }
                Err(error) => {
                    timer.stop_and_discard();
                    return Err(error);
                }
            }
            if bytes < self.0.commit_bytes {
                return Ok(());
            }
        }
    }

    fn announce(&self) {
        self.0.commits.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Commits one table's rows every interval, or sooner when there are many or somebody
    /// asks; ends after a last commit when `stop` is cancelled.
    pub async fn run(self, signal: Signal, stop: CancellationToken) -> Result<(), StoreError> {
        let mut backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX);
        let mut serving = self.0.serving.subscribe();
        tokio::select! {
            // No row was taken: there is nothing to commit.
            () = stop.cancelled() => return Ok(()),
            _ = serving.wait_for(|serving| *serving) => {}
        }
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = self.0.wake[signal.index()].notified() => false,
                () = tokio::time::sleep(self.0.commit_interval) => false,
            };
            while let Err(error) = self.watched(signal, self.commit(signal)).await {
                self.note(signal, &error);
                // Only time passes here: no flush and no full memory makes it hurry.
                backoff.wait().await;
            }
            self.0.troubles.commits(signal, None);
            backoff.reset();
            if stopping {
                return Ok(());
            }
        }
    }

    /// Waits for a commit, and says so when the store takes too long to answer.
    async fn watched<T>(&self, signal: Signal, commit: impl Future<Output = T>) -> T {
        let mut commit = std::pin::pin!(commit);
        if let Ok(outcome) = tokio::time::timeout(ANSWER_WITHIN, &mut commit).await {
            return outcome;
        }
        let reason = format!("it has not answered for {} s", ANSWER_WITHIN.as_secs());
        tracing::warn!(%signal, reason, "a commit takes long; its rows stay in memory until it is done");
        self.0.troubles.commits(signal, Some(reason));
        commit.await
    }

    fn note(&self, signal: Signal, error: &StoreError) {
        let reason = meridian_runtime::chain(error);
        self.0.metrics.commit_failures.inc();
        tracing::error!(%signal, reason, "a commit failed; its rows stay in memory and it is tried again");
        self.0.troubles.commits(signal, Some(reason));
    }

    fn note_files(&self) {
        for table in self.tables() {
            let files = table.files();
            let bytes = files.iter().map(|file| file.size).sum();
            self.0.metrics.maintenance.table(table.signal, files.len(), bytes);
        }
    }

    /// The directory of a store that is one.
    fn local_directory(&self) -> Option<PathBuf> {
        let location = self.0.location.as_ref()?;
        (location.root_url().scheme() == "file")
            .then(|| PathBuf::from(format!("/{}", location.path("").as_ref())))
    }

    /// What is wrong between this process and the store at present, if anything is.
    pub fn outage(&self) -> Option<Outage> {
        let is_serving = *self.0.serving.borrow();
        let place = match &self.0.location {
            Some(location) => location.url().as_str(),
            None => "",
        };
        self.0.troubles.outage(is_serving, place)
    }

    fn side_path(&self, name: &str) -> Option<Path> {
        Some(self.0.location.as_ref()?.path(&format!("_meridian/{name}")))
    }

    /// Puts a small object beside the tables, replacing what was there.
    pub(crate) async fn put_beside(&self, name: &str, bytes: Bytes) -> Result<(), object_store::Error> {
        let Some(path) = self.side_path(name) else {
            return Ok(());
        };
        self.0.object_store.put(&path, bytes.into()).await.map(|_| ())
    }

    /// Lists and reads the small objects beside the tables whose names begin with `prefix/`.
    pub(crate) async fn read_beside(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, Bytes)>, object_store::Error> {
        use futures::TryStreamExt;
        let Some(path) = self.side_path(prefix) else {
            return Ok(Vec::new());
        };
        let listed: Vec<_> = self.0.object_store.list(Some(&path)).try_collect().await?;
        let mut objects = Vec::with_capacity(listed.len());
        for meta in listed {
            let name = meta.location.filename().unwrap_or_default().to_owned();
            match self.0.object_store.get(&meta.location).await {
                Ok(object) => objects.push((format!("{prefix}/{name}"), object.bytes().await?)),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(objects)
    }

    pub(crate) async fn delete_beside(&self, name: &str) -> Result<(), object_store::Error> {
        let Some(path) = self.side_path(name) else {
            return Ok(());
        };
        self.0.object_store.delete(&path).await
    }
}
