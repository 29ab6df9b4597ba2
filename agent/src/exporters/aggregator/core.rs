//! Decides what the exporter does next: read the spool, build a batch, send it, ask for a
//! commit, wait, or end.
//!
//! ```text
//!            Read             Build            Send
//!   spool ────────► gather ────────► built ────────► flow (in flight) ──► cursor
//!              (3 signals, 2 lanes) (at most one each)     ▲ acks
//! ```
//!
//! A state machine without a clock, a file or a socket: the shell asks [`Core::next`], does what
//! it says, and reports what happened. One piece of work runs at a time and signals take turns,
//! so that a flood of one does not hold up the others. The catch-up lane gets its turn when there
//! is nothing to do for the live lane. What is held is bounded by the limits of a batch: three
//! that gather and one that is built, per lane.

use std::time::Instant;

use meridian_proto::signal::Signal;

use super::build::Built;
use super::flow::{Flow, Move, NotSent, Said};
use super::gather::{BatchLimits, Gather, Wanted};
use super::lane::{Lane, TRACKS, Track};
use crate::spool::Record;

/// What the shell is to do.
#[derive(Debug)]
pub enum Action {
    /// Read records and report them with [`Core::on_read`].
    Read(Track, Wanted),
    /// Make a batch of the records and report it with [`Core::on_built`].
    Build(Track, Vec<Record>),
    /// Send this batch: it counts as sent from now on.
    Send(Lane, Box<Built>),
    /// These records have no rows and are passed over.
    Skip(Option<Move>),
    /// Ask the aggregator to commit at once.
    Flush,
    /// Everything is delivered, and no more will come.
    Finish,
    /// Nothing before this time, or before something happens.
    Wait(Option<Instant>),
}

/// The exporter's decisions; survives streams.
#[derive(Debug)]
pub struct Core {
    flow: Flow,
    /// By [`Track::index`].
    gathers: [Gather; TRACKS],
    /// Whose turn it is, by [`Lane::index`].
    turns: [usize; 2],
    is_working: bool,
    /// By [`Lane::index`].
    built: [Option<Box<Built>>; 2],
    /// No new records will come.
    is_draining: bool,
    /// Whether everything in flight was followed by a Flush.
    is_flushed: bool,
}

impl Core {
    /// Nothing sent yet; `cursors` are those of the spool, by [`Signal::index`].
    pub fn new(cursors: [u64; 3], limits: BatchLimits, window_bytes: u64) -> Self {
        Self {
            flow: Flow::new(cursors, window_bytes),
            gathers: std::array::from_fn(|index| match cursors.get(index) {
                Some(cursor) => Gather::new(limits, *cursor),
                None => Gather::closed(limits, []),
            }),
            turns: [0; 2],
            is_working: false,
            built: [None, None],
            is_draining: false,
            is_flushed: false,
        }
    }

    /// A new stream begins. Work of the stream before must not be reported any more.
    pub fn on_welcome(&mut self, said: &[Said; 3], window_bytes: u64) -> Vec<Move> {
        let moves = self.flow.welcome(said, window_bytes);
        for one in &moves {
            if let Move::Resume {
                signal, seq, ranges, ..
            } = one
            {
                self.gathers[Track::live(*signal).index()].restart(*seq);
                self.gathers[Track::catch_up(*signal).index()].restart_closed(ranges);
            }
        }
        self.built = [None, None];
        self.is_working = false;
        self.is_flushed = false;
        moves
    }

    /// The spool has new records.
    pub fn on_news(&mut self) {
        self.gathers.iter_mut().for_each(Gather::news);
    }

    /// All records there will ever be are in the spool.
    pub fn on_stop(&mut self) {
        self.is_draining = true;
        self.on_news();
    }

    /// What [`Action::Read`] asked for.
    pub fn on_read(&mut self, track: Track, records: Vec<Record>, now: Instant) {
        self.is_working = false;
        self.gathers[track.index()].add(records, now);
    }

    /// What [`Action::Build`] asked for.
    pub fn on_built(&mut self, lane: Lane, built: Built) {
        self.is_working = false;
        self.built[lane.index()] = Some(Box::new(built));
    }

    /// Whether more than this was acknowledged already.
    pub fn is_below_confirmed(&self, track: Track, seq: u64) -> bool {
        self.flow.is_below_confirmed(track, seq)
    }

    /// The aggregator has committed.
    pub fn on_ack(&mut self, track: Track, seq: u64, now: Instant) -> Result<Option<Move>, NotSent> {
        self.flow.ack(track, seq, now)
    }

    /// What to do now; `can_send` says whether the stream takes a message without waiting.
    pub fn next(&mut self, now: Instant, can_send: bool) -> Action {
        for lane in Lane::ALL {
            if let Some(action) = self.dispatch(lane, now, can_send) {
                return action;
            }
        }
        if can_send && self.is_blocked() && !std::mem::replace(&mut self.is_flushed, true) {
            // The window is full: an interval of commits is too long to wait for.
            return Action::Flush;
        }
        if !self.is_working
            && let Some(action) = self.work(now)
        {
            self.is_working = true;
            return action;
        }
        if self.is_draining && self.has_sent_all() {
            if self.flow.in_flight_bytes() == 0 {
                return Action::Finish;
            }
            if can_send && !std::mem::replace(&mut self.is_flushed, true) {
                return Action::Flush;
            }
        }
        Action::Wait(self.next_due(now))
    }

    /// The books of what was sent.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    fn dispatch(&mut self, lane: Lane, now: Instant, can_send: bool) -> Option<Action> {
        let bytes = self.built[lane.index()].as_ref()?.window_bytes();
        if bytes > 0 && !(can_send && self.flow.admits(lane, bytes)) {
            return None;
        }
        let built = self.built[lane.index()].take()?;
        let moved = self.flow.ship(built.shipment(lane), now);
        if bytes == 0 {
            return Some(Action::Skip(moved));
        }
        self.is_flushed = false;
        Some(Action::Send(lane, built))
    }

    /// Whether a batch waits for room in the window. Asked when nothing can be dispatched.
    fn is_blocked(&mut self) -> bool {
        let waits = |lane: Lane| {
            let built = self.built[lane.index()].as_ref();
            built.is_some_and(|built| !self.flow.admits(lane, built.window_bytes()))
        };
        let [live, catch_up] = Lane::ALL.map(waits);
        if live && !self.is_flushed {
            self.flow.yield_share();
        }
        live || catch_up
    }

    /// The next piece of work: the live lane first, and signals take turns.
    fn work(&mut self, now: Instant) -> Option<Action> {
        Lane::ALL.into_iter().find_map(|lane| self.work_for(lane, now))
    }

    fn work_for(&mut self, lane: Lane, now: Instant) -> Option<Action> {
        for step in 0..Signal::ALL.len() {
            let index = (self.turns[lane.index()] + step) % Signal::ALL.len();
            let track = Track {
                lane,
                signal: Signal::ALL[index],
            };
            let gather = &mut self.gathers[track.index()];
            let is_due = gather.due(now, self.is_draining).is_some_and(|due| due <= now);
            let action = if is_due && self.built[lane.index()].is_none() {
                Some(Action::Build(track, gather.take()))
            } else {
                gather.wanted().map(|wanted| Action::Read(track, wanted))
            };
            if action.is_some() {
                self.turns[lane.index()] = index + 1;
                return action;
            }
        }
        None
    }

    fn has_sent_all(&self) -> bool {
        !self.is_working
            && self.built.iter().all(Option::is_none)
            && self.gathers.iter().all(Gather::is_exhausted)
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.is_working {
            return None;
        }
        // What is due for a lane whose batch waits is looked at when that batch has left.
        let is_free = |index: &usize| self.built[index / Signal::ALL.len()].is_none();
        let due = |index: usize| self.gathers[index].due(now, self.is_draining);
        (0..TRACKS).filter(is_free).filter_map(due).min()
    }
}

#[cfg(test)]
mod tests;
