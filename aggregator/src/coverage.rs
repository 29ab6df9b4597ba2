//! How much of the truth is in an answer: which agents are expected, up to what time each
//! has delivered, and where nothing can be known. Pure: time and IO come from outside.

pub mod report;

pub use report::{AgentReport, AgentState, GapReport, RegionReport, RegionState, Report, Status, Window};

/// What is known about every agent; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Coverage {}

impl Coverage {
    /// How complete an answer about `window` is, as known at `now_unix_nanos`, for the named
    /// regions or (`None`) all that are configured or were seen.
    pub fn report(&self, now_unix_nanos: u64, _regions: Option<&[String]>, _window: Window) -> Report {
        Report {
            status: Status::Unknown,
            as_of: now_unix_nanos,
            complete_to: None,
            regions: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Every agent that is known, ordered by region, cluster and node.
    pub fn agents(&self, _now_unix_nanos: u64) -> Vec<AgentReport> {
        Vec::new()
    }
}
