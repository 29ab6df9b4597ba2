//! Requests that are encoded once and then only patched: every id, time, address and value is
//! replaced in place, so that no two requests are alike and making one costs microseconds.
//!
//! A slot is found by its placeholder, random bytes that occur once in the encoded request.
//! Slots have a fixed length, so nothing moves. It knows nothing of what it patches.

use std::collections::HashMap;

use anyhow::{Context, Result};
use bytes::Bytes;

const KEY_BYTES: usize = 8;
/// Spans that arrive together have ended within the last second.
const AGE_NANOS_MAX: u64 = 1_000_000_000;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// What goes into a slot.
#[derive(Debug, Clone, Copy)]
pub enum Fill {
    /// Random bytes.
    Random,
    /// Random hexadecimal digits.
    Hex,
    /// An IPv4 address of 15 characters.
    Address,
    /// A time within the last second, fixed64.
    Time,
    /// The time in another slot and up to 67 ms, fixed64.
    After(usize),
    /// What another slot holds.
    CopyOf(usize),
    /// A double between 0 and 1000 with two decimals.
    Value,
    /// A count below 1000, fixed64.
    Count,
    /// The sum of so many counts from this slot on, fixed64.
    Total(usize, usize),
}

/// A quick generator of random numbers (splitmix64): quality beyond "never repeats" is not needed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts somewhere else each time.
    pub fn new() -> Self {
        Self(rand::random())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// A position in something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

/// The slots of a request that is being made; each is known by the number that it is given.
#[derive(Debug, Default)]
pub struct Slots {
    slots: Vec<(Vec<u8>, Fill)>,
}

impl Slots {
    /// A slot of `length` bytes, at least 8, and the placeholder to encode.
    pub fn bytes(&mut self, length: usize, fill: Fill) -> (usize, Vec<u8>) {
        let placeholder: Vec<u8> = (0..length).map(|_| rand::random()).collect();
        self.slots.push((placeholder.clone(), fill));
        (self.slots.len() - 1, placeholder)
    }

    /// The same for text.
    pub fn text(&mut self, length: usize, fill: Fill) -> String {
        let digit = |_| char::from(b'a' + rand::random::<u8>() % 26);
        let placeholder: String = (0..length).map(digit).collect();
        self.slots.push((placeholder.clone().into_bytes(), fill));
        placeholder
    }

    /// The same for a fixed64.
    pub fn fixed64(&mut self, fill: Fill) -> (usize, u64) {
        let placeholder: u64 = rand::random();
        self.slots.push((placeholder.to_le_bytes().to_vec(), fill));
        (self.slots.len() - 1, placeholder)
    }

    /// The template of this encoded request.
    pub fn template(self, body: Vec<u8>, items: u32) -> Result<Template> {
        let mut at = HashMap::new();
        for (offset, window) in body.windows(KEY_BYTES).enumerate() {
            at.insert(window, offset);
        }
        let place = |(placeholder, fill): &(Vec<u8>, Fill)| {
            let offset = at.get(&placeholder[..KEY_BYTES]);
            let offset = *offset.context("a slot was not encoded")?;
            Ok((offset, placeholder.len(), *fill))
        };
        let slots = self.slots.iter().map(place).collect::<Result<_>>()?;
        drop(at);
        Ok(Template { body, items, slots })
    }
}

/// An encoded request and where it is patched.
#[derive(Debug)]
pub struct Template {
    body: Vec<u8>,
    items: u32,
    /// Offset, length, content; in the order in which they were made.
    slots: Vec<(usize, usize, Fill)>,
}

impl Template {
    /// Items in the request.
    pub fn items(&self) -> u32 {
        self.items
    }

    /// Its encoded size.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// A request that nobody has seen before.
    pub fn request(&self, random: &mut Random, now_unix_nanos: u64) -> Bytes {
        let mut body = self.body.clone();
        for (offset, length, fill) in &self.slots {
            let held = |slot: usize, body: &[u8]| read(body, self.slots[slot].0);
            let value = match *fill {
                Fill::CopyOf(slot) => {
                    let from = self.slots[slot].0;
                    body.copy_within(from..from + length, *offset);
                    continue;
                }
                Fill::Random | Fill::Hex | Fill::Address => {
                    write_text(&mut body[*offset..offset + length], *fill, random);
                    continue;
                }
                Fill::Time => now_unix_nanos - random.below(AGE_NANOS_MAX),
                Fill::After(slot) => held(slot, &body) + (random.number() >> 38),
                Fill::Value => {
                    let cents = u32::try_from(random.below(100_000)).unwrap_or(0);
                    (f64::from(cents) / 100.0).to_bits()
                }
                Fill::Count => random.below(1000),
                Fill::Total(first, count) => (first..first + count).map(|slot| held(slot, &body)).sum(),
            };
            body[*offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        }
        Bytes::from(body)
    }
}

fn read(body: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(body[offset..offset + 8].try_into().expect("eight bytes"))
}

fn write_text(slot: &mut [u8], fill: Fill, random: &mut Random) {
    if let Fill::Address = fill {
        let mut octet = || 100 + random.below(156);
        let text = format!("{}.{}.{}.{}", octet(), octet(), octet(), octet());
        slot.copy_from_slice(text.as_bytes());
        return;
    }
    for chunk in slot.chunks_mut(8) {
        let bytes = random.number().to_le_bytes();
        for (to, byte) in chunk.iter_mut().zip(bytes) {
            *to = match fill {
                Fill::Hex => HEX[usize::from(byte & 15)],
                _ => byte,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_filled_anew_each_time_and_copies_follow() {
        let mut slots = Slots::default();
        let (first, id) = slots.bytes(16, Fill::Random);
        let (_, copy) = slots.bytes(16, Fill::CopyOf(first));
        let (start, time) = slots.fixed64(Fill::Time);
        let (_, end) = slots.fixed64(Fill::After(start));
        let address = slots.text(15, Fill::Address);
        let body = [
            b"<".to_vec(),
            copy,
            id,
            time.to_le_bytes().to_vec(),
            end.to_le_bytes().to_vec(),
            address.into_bytes(),
        ];
        let template = slots.template(body.concat(), 1).expect("every slot is there");

        let mut random = Random::new();
        let now = 2_000_000_000;
        let (one, two) = (
            template.request(&mut random, now),
            template.request(&mut random, now),
        );
        assert_ne!(one[1..17], two[1..17]);
        assert_eq!(one[1..17], one[17..33]);
        assert!(read(&one, 33) <= read(&one, 41));
        assert_eq!(one[0], b'<');
        let address = std::str::from_utf8(&one[49..]).expect("text");
        address.parse::<std::net::Ipv4Addr>().expect("an address");
    }
}
