//! What a courier has to send: pieces that wait for company, and requests that are ready, or
//! will be again. It decides which request is next, not whether one may leave.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use meridian_runtime::backoff::Backoff;

use super::books::ItemId;
use super::packer::{Limits, Piece, Request, pack};
use super::sink::{Part, Sent};

/// The first wait before a request is sent again, at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// A request and its attempts.
#[derive(Debug)]
pub struct Queued<C> {
    /// The request.
    pub request: Sent<C>,
    backoff: Option<Backoff>,
    not_before: Option<Instant>,
}

impl<C> Queued<C> {
    fn new(request: Sent<C>) -> Self {
        Self {
            request,
            backoff: None,
            not_before: None,
        }
    }

    fn is_ready(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|time| time <= now)
    }
}

/// Which requests are made of the pieces that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that are full.
    Full,
    /// And those with a piece that has waited long enough.
    Late,
    /// And all others.
    All,
}

/// How long pieces wait, and requests that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// A piece waits for company this long.
    pub linger: Duration,
    /// The longest wait before a request is sent again.
    pub retry_longest: Duration,
}

/// Everything that is to be sent.
#[derive(Debug)]
pub struct Outbox<C> {
    limits: Limits,
    waits: Waits,
    waiting: Vec<Piece<Part<C>>>,
    waiting_bytes: usize,
    waiting_weight: usize,
    /// When the piece that waits longest came.
    oldest: Option<Instant>,
    /// Packing begins with pieces of such a weight, or so many bytes.
    pack_from: (usize, usize),
    queued: VecDeque<Queued<C>>,
    too_large: Vec<ItemId>,
}

impl<C> Outbox<C> {
    /// Nothing yet.
    pub fn new(limits: Limits, waits: Waits) -> Self {
        Self {
            limits,
            waits,
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_weight: 0,
            oldest: None,
            pack_from: (limits.pieces, limits.bytes),
            queued: VecDeque::new(),
            too_large: Vec::new(),
        }
    }

    /// Pieces that wait for company from now on.
    pub fn add(&mut self, pieces: Vec<Piece<Part<C>>>, now: Instant) {
        for mut piece in pieces {
            piece.content.arrived = Some(now);
            self.wait(piece);
        }
    }

    fn wait(&mut self, piece: Piece<Part<C>>) {
        let bytes = piece.bytes.saturating_add(self.limits.piece_overhead);
        self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
        self.waiting_weight = self.waiting_weight.saturating_add(piece.weight);
        self.oldest = [self.oldest, piece.content.arrived].into_iter().flatten().min();
        self.waiting.push(piece);
    }

    /// Makes requests of what waits.
    pub fn pack(&mut self, now: Instant, which: Which) {
        let (linger, all) = (self.waits.linger, which == Which::All);
        let is_late = |arrived: Option<Instant>| {
            which != Which::Full && arrived.is_some_and(|arrived| arrived + linger <= now)
        };
        let is_enough = self.waiting_weight >= self.pack_from.0 || self.waiting_bytes >= self.pack_from.1;
        if self.waiting.is_empty() || !(all || is_enough || is_late(self.oldest)) {
            return;
        }
        let packed = pack(std::mem::take(&mut self.waiting), &self.limits);
        self.waiting_bytes = 0;
        self.waiting_weight = 0;
        self.oldest = None;
        self.too_large
            .extend(packed.too_large.iter().map(|piece| piece.content.item));
        self.queued.extend(packed.full.into_iter().map(Queued::new));
        for request in packed.open {
            if all || request.pieces.iter().any(|piece| is_late(piece.content.arrived)) {
                self.queued.push_back(Queued::new(request));
            } else {
                request.pieces.into_iter().for_each(|piece| self.wait(piece));
            }
        }
        // What is left over many keys is not packed again for each new piece.
        self.pack_from = (
            self.limits.pieces.max(self.waiting_weight.saturating_mul(2)),
            self.limits.bytes.max(self.waiting_bytes.saturating_mul(2)),
        );
    }

    /// Items with a piece that fits no request, once.
    pub fn take_too_large(&mut self) -> Vec<ItemId> {
        std::mem::take(&mut self.too_large)
    }

    /// The next request that may be sent by its own history.
    pub fn take_ready(&mut self, now: Instant) -> Option<Queued<C>> {
        let index = self.queued.iter().position(|queued| queued.is_ready(now))?;
        self.queued.remove(index)
    }

    /// Whether there is one.
    pub fn has_ready(&self, now: Instant) -> bool {
        self.queued.iter().any(|queued| queued.is_ready(now))
    }

    /// Whether no request is ready or will be again.
    pub fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// When something becomes due that is not now.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        let again = self.queued.iter().filter_map(|queued| queued.not_before);
        let company = self.oldest.map(|oldest| oldest + self.waits.linger);
        again.chain(company).filter(|due| *due > now).min()
    }

    /// A request is sent again, after a wait.
    pub fn later(&mut self, mut queued: Queued<C>, now: Instant) {
        let backoff = queued
            .backoff
            .get_or_insert_with(|| Backoff::new(RETRY_FIRST, self.waits.retry_longest));
        queued.not_before = Some(now + backoff.next_delay());
        self.queued.push_back(queued);
    }

    /// A request that is refused as it is: its halves are tried, the first one first. A piece
    /// that is alone comes back.
    pub fn halve(&mut self, queued: Queued<C>) -> Option<Piece<Part<C>>> {
        let Request { key, mut pieces } = queued.request;
        if pieces.len() < 2 {
            return pieces.pop();
        }
        let second = pieces.split_off(pieces.len() / 2);
        for pieces in [second, pieces] {
            self.queued.push_front(Queued::new(Request { key, pieces }));
        }
        None
    }

    /// What has to show by itself whether it is taken: a request of its own, before all others.
    pub fn try_alone(&mut self, piece: Piece<Part<C>>) {
        self.queued.push_front(Queued::new(Request {
            key: piece.key,
            pieces: vec![piece],
        }));
    }
}
