//! Where the engine's rows and their completeness come from: the aggregator's store and
//! coverage, or in tests a fixed data set. It holds no rows itself.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::coverage::{AgentReport, Coverage, Report, Status, Window};
use crate::store::{Outage, Store, View};

/// Everything that the engine reads.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// A consistent state of one table.
    fn view(&self, signal: Signal) -> View;

    /// Where the files of every view are.
    fn object_store(&self) -> Arc<dyn ObjectStore>;

    /// How complete an answer is now; see [`Coverage::report`].
    fn report(&self, regions: Option<&[String]>, window: Window) -> Report;

    /// Every agent that is known.
    fn agents(&self) -> Vec<AgentReport>;

    /// What is wrong with the store at present, if anything is.
    fn outage(&self) -> Option<Outage> {
        None
    }

    /// Looks into files that could not be read; true if the views are without them now.
    async fn inspect(&self, _paths: &[Path]) -> bool {
        false
    }

    /// The time.
    fn now_unix_nanos(&self) -> u64;
}

/// The aggregator's own rows.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) store: Store,
    pub(super) coverage: Coverage,
    pub(super) clock: Clock,
}

#[async_trait]
impl Source for Own {
    fn view(&self, signal: Signal) -> View {
        self.store.view(signal)
    }

    fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.store.object_store()
    }

    fn report(&self, regions: Option<&[String]>, window: Window) -> Report {
        let mut report = self.coverage.report(self.clock.now_unix_nanos(), regions, window);
        if let Some(outage) = self.store.outage() {
            // Who is expected, and what others commit, cannot be seen.
            report.status = match report.status {
                _ if outage.is_closed => Status::Unknown,
                Status::Ok => Status::Partial,
                status => status,
            };
            report.warnings.push(outage.to_string());
        }
        report
    }

    fn agents(&self) -> Vec<AgentReport> {
        self.coverage.agents(self.clock.now_unix_nanos())
    }

    fn outage(&self) -> Option<Outage> {
        self.store.outage()
    }

    async fn inspect(&self, paths: &[Path]) -> bool {
        self.store.inspect(paths).await
    }

    fn now_unix_nanos(&self) -> u64 {
        self.clock.now_unix_nanos()
    }
}
