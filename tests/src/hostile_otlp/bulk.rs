//! Much of something: floods of empty messages, huge values, long documents. Each is made only
//! when it is sent.

use meridian_proto::signal::Signal;

use super::wire::{field, fixed64, good_item, item, request, span};
use super::{Case, Expected, Make, json};
use crate::otlp::now_unix_nanos;

const SPANS: Signal = Signal::Spans;
const LOGS: Signal = Signal::Logs;
const METRICS: Signal = Signal::Metrics;
const MIB: usize = 1 << 20;

/// In protobuf.
pub fn in_protobuf() -> Vec<Case> {
    [floods(), sizes(), names()].into_iter().flatten().collect()
}

/// In JSON.
pub fn in_json() -> Vec<Case> {
    documents().into_iter().chain(crowds()).collect()
}

/// So many empty spans, log records or metrics.
pub fn empty_items(count: usize) -> Vec<u8> {
    request(&item(&[]).repeat(count))
}

fn floods() -> Vec<Case> {
    let either = Expected::Either;
    let of = |what: &str, signal, expected, body: fn() -> Vec<u8>| {
        Case::heavy("flood", what, signal, Box::new(body), expected)
    };
    vec![
        of("1.5 million empty spans", SPANS, either, || {
            empty_items(1_500_000)
        }),
        of(
            "50,000 empty spans beside a good one",
            SPANS,
            Expected::without(50_001, 50_000),
            || request(&[item(&[]).repeat(50_000), good_item(SPANS)].concat()),
        ),
        of("1.5 million empty log records", LOGS, either, || {
            empty_items(1_500_000)
        }),
        of("1.5 million empty metrics", METRICS, Expected::whole(0), || {
            empty_items(1_500_000)
        }),
        of("1.5 million empty data points", METRICS, either, || {
            request(&item(&field(5, &field(1, &[]).repeat(1_500_000))))
        }),
        of("1.5 million empty resources", SPANS, Expected::whole(0), || {
            field(1, &[]).repeat(1_500_000)
        }),
        of("1.5 million empty scopes", LOGS, Expected::whole(0), || {
            field(1, &field(2, &[]).repeat(1_500_000))
        }),
        of("a million empty attributes", SPANS, either, || {
            request(&item(&span(&field(9, &[]).repeat(1_000_000))))
        }),
        of("a million empty events", SPANS, either, || {
            request(&item(&span(&field(11, &[]).repeat(1_000_000))))
        }),
        of("a million empty links", SPANS, either, || {
            request(&item(&span(&field(13, &[]).repeat(1_000_000))))
        }),
        of("a million elements of an array", LOGS, either, || {
            let body = field(5, &field(5, &field(1, &[]).repeat(1_000_000)));
            request(&item(&[fixed64(1, now_unix_nanos()), body].concat()))
        }),
        of("a million buckets", METRICS, either, || {
            let point = [fixed64(3, now_unix_nanos()), field(6, &vec![0; 8 << 20])].concat();
            request(&item(&[field(1, b"m"), field(9, &field(1, &point))].concat()))
        }),
    ]
}

fn sizes() -> Vec<Case> {
    let named = |bytes: usize| {
        move || {
            request(&item(&span(&field(
                9,
                &[field(1, b"k"), field(2, &field(1, &vec![b'x'; bytes]))].concat(),
            ))))
        }
    };
    let of = |what: &str, signal, body: Make, expected| Case::heavy("size", what, signal, body, expected);
    vec![
        of(
            "a value of a megabyte",
            SPANS,
            Box::new(named(MIB)),
            Expected::Either,
        ),
        of(
            "a value of 15 MiB",
            SPANS,
            Box::new(named(15 * MIB)),
            Expected::Either,
        ),
        of(
            "a value of 65 MiB",
            SPANS,
            Box::new(named(65 * MIB)),
            Expected::Refused,
        ),
        of(
            "a value of 200 MiB",
            SPANS,
            Box::new(named(200 * MIB)),
            Expected::Refused,
        ),
        of(
            "zeros, 33 MiB",
            SPANS,
            Box::new(|| vec![0; 33 * MIB]),
            Expected::Refused,
        ),
        of(
            "a key of a megabyte",
            SPANS,
            Box::new(|| request(&item(&span(&field(9, &field(1, &vec![b'k'; MIB])))))),
            Expected::Either,
        ),
        of(
            "a name of a megabyte",
            SPANS,
            Box::new(|| request(&item(&span(&field(5, &vec![b'n'; MIB]))))),
            Expected::Either,
        ),
    ]
}

/// Many different names.
fn names() -> Vec<Case> {
    let of = |what: &str, signal, body: Make, expected| Case::heavy("size", what, signal, body, expected);
    let mut all = Vec::new();
    all.push(of(
        "20,000 attributes",
        SPANS,
        Box::new(|| {
            let attributes = (0..20_000).map(|number| {
                field(
                    9,
                    &[
                        field(1, format!("k{number}").as_bytes()),
                        field(2, &super::wire::number(3, 1)),
                    ]
                    .concat(),
                )
            });
            request(&item(&span(&attributes.collect::<Vec<_>>().concat())))
        }),
        Expected::Either,
    ));
    all.push(of(
        "20,000 names of metrics",
        METRICS,
        Box::new(|| {
            let point = field(5, &field(1, &fixed64(3, now_unix_nanos())));
            let metrics = (0..20_000)
                .map(|number| item(&[field(1, format!("m{number}").as_bytes()), point.clone()].concat()));
            request(&metrics.collect::<Vec<_>>().concat())
        }),
        Expected::Either,
    ));
    all
}

fn made(what: &str, body: fn() -> String, expected: Expected) -> Case {
    let body = Box::new(move || body().into_bytes());
    Case::heavy("json", what, SPANS, body, expected)
}

fn documents() -> Vec<Case> {
    let either = Expected::Either;
    let refused = Expected::Refused;
    vec![
        made(
            "a text of 15 MiB",
            || json::request(&[json::span(&format!(r#","name":"{}""#, "x".repeat(15 * MIB)))]),
            either,
        ),
        made(
            "escapes, 15 MiB",
            || {
                json::request(&[json::span(&format!(
                    r#","name":"{}""#,
                    "\\u0041".repeat(15 * MIB / 6)
                ))])
            },
            either,
        ),
        made(
            "a text of 40 MiB",
            || json::request(&[json::span(&format!(r#","name":"{}""#, "x".repeat(40 * MIB)))]),
            refused,
        ),
        made(
            "a text without an end",
            || format!("{{\"resourceSpans\":\"{}", "x".repeat(10 * MIB)),
            refused,
        ),
        made("blanks", || format!("{}{{}}", " ".repeat(12 * MIB)), either),
        made("brackets", || "[".repeat(12 * MIB), refused),
        made("braces", || "{\"resourceSpans\":[".repeat(MIB / 2), refused),
        made(
            "brackets in an unknown member",
            || format!("{{\"x\":{}", "[".repeat(5 * MIB)),
            refused,
        ),
        made(
            "objects in an unknown member",
            || format!("{{\"x\":{}1{}}}", "{\"a\":".repeat(MIB), "}".repeat(MIB)),
            either,
        ),
    ]
}

/// Many members.
fn crowds() -> Vec<Case> {
    let either = Expected::Either;
    let refused = Expected::Refused;
    vec![
        made(
            "a million empty spans",
            || json::request(&vec!["{}".to_owned(); 1_000_000]),
            either,
        ),
        made(
            "a million empty resources",
            || format!("{{\"resourceSpans\":[{}{{}}]}}", "{},".repeat(1_000_000)),
            either,
        ),
        made(
            "a number of a million digits",
            || json::request(&[json::span(&format!(r#","kind":{}"#, "1".repeat(MIB)))]),
            either,
        ),
        made(
            "a key of a megabyte",
            || format!("{{\"{}\":1}}", "k".repeat(MIB)),
            either,
        ),
        made(
            "two million members",
            || format!("{{{}\"z\":1}}", "\"a\":1,".repeat(2_000_000)),
            either,
        ),
        made(
            "line feeds before a mistake",
            || format!("{}x", "\n".repeat(10 * MIB)),
            refused,
        ),
    ]
}
