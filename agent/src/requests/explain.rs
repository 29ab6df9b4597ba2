//! What a sink would send of some records, for people who ask before anything is sent: the same
//! translation and the same packing as on the way, and then words instead of a request.

use std::collections::BTreeMap;

use bytes::Bytes;
use meridian_proto::signal::Signal;

use super::packer::pack;
use super::sink::{Pieces, Sent, Sink};
use crate::ledger::DropReason;
use crate::spool::Record;

/// What would become of the records.
#[derive(Debug)]
pub struct Explained {
    /// The requests in words.
    pub requests: Vec<String>,
    /// Items that would not be sent.
    pub drops: BTreeMap<DropReason, u64>,
}

/// Explains a sink by records that it takes.
pub fn explain<S: Sink>(sink: &S, records: &[Record]) -> Explained {
    let mut drops = BTreeMap::new();
    let mut drop = |reason, items: u32| *drops.entry(reason).or_default() += u64::from(items);
    let mut all = Vec::new();
    for record in records
        .iter()
        .filter(|record| sink.signals().contains(&record.signal))
    {
        let mut pieces = Pieces::of(record);
        sink.translate(record, &mut pieces);
        all.append(&mut pieces.pieces);
        for (item, reason) in pieces.drops {
            drop(reason, item.count);
        }
    }
    let packed = pack(all, &sink.limits());
    for piece in &packed.too_large {
        drop(DropReason::TooLarge, piece.content.item.count);
    }
    let requests = packed.full.iter().chain(&packed.open);
    Explained {
        requests: requests.map(|request| sink.show(request)).collect(),
        drops,
    }
}

/// A request that is OTLP as it was received, in words.
pub fn otlp(path: &str, signal: Signal, request: &Sent<Bytes>) -> String {
    let parts = request.pieces.iter().map(|piece| &piece.content);
    let items: u32 = parts.clone().map(|part| part.item.count).sum();
    let bytes: usize = parts.map(|part| part.content.len()).sum();
    format!("POST {path}: {signal} {items}, bytes before compression {bytes}\n")
}
