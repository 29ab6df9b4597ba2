//! The tables of spans, logs and metrics: rows that are committed in Delta tables, and rows
//! that are still in memory, together as one consistent view. Queries are not run here.

pub mod view;

use std::sync::Arc;

use meridian_proto::signal::Signal;
use object_store::ObjectStore;
use url::Url;

pub use view::{DataFile, HotBatch, View};

/// A handle on the three tables; clones share them.
#[derive(Debug, Clone)]
pub struct Store {
    object_store: Arc<dyn ObjectStore>,
    object_store_url: Url,
}

impl Store {
    /// A store without rows in memory, for tests of what reads it.
    pub fn empty() -> Self {
        Self {
            object_store: Arc::new(object_store::memory::InMemory::new()),
            object_store_url: Url::parse("memory:///").expect("a constant URL parses"),
        }
    }

    /// What one table holds at this moment, each row exactly once.
    pub fn view(&self, _signal: Signal) -> View {
        View::default()
    }

    /// Where the files of every view are read from; their paths are full paths in it.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.object_store)
    }

    /// The URL of the root of [`Store::object_store`], as DataFusion's registry wants it:
    /// `file:///` or `s3://bucket`.
    pub fn object_store_url(&self) -> &Url {
        &self.object_store_url
    }
}
