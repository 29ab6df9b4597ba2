//! Bodies in JSON: what clients rightly send and some receivers do not take, and what no
//! receiver should.

use meridian_proto::signal::Signal;

use super::{Case, Expected};
use crate::otlp::now_unix_nanos;

/// All of them.
pub fn cases() -> Vec<Case> {
    [
        documents(),
        values(),
        odd_values(),
        members(),
        items(),
        spans(),
        points(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn hex(bytes: usize) -> String {
    (0..bytes)
        .map(|_| format!("{:02x}", rand::random_range(1..=255u8)))
        .collect()
}

/// A span with these members beside its ids and times.
pub fn span(more: &str) -> String {
    let now = now_unix_nanos();
    format!(
        r#"{{"traceId":"{}","spanId":"{}","startTimeUnixNano":"{now}","endTimeUnixNano":"{now}"{more}}}"#,
        hex(16),
        hex(8)
    )
}

/// The request that carries them.
pub fn request(spans: &[String]) -> String {
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
}

/// Two good spans around this one.
fn beside_good(bad: &str) -> String {
    request(&[span(""), bad.to_owned(), span("")])
}

fn of(what: impl Into<String>, body: impl Into<Vec<u8>>, expected: Expected) -> Case {
    Case::new("json", what, Signal::Spans, body.into(), expected)
}

const NO_DOCUMENTS: [&str; 33] = [
    "",
    " ",
    "{",
    "}",
    "[]",
    "null",
    "true",
    "1",
    "\"x\"",
    "{]",
    "{\"a\":}",
    "{\"a\"}",
    "{,}",
    "{'a':1}",
    "{a:1}",
    "{\"a\":1,}",
    "{\"a\":01}",
    "{\"a\":+1}",
    "{\"a\":.5}",
    "{\"a\":1.}",
    "{\"a\":1e}",
    "{\"a\":NaN}",
    "{\"a\":Infinity}",
    "{\"a\":tru}",
    "{\"a\":\"\n\"}",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\u12\"}",
    "{\"a\":\"",
    "{\"a\":1}}",
    "{\"a\":1} x",
    "{} {}",
    "/* c */ {}",
    "{\"a\":1 \"b\":2}",
];

/// What is not one document of JSON, or not an object.
fn documents() -> Vec<Case> {
    let good = request(&[span("")]);
    let mut all: Vec<Case> = NO_DOCUMENTS
        .iter()
        .map(|text| of(format!("the document {text:?}"), *text, Expected::Refused))
        .collect();
    all.push(of("an empty object", "{}", Expected::whole(0)));
    all.push(of(
        "an empty object among blanks",
        " \r\n\t{ } \n",
        Expected::whole(0),
    ));
    all.push(of(
        "a byte order mark",
        format!("\u{feff}{good}"),
        Expected::Refused,
    ));
    all.push(of(
        "UTF-16",
        good.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>(),
        Expected::Refused,
    ));
    all.push(of(
        "a document after the document",
        format!("{good}{good}"),
        Expected::Refused,
    ));
    all.push(of(
        "a NUL after the document",
        format!("{good}\0"),
        Expected::Refused,
    ));
    all.push(of(
        "cut short",
        &good.as_bytes()[..good.len() - 3],
        Expected::Refused,
    ));
    for inner in ["{}", "\"x\"", "1", "[1]", "[[]]", "[\"x\"]", "[true]"] {
        let what = format!("resourceSpans of {inner}");
        all.push(of(
            what,
            format!("{{\"resourceSpans\":{inner}}}"),
            Expected::Refused,
        ));
    }
    for inner in [
        "[]",
        "null",
        "[{}]",
        "[{\"scopeSpans\":[]}]",
        "[{\"scopeSpans\":null}]",
    ] {
        let what = format!("resourceSpans of {inner}");
        all.push(of(
            what,
            format!("{{\"resourceSpans\":{inner}}}"),
            Expected::whole(0),
        ));
    }
    all
}

/// Spans with these members, each beside two good ones.
fn all_of<const N: usize>(cases: [(&str, String, Expected); N]) -> Vec<Case> {
    let cases = cases.into_iter();
    cases
        .map(|(what, more, expected)| of(what, beside_good(&span(&more)), expected))
        .collect()
}

/// What a member may be.
fn values() -> Vec<Case> {
    let attribute = |value: &str| format!(r#","attributes":[{{"key":"k","value":{value}}}]"#);
    let now = now_unix_nanos();
    let whole = Expected::whole(3);
    let cases = [
        (
            "times as numbers",
            format!(r#","startTimeUnixNano":{now},"endTimeUnixNano":{now}"#),
            whole,
        ),
        (
            "times of 0",
            r#","startTimeUnixNano":"0","endTimeUnixNano":0"#.to_owned(),
            whole,
        ),
        (
            "null everywhere",
            r#","name":null,"attributes":null,"status":null,"kind":null"#.to_owned(),
            whole,
        ),
        (
            "an unknown member",
            r#","color":{"red":[1,2,{"x":null}]}"#.to_owned(),
            whole,
        ),
        (
            "the kind by name",
            r#","kind":"SPAN_KIND_SERVER""#.to_owned(),
            Expected::Either,
        ),
        (
            "a kind that nobody knows",
            r#","kind":"SPAN_KIND_MAGIC""#.to_owned(),
            Expected::Either,
        ),
        ("the kind 99", r#","kind":99"#.to_owned(), Expected::odd(3, 1)),
        ("an empty value", attribute("{}"), whole),
        ("no value", attribute("null"), whole),
        (
            "an integer as text",
            attribute(r#"{"intValue":"-9223372036854775808"}"#),
            whole,
        ),
        ("an integer as a number", attribute(r#"{"intValue":5}"#), whole),
    ];
    all_of(cases)
}

/// Numbers and texts of attributes.
fn odd_values() -> Vec<Case> {
    let attribute = |value: &str| format!(r#","attributes":[{{"key":"k","value":{value}}}]"#);
    let whole = Expected::whole(3);
    let cases = [
        (
            "NaN as text",
            attribute(r#"{"doubleValue":"NaN"}"#),
            Expected::Either,
        ),
        ("an integer as a double", attribute(r#"{"doubleValue":5}"#), whole),
        (
            "a small double",
            attribute(r#"{"doubleValue":1e-999999}"#),
            Expected::Either,
        ),
        (
            "a huge double",
            attribute(r#"{"doubleValue":1e999999}"#),
            Expected::Either,
        ),
        (
            "an integer of 2^64",
            attribute(r#"{"intValue":"18446744073709551616"}"#),
            Expected::Either,
        ),
        (
            "an integer with a fraction",
            attribute(r#"{"intValue":1.5}"#),
            Expected::Either,
        ),
        (
            "an integer that is none",
            attribute(r#"{"intValue":"seven"}"#),
            Expected::Either,
        ),
        (
            "a boolean as text",
            attribute(r#"{"boolValue":"true"}"#),
            Expected::Either,
        ),
        (
            "bytes that are no base64",
            attribute(r#"{"bytesValue":"!!!"}"#),
            Expected::Either,
        ),
        (
            "a value of two types",
            attribute(r#"{"intValue":1,"stringValue":"x"}"#),
            Expected::Either,
        ),
    ];
    all_of(cases)
}

/// Texts, names, and members of another type.
fn members() -> Vec<Case> {
    let attribute = |value: &str| format!(r#","attributes":[{{"key":"k","value":{value}}}]"#);
    let now = now_unix_nanos();
    let whole = Expected::whole(3);
    let cases = [
        (
            "a NUL in a text",
            attribute(r#"{"stringValue":"a\u0000b"}"#),
            whole,
        ),
        (
            "an escaped pair of surrogates",
            attribute(r#"{"stringValue":"\ud83d\ude00"}"#),
            whole,
        ),
        (
            "a lone surrogate",
            attribute(r#"{"stringValue":"\ud800"}"#),
            Expected::Either,
        ),
        (
            "a member twice",
            r#","name":"a","name":"b""#.to_owned(),
            Expected::Either,
        ),
        (
            "names of the .proto files",
            format!(r#","start_time_unix_nano":"{now}""#),
            Expected::Either,
        ),
        (
            "a name that is a number",
            r#","name":7"#.to_owned(),
            Expected::Either,
        ),
        (
            "attributes as an object",
            r#","attributes":{"k":"v"}"#.to_owned(),
            Expected::Either,
        ),
    ];
    let mut all = all_of(cases);
    let mut text = beside_good(&span(r#","name":"XY""#)).into_bytes();
    let at = text.windows(2).position(|pair| pair == b"XY").expect("the name");
    text[at] = 0xff;
    all.push(of("a text that is not UTF-8", text, Expected::Either));
    all
}

/// Spans that cannot be kept, beside two that can.
fn items() -> Vec<Case> {
    let with_ids = |trace: &str, own: &str| format!(r#"{{"traceId":{trace},"spanId":{own}}}"#);
    let (trace, own) = (format!("\"{}\"", hex(16)), format!("\"{}\"", hex(8)));
    let rejected = Expected::without(3, 1);
    vec![
        of("no ids", beside_good("{}"), rejected),
        of(
            "ids of no bytes",
            beside_good(&with_ids("\"\"", "\"\"")),
            rejected,
        ),
        of(
            "a short trace id",
            beside_good(&with_ids("\"0102\"", &own)),
            rejected,
        ),
        of(
            "a trace id of zeros",
            beside_good(&with_ids(&format!("\"{:032}\"", 0), &own)),
            rejected,
        ),
        of(
            "a long span id",
            beside_good(&with_ids(&trace, "\"010203040506070809\"")),
            rejected,
        ),
        of(
            "an odd number of digits",
            beside_good(&with_ids("\"01020304050607080102030405060708f\"", &own)),
            rejected,
        ),
        of(
            "ids in base64",
            beside_good(&with_ids("\"AQIDBAUGBwgBAgMEBQYHCA==\"", "\"AQIDBAUGBwg=\"")),
            rejected,
        ),
        of(
            "a trace id that is no hex",
            beside_good(&with_ids("\"zz020304050607080102030405060708\"", &own)),
            rejected,
        ),
        of(
            "ids in capitals",
            request(&[with_ids(&trace.to_uppercase(), &own.to_uppercase())]),
            Expected::whole(1),
        ),
        of(
            "a trace id that is a number",
            beside_good(&with_ids("7", &own)),
            Expected::Either,
        ),
    ]
}

/// Times that are none, and values that nest.
fn spans() -> Vec<Case> {
    let mut all = Vec::new();
    for time in [
        "\"-1\"",
        "-1",
        "\"seven\"",
        "1.5",
        "\"18446744073709551616\"",
        "1e400",
        "{}",
        "true",
    ] {
        // A type that the schema does not know may cost the whole: it is no OTLP.
        let bad = span(&format!(r#","startTimeUnixNano":{time}"#));
        all.push(of(
            format!("a time of {time}"),
            beside_good(&bad),
            Expected::Either,
        ));
    }
    for time in ["\"9223372036854775808\"", "18446744073709551615"] {
        let bad = span(&format!(r#","startTimeUnixNano":{time}"#));
        all.push(of(
            format!("a time of {time}"),
            beside_good(&bad),
            Expected::odd(3, 1),
        ));
    }
    all.extend([65, 200, 1_000, 100_000].map(|depth| {
        let value = format!(
            "{}{{\"intValue\":1}}{}",
            "{\"arrayValue\":{\"values\":[".repeat(depth),
            "]}}".repeat(depth)
        );
        let bad = span(&format!(r#","attributes":[{{"key":"k","value":{value}}}]"#));
        of(
            format!("{depth} arrays in each other"),
            beside_good(&bad),
            Expected::Either,
        )
    }));
    all
}

fn points() -> Vec<Case> {
    let metric = |data: &str| {
        format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m",{data}}}]}}]}}]}}"#)
    };
    let now = now_unix_nanos();
    let id = hex(8);
    let gauge = |more: &str| {
        metric(&format!(
            r#""gauge":{{"dataPoints":[{{"timeUnixNano":{now},"attributes":[{{"key":"{id}"}}]{more}}}]}}"#
        ))
    };
    let cases = [
        ("a gauge", gauge(r#","asDouble":1.5"#), Expected::whole(1)),
        ("a gauge of NaN", gauge(r#","asDouble":"NaN""#), Expected::Either),
        (
            "a gauge of -Infinity",
            gauge(r#","asDouble":"-Infinity""#),
            Expected::Either,
        ),
        ("an integer as text", gauge(r#","asInt":"7""#), Expected::whole(1)),
        ("no value", gauge(""), Expected::whole(1)),
        (
            "counts as text",
            metric(&format!(
                r#""histogram":{{"dataPoints":[{{"timeUnixNano":"{now}","count":"3","bucketCounts":["1","2"],"explicitBounds":[1]}}]}}"#
            )),
            Expected::whole(1),
        ),
        (
            "counts as numbers",
            metric(&format!(
                r#""histogram":{{"dataPoints":[{{"timeUnixNano":{now},"count":3,"bucketCounts":[1,2],"explicitBounds":[2]}}]}}"#
            )),
            Expected::whole(1),
        ),
        (
            "a count of -1",
            metric(r#""histogram":{"dataPoints":[{"count":"-1"}]}"#),
            Expected::Either,
        ),
        (
            "data points that are an object",
            metric(r#""gauge":{"dataPoints":{}}"#),
            Expected::Refused,
        ),
        (
            "two kinds",
            metric(r#""gauge":{"dataPoints":[]},"sum":{"dataPoints":[]}"#),
            Expected::Either,
        ),
    ];
    cases
        .into_iter()
        .map(|(what, body, expected)| Case::new("json", what, Signal::Metrics, body.into_bytes(), expected))
        .collect()
}
