//! Protobuf by hand, right or wrong: tags, lengths and nesting. It knows OTLP's envelopes and no
//! other message.

use meridian_proto::signal::Signal;

/// A varint.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
    bytes
}

/// A tag; also of wire types that do not exist.
pub fn tag(number: u64, wire_type: u64) -> Vec<u8> {
    varint(number << 3 | wire_type)
}

/// A field with a length.
pub fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [&tag(number, 2), &varint(bytes.len() as u64), bytes].concat()
}

/// A number.
pub fn number(field: u64, value: u64) -> Vec<u8> {
    [tag(field, 0), varint(value)].concat()
}

/// Eight bytes.
pub fn fixed64(number: u64, value: u64) -> Vec<u8> {
    [&tag(number, 1), &value.to_le_bytes()[..]].concat()
}

/// A request around what a scope holds: items, or metrics.
pub fn request(in_scope: &[u8]) -> Vec<u8> {
    field(1, &field(2, in_scope))
}

/// A field of the items of a signal: 2 in every scope.
pub fn item(bytes: &[u8]) -> Vec<u8> {
    field(2, bytes)
}

/// A sound item without anything else; log records and data points need nothing.
pub fn good_item(signal: Signal) -> Vec<u8> {
    match signal {
        Signal::Spans => item(&span(&[])),
        Signal::Logs => item(
            &[
                fixed64(1, crate::otlp::now_unix_nanos()),
                field(5, &field(1, id(8).as_slice())),
            ]
            .concat(),
        ),
        Signal::Metrics => metric(&[]),
    }
}

/// A span with ids, times, a name, and these fields after them.
pub fn span(more: &[u8]) -> Vec<u8> {
    let now = crate::otlp::now_unix_nanos();
    [
        field(1, &id(16)),
        field(2, &id(8)),
        field(5, b"hostile"),
        fixed64(7, now - 1_000_000),
        fixed64(8, now),
        more.to_vec(),
    ]
    .concat()
}

/// A metric with a gauge of one point, as a scope holds it; the point has these fields as well.
pub fn metric(more: &[u8]) -> Vec<u8> {
    let point = [
        fixed64(3, crate::otlp::now_unix_nanos()),
        field(7, &[field(1, b"id"), field(2, &field(1, &id(8)))].concat()),
        more.to_vec(),
    ]
    .concat();
    item(&[field(1, b"hostile.gauge"), field(5, &field(1, &point))].concat())
}

/// Letters that no other id has: text where text is asked for.
pub fn id(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| rand::random_range(b'a'..=b'z')).collect()
}

/// `inner` inside of `depth` messages, each the field that `path` names, from the outside; it is
/// written from the inside and backwards, so that depth costs no copies.
pub fn nested(path: &[u64], depth: usize, inner: &[u8]) -> Vec<u8> {
    let mut backwards: Vec<u8> = inner.iter().rev().copied().collect();
    for _ in 0..depth {
        for number in path.iter().rev() {
            let head = [tag(*number, 2), varint(backwards.len() as u64)].concat();
            backwards.extend(head.iter().rev());
        }
    }
    backwards.reverse();
    backwards
}
