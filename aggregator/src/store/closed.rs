//! Closed ranges: what of an agent's sequences the live lane has passed and the catch-up lane has
//! still to deliver, and the step that makes one. Kept in the log as application transactions, so
//! that every aggregator of the store, and an agent that has forgotten, knows the same.
//!
//! ```text
//!      committed    │ closed range 0 │ by the live lane │ closed range 1 │ by the live lane │ to come
//!                   after            to                 after            to                 live
//!                       ▲ catch-up: ascends through all ranges
//! ```
//!
//! It moves sequences and no rows. What an agent should set aside is the agent's decision.

use std::sync::Arc;

use meridian_proto::ids::AgentId;
use tokio::time::Instant;

use super::hot::{Lane, LaneKey};
use super::log::{self, Outcome, TableLog};
use super::table::{StoreError, Table};

/// Ranges of one agent and signal that can be open at the same time. Beyond, nothing is set
/// aside, and the live lane delivers in order.
pub(crate) const RANGES_MAX: u8 = 8;
/// Attempts against other writers before the agent has to ask again.
const CONFLICTS_MAX: usize = 8;

/// Sequences after the first, up to and with the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedRange {
    /// The last sequence before.
    pub after: u64,
    /// The last sequence in it.
    pub to: u64,
}

/// What an agent asks for in its Hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetAside {
    /// The last sequence of the range.
    pub to: u64,
    /// Everything in closed ranges up to here is delivered or given up.
    pub caught_up: u64,
}

/// How far an agent has come in one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    /// The live lane's committed sequence.
    pub live: u64,
    /// The catch-up lane's.
    pub catch_up: u64,
    /// The greatest `to` that was ever asked for: a request that is late must change nothing.
    asked: u64,
    /// As they are kept: a range that is over leaves its place to the next one.
    ranges: Vec<ClosedRange>,
}

impl Books {
    /// What the catch-up lane has still to deliver, ascending.
    pub fn open_ranges(&self) -> Vec<ClosedRange> {
        let is_open = |range: &&ClosedRange| range.to > self.catch_up;
        let mut open: Vec<ClosedRange> = self
            .ranges
            .iter()
            .filter(is_open)
            .map(|range| ClosedRange {
                after: range.after.max(self.catch_up),
                to: range.to,
            })
            .collect();
        open.sort_unstable_by_key(|range| range.after);
        open
    }

    /// The transactions that answer a request; none if it was answered before.
    fn answer(&self, request: SetAside) -> Vec<(Lane, u64)> {
        if request.to <= self.asked {
            return Vec::new();
        }
        let mut moves = vec![(Lane::Asked, request.to)];
        let catch_up = self.catch_up.max(request.caught_up.min(self.live));
        if catch_up > self.catch_up {
            moves.push((Lane::CatchUp, catch_up));
        }
        if request.to > self.live {
            moves.extend(self.range_up_to(request.to, catch_up));
        }
        moves
    }

    /// Opens a range from the live lane's sequence on; one that ends there grows instead.
    fn range_up_to(&self, to: u64, catch_up: u64) -> Vec<(Lane, u64)> {
        let is_open = |range: &ClosedRange| range.to > catch_up;
        let adjacent = self
            .ranges
            .iter()
            .position(|range| is_open(range) && range.to == self.live);
        let free = || {
            let over = self.ranges.iter().position(|range| !is_open(range));
            over.unwrap_or(self.ranges.len())
        };
        let place = adjacent.unwrap_or_else(free);
        let Some(place) = u8::try_from(place).ok().filter(|place| *place < RANGES_MAX) else {
            return Vec::new();
        };
        let mut moves = vec![(Lane::Live, to), (Lane::RangeTo(place), to)];
        if adjacent.is_none() {
            moves.push((Lane::RangeAfter(place), self.live));
        }
        moves
    }
}

impl Table {
    /// How far an agent has come, as the log had it after this was called, and after what the
    /// agent asks for was done. Of many who ask at the same time, as when all agents come back at
    /// once, the first refreshes.
    pub(crate) async fn books(&self, agent: AgentId, request: Option<SetAside>) -> Result<Books, StoreError> {
        let called = Instant::now();
        let mut log = self.log.lock().await;
        if !log.shows(called) || log.version() != self.state.read().version() {
            self.refresh_locked(&mut log).await?;
        }
        for _ in 0..CONFLICTS_MAX {
            let books = self.read_books(&log, agent).await?;
            self.take_over(agent, &books);
            let moves: Vec<(LaneKey, u64)> = request
                .map(|request| books.answer(request))
                .unwrap_or_default()
                .into_iter()
                .map(|(lane, seq)| (LaneKey { agent, lane }, seq))
                .collect();
            if moves.is_empty() {
                return Ok(books);
            }
            let committed = log.append(Vec::new(), &moves).await;
            if let Err(error) = committed {
                // It may be in the log all the same, or another aggregator's may: looked up above.
                let outcome = log::outcome(&error);
                self.refresh_locked(&mut log).await?;
                if outcome == Outcome::Unknown {
                    return Err(self.log_error(error));
                }
                continue;
            }
            // Rows of the range that are in memory leave it: the catch-up lane brings them.
            let lanes = Lane::ALL.map(|lane| LaneKey { agent, lane });
            self.adopt(&log, &lanes).await?;
        }
        Err(StoreError::Contended {
            signal: self.signal,
            attempts: CONFLICTS_MAX,
        })
    }

    fn take_over(&self, agent: AgentId, books: &Books) {
        let seqs = [(Lane::Live, books.live), (Lane::CatchUp, books.catch_up)];
        let committed = seqs.map(|(lane, seq)| (LaneKey { agent, lane }, seq));
        let mut state = self.state.write();
        let (version, files) = (state.version(), Arc::clone(state.files()));
        state.advance(version, files, committed);
    }

    async fn read_books(&self, log: &TableLog, agent: AgentId) -> Result<Books, StoreError> {
        let seq = async |lane| {
            let committed = log.committed(&[LaneKey { agent, lane }]).await;
            let committed = committed.map_err(|error| self.log_error(error))?;
            Ok::<u64, StoreError>(committed.first().map_or(0, |(_, seq)| *seq))
        };
        let mut books = Books {
            live: seq(Lane::Live).await?,
            catch_up: seq(Lane::CatchUp).await?,
            ..Books::default()
        };
        books.asked = seq(Lane::Asked).await?;
        if books.asked == 0 {
            return Ok(books);
        }
        for place in 0..RANGES_MAX {
            let to = seq(Lane::RangeTo(place)).await?;
            if to == 0 {
                break;
            }
            let after = seq(Lane::RangeAfter(place)).await?;
            books.ranges.push(ClosedRange { after, to });
        }
        Ok(books)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(books: &mut Books, request: SetAside) -> usize {
        let moves = books.answer(request);
        for (lane, seq) in &moves {
            match lane {
                Lane::Live => books.live = *seq,
                Lane::CatchUp => books.catch_up = *seq,
                Lane::Asked => books.asked = *seq,
                Lane::RangeAfter(place) | Lane::RangeTo(place) => {
                    let place = usize::from(*place);
                    if books.ranges.len() == place {
                        books.ranges.push(ClosedRange { after: 0, to: 0 });
                    }
                    let range = &mut books.ranges[place];
                    let end = if matches!(lane, Lane::RangeTo(_)) {
                        &mut range.to
                    } else {
                        &mut range.after
                    };
                    assert!(*seq >= *end, "a transaction's version never descends");
                    *end = *seq;
                }
            }
        }
        moves.len()
    }

    fn ask(to: u64) -> SetAside {
        SetAside { to, caught_up: 0 }
    }

    fn open(books: &Books) -> Vec<(u64, u64)> {
        books
            .open_ranges()
            .iter()
            .map(|range| (range.after, range.to))
            .collect()
    }

    #[test]
    fn a_backlog_becomes_a_range_and_the_live_lane_goes_on_after_it() {
        let mut books = Books {
            live: 100,
            ..Books::default()
        };
        apply(&mut books, ask(990));
        assert_eq!((books.live, open(&books)), (990, vec![(100, 990)]));
        books.catch_up = 500;
        assert_eq!(open(&books), [(500, 990)]);
        books.catch_up = 990;
        assert_eq!(open(&books), []);
    }

    #[test]
    fn a_request_that_comes_again_or_late_changes_nothing() {
        let mut books = Books {
            live: 100,
            ..Books::default()
        };
        apply(&mut books, ask(990));
        let before = books.clone();
        assert_eq!(apply(&mut books, ask(990)), 0);
        assert_eq!(apply(&mut books, ask(500)), 0);
        assert_eq!(books, before);
    }

    #[test]
    fn a_request_for_what_is_committed_is_only_noted() {
        let mut books = Books {
            live: 100,
            ..Books::default()
        };
        apply(&mut books, ask(100));
        assert_eq!((books.live, open(&books)), (100, vec![]));
        books.live = 50;
        assert_eq!(apply(&mut books, ask(90)), 0, "an earlier Hello that was stuck");
    }

    #[test]
    fn ranges_that_touch_become_one_and_others_stay_apart() {
        let mut books = Books {
            live: 100,
            ..Books::default()
        };
        apply(&mut books, ask(200));
        apply(&mut books, ask(300));
        assert_eq!(open(&books), [(100, 300)], "nothing was delivered in between");
        books.live = 350;
        apply(&mut books, ask(400));
        assert_eq!(open(&books), [(100, 300), (350, 400)]);
        assert_eq!(books.live, 400);
    }

    #[test]
    fn a_range_that_is_over_or_given_up_leaves_its_place() {
        let mut books = Books::default();
        apply(&mut books, ask(10));
        books.live = 20;
        let request = SetAside {
            to: 30,
            caught_up: 10,
        };
        apply(&mut books, request);
        assert_eq!((books.ranges.len(), open(&books)), (1, vec![(20, 30)]));
        assert_eq!(books.catch_up, 10);
    }

    #[test]
    fn without_a_place_nothing_is_set_aside() {
        let mut books = Books::default();
        for range in 1..=u64::from(RANGES_MAX) {
            books.live = range * 100;
            apply(&mut books, ask(range * 100 + 10));
        }
        assert_eq!(books.ranges.len(), usize::from(RANGES_MAX));
        books.live = 5_000;
        apply(&mut books, ask(6_000));
        assert_eq!((books.live, open(&books).len()), (5_000, usize::from(RANGES_MAX)));
        assert_eq!(books.asked, 6_000);
    }
}
