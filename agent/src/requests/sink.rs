//! What an exporter that delivers by requests knows of its other side: which pieces a record
//! becomes, what a request may hold, and what an answer means. When to send, again and how fast is the
//! courier's business.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meridian_proto::signal::Signal;

use super::books::{GROUP, Groups, ItemId};
use super::packer::{Limits, Piece, Request};
use crate::ledger::DropReason;
use crate::otlp::divide::{self, Division};
use crate::spool::Record;

/// The other side of an exporter.
pub trait Sink: Send + Sync + 'static {
    /// What a piece holds.
    type Content: Send + Sync + 'static;

    /// What it takes; of other signals nothing is read, nor kept for it.
    const SIGNALS: &'static [Signal];

    /// Whether it keeps something for its next start.
    const KEEPS: bool = false;

    /// What this one takes, if it is less.
    fn signals(&self) -> &'static [Signal] {
        Self::SIGNALS
    }

    /// Where requests are sent, for people.
    fn endpoint(&self) -> &str;

    /// What a request may be.
    fn limits(&self) -> Limits;

    /// Makes pieces of a record's items. Called where blocking is allowed.
    fn translate(&self, record: &Record, pieces: &mut Pieces<Self::Content>);

    /// A request in words, for people who ask what would be sent.
    fn show(&self, request: &Sent<Self::Content>) -> String;

    /// Sends a request once and says what became of it.
    fn send(&self, request: &Sent<Self::Content>) -> impl Future<Output = Verdict> + Send;

    /// A piece of so many items that is refused alone, in pieces of fewer; none where it cannot be
    /// divided, or is one item.
    fn divide(&self, _signal: Signal, _content: &Self::Content, _items: u32) -> Vec<Fraction<Self::Content>> {
        Vec::new()
    }

    /// Everything up to this record is settled. What is to be known of it at the next start is
    /// made durable now, before the cursor moves. Called where blocking is allowed, and only if
    /// it keeps something.
    fn keep(&self, _signal: Signal, _seq: u64) {}
}

/// A request on its way.
pub type Sent<C> = Request<Part<C>>;

/// Some of the items of a piece.
#[derive(Debug, PartialEq, Eq)]
pub struct Fraction<C> {
    /// Which of the piece's items is the first.
    pub first: u32,
    /// How many, one after the other.
    pub items: u32,
    /// See [`Piece::bytes`].
    pub bytes: usize,
    /// What they are.
    pub content: C,
}

impl Fraction<Bytes> {
    /// An encoded OTLP request in two, each item of which counts for `item_overhead` more than its
    /// bytes. There are none if it is no such request.
    pub fn halves(signal: Signal, body: &[u8], items: u32, item_overhead: usize) -> Vec<Self> {
        let halves = divide::halves(signal, body, items).unwrap_or_default();
        let fraction = |half: Division| {
            let content = Bytes::from(half.body?);
            Some(Self {
                first: half.first,
                items: half.items,
                bytes: content.len() + half.items as usize * item_overhead,
                content,
            })
        };
        halves.into_iter().filter_map(fraction).collect()
    }
}

/// Something of an item that goes into one request.
#[derive(Debug)]
pub struct Part<C> {
    /// The item.
    pub item: ItemId,
    /// What the sink made of it.
    pub content: C,
    /// How often it came back although others were taken.
    pub(super) returned: u8,
    /// Whether its items are neighbours in their record, so that some of them have numbers.
    pub(super) is_divisible: bool,
    /// Since when it waits for company.
    pub(super) arrived: Option<Instant>,
}

/// What a sink makes of one record.
#[derive(Debug)]
pub struct Pieces<C> {
    signal: Signal,
    seq: u64,
    /// The pieces.
    pub(super) pieces: Vec<Piece<Part<C>>>,
    /// Items that share pieces.
    pub(super) groups: Groups,
    /// Items of which there will be none.
    pub(super) drops: Vec<(ItemId, DropReason)>,
}

/// Where a piece belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// See [`Piece::key`].
    pub key: u64,
    /// See [`Piece::affinity`].
    pub affinity: Option<u128>,
    /// See [`Piece::time`].
    pub time: u64,
}

impl<C> Pieces<C> {
    /// None yet, of this record.
    pub fn of(record: &Record) -> Self {
        Self {
            signal: record.signal,
            seq: record.seq,
            pieces: Vec::new(),
            groups: Groups::new(),
            drops: Vec::new(),
        }
    }

    /// A piece of the record's item `index`; an item may have several.
    pub fn push(&mut self, index: u32, place: Place, bytes: usize, content: C) {
        self.push_piece(self.item(index, 1), 1, place, bytes, content);
    }

    /// One piece of all of the record's items, which counts as one.
    pub fn push_all(&mut self, items: u32, place: Place, bytes: usize, content: C) {
        self.push_piece(self.item(0, items), 1, place, bytes, content);
    }

    /// One piece of `count` of the record's items, the first of which is `index`. It counts for
    /// as many against [`Limits::pieces`].
    pub fn push_some(&mut self, index: u32, count: u32, place: Place, bytes: usize, content: C) {
        self.push_piece(self.item(index, count), count as usize, place, bytes, content);
    }

    /// Items of the record that share pieces, wherever they are in it.
    pub fn group(&mut self, items: Box<[u32]>) -> ItemId {
        let number = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.groups.push(items);
        self.item(number, GROUP)
    }

    /// A piece of these items of the record, which counts as one.
    pub fn push_of(&mut self, item: ItemId, place: Place, bytes: usize, content: C) {
        self.push_piece(item, 1, place, bytes, content);
    }

    fn push_piece(&mut self, item: ItemId, weight: usize, place: Place, bytes: usize, content: C) {
        self.pieces.push(Piece {
            weight,
            key: place.key,
            affinity: place.affinity,
            time: place.time,
            bytes,
            content: Part {
                item,
                content,
                returned: 0,
                is_divisible: item.count > 1,
                arrived: None,
            },
        });
    }

    /// The record's item `index`, of which there are no pieces, will not be sent.
    pub fn drop_item(&mut self, index: u32, reason: DropReason) {
        match self.drops.last_mut() {
            // Sampling leaves out many in a row.
            Some((last, same)) if *same == reason && last.index.checked_add(last.count) == Some(index) => {
                last.count += 1;
            }
            _ => self.drop_items(index, 1, reason),
        }
    }

    /// So many of the record's items from `index` on, of which there are no pieces, will not be
    /// sent.
    pub fn drop_items(&mut self, index: u32, count: u32, reason: DropReason) {
        if count > 0 {
            self.drops.push((self.item(index, count), reason));
        }
    }

    /// None of the record's items will be sent.
    pub fn drop_all(&mut self, items: u32, reason: DropReason) {
        self.pieces.clear();
        self.groups.clear();
        self.drops.clear();
        self.drop_items(0, items, reason);
    }

    fn item(&self, index: u32, count: u32) -> ItemId {
        ItemId {
            signal: self.signal,
            seq: self.seq,
            index,
            count,
        }
    }
}

#[cfg(test)]
impl<C> Pieces<C> {
    /// What is in each piece, and the record's items that it is of.
    pub fn parts(&self) -> impl Iterator<Item = (Vec<u32>, &C)> {
        let parts = self.pieces.iter().map(|piece| &piece.content);
        parts.map(|part| (self.items_of(part.item), &part.content))
    }

    /// The items of which there is none, and why.
    pub fn dropped(&self) -> impl Iterator<Item = (Vec<u32>, DropReason)> {
        self.drops
            .iter()
            .map(|(item, reason)| (self.items_of(*item), *reason))
    }

    fn items_of(&self, item: ItemId) -> Vec<u32> {
        match item.count {
            GROUP => self.groups[item.index as usize].to_vec(),
            count => (item.index..item.index + count).collect(),
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken, but for these of its pieces (by their place in it).
    Taken(Vec<(usize, Fate)>),
    /// Nothing of it was, and it may be later.
    Later(Trouble),
    /// It will not be as it is. Each half is tried by itself; a piece alone is dropped.
    Refused(String),
}

/// What becomes of a piece that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is sent again.
    Again,
    /// It never will be.
    Dropped(DropReason),
    /// So many of its items never will be; the others were taken.
    Rejected(u32),
}

/// Why a request was not taken this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Whose fault it is.
    pub kind: TroubleKind,
    /// For people: what was said, and what to do.
    pub message: String,
    /// The other side asks for a pause.
    pub pause: Option<Duration>,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TroubleKind {
    /// We are too fast.
    Throttled,
    /// The other side, or the way to it, is broken.
    Unavailable,
    /// We are not let in: credentials, permissions, something that must be created. People can
    /// mend it, and until then nothing is lost.
    Denied,
    /// The same, but of this request alone: others are let in. The sink tells it itself.
    DeniedHere,
}

impl TroubleKind {
    /// Whether people must mend it.
    pub fn is_denied(self) -> bool {
        matches!(self, Self::Denied | Self::DeniedHere)
    }

    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Denied | Self::DeniedHere => "denied",
        }
    }
}
