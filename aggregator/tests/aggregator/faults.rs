//! An object store that misbehaves when it is told to: around the real one, so that what is
//! left on the disk afterwards is what would be left.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use meridian_aggregator::store::{Durable, Store, StoreMetrics};
use meridian_runtime::clock::Clock;
use meridian_runtime::metrics::Registry;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::watch;
use url::Url;

use super::rows::store_config;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    /// No request has an answer until this is over.
    Silence,
    /// A new entry of a log is refused; nothing of it is kept.
    EntryRefused,
    /// A new entry of a log is never written, and its put never returns.
    EntryStuck,
    /// A new entry of a log is written, and the answer is an error.
    EntryAnswerLost,
}

/// The object store.
#[derive(Debug)]
pub struct Faulty {
    inner: Durable,
    fault: watch::Sender<Fault>,
    /// Entries of logs that were about to be written while something was wrong.
    entries: watch::Sender<usize>,
}

impl Faulty {
    pub fn new(base: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            inner: Durable::new(base),
            fault: watch::Sender::new(Fault::Nothing),
            entries: watch::Sender::new(0),
        })
    }

    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Waits until an entry of a log has met the fault.
    pub async fn met(&self) {
        self.entries
            .subscribe()
            .wait_for(|count| *count > 0)
            .await
            .expect("the sender is ours");
    }

    /// How many have.
    pub fn entries(&self) -> usize {
        *self.entries.borrow()
    }

    pub async fn open(self: &Arc<Self>, url: &Url) -> Store {
        let metrics = StoreMetrics::new(&Registry::new()).expect("a registry of its own");
        Store::open_on(
            Arc::clone(self) as _,
            &store_config(url),
            Clock::system(),
            metrics,
        )
        .await
        .expect("the store opens")
    }

    async fn unless(&self, fault: Fault) {
        self.fault
            .subscribe()
            .wait_for(|now| *now != fault)
            .await
            .expect("the sender is ours");
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

fn is_entry(location: &Path) -> bool {
    let path = location.as_ref();
    path.contains("/_delta_log/") && path.ends_with(".json")
}

fn refused() -> Error {
    Error::Generic {
        store: "faulty",
        source: "the disk is gone".into(),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.unless(Fault::Silence).await;
        let fault = *self.fault.borrow();
        if fault == Fault::Nothing || !is_entry(location) {
            return self.inner.put_opts(location, payload, opts).await;
        }
        self.entries.send_modify(|count| *count += 1);
        match fault {
            Fault::EntryStuck => self.unless(Fault::EntryStuck).await,
            Fault::EntryAnswerLost => {
                self.inner.put_opts(location, payload, opts).await?;
            }
            _ => {}
        }
        Err(refused())
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.unless(Fault::Silence).await;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.unless(Fault::Silence).await;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let mut fault = self.fault.subscribe();
        let listed = self.inner.list(prefix);
        let answers = async move {
            match fault.wait_for(|now| *now != Fault::Silence).await {
                Ok(_) => listed,
                Err(_) => stream::empty().boxed(),
            }
        };
        answers.into_stream().flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.unless(Fault::Silence).await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
