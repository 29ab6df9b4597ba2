//! Bodies in protobuf: good items beside bad ones, and bytes that are no protobuf. How they are
//! framed is not known here.

use meridian_proto::signal::Signal;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::wire::{field, fixed64, good_item, id, item, metric, nested, number, request, span, tag};
use super::{Case, Expected, malformed, numbers};
use crate::otlp::{self, now_unix_nanos};

const SPANS: Signal = Signal::Spans;
const LOGS: Signal = Signal::Logs;
const METRICS: Signal = Signal::Metrics;

/// All of them.
pub fn cases() -> Vec<Case> {
    [
        ids(),
        other_ids(),
        texts(),
        other_texts(),
        shared_texts(),
        numbers::cases(),
        repeated(),
        repeated_elsewhere(),
        empty(),
        depth(),
        malformed::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Two good items around a bad one.
pub fn beside_good(signal: Signal, bad: &[u8]) -> Vec<u8> {
    request(&[good_item(signal), bad.to_vec(), good_item(signal)].concat())
}

fn of_span(change: impl FnOnce(&mut Span)) -> Vec<u8> {
    let mut spans: Vec<Span> = (0..3).map(|_| otlp::span("hostile")).collect();
    change(&mut spans[1]);
    otlp::spans_request("hostile", spans)
}

fn ids() -> Vec<Case> {
    let mut all = Vec::new();
    let mut bad =
        |what: String, body: Vec<u8>, expected| all.push(Case::new("ids", what, SPANS, body, expected));
    for length in [0, 1, 7, 8, 15, 17, 32, 4096] {
        let body = of_span(|span| span.trace_id = vec![7; length]);
        bad(
            format!("a trace id of {length} bytes"),
            body,
            Expected::without(3, 1),
        );
    }
    for length in [0, 1, 4, 7, 9, 16] {
        let body = of_span(|span| span.span_id = vec![7; length]);
        bad(
            format!("a span id of {length} bytes"),
            body,
            Expected::without(3, 1),
        );
    }
    for length in [1, 7, 9, 16] {
        let body = of_span(|span| span.parent_span_id = vec![7; length]);
        bad(format!("a parent of {length} bytes"), body, Expected::odd(3, 1));
    }
    bad(
        "a trace id of zeros".into(),
        of_span(|span| span.trace_id = vec![0; 16]),
        Expected::without(3, 1),
    );
    bad(
        "a span id of zeros".into(),
        of_span(|span| span.span_id = vec![0; 8]),
        Expected::without(3, 1),
    );
    bad(
        "a parent of zeros".into(),
        of_span(|span| span.parent_span_id = vec![0; 8]),
        Expected::odd(3, 1),
    );
    all
}

/// Ids where a span has none of its own.
fn other_ids() -> Vec<Case> {
    let mut all = Vec::new();
    let link = item(&span(&field(
        13,
        &[field(1, &[7; 3]), field(2, &[7; 2])].concat(),
    )));
    let body = beside_good(SPANS, &link);
    all.push(Case::new(
        "ids",
        "a link with short ids",
        SPANS,
        body,
        Expected::odd(3, 1),
    ));
    for (trace, own) in [(3, 8), (16, 3), (0, 5)] {
        let log = item(
            &[
                fixed64(1, now_unix_nanos()),
                field(9, &vec![7; trace]),
                field(10, &vec![7; own]),
            ]
            .concat(),
        );
        let what = format!("a log record with ids of {trace} and {own} bytes");
        all.push(Case::new(
            "ids",
            what,
            LOGS,
            beside_good(LOGS, &log),
            Expected::odd(3, 1),
        ));
    }
    let exemplar = metric(&field(5, &[field(4, &[7; 2]), field(5, &[7; 3])].concat()));
    all.push(Case::new(
        "ids",
        "an exemplar with short ids",
        METRICS,
        beside_good(METRICS, &exemplar),
        Expected::odd(3, 1),
    ));
    all
}

/// Bytes that are not UTF-8, each in another way.
const NOT_UTF8: [(&str, &[u8]); 5] = [
    ("a lone byte", b"ab\xffcd"),
    ("a character cut short", b"abc\xe2\x82"),
    ("a surrogate", b"\xed\xa0\x80"),
    ("an overlong NUL", b"\xc0\x80"),
    ("a character beyond Unicode", b"\xf5\x80\x80\x80"),
];

fn texts() -> Vec<Case> {
    let mut all = Vec::new();
    for (what, bytes) in NOT_UTF8 {
        let name = item(&span(&field(5, bytes)));
        all.push(Case::new(
            "text",
            format!("a span's name: {what}"),
            SPANS,
            beside_good(SPANS, &name),
            Expected::without(3, 1),
        ));
    }
    let bytes = NOT_UTF8[0].1;
    let value = |key: &[u8], value: &[u8]| [field(1, key), field(2, &field(1, value))].concat();
    let in_span = [
        ("an attribute's key", field(9, &value(bytes, b"v"))),
        ("an attribute's value", field(9, &value(b"k", bytes))),
        (
            "a value in an array",
            field(
                9,
                &[field(1, b"k"), field(2, &field(5, &field(1, &field(1, bytes))))].concat(),
            ),
        ),
        (
            "an event's name",
            field(11, &[fixed64(1, 5), field(2, bytes)].concat()),
        ),
        ("an event's attribute", field(11, &field(3, &value(b"k", bytes)))),
        (
            "a link's trace state",
            field(
                13,
                &[field(1, &id(16)), field(2, &id(8)), field(3, bytes)].concat(),
            ),
        ),
        ("a status message", field(15, &field(2, bytes))),
        ("the trace state", field(3, bytes)),
    ];
    for (what, bad) in in_span {
        let body = beside_good(SPANS, &item(&span(&bad)));
        all.push(Case::new("text", what, SPANS, body, Expected::without(3, 1)));
    }
    all
}

/// Texts of log records and metrics.
fn other_texts() -> Vec<Case> {
    let mut all = Vec::new();
    let bytes = NOT_UTF8[0].1;
    for (what, number) in [
        ("a log's body", 5),
        ("a severity's text", 3),
        ("an event's name of a log", 12),
    ] {
        let text = if number == 5 {
            field(5, &field(1, bytes))
        } else {
            field(number, bytes)
        };
        let bad = item(&[fixed64(1, now_unix_nanos()), text].concat());
        all.push(Case::new(
            "text",
            what,
            LOGS,
            beside_good(LOGS, &bad),
            Expected::without(3, 1),
        ));
    }
    for (what, number) in [
        ("a metric's name", 1),
        ("a metric's description", 2),
        ("a metric's unit", 3),
    ] {
        let point = field(5, &field(1, &fixed64(3, now_unix_nanos())));
        let bad = item(&[field(number, bytes), point].concat());
        all.push(Case::new(
            "text",
            what,
            METRICS,
            beside_good(METRICS, &bad),
            Expected::without(3, 1),
        ));
    }
    all
}

/// Texts that many items share.
fn shared_texts() -> Vec<Case> {
    let mut all = Vec::new();
    let bytes = NOT_UTF8[0].1;
    let value = [field(1, b"k"), field(2, &field(1, bytes))].concat();
    let good = good_item(SPANS);
    let resource = [
        field(1, &[field(1, &field(1, &value)), field(2, &good)].concat()),
        request(&good_item(SPANS)),
    ];
    all.push(Case::new(
        "text",
        "a resource's attribute",
        SPANS,
        resource.concat(),
        Expected::without(2, 1),
    ));
    let scope = [
        field(1, &field(2, &[field(1, &field(1, bytes)), good.clone()].concat())),
        request(&good_item(SPANS)),
    ];
    all.push(Case::new(
        "text",
        "a scope's name",
        SPANS,
        scope.concat(),
        Expected::without(2, 1),
    ));
    let schema = [
        field(1, &[field(2, &good_item(SPANS)), field(3, bytes)].concat()),
        request(&good_item(SPANS)),
    ];
    all.push(Case::new(
        "text",
        "a schema's URL",
        SPANS,
        schema.concat(),
        Expected::without(2, 1),
    ));
    all.push(Case::new(
        "text",
        "NUL in a name",
        SPANS,
        beside_good(SPANS, &item(&span(&field(5, b"a\0b")))),
        Expected::whole(3),
    ));
    all
}

fn repeated() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add =
        |what: &str, signal, body, expected| all.push(Case::new("repeated", what, signal, body, expected));
    let in_span = [
        ("a name twice", field(5, b"again")),
        ("ids twice", [field(1, &id(16)), field(2, &id(8))].concat()),
        (
            "a status twice",
            [field(15, &number(3, 1)), field(15, &number(3, 2))].concat(),
        ),
        ("times ten times", fixed64(7, now_unix_nanos()).repeat(10)),
        (
            "an attribute twice",
            field(9, &[field(1, b"k"), field(2, &field(1, b"v"))].concat()).repeat(2),
        ),
        (
            "an attribute a thousand times",
            field(9, &[field(1, b"k"), field(2, &field(1, b"v"))].concat()).repeat(1000),
        ),
        (
            "a value of two types",
            field(
                9,
                &[field(1, b"k"), field(2, &[field(1, b"v"), number(3, 7)].concat())].concat(),
            ),
        ),
        (
            "two values",
            field(
                9,
                &[field(1, b"k"), field(2, &field(1, b"v")), field(2, &number(3, 7))].concat(),
            ),
        ),
        (
            "two keys",
            field(
                9,
                &[field(1, b"k"), field(1, b"l"), field(2, &number(3, 7))].concat(),
            ),
        ),
    ];
    for (what, fields) in in_span {
        add(
            what,
            SPANS,
            beside_good(SPANS, &item(&span(&fields))),
            Expected::whole(3),
        );
    }
    all
}

/// What a request has twice, and what a metric and a log record have.
fn repeated_elsewhere() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add =
        |what: &str, signal, body, expected| all.push(Case::new("repeated", what, signal, body, expected));
    let same = item(&span(&[]));
    add(
        "a span twice",
        SPANS,
        request(&same.repeat(2)),
        Expected::whole(2),
    );
    let resource = field(
        1,
        &field(
            1,
            &[field(1, b"service.name"), field(2, &field(1, b"a"))].concat(),
        ),
    );
    let twice = field(
        1,
        &[resource.clone(), resource, field(2, &good_item(SPANS))].concat(),
    );
    add("a resource twice", SPANS, twice, Expected::whole(1));
    let point = |value: f64| {
        field(
            1,
            &[fixed64(3, now_unix_nanos()), fixed64(4, value.to_bits())].concat(),
        )
    };
    let two_kinds = [field(1, b"m"), field(5, &point(1.0)), field(7, &point(2.0))].concat();
    add(
        "a metric of two kinds",
        METRICS,
        request(&item(&two_kinds)),
        Expected::whole(1),
    );
    let bodies = [
        field(5, &field(1, b"a")),
        field(5, &number(3, 5)),
        fixed64(1, now_unix_nanos()),
    ]
    .concat();
    add("two bodies", LOGS, request(&item(&bodies)), Expected::whole(1));
    all
}

fn empty() -> Vec<Case> {
    let mut all = Vec::new();
    for signal in Signal::ALL {
        let mut add =
            |what: &str, body: Vec<u8>, expected| all.push(Case::new("empty", what, signal, body, expected));
        add("nothing", Vec::new(), Expected::whole(0));
        add("an empty resource", field(1, &[]), Expected::whole(0));
        add("an empty scope", field(1, &field(2, &[])), Expected::whole(0));
        let item_expected = match signal {
            SPANS => Expected::without(3, 1),
            LOGS => Expected::odd(3, 1),
            METRICS => Expected::whole(2),
        };
        add("an empty item", beside_good(signal, &item(&[])), item_expected);
    }
    let in_span = [
        ("an empty attribute", field(9, &[])),
        ("an attribute without a key", field(9, &field(2, &field(1, b"v")))),
        ("an attribute without a value", field(9, &field(1, b"k"))),
        (
            "an empty value",
            field(9, &[field(1, b"k"), field(2, &[])].concat()),
        ),
        (
            "an empty array",
            field(9, &[field(1, b"k"), field(2, &field(5, &[]))].concat()),
        ),
        (
            "an empty map",
            field(9, &[field(1, b"k"), field(2, &field(6, &[]))].concat()),
        ),
        (
            "empty bytes",
            field(9, &[field(1, b"k"), field(2, &field(7, &[]))].concat()),
        ),
        ("an empty name", field(5, &[])),
        ("an empty event", field(11, &[])),
        ("an empty link", field(13, &[])),
        ("an empty status", field(15, &[])),
    ];
    for (what, fields) in in_span {
        let body = beside_good(SPANS, &item(&span(&fields)));
        all.push(Case::new("empty", what, SPANS, body, Expected::whole(3)));
    }
    all
}

fn depth() -> Vec<Case> {
    let mut all = Vec::new();
    // Through an array's elements, and through a map's values.
    for (what, path) in [("arrays", &[5, 1][..]), ("maps", &[6, 1, 2])] {
        for depth in [10, 65, 200, 1_000, 10_000, 100_000] {
            let value = nested(path, depth, &number(3, 7));
            let attribute = field(9, &[field(1, b"k"), field(2, &value)].concat());
            let bad = item(&span(&attribute));
            let expected = if depth <= 10 {
                Expected::whole(3)
            } else {
                Expected::odd(3, 1)
            };
            let body = beside_good(SPANS, &bad);
            all.push(Case::new(
                "depth",
                format!("{depth} {what} in each other"),
                SPANS,
                body,
                expected,
            ));
        }
    }
    let body = nested(&[5, 1], 50_000, &number(3, 7));
    let log = item(&[fixed64(1, now_unix_nanos()), field(5, &body)].concat());
    all.push(Case::new(
        "depth",
        "a log's body",
        LOGS,
        beside_good(LOGS, &log),
        Expected::odd(3, 1),
    ));
    let unknown = field(99, &nested(&[99], 50_000, &[]));
    all.push(Case::new(
        "depth",
        "in an unknown field",
        SPANS,
        beside_good(SPANS, &item(&span(&unknown))),
        Expected::whole(3),
    ));
    all.push(Case::new(
        "depth",
        "groups in each other",
        SPANS,
        tag(99, 3).repeat(100_000),
        Expected::Refused,
    ));
    all
}
