//! The lanes of a stream: batches of one signal and lane are in order, and have a committed
//! sequence of their own. Which sequences belong to which lane is not decided here.

use meridian_proto::signal::Signal;
use meridian_proto::stream;

/// A lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// What is accepted now.
    Live,
    /// Closed ranges: the backlogs of outages.
    CatchUp,
}

/// One signal's lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// Its lane.
    pub lane: Lane,
    /// Its signal.
    pub signal: Signal,
}

/// How many tracks there are.
pub const TRACKS: usize = 6;

impl Lane {
    /// Both, the more urgent one first.
    pub const ALL: [Self; 2] = [Self::Live, Self::CatchUp];

    /// The lane on the wire.
    pub fn on_wire(self) -> stream::Lane {
        match self {
            Self::Live => stream::Lane::Live,
            Self::CatchUp => stream::Lane::CatchUp,
        }
    }

    /// The lane with this number on the wire, if this release knows it.
    pub fn known(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.on_wire() as i32 == number)
    }

    /// Its place among the lanes.
    pub fn index(self) -> usize {
        match self {
            Self::Live => 0,
            Self::CatchUp => 1,
        }
    }
}

impl Track {
    /// The signal's live lane.
    pub fn live(signal: Signal) -> Self {
        Self {
            lane: Lane::Live,
            signal,
        }
    }

    /// The signal's closed ranges.
    pub fn catch_up(signal: Signal) -> Self {
        Self {
            lane: Lane::CatchUp,
            signal,
        }
    }

    /// Its place among the tracks.
    pub fn index(self) -> usize {
        self.lane.index() * Signal::ALL.len() + self.signal.index()
    }
}
