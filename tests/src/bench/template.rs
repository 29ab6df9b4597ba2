//! Items that are encoded once and then only copied and patched: every id, time, address and
//! value is replaced in place, so that no two requests are alike and making one costs little
//! beside sending it.
//!
//! A slot is found by its placeholder, random bytes that occur once in the encoded item.
//! Slots have a fixed length, so nothing moves. It knows nothing of what it patches.

use anyhow::{Context, Result};

use crate::bench::random::{Random, derived, duration_nanos};

/// Enough that a placeholder occurs nowhere else.
const KEY_BYTES: usize = 8;
/// Spans that arrive together have ended within the last second.
const AGE_NANOS_MAX: u64 = 1_000_000_000;
/// A span begins this much of its trace's duration after its parent, and ends as much before.
const STEPS: u64 = 20;
const HEX: &[u8; 16] = b"0123456789abcdef";
/// The parts of a trace's random numbers that are not span ids.
const TRACE_HIGH: u64 = 1 << 32;
const TRACE_LOW: u64 = TRACE_HIGH + 1;
const TRACE_AGE: u64 = TRACE_HIGH + 2;
const TRACE_DURATION: u64 = TRACE_HIGH + 3;
const SESSION: u64 = TRACE_HIGH + 4;

/// What goes into a slot.
#[derive(Debug, Clone, Copy)]
pub enum Fill {
    /// The id of the item's trace, 16 bytes.
    TraceId,
    /// The id of a span of that trace, 8 bytes: 0 is the item's own, -1 that of its parent.
    SpanId(i64),
    /// When the item's span began, fixed64.
    Start,
    /// When it ended, fixed64.
    End,
    /// A time within the trace, fixed64.
    Within,
    /// The time in the slot before and up to a millisecond, fixed64.
    After,
    /// The time of the request, fixed64.
    Now,
    /// Decimal digits.
    Digits,
    /// Hexadecimal digits, the same for all items of a trace.
    Session,
    /// An IPv4 address of 15 characters.
    Address,
    /// A double between 0 and 1000 with two decimals.
    Cents,
    /// A count below a million, fixed64.
    Count,
    /// Counts below a thousand, fixed64 each; they are summed.
    Buckets,
    /// Counts between 128 and 16383, varints of two bytes each; they are summed.
    Varints,
    /// The sum of the counts before, fixed64.
    Total,
}

/// The slots of an item that is being made.
#[derive(Debug, Default)]
pub struct Slots {
    slots: Vec<(Vec<u8>, Fill)>,
}

impl Slots {
    /// A slot of `length` bytes; answers the placeholder to encode.
    pub fn bytes(&mut self, length: usize, fill: Fill) -> Vec<u8> {
        self.placeholder((0..length).map(|_| rand::random()).collect(), fill)
    }

    /// The same for text of at least 6 characters.
    pub fn text(&mut self, length: usize, fill: Fill) -> String {
        let letters: Vec<u8> = (0..length).map(|_| b'a' + rand::random::<u8>() % 26).collect();
        String::from_utf8(self.placeholder(letters, fill)).expect("letters")
    }

    /// The same for a fixed64.
    pub fn fixed64(&mut self, fill: Fill) -> u64 {
        let placeholder: u64 = rand::random();
        self.placeholder(placeholder.to_le_bytes().to_vec(), fill);
        placeholder
    }

    /// The same for a double.
    pub fn double(&mut self, fill: Fill) -> f64 {
        loop {
            let bits: u64 = rand::random();
            // Others have several encodings.
            if f64::from_bits(bits).is_normal() {
                self.placeholder(bits.to_le_bytes().to_vec(), fill);
                return f64::from_bits(bits);
            }
        }
    }

    /// The same for a packed list of fixed64.
    pub fn buckets(&mut self, count: usize) -> Vec<u64> {
        let values: Vec<u64> = (0..count).map(|_| rand::random()).collect();
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.placeholder(bytes, Fill::Buckets);
        values
    }

    /// The same for a packed list of varints.
    pub fn varints(&mut self, count: usize) -> Vec<u64> {
        let values: Vec<u64> = (0..count).map(|_| 128 + rand::random::<u64>() % 16_256).collect();
        let bytes = values.iter().flat_map(|value| two_bytes(*value)).collect();
        self.placeholder(bytes, Fill::Varints);
        values
    }

    fn placeholder(&mut self, bytes: Vec<u8>, fill: Fill) -> Vec<u8> {
        self.slots.push((bytes.clone(), fill));
        bytes
    }

    /// The piece with this encoding.
    pub fn piece(self, bytes: Vec<u8>) -> Result<Piece> {
        let place = |(placeholder, fill): &(Vec<u8>, Fill)| {
            let key = &placeholder[..placeholder.len().min(KEY_BYTES)];
            let offset = bytes.windows(key.len()).position(|window| window == key);
            Ok(Slot {
                offset: offset.context("a slot was not encoded")?,
                length: placeholder.len(),
                fill: *fill,
            })
        };
        let slots = self.slots.iter().map(place).collect::<Result<_>>()?;
        Ok(Piece { bytes, slots })
    }
}

#[derive(Debug)]
struct Slot {
    offset: usize,
    length: usize,
    fill: Fill,
}

/// An encoded item and where it is patched.
#[derive(Debug)]
pub struct Piece {
    /// As it was encoded.
    pub bytes: Vec<u8>,
    /// In the order in which they were made.
    slots: Vec<Slot>,
}

/// What an item's slots depend on.
#[derive(Debug)]
pub struct Item {
    /// The source of its trace's ids and times.
    trace: u64,
    /// Which of the trace's spans it is.
    number: i64,
    now: u64,
    begin: u64,
    duration: u64,
    last: u64,
    total: u64,
}

impl Item {
    /// The span with this number of the trace that `trace` stands for, of a request made at `now`.
    pub fn new(trace: u64, number: i64, now: u64) -> Self {
        let duration = duration_nanos(derived(trace, TRACE_DURATION));
        let age = derived(trace, TRACE_AGE) % AGE_NANOS_MAX;
        Self {
            trace,
            number,
            now,
            begin: now - age - duration,
            duration,
            last: 0,
            total: 0,
        }
    }

    /// How far its span lies within the trace's, at each end.
    fn inset(&self, random: &mut Random) -> u64 {
        let step = self.duration / STEPS;
        step * self.number.unsigned_abs() + random.below(step / 2 + 1)
    }
}

impl Piece {
    /// Fills the slots of a copy of the piece.
    pub fn fill(&self, copy: &mut [u8], item: &mut Item, random: &mut Random) {
        for slot in &self.slots {
            let to = &mut copy[slot.offset..slot.offset + slot.length];
            match slot.fill {
                Fill::TraceId => {
                    to[..8].copy_from_slice(&derived(item.trace, TRACE_HIGH).to_le_bytes());
                    to[8..].copy_from_slice(&derived(item.trace, TRACE_LOW).to_le_bytes());
                }
                Fill::Digits | Fill::Session | Fill::Address => text(to, slot.fill, item, random),
                Fill::Buckets => counts(to, item, random),
                Fill::Varints => varints(to, item, random),
                fill => to.copy_from_slice(&number(fill, item, random).to_le_bytes()),
            }
        }
    }
}

fn number(fill: Fill, item: &mut Item, random: &mut Random) -> u64 {
    let number = match fill {
        Fill::SpanId(offset) => derived(item.trace, (item.number + offset).unsigned_abs()),
        Fill::Start => item.begin + item.inset(random),
        Fill::End => item.begin + item.duration - item.inset(random),
        Fill::Within => item.begin + random.below(item.duration + 1),
        Fill::After => item.last + random.below(1_000_000),
        Fill::Cents => {
            let cents = u32::try_from(random.below(100_000)).unwrap_or(0);
            (f64::from(cents) / 100.0).to_bits()
        }
        Fill::Count => random.below(1_000_000),
        Fill::Total => std::mem::take(&mut item.total),
        _ => item.now,
    };
    item.last = number;
    number
}

fn text(to: &mut [u8], fill: Fill, item: &Item, random: &mut Random) {
    match fill {
        Fill::Session => {
            let bits = derived(item.trace, SESSION);
            for (index, byte) in to.iter_mut().enumerate() {
                *byte = HEX[usize::from(bits.to_le_bytes()[index / 2 % 8] >> (4 * (index % 2)) & 15)];
            }
        }
        Fill::Address => {
            let bits = random.number().to_le_bytes();
            for (index, octet) in to.chunks_mut(4).enumerate() {
                // Three digits each, so that the length is fixed.
                decimal(&mut octet[..3], 100 + u64::from(bits[index]) % 156);
            }
            for dot in [3, 7, 11] {
                to[dot] = b'.';
            }
        }
        _ => decimal(to, random.number()),
    }
}

fn decimal(to: &mut [u8], mut value: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).expect("a digit");
        value /= 10;
    }
}

fn counts(to: &mut [u8], item: &mut Item, random: &mut Random) {
    for bucket in to.chunks_mut(8) {
        let count = random.below(1000);
        item.total += count;
        bucket.copy_from_slice(&count.to_le_bytes());
    }
}

fn varints(to: &mut [u8], item: &mut Item, random: &mut Random) {
    for bucket in to.chunks_mut(2) {
        let count = 128 + random.below(16_256);
        item.total += count;
        bucket.copy_from_slice(&two_bytes(count));
    }
}

/// The varint of a number between 128 and 16383.
fn two_bytes(value: u64) -> [u8; 2] {
    let byte = |bits: u64| u8::try_from(bits & 127).expect("seven bits");
    [byte(value) | 128, byte(value >> 7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u64_at(bytes: &[u8], offset: usize) -> u64 {
        u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
    }

    #[test]
    fn items_of_a_trace_agree_on_ids_and_children_lie_within() {
        let mut slots = Slots::default();
        let bytes = [
            slots.bytes(16, Fill::TraceId),
            slots.bytes(8, Fill::SpanId(0)),
            slots.bytes(8, Fill::SpanId(-1)),
            slots.fixed64(Fill::Start).to_le_bytes().to_vec(),
            slots.fixed64(Fill::End).to_le_bytes().to_vec(),
        ];
        let piece = slots.piece(bytes.concat()).expect("every slot is there");
        let mut random = Random::new();
        let mut fill = |trace, number| {
            let mut copy = piece.bytes.clone();
            piece.fill(&mut copy, &mut Item::new(trace, number, 1 << 60), &mut random);
            copy
        };
        let (parent, child, other) = (fill(1, 3), fill(1, 4), fill(2, 3));
        assert_eq!(parent[..16], child[..16]);
        assert_eq!(parent[16..24], child[24..32]);
        assert_ne!(parent[..16], other[..16]);
        assert_ne!(parent[16..24], other[16..24]);
        assert!(u64_at(&parent, 32) <= u64_at(&child, 32));
        assert!(u64_at(&child, 32) < u64_at(&child, 40));
        assert!(u64_at(&child, 40) <= u64_at(&parent, 40));
        assert!(u64_at(&parent, 40) <= 1 << 60);
    }

    #[test]
    fn text_and_counts_are_filled_anew_and_summed() {
        let mut slots = Slots::default();
        let address = slots.text(15, Fill::Address).into_bytes();
        let digits = slots.text(8, Fill::Digits).into_bytes();
        let buckets = slots
            .buckets(3)
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let varints = slots
            .varints(4)
            .iter()
            .flat_map(|value| two_bytes(*value))
            .collect();
        let total = slots.fixed64(Fill::Total).to_le_bytes().to_vec();
        let piece = slots
            .piece([address, digits, buckets, varints, total].concat())
            .expect("every slot is there");
        let mut copy = piece.bytes.clone();
        piece.fill(&mut copy, &mut Item::new(1, 0, 1 << 60), &mut Random::new());

        let text = |range: std::ops::Range<usize>| std::str::from_utf8(&copy[range]).expect("text");
        text(0..15).parse::<std::net::Ipv4Addr>().expect("an address");
        text(15..23).parse::<u32>().expect("digits");
        let buckets: u64 = (0..3).map(|index| u64_at(&copy, 23 + 8 * index)).sum();
        let varints: u64 = copy[47..55]
            .chunks(2)
            .map(|pair| u64::from(pair[0] & 127) | u64::from(pair[1]) << 7)
            .sum();
        assert_eq!(u64_at(&copy, 55), buckets + varints);
        assert!(varints >= 4 * 128);
    }
}
