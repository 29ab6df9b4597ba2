//! Decides what the exporter does next: read the spool, build a batch, send it, ask for a
//! commit, wait, or end.
//!
//! ```text
//!            Read             Build            Send
//!   spool ────────► gather ────────► built ────────► flow (in flight) ──► cursor
//!                  (3 signals)      (at most one)         ▲ acks
//! ```
//!
//! A state machine without a clock, a file or a socket: the shell asks [`Core::next`], does what
//! it says, and reports what happened. One piece of work runs at a time and signals take turns,
//! so that a flood of one does not hold up the others. What is held is bounded by the limits of
//! a batch: three that gather and one that is built.

use std::time::Instant;

use meridian_proto::signal::Signal;

use super::build::Built;
use super::flow::{Flow, Move, NotSent};
use super::gather::{BatchLimits, Gather, Wanted};
use crate::spool::Record;

/// What the shell is to do.
#[derive(Debug)]
pub enum Action {
    /// Read records and report them with [`Core::on_read`].
    Read(Signal, Wanted),
    /// Make a batch of the records and report it with [`Core::on_built`].
    Build(Signal, Vec<Record>),
    /// Send this batch: it counts as sent from now on.
    Send(Box<Built>),
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
    gathers: [Gather; 3],
    turn: usize,
    is_working: bool,
    built: Option<Box<Built>>,
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
            gathers: cursors.map(|cursor| Gather::new(limits, cursor)),
            turn: 0,
            is_working: false,
            built: None,
            is_draining: false,
            is_flushed: false,
        }
    }

    /// A new stream begins. Work of the stream before must not be reported any more.
    pub fn on_welcome(&mut self, committed: [u64; 3], window_bytes: u64) -> Vec<Move> {
        let moves = self.flow.welcome(committed, window_bytes);
        for (gather, sent) in self.gathers.iter_mut().zip(self.flow.sent()) {
            gather.restart(sent);
        }
        self.built = None;
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
    pub fn on_read(&mut self, signal: Signal, records: Vec<Record>, now: Instant) {
        self.is_working = false;
        self.gathers[signal.index()].add(records, now);
    }

    /// What [`Action::Build`] asked for.
    pub fn on_built(&mut self, built: Built) {
        self.is_working = false;
        self.built = Some(Box::new(built));
    }

    /// The aggregator has committed.
    pub fn on_ack(&mut self, signal: Signal, seq: u64, now: Instant) -> Result<Option<Move>, NotSent> {
        self.flow.ack(signal, seq, now)
    }

    /// What to do now; `can_send` says whether the stream takes a message without waiting.
    pub fn next(&mut self, now: Instant, can_send: bool) -> Action {
        if let Some(action) = self.dispatch(now, can_send) {
            return action;
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

    fn dispatch(&mut self, now: Instant, can_send: bool) -> Option<Action> {
        let bytes = self.built.as_ref()?.window_bytes();
        if bytes > 0 && !(can_send && self.flow.admits(bytes)) {
            return None;
        }
        let built = self.built.take()?;
        let moved = self.flow.ship(built.shipment(), now);
        if bytes == 0 {
            return Some(Action::Skip(moved));
        }
        self.is_flushed = false;
        Some(Action::Send(built))
    }

    /// The next piece of work: signals take turns.
    fn work(&mut self, now: Instant) -> Option<Action> {
        for step in 0..Signal::ALL.len() {
            let index = (self.turn + step) % Signal::ALL.len();
            let signal = Signal::ALL[index];
            let gather = &mut self.gathers[index];
            let is_due = gather.due(now, self.is_draining).is_some_and(|due| due <= now);
            let action = if is_due && self.built.is_none() {
                Some(Action::Build(signal, gather.take()))
            } else {
                gather.wanted().map(|wanted| Action::Read(signal, wanted))
            };
            if action.is_some() {
                self.turn = index + 1;
                return action;
            }
        }
        None
    }

    fn has_sent_all(&self) -> bool {
        !self.is_working && self.built.is_none() && self.gathers.iter().all(Gather::is_exhausted)
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.is_working || self.built.is_some() {
            return None;
        }
        let due = |gather: &Gather| gather.due(now, self.is_draining);
        self.gathers.iter().filter_map(due).min()
    }
}

#[cfg(test)]
mod tests;
