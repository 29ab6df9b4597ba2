//! Texts, by the cheapest of a few ways that suits all values of a column.
//!
//! ```text
//! texts     how u8, then
//!           0: prefix of all · lengths · stream of the rest of each, one after another
//!           1: the same with two hexadecimal digits in each byte
//!           2: distinct values (number · texts) · integers: which
//!           3: integers, which are written in decimal
//!           4: four streams: the numbers of IPv4 addresses
//! lengths   integers
//! ```
//! Nothing is known here of UTF-8 or of what the texts say.

use super::PayloadError;
use super::integers;
use super::interner::distinct;
use super::streams::{Reader, Writer};

const PLAIN: u8 = 0;
const HEX: u8 = 1;
const DISTINCT: u8 = 2;
const DECIMAL: u8 = 3;
const IPV4: u8 = 4;
const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// The longest decimal number that always fits.
const DECIMAL_DIGITS_MAX: usize = 18;

/// Writes texts whose number the reader will know.
pub(super) fn write(out: &mut Writer, values: &[&[u8]]) -> Result<(), PayloadError> {
    if let Some((values, which)) = distinct(values) {
        out.byte(DISTINCT);
        out.number(values.len());
        write_rest(out, &values)?;
        return integers::write(out, &which);
    }
    write_rest(out, values)
}

fn write_rest(out: &mut Writer, values: &[&[u8]]) -> Result<(), PayloadError> {
    if let Some(numbers) = all(values, decimal) {
        out.byte(DECIMAL);
        return integers::write(out, &numbers);
    }
    if let Some(addresses) = all(values, ipv4) {
        out.byte(IPV4);
        let plane = |octet: fn(&[u8; 4]) -> u8| addresses.iter().map(octet).collect::<Vec<u8>>();
        out.stream(&plane(|[octet, _, _, _]| *octet))?;
        out.stream(&plane(|[_, octet, _, _]| *octet))?;
        out.stream(&plane(|[_, _, octet, _]| *octet))?;
        return out.stream(&plane(|[_, _, _, octet]| *octet));
    }
    write_plain(out, values)
}

fn write_plain(out: &mut Writer, values: &[&[u8]]) -> Result<(), PayloadError> {
    let prefix = common_prefix(values);
    let mut lengths = Vec::with_capacity(values.len());
    let mut joined = Vec::with_capacity(values.iter().map(|value| value.len()).sum());
    for value in values {
        let rest = value.get(prefix.len()..).unwrap_or_default();
        lengths.push(i64::try_from(rest.len()).unwrap_or(i64::MAX));
        joined.extend_from_slice(rest);
    }
    let packed = pack(&joined);
    out.byte(if packed.is_some() { HEX } else { PLAIN });
    out.bytes(prefix);
    integers::write(out, &lengths)?;
    out.stream(packed.as_deref().unwrap_or(&joined))
}

/// What `parse` makes of every value, if it makes something of every one.
fn all<T>(values: &[&[u8]], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Vec<T>> {
    parse(values.first()?)?;
    values.iter().map(|value| parse(value)).collect()
}

fn common_prefix<'v>(values: &[&'v [u8]]) -> &'v [u8] {
    let Some((first, rest)) = values.split_first() else {
        return &[];
    };
    let mut prefix = *first;
    for value in rest {
        if value.starts_with(prefix) {
            continue;
        }
        let same = prefix.iter().zip(*value).take_while(|(one, other)| one == other);
        prefix = prefix.get(..same.count()).unwrap_or_default();
        if prefix.is_empty() {
            break;
        }
    }
    prefix
}

/// Two lowercase hexadecimal digits per byte, if there is nothing else.
fn pack(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pair = |pair: &[u8]| {
        let high = digit(pair.first()?)?;
        let low = pair.get(1).map_or(Some(0), digit)?;
        Some(high << 4 | low)
    };
    text.chunks(2).map(pair).collect()
}

fn unpack(packed: &[u8], digits: usize) -> Vec<u8> {
    let digit = |value: u8| DIGITS.get(usize::from(value & 15)).copied().unwrap_or_default();
    let mut text = Vec::with_capacity(packed.len() * 2);
    text.extend(packed.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]));
    text.truncate(digits);
    text
}

/// A number as `Display` writes it.
fn decimal(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_canonical = match digits {
        [] => false,
        [b'0', ..] => text.len() == 1,
        _ => digits.len() <= DECIMAL_DIGITS_MAX,
    };
    if !is_canonical {
        return None;
    }
    let mut number = 0_i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(if digits.len() < text.len() {
        -number
    } else {
        number
    })
}

/// An address as `Display` writes it.
fn ipv4(text: &[u8]) -> Option<[u8; 4]> {
    let mut address = [0; 4];
    let mut parts = text.split(|byte| *byte == b'.');
    for number in &mut address {
        let part = parts.next().filter(|part| part.len() <= 3)?;
        *number = u8::try_from(decimal(part)?).ok()?;
    }
    parts.next().is_none().then_some(address)
}

/// Texts that were read.
#[derive(Default)]
pub(super) struct Texts {
    data: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Texts {
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = start.copied().unwrap_or(0);
        self.data.get(start..end)
    }

    /// All of them one after another, and where each ends.
    pub fn into_parts(self) -> (Vec<u8>, Vec<usize>) {
        (self.data, self.ends)
    }

    /// The bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    fn push(&mut self, text: &[u8]) {
        self.data.extend_from_slice(text);
        self.ends.push(self.data.len());
    }
}

/// Reads `count` texts; charges for their bytes, while who calls was charged for their number.
pub(super) fn read(from: &mut Reader<'_>, count: usize) -> Result<Texts, PayloadError> {
    match from.byte()? {
        DISTINCT => read_distinct(from, count),
        how => read_rest(from, count, how),
    }
}

fn read_rest(from: &mut Reader<'_>, count: usize, how: u8) -> Result<Texts, PayloadError> {
    match how {
        PLAIN | HEX => read_plain(from, count, how == HEX),
        DECIMAL => read_decimal(from, count),
        IPV4 => read_ipv4(from, count),
        _ => Err(PayloadError::Damaged("texts that are written in an unknown way")),
    }
}

fn read_plain(from: &mut Reader<'_>, count: usize, is_packed: bool) -> Result<Texts, PayloadError> {
    let prefix = from.bytes()?;
    let (lengths, sum) = integers::read_lengths(from, count)?;
    let prefixes = prefix.len().saturating_mul(count);
    from.charge(sum.saturating_add(prefixes))?;
    let stored = from.stream(if is_packed { sum.div_ceil(2) } else { sum })?;
    let joined = if is_packed {
        unpack(&stored, sum)
    } else {
        stored.into_owned()
    };
    if prefix.is_empty() {
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        return Ok(Texts {
            ends: ends.collect(),
            data: joined,
        });
    }
    let mut texts = Texts::default();
    texts.data.reserve_exact(sum + prefixes);
    let mut rest = joined.as_slice();
    for length in lengths {
        let (text, after) = rest.split_at_checked(length).unwrap_or_default();
        rest = after;
        texts.data.extend_from_slice(prefix);
        texts.push(text);
    }
    Ok(texts)
}

fn read_distinct(from: &mut Reader<'_>, count: usize) -> Result<Texts, PayloadError> {
    let number = from.number()?;
    if number > count {
        return Err(PayloadError::Damaged("more distinct values than values"));
    }
    let how = from.byte()?;
    let values = read_rest(from, number, how)?;
    let unknown = || PayloadError::Damaged("a value that is none of the distinct ones");
    let which = integers::read(from, count)?
        .into_iter()
        .map(|index| usize::try_from(index).ok().and_then(|index| values.get(index)))
        .collect::<Option<Vec<&[u8]>>>()
        .ok_or_else(unknown)?;
    let bytes = which
        .iter()
        .fold(0_usize, |sum, text| sum.saturating_add(text.len()));
    // The distinct ones, each of which is there at least once, are charged for already.
    from.charge(bytes.saturating_sub(values.data.len()))?;
    let mut texts = Texts {
        data: Vec::with_capacity(bytes),
        ends: Vec::with_capacity(count),
    };
    which.into_iter().for_each(|text| texts.push(text));
    Ok(texts)
}

fn read_decimal(from: &mut Reader<'_>, count: usize) -> Result<Texts, PayloadError> {
    let mut texts = Texts::default();
    for number in integers::read(from, count)? {
        let before = texts.data.len();
        // Writing to memory cannot fail.
        std::io::Write::write_fmt(&mut texts.data, format_args!("{number}")).unwrap_or_default();
        from.charge(texts.data.len() - before)?;
        texts.ends.push(texts.data.len());
    }
    Ok(texts)
}

fn read_ipv4(from: &mut Reader<'_>, count: usize) -> Result<Texts, PayloadError> {
    let mut planes = Vec::with_capacity(4);
    for _ in 0..4 {
        planes.push(from.stream(count)?);
    }
    let mut texts = Texts::default();
    for index in 0..count {
        let before = texts.data.len();
        for plane in &planes {
            if texts.data.len() > before {
                texts.data.push(b'.');
            }
            push_octet(&mut texts.data, plane.get(index).copied().unwrap_or_default());
        }
        from.charge(texts.data.len() - before)?;
        texts.ends.push(texts.data.len());
    }
    Ok(texts)
}

fn push_octet(out: &mut Vec<u8>, octet: u8) {
    if octet >= 100 {
        out.push(b'0' + octet / 100);
    }
    if octet >= 10 {
        out.push(b'0' + octet / 10 % 10);
    }
    out.push(b'0' + octet % 10);
}
