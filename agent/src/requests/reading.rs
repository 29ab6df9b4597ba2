//! What of the spool a courier has read and not yet settled, by signal. It says what to read
//! next and where the cursors may go; it sends nothing.

use std::collections::BTreeMap;

use meridian_proto::signal::Signal;

use super::books::{Books, ItemId, Settled};
use super::packer::Piece;
use super::sink::{Fate, Part, Pieces, Sent, Sink};
use crate::ledger::DropReason;
use crate::spool::{ReadError, Reader};

/// So much is read and translated at once: long enough to be worth a thread's turn, short enough
/// that what was read first can already be sent.
const READ_BYTES: usize = 1 << 20;
const READ_ITEMS: u32 = 10_000;

/// A part that comes back so often while most others are taken never will be.
const RETURNS_MAX: u8 = 30;

/// A record and what the sink made of it.
#[derive(Debug)]
pub struct Translated<C> {
    seq: u64,
    signal: Signal,
    bytes: usize,
    pieces: Pieces<C>,
}

/// What of a request was not taken.
#[derive(Debug)]
pub struct Returned<C> {
    /// Goes again.
    pub again: Vec<Piece<Part<C>>>,
    /// So many parts do not any more.
    pub given_up: usize,
}

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    signal: Signal,
    after_seq: u64,
}

impl Wanted {
    /// Reads records and lets the sink make pieces of them. Blocks.
    pub fn read<S: Sink>(&self, reader: &Reader, sink: &S) -> Result<Vec<Translated<S::Content>>, ReadError> {
        let records = reader.read(self.signal, self.after_seq, READ_ITEMS, READ_BYTES)?;
        let translated = records.into_iter().map(|record| {
            let mut pieces = Pieces::of(&record);
            sink.translate(&record, &mut pieces);
            Translated {
                seq: record.seq,
                signal: record.signal,
                bytes: record.body.len().saturating_add(record.overlay.len()),
                pieces,
            }
        });
        Ok(translated.collect())
    }
}

/// The books of all signals, and whose turn it is to be read.
#[derive(Debug)]
pub struct Reading {
    tracks: Vec<Track>,
    turn: usize,
}

#[derive(Debug)]
struct Track {
    signal: Signal,
    read_to: u64,
    books: Books,
}

impl Reading {
    /// Nothing read yet; `cursors` are the spool's, by [`Signal::index`].
    pub fn new(signals: &[Signal], cursors: [u64; 3]) -> Self {
        let track = |signal: &Signal| Track {
            signal: *signal,
            read_to: cursors.get(signal.index()).copied().unwrap_or_default(),
            books: Books::default(),
        };
        Self {
            tracks: signals.iter().map(track).collect(),
            turn: 0,
        }
    }

    /// Bytes of the records that were read and are not settled.
    pub fn bytes(&self) -> usize {
        self.tracks.iter().map(|track| track.books.bytes()).sum()
    }

    /// Whether everything that was read is settled.
    pub fn is_settled(&self) -> bool {
        self.tracks.iter().all(|track| track.books.is_empty())
    }

    /// Whether the spool has something that was not read.
    pub fn has_more(&self, reader: &Reader) -> bool {
        self.tracks
            .iter()
            .any(|track| reader.has_more(track.signal, track.read_to))
    }

    /// What to read next: the signals take turns.
    pub fn next(&mut self, reader: &Reader) -> Option<Wanted> {
        let count = self.tracks.len();
        let order = (0..count).map(|step| (self.turn + step) % count.max(1));
        let index = order.clone().find(|index| {
            let track = self.tracks.get(*index);
            track.is_some_and(|track| reader.has_more(track.signal, track.read_to))
        })?;
        self.turn = index + 1;
        let track = self.tracks.get(index)?;
        Some(Wanted {
            signal: track.signal,
            after_seq: track.read_to,
        })
    }

    /// A record was read: from now on its parts are on their way.
    pub fn open<C>(&mut self, mut record: Translated<C>) -> Vec<Piece<Part<C>>> {
        if !record.pieces.drops.is_empty() {
            // Between the items of a piece there may be some that were left out.
            for piece in &mut record.pieces.pieces {
                piece.content.is_divisible = false;
            }
        }
        if let Some(track) = self.track(record.signal) {
            track.read_to = record.seq;
            track.books.open(record.seq, record.bytes, record.pieces.groups);
            for piece in &record.pieces.pieces {
                track.books.sent_out(piece.content.item);
            }
            for (item, reason) in record.pieces.drops {
                track.books.drop_item(item, reason);
            }
        }
        record.pieces.pieces
    }

    /// A part has arrived, or (with a reason) never will.
    pub fn settle(&mut self, item: ItemId, dropped: Option<DropReason>) {
        if let Some(track) = self.track(item.signal) {
            track.books.settle(item, dropped);
        }
    }

    /// A part has arrived, but for so many of its items.
    fn reject(&mut self, item: ItemId, items: u32) {
        if let Some(track) = self.track(item.signal) {
            let count = items.min(item.count);
            track
                .books
                .drop_item(ItemId { count, ..item }, DropReason::Refused);
            track.books.settle(item, None);
        }
    }

    /// A part goes on in others.
    pub fn divided<C>(&mut self, item: ItemId, parts: &[Piece<Part<C>>]) {
        if let Some(track) = self.track(item.signal) {
            for part in parts {
                track.books.sent_out(part.content.item);
            }
            track.books.settle(item, None);
        }
    }

    /// A request was taken, but for the exceptions. Where most others are taken meanwhile,
    /// what comes back again and again is given up.
    pub fn settle_request<C>(
        &mut self,
        request: Sent<C>,
        exceptions: &[(usize, Fate)],
        are_others_taken: bool,
    ) -> Returned<C> {
        let fates: BTreeMap<usize, Fate> = exceptions.iter().copied().collect();
        let mut returned = Returned {
            again: Vec::new(),
            given_up: 0,
        };
        for (index, mut piece) in request.pieces.into_iter().enumerate() {
            match fates.get(&index) {
                Some(Fate::Again) if piece.content.returned >= RETURNS_MAX => {
                    returned.given_up += 1;
                    self.settle(piece.content.item, Some(DropReason::Refused));
                }
                Some(Fate::Again) => {
                    piece.content.returned += u8::from(are_others_taken);
                    returned.again.push(piece);
                }
                Some(Fate::Dropped(reason)) => self.settle(piece.content.item, Some(*reason)),
                Some(Fate::Rejected(items)) => self.reject(piece.content.item, *items),
                None => self.settle(piece.content.item, None),
            }
        }
        returned
    }

    /// Takes what is settled, by signal: the cursors go there.
    pub fn take_settled(&mut self) -> Vec<(Signal, Settled)> {
        let settled = |track: &mut Track| Some((track.signal, track.books.take_settled()?));
        self.tracks.iter_mut().filter_map(settled).collect()
    }

    fn track(&mut self, signal: Signal) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.signal == signal)
    }
}
