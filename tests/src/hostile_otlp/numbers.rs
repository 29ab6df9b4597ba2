//! Items in protobuf whose times, enumerations and values are out of range or absurd, beside two
//! that are not. Ids and texts are not known here.

use meridian_proto::signal::Signal;

use super::protobuf::beside_good;
use super::wire::{field, fixed64, id, item, metric, number, span, tag};
use super::{Case, Expected};
use crate::otlp::now_unix_nanos;

const SPANS: Signal = Signal::Spans;
const LOGS: Signal = Signal::Logs;
const METRICS: Signal = Signal::Metrics;

/// All of them.
pub fn cases() -> Vec<Case> {
    [ranges(), enumerations(), points(), histograms(), distributions()]
        .into_iter()
        .flatten()
        .collect()
}

/// Times.
fn ranges() -> Vec<Case> {
    let mut all = Vec::new();
    let max = i64::MAX.cast_unsigned();
    for time in [
        0,
        1,
        now_unix_nanos() + (60 << 50),
        max,
        max + 1,
        u64::MAX - 1,
        u64::MAX,
    ] {
        // Beyond 2^63 no signed type holds it.
        let expected = if time > max {
            Expected::odd(3, 1)
        } else {
            Expected::whole(3)
        };
        let bad = item(&span(&[fixed64(7, time), fixed64(8, time)].concat()));
        all.push(Case::new(
            "range",
            format!("a span at {time}"),
            SPANS,
            beside_good(SPANS, &bad),
            expected,
        ));
        let bad = item(&[fixed64(1, time), fixed64(11, time), field(5, &field(1, &id(8)))].concat());
        all.push(Case::new(
            "range",
            format!("a log record at {time}"),
            LOGS,
            beside_good(LOGS, &bad),
            expected,
        ));
        let bad = metric(&[fixed64(2, time), fixed64(3, time)].concat());
        all.push(Case::new(
            "range",
            format!("a data point at {time}"),
            METRICS,
            beside_good(METRICS, &bad),
            expected,
        ));
    }
    all
}

/// Enumerations and counts.
fn enumerations() -> Vec<Case> {
    let mut all = Vec::new();
    let minus_one = u64::MAX;
    let in_span = [
        (
            "an end before the start",
            [fixed64(7, now_unix_nanos()), fixed64(8, 5)].concat(),
        ),
        ("the kind 99", number(6, 99)),
        ("the kind -1", number(6, minus_one)),
        ("the kind 2^31", number(6, 1 << 31)),
        ("the status 77", field(15, &number(3, 77))),
        ("dropped attributes of 2^32 - 1", number(10, 0xffff_ffff)),
        ("dropped attributes of 2^40", number(10, 1 << 40)),
        ("flags of 2^32 - 1", [tag(16, 5), vec![0xff; 4]].concat()),
        ("an event at 2^64 - 1", field(11, &fixed64(1, u64::MAX))),
    ];
    for (what, bad) in in_span {
        let body = beside_good(SPANS, &item(&span(&bad)));
        all.push(Case::new("range", what, SPANS, body, Expected::odd(3, 1)));
    }
    for severity in [25, 9999, minus_one] {
        let bad = item(&[fixed64(1, now_unix_nanos()), number(2, severity)].concat());
        all.push(Case::new(
            "range",
            format!("the severity {severity}"),
            LOGS,
            beside_good(LOGS, &bad),
            Expected::odd(3, 1),
        ));
    }
    all
}

/// A metric that may be rejected, beside two that are kept.
fn odd_metric(what: String, metric: &[u8]) -> Case {
    let body = beside_good(METRICS, metric);
    Case::new("range", what, METRICS, body, Expected::odd(3, 1))
}

fn points() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |what: String, metric: &[u8]| all.push(odd_metric(what, metric));
    let doubles = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        f64::MAX,
        f64::MIN_POSITIVE / 2.0,
    ];
    for value in doubles {
        add(
            format!("a gauge of {value}"),
            &metric(&fixed64(4, value.to_bits())),
        );
    }
    for value in [i64::MIN, -1, i64::MAX] {
        add(
            format!("an integer of {value}"),
            &metric(&fixed64(6, value.cast_unsigned())),
        );
    }
    all
}

/// A metric of this kind of data with one point.
fn of(data: u64, point: &[u8]) -> Vec<u8> {
    let point = [&fixed64(3, now_unix_nanos()), point].concat();
    item(&[field(1, b"hostile"), field(data, &field(1, &point))].concat())
}

/// Histograms with buckets.
fn histograms() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |what: String, metric: &[u8]| all.push(odd_metric(what, metric));
    let packed = |values: &[u64]| {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let bounds = |values: &[f64]| {
        field(
            7,
            &packed(&values.iter().map(|bound| bound.to_bits()).collect::<Vec<_>>()),
        )
    };
    let counts = |values: &[u64]| field(6, &packed(values));
    add(
        "more counts than buckets".into(),
        &of(9, &[counts(&[1, 2, 3]), bounds(&[1.0])].concat()),
    );
    add(
        "fewer counts than buckets".into(),
        &of(9, &[counts(&[1]), bounds(&[1.0, 2.0])].concat()),
    );
    add(
        "bounds that descend".into(),
        &of(9, &[counts(&[1, 2, 3]), bounds(&[2.0, 1.0])].concat()),
    );
    add(
        "bounds that are equal".into(),
        &of(9, &[counts(&[1, 2, 3]), bounds(&[1.0, 1.0])].concat()),
    );
    add(
        "bounds of NaN".into(),
        &of(9, &[counts(&[1, 2]), bounds(&[f64::NAN])].concat()),
    );
    add(
        "counts of 2^64 - 1".into(),
        &of(
            9,
            &[fixed64(4, u64::MAX), counts(&[u64::MAX, 1]), bounds(&[1.0])].concat(),
        ),
    );
    add(
        "a sum of NaN".into(),
        &of(
            9,
            &[fixed64(5, f64::NAN.to_bits()), counts(&[1, 2]), bounds(&[1.0])].concat(),
        ),
    );
    all
}

/// Exponential histograms, summaries, and what a metric may lack.
fn distributions() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |what: String, metric: &[u8]| all.push(odd_metric(what, metric));
    // sint32 in zigzag: 2^32 - 1 is the least of all.
    for scale in [40, 0xffff_ffff, 0xffff_fffe, u64::MAX] {
        let point = [
            number(6, scale),
            field(8, &[number(1, scale), field(2, &[1, 2, 3])].concat()),
        ]
        .concat();
        add(
            format!("an exponential histogram of scale {scale} in zigzag"),
            &of(10, &point),
        );
    }
    add(
        "a count of zeros of 2^64 - 1".into(),
        &of(10, &fixed64(7, u64::MAX)),
    );
    add(
        "a zero threshold of NaN".into(),
        &of(10, &fixed64(14, f64::NAN.to_bits())),
    );
    let quantile = |value: f64| field(6, &[fixed64(1, value.to_bits()), fixed64(2, 0)].concat());
    for value in [2.0, -1.0, f64::NAN] {
        add(format!("a summary's quantile {value}"), &of(11, &quantile(value)));
    }
    add(
        "the temporality 77".into(),
        &item(
            &[
                field(1, b"s"),
                field(7, &[field(1, &fixed64(3, 5)), number(2, 77)].concat()),
            ]
            .concat(),
        ),
    );
    add("a data point without a value".into(), &metric(&number(8, 1)));
    add(
        "a metric without a name".into(),
        &item(&field(5, &field(1, &fixed64(3, now_unix_nanos())))),
    );
    all
}
