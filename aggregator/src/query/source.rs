//! Where the engine's rows and their completeness come from: the aggregator's store and
//! coverage, or in tests a fixed data set. It holds no rows itself.

use std::fmt::Debug;
use std::sync::Arc;

use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use object_store::ObjectStore;

use crate::coverage::{AgentReport, Coverage, Report, Window};
use crate::store::{Store, View};

/// Everything that the engine reads.
pub trait Source: Debug + Send + Sync {
    /// A consistent state of one table.
    fn view(&self, signal: Signal) -> View;

    /// Where the files of every view are.
    fn object_store(&self) -> Arc<dyn ObjectStore>;

    /// How complete an answer is now; see [`Coverage::report`].
    fn report(&self, regions: Option<&[String]>, window: Window) -> Report;

    /// Every agent that is known.
    fn agents(&self) -> Vec<AgentReport>;

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

impl Source for Own {
    fn view(&self, signal: Signal) -> View {
        self.store.view(signal)
    }

    fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.store.object_store()
    }

    fn report(&self, regions: Option<&[String]>, window: Window) -> Report {
        self.coverage.report(self.clock.now_unix_nanos(), regions, window)
    }

    fn agents(&self) -> Vec<AgentReport> {
        self.coverage.agents(self.clock.now_unix_nanos())
    }

    fn now_unix_nanos(&self) -> u64 {
        self.clock.now_unix_nanos()
    }
}
