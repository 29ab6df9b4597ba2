//! A bucket in memory, with conditional puts, and one door to it for each process: doors are
//! slow, refuse, lose answers, and die with their process in a put. Objects that are there are
//! never damaged.
//!
//! Who asks from a library's thread gets no delay, because time does not pass there.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use meridian_runtime::clock::Clock;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use super::events::Events;
use super::plan::{Moment, draw};

/// The bucket; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Bucket(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    seed: u64,
    objects: InMemory,
    clock: Clock,
    events: Events,
    thread: ThreadId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_away: bool,
    is_flaky: bool,
    /// Puts so far, and how often each object was put.
    attempts: BTreeMap<Path, u64>,
    /// When each object came, nanoseconds.
    times: BTreeMap<Path, u64>,
    /// Every entry of a log there ever was.
    entries: BTreeMap<Path, Bytes>,
    late: Vec<(Path, PutPayload, PutOptions)>,
}

/// A process's way to the bucket.
#[derive(Debug, Clone)]
pub(super) struct Door {
    bucket: Bucket,
    process: u64,
    life: Arc<Mutex<Life>>,
}

#[derive(Debug, Default)]
struct Life {
    fuse: Option<(u64, Moment)>,
    is_dead: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("simulated: {0}")]
struct Simulated(&'static str);

fn failed(why: &'static str) -> Error {
    Error::Generic {
        store: "simulation",
        source: Box::new(Simulated(why)),
    }
}

impl Bucket {
    pub(super) fn new(seed: u64, clock: Clock, events: Events) -> Self {
        Self(Arc::new(Shared {
            seed,
            objects: InMemory::new(),
            clock,
            events,
            thread: std::thread::current().id(),
            state: Mutex::default(),
        }))
    }

    /// A way to it for a new process.
    pub(super) fn door(&self, process: u64) -> Door {
        Door {
            bucket: self.clone(),
            process,
            life: Arc::default(),
        }
    }

    pub(super) fn set_away(&self, is_away: bool) {
        self.0.state.lock().is_away = is_away;
    }

    pub(super) fn set_flaky(&self, is_flaky: bool) {
        self.0.state.lock().is_flaky = is_flaky;
    }

    /// What was on its way when a process died arrives now.
    pub(super) async fn land(&self) {
        let late = std::mem::take(&mut self.0.state.lock().late);
        for (path, payload, options) in late {
            let outcome = self.apply(&path, payload, options).await;
            self.0
                .events
                .note(format!("late put of {path}: {}", outcome.is_ok()));
        }
    }

    /// Every entry of every log, also those that were cleaned away since.
    pub(super) fn entries(&self) -> BTreeMap<Path, Bytes> {
        self.0.state.lock().entries.clone()
    }

    pub(super) async fn read(&self, path: &Path) -> Result<Bytes> {
        self.0.objects.get(path).await?.bytes().await
    }

    async fn apply(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let bytes: Bytes = payload.clone().into();
        let result = self.0.objects.put_opts(path, payload, options).await?;
        let now = self.0.clock.now_unix_nanos();
        let mut state = self.0.state.lock();
        state.times.insert(path.clone(), now);
        if path.extension() == Some("json") && path.as_ref().contains("_delta_log/0") {
            state.entries.insert(path.clone(), bytes);
        }
        Ok(result)
    }

    fn meta(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(nanos) = self.0.state.lock().times.get(&meta.location) {
            let nanos = i64::try_from(*nanos).unwrap_or(i64::MAX);
            meta.last_modified = chrono::DateTime::from_timestamp_nanos(nanos);
        }
        meta
    }
}

impl Door {
    /// Lets so many puts succeed; the process dies in the next one.
    pub(super) fn die_after(&self, puts: u64, moment: Moment) {
        self.life.lock().fuse = Some((puts, moment));
    }

    pub(super) fn is_dead(&self) -> bool {
        self.life.lock().is_dead
    }

    /// The process ends now.
    pub(super) fn die(&self) {
        self.life.lock().is_dead = true;
    }

    fn open(&self) -> Result<()> {
        if self.is_dead() {
            return Err(failed("the process has died"));
        }
        if self.bucket.0.state.lock().is_away {
            self.bucket
                .0
                .events
                .struck("a request meets a store that is away");
            return Err(failed("the store is away"));
        }
        Ok(())
    }

    fn burn(&self) -> Option<Moment> {
        let mut life = self.life.lock();
        let (puts, moment) = life.fuse.as_mut()?;
        if *puts > 0 {
            *puts -= 1;
            return None;
        }
        let moment = *moment;
        life.is_dead = true;
        Some(moment)
    }

    async fn delay(&self, number: u64) {
        if std::thread::current().id() == self.bucket.0.thread {
            let millis = 1 + draw(self.bucket.0.seed, &[2, self.process, number]) % 40;
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }

    /// What this attempt to put this object is to meet.
    fn luck(&self, path: &Path) -> u64 {
        let mut state = self.bucket.0.state.lock();
        let attempt = state.attempts.entry(path.clone()).or_default();
        *attempt += 1;
        let name = path
            .as_ref()
            .bytes()
            .fold(7, |hash: u64, byte| draw(hash, &[u64::from(byte)]));
        draw(self.bucket.0.seed, &[3, self.process, name, *attempt])
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated bucket, process {}", self.process)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Door {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let luck = self.luck(path);
        self.open()?;
        self.delay(luck).await;
        self.open()?;
        let moment = self.burn();
        if let Some(moment) = moment {
            let events = &self.bucket.0.events;
            events.struck(format!("an aggregator dies in a put: {moment:?}"));
        }
        match moment {
            Some(Moment::Before) => return Err(failed("died before a put")),
            Some(Moment::Late) => {
                let mut state = self.bucket.0.state.lock();
                state.late.push((path.clone(), payload, options));
                return Err(failed("died during a put"));
            }
            Some(Moment::After) => {
                // Nobody hears whether it succeeded.
                self.bucket.apply(path, payload, options).await.ok();
                return Err(failed("died after a put"));
            }
            None => {}
        }
        if self.bucket.0.state.lock().is_flaky && luck.is_multiple_of(3) {
            if luck.is_multiple_of(2) {
                self.bucket.apply(path, payload, options).await?;
                self.bucket
                    .0
                    .events
                    .struck("a put succeeds and its answer is lost");
                return Err(failed("the answer was lost"));
            }
            self.bucket.0.events.struck("a put is refused");
            return Err(failed("refused"));
        }
        let result = self.bucket.apply(path, payload, options).await;
        let outcome = if result.is_ok() { "done" } else { "refused" };
        self.bucket
            .0
            .events
            .note(format!("process {} put {path}: {outcome}", self.process));
        result
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.open()?;
        self.bucket.0.objects.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.open()?;
        let mut result = self.bucket.0.objects.get_opts(path, options).await?;
        result.meta = self.bucket.meta(result.meta);
        Ok(result)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.open()?;
        self.bucket.0.objects.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let door = self.clone();
        let allowed = paths.map(move |path| {
            door.open()?;
            path
        });
        self.bucket.0.objects.delete_stream(allowed.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if let Err(error) = self.open() {
            return futures::stream::once(async { Err(error) }).boxed();
        }
        let bucket = self.bucket.clone();
        let listed = self.bucket.0.objects.list(prefix);
        listed.map_ok(move |meta| bucket.meta(meta)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.open()?;
        let mut listed = self.bucket.0.objects.list_with_delimiter(prefix).await?;
        let objects = std::mem::take(&mut listed.objects);
        listed.objects = objects.into_iter().map(|meta| self.bucket.meta(meta)).collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.open()?;
        self.bucket.0.objects.copy_opts(from, to, options).await
    }
}
