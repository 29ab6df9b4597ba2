//! What of the records that were read is still on its way: a record is settled when each of its
//! items is, and the cursor follows the settled ones in their order. An item whose parts go
//! separate ways is dropped if one of them is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meridian_proto::signal::Signal;

use crate::ledger::DropReason;

/// Items of a record that share their fate: one as a rule, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemId {
    /// The record's signal.
    pub signal: Signal,
    /// The record's sequence.
    pub seq: u64,
    /// Which of its items, from 0; the first of several. Of a group its number.
    pub index: u32,
    /// How many; [`GROUP`] if they are scattered over the record.
    pub count: u32,
}

/// The count of an [`ItemId`] whose items are a group of the record's [`Groups`].
pub const GROUP: u32 = 0;

/// Items that go into one part and are not neighbours. An item may be in several groups.
pub type Groups = Vec<Box<[u32]>>;

/// Items by why they were dropped.
pub type Drops = BTreeMap<DropReason, u64>;

/// How far a signal is.
#[derive(Debug, Default)]
pub struct Books {
    records: VecDeque<Open>,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    seq: u64,
    bytes: usize,
    /// Parts that are on their way.
    parts: usize,
    groups: Groups,
    dropped: BTreeSet<u32>,
    drops: Drops,
}

/// The records up to `seq` are settled, with what was dropped of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled {
    /// The last of them.
    pub seq: u64,
    /// What was dropped of them.
    pub drops: Drops,
}

impl Books {
    /// A record was read; its parts follow. Records come in their order.
    pub fn open(&mut self, seq: u64, bytes: usize, groups: Groups) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.records.push_back(Open {
            seq,
            bytes,
            parts: 0,
            groups,
            dropped: BTreeSet::new(),
            drops: Drops::new(),
        });
    }

    /// A part of an item is on its way.
    pub fn sent_out(&mut self, item: ItemId) {
        if let Some(record) = self.record(item.seq) {
            record.parts = record.parts.saturating_add(1);
        }
    }

    /// A part has arrived, or (with a reason) never will.
    pub fn settle(&mut self, item: ItemId, dropped: Option<DropReason>) {
        if let Some(reason) = dropped {
            self.drop_item(item, reason);
        }
        if let Some(record) = self.record(item.seq) {
            record.parts = record.parts.saturating_sub(1);
        }
    }

    /// An item will never be sent.
    pub fn drop_item(&mut self, item: ItemId, reason: DropReason) {
        let Some(record) = self.record(item.seq) else {
            return;
        };
        let dropped = match item.count {
            GROUP => {
                let group = usize::try_from(item.index)
                    .ok()
                    .and_then(|number| record.groups.get(number));
                let items = group.into_iter().flat_map(|items| items.iter());
                items.filter(|index| record.dropped.insert(**index)).count() as u64
            }
            count if record.dropped.insert(item.index) => u64::from(count),
            _ => 0,
        };
        if dropped > 0 {
            *record.drops.entry(reason).or_default() += dropped;
        }
    }

    /// Takes the records whose parts have all been settled, from the oldest on.
    pub fn take_settled(&mut self) -> Option<Settled> {
        let mut settled: Option<Settled> = None;
        while self.records.front().is_some_and(|record| record.parts == 0) {
            let Some(record) = self.records.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(record.bytes);
            let drops = settled.take().map(|before| before.drops).unwrap_or_default();
            settled = Some(Settled {
                seq: record.seq,
                drops: merge(drops, record.drops),
            });
        }
        settled
    }

    /// Bytes of the records that are not settled.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether every record is settled.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn record(&mut self, seq: u64) -> Option<&mut Open> {
        let at = self
            .records
            .binary_search_by_key(&seq, |record| record.seq)
            .ok()?;
        self.records.get_mut(at)
    }
}

fn merge(mut one: Drops, other: Drops) -> Drops {
    for (reason, items) in other {
        *one.entry(reason).or_default() += items;
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(seq: u64, index: u32) -> ItemId {
        ItemId {
            signal: Signal::Logs,
            seq,
            index,
            count: 1,
        }
    }

    #[test]
    fn the_cursor_waits_for_the_oldest_record() {
        let mut books = Books::default();
        for seq in [3, 5] {
            books.open(seq, 100, Groups::new());
            books.sent_out(item(seq, 0));
        }
        books.settle(item(5, 0), None);
        assert_eq!(books.take_settled(), None);
        assert_eq!(books.bytes(), 200);
        books.settle(item(3, 0), None);
        let drops = Drops::new();
        assert_eq!(books.take_settled(), Some(Settled { seq: 5, drops }));
        assert!(books.is_empty() && books.bytes() == 0);
    }

    #[test]
    fn an_item_in_two_parts_is_dropped_once() {
        let mut books = Books::default();
        books.open(1, 10, Groups::new());
        books.sent_out(item(1, 0));
        books.sent_out(item(1, 0));
        books.settle(item(1, 0), Some(DropReason::Refused));
        assert_eq!(books.take_settled(), None);
        books.settle(item(1, 0), Some(DropReason::Refused));
        let drops = Drops::from([(DropReason::Refused, 1)]);
        assert_eq!(books.take_settled(), Some(Settled { seq: 1, drops }));
    }

    #[test]
    fn an_item_in_several_groups_is_dropped_once() {
        let mut books = Books::default();
        books.open(1, 10, vec![[0, 2, 5].into(), [2, 3].into()]);
        let groups = [0, 1].map(|index| ItemId {
            count: GROUP,
            ..item(1, index)
        });
        for group in groups {
            books.sent_out(group);
        }
        books.drop_item(item(1, 3), DropReason::Invalid);
        books.settle(groups[0], Some(DropReason::Refused));
        assert_eq!(books.take_settled(), None);
        books.settle(groups[1], Some(DropReason::Refused));
        let drops = Drops::from([(DropReason::Refused, 3), (DropReason::Invalid, 1)]);
        assert_eq!(books.take_settled(), Some(Settled { seq: 1, drops }));
    }

    #[test]
    fn a_record_without_items_is_settled_at_once() {
        let mut books = Books::default();
        books.open(9, 10, Groups::new());
        let drops = Drops::new();
        assert_eq!(books.take_settled(), Some(Settled { seq: 9, drops }));
    }
}
