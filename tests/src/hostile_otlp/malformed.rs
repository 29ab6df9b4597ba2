//! Bytes that are no protobuf, or hardly: tags, lengths, ends. Items that are sound protobuf are
//! not known here.

use meridian_proto::signal::Signal;

use super::protobuf::beside_good;
use super::wire::{field, fixed64, good_item, item, number, request, span, tag, varint};
use super::{Case, Expected};
use crate::bench::random::Random;

const SPANS: Signal = Signal::Spans;

/// All of them.
pub fn cases() -> Vec<Case> {
    [tags(), lengths(), ends(), unknown()]
        .into_iter()
        .flatten()
        .collect()
}

/// A span with these bytes in it, between two good ones.
fn spoiled(bytes: &[u8]) -> Vec<u8> {
    beside_good(SPANS, &item(&span(bytes)))
}

/// Tags and varints that are none.
fn tags() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add =
        |what: String, body: Vec<u8>, expected| all.push(Case::new("wire", what, SPANS, body, expected));
    add("an unclosed group".into(), spoiled(&tag(9, 3)), Expected::Refused);
    add(
        "a closed group".into(),
        spoiled(&[tag(99, 3), tag(99, 4)].concat()),
        Expected::Either,
    );
    add(
        "the end of no group".into(),
        spoiled(&tag(99, 4)),
        Expected::Refused,
    );
    for kind in [6, 7] {
        add(
            format!("the wire type {kind}"),
            spoiled(&tag(99, kind)),
            Expected::Refused,
        );
    }
    add(
        "the field 0".into(),
        spoiled(&[tag(0, 0), vec![1]].concat()),
        Expected::Refused,
    );
    add(
        "the field 2^29".into(),
        spoiled(&[tag(1 << 29, 0), vec![1]].concat()),
        Expected::Refused,
    );
    add(
        "the field 2^40".into(),
        spoiled(&[tag(1 << 40, 0), vec![1]].concat()),
        Expected::Refused,
    );
    add(
        "a varint of 11 bytes".into(),
        spoiled(&[tag(99, 0), vec![0x80; 10], vec![1]].concat()),
        Expected::Refused,
    );
    add(
        "a varint of more than 64 bits".into(),
        spoiled(&[tag(99, 0), vec![0xff; 9], vec![0x7f]].concat()),
        Expected::Either,
    );
    add(
        "a varint without its end".into(),
        spoiled(&[tag(99, 0), vec![0x80]].concat()),
        Expected::Refused,
    );
    all
}

/// Lengths beyond the end, and types that OTLP does not give.
fn lengths() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add =
        |what: String, body: Vec<u8>, expected| all.push(Case::new("wire", what, SPANS, body, expected));
    for length in [1_000, 1 << 31, 1 << 40, 1 << 63, u64::MAX] {
        add(
            format!("a length of {length}"),
            spoiled(&[tag(5, 2), varint(length)].concat()),
            Expected::Refused,
        );
    }
    add(
        "a name as a number".into(),
        spoiled(&number(5, 7)),
        Expected::Refused,
    );
    add(
        "a time as a varint".into(),
        spoiled(&number(7, 7)),
        Expected::Refused,
    );
    add(
        "a kind as a string".into(),
        spoiled(&field(6, b"server")),
        Expected::Refused,
    );
    add(
        "an id as eight bytes".into(),
        spoiled(&fixed64(1, 7)),
        Expected::Refused,
    );
    add(
        "a status as a number".into(),
        spoiled(&number(15, 7)),
        Expected::Refused,
    );
    add(
        "spans as a number".into(),
        field(1, &field(2, &number(2, 7))),
        Expected::Refused,
    );
    all
}

/// Requests that end too early or too late.
fn ends() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add =
        |what: String, body: Vec<u8>, expected| all.push(Case::new("wire", what, SPANS, body, expected));
    let good = good_item(SPANS);
    add(
        "a byte too few".into(),
        good[..good.len() - 1].to_vec(),
        Expected::Refused,
    );
    let whole = request(&good);
    for at in [1, 2, 3, 5, 9, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        add(
            format!("the first {at} bytes"),
            whole[..at].to_vec(),
            Expected::Refused,
        );
    }
    for trailing in [&b"\0"[..], b"\n", b"trailing", b"\xff\xff"] {
        let body = [&request(&good_item(SPANS)), trailing].concat();
        add(format!("{trailing:?} after the end"), body, Expected::Refused);
    }
    all
}

/// What nobody knows: sound, or not protobuf at all.
fn unknown() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add =
        |what: String, body: Vec<u8>, expected| all.push(Case::new("wire", what, SPANS, body, expected));
    let unknown = [
        number(99, 7),
        fixed64(98, 7),
        field(97, b"x"),
        tag(96, 5),
        vec![0; 4],
        number((1 << 29) - 1, 7),
    ];
    add(
        "unknown fields".into(),
        spoiled(&unknown.concat()),
        Expected::whole(3),
    );
    // A length of two bytes where one would do.
    let long_length = item(&span(&[tag(5, 2), vec![0x81, 0x00], b"x".to_vec()].concat()));
    add(
        "a length that is longer than it must be".into(),
        beside_good(SPANS, &long_length),
        Expected::whole(3),
    );
    for (what, text) in [
        ("text", &b"hello, world"[..]),
        ("HTML", b"<!doctype html><html></html>"),
        ("JSON", b"{\"resourceSpans\":[]}"),
        ("zeros", &[0; 500]),
    ] {
        add(what.into(), text.to_vec(), Expected::Refused);
    }
    let mut random = Random::seeded(5);
    for number in 0..12 {
        let bytes = (0..200)
            .map(|_| u8::try_from(random.below(256)).expect("a byte"))
            .collect();
        add(format!("random bytes {number}"), bytes, Expected::Either);
    }
    all
}
