//! What coverage says, as values. How they are written as JSON is the API's business.
//! All times are nanoseconds since the Unix epoch, UTC.

use meridian_proto::ids::AgentId;

/// The time that a question is about; `None` means unbounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// From when, inclusive.
    pub from: Option<u64>,
    /// Until when, exclusive.
    pub to: Option<u64>,
}

/// How much an answer can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Every region in scope is reporting and has no gap in the window.
    Ok,
    /// At least one region is late, silent, or has a gap.
    Partial,
    /// Nothing can be said.
    Unknown,
}

impl Status {
    /// The word in the envelope.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Partial => "partial",
            Status::Unknown => "unknown",
        }
    }
}

/// How complete an answer is.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// One word for all of it.
    pub status: Status,
    /// When this was said.
    pub as_of: u64,
    /// Up to when every region in scope is complete; `None` if that is unknown for one.
    pub complete_to: Option<u64>,
    /// The regions in scope: the configured ones in their order, then unexpected ones.
    pub regions: Vec<RegionReport>,
    /// What a reader should know, as whole sentences.
    pub warnings: Vec<String>,
}

/// What a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionState {
    /// All its expected agents report.
    Ok,
    /// Some do, or they are behind.
    Late,
    /// None does.
    Silent,
}

impl RegionState {
    /// The word in the envelope.
    pub fn as_str(self) -> &'static str {
        match self {
            RegionState::Ok => "ok",
            RegionState::Late => "late",
            RegionState::Silent => "silent",
        }
    }
}

/// How complete one region is.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionReport {
    /// Its name.
    pub region: String,
    /// Up to when its data is complete.
    pub complete_to: Option<u64>,
    /// When any of its agents was last heard.
    pub last_seen: Option<u64>,
    /// Agents that are heard now.
    pub agents_reporting: u32,
    /// Agents that should be.
    pub agents_expected: u32,
    /// Share of what is expected that is there, 0 to 1; `None` where nothing is known.
    pub completeness: Option<f64>,
    /// In one word.
    pub state: RegionState,
    /// Times within the window that are not complete.
    pub gaps: Vec<GapReport>,
}

/// A time in which a share of a region's data is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct GapReport {
    /// From when.
    pub from: u64,
    /// Until when; `None` while it lasts.
    pub to: Option<u64>,
    /// The share of the region's data that is missing, 0 to 1; `None` where it is unknown.
    pub share: Option<f64>,
}

/// What an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// It is heard.
    Ok,
    /// It is heard, but its data is behind.
    Late,
    /// It is not heard, and should be.
    Silent,
    /// It has not been heard for longer than it is expected to return.
    Gone,
    /// It said goodbye with nothing left to deliver.
    Stopped,
}

impl AgentState {
    /// The word in the table `agents`.
    pub fn as_str(self) -> &'static str {
        match self {
            AgentState::Ok => "ok",
            AgentState::Late => "late",
            AgentState::Silent => "silent",
            AgentState::Gone => "gone",
            AgentState::Stopped => "stopped",
        }
    }
}

/// One row of the table `agents`.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentReport {
    /// Where it runs.
    pub region: String,
    /// See `region`.
    pub cluster: String,
    /// See `region`.
    pub node: String,
    /// The identity of its spool.
    pub agent_id: AgentId,
    /// Its software.
    pub version: String,
    /// In one word.
    pub state: AgentState,
    /// When it was last heard, by this side's clock.
    pub last_seen: u64,
    /// Everything it accepted before this time is in the store or in memory.
    pub watermark: Option<u64>,
    /// Items in its spool that are not yet acknowledged.
    pub pending_items: u64,
    /// Their bytes.
    pub pending_bytes: u64,
    /// When the oldest of them was accepted.
    pub oldest_pending: Option<u64>,
    /// How far its clock is ahead of this side's.
    pub clock_offset_ms: i64,
}
