//! Requests whose heads are wrong: methods, paths, content types, lengths, chunks, header lists,
//! and bytes that are not HTTP at all.

use meridian_proto::signal::Signal;

use super::framing::framed;
use super::{Expected, Input, Sent, grpc_path};
use crate::otlp;

/// The header of protobuf.
pub const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
/// The header of JSON.
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// A request that is right but for its headers and its body.
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", &length)]].concat();
    request("POST", path, &headers, body)
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// All of them.
pub fn inputs() -> Vec<Input> {
    let mut all = content_types();
    all.extend(methods());
    all.extend(lengths());
    all.extend(odd_lengths());
    all.extend(odd_calls());
    all.extend(chunks());
    all.extend(lists());
    all.extend(not_http());
    all.extend(calls());
    all
}

fn good() -> Vec<u8> {
    otlp::request(Signal::Spans, "hostile", 3)
}

fn http(class: &'static str, what: impl Into<String>, bytes: Vec<u8>, expected: Expected) -> Input {
    Input {
        class,
        what: what.into(),
        signal: Signal::Spans,
        expected,
        is_heavy: false,
        sent: Sent::Http {
            bytes: Box::new(move || bytes.clone()),
        },
    }
}

fn content_types() -> Vec<Input> {
    let refused = [
        "text/plain",
        "application/xml",
        "application/octet-stream",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "application/json; charset=utf-16",
        "application/",
        "/",
        ";",
        "application/x-protobuf-2",
        "application/grpc",
        "application/x-ndjson",
    ];
    let mut all: Vec<Input> = refused
        .iter()
        .map(|value| {
            let body = post("/v1/traces", &[("content-type", value)], b"{}");
            // A receiver may think a charset no matter where every byte is ASCII.
            let expected = if value.contains("charset") {
                Expected::Either
            } else {
                Expected::Refused
            };
            http("head", format!("content-type {value}"), body, expected)
        })
        .collect();
    let json = [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        "application/json; charset=\"utf-8\"",
        "application/json ; x=y",
    ];
    all.extend(json.iter().map(|value| {
        let body = post("/v1/traces", &[("content-type", value)], b"{}");
        http("head", format!("content-type {value}"), body, Expected::whole(0))
    }));
    let none = post("/v1/traces", &[], &good());
    all.push(http("head", "no content type", none, Expected::Either));
    let crossed = post("/v1/traces", &[PROTOBUF], b"{\"resourceSpans\":[]}");
    all.push(http("head", "JSON as protobuf", crossed, Expected::Refused));
    let crossed = post("/v1/traces", &[JSON], &good());
    all.push(http("head", "protobuf as JSON", crossed, Expected::Refused));
    let twice = post("/v1/traces", &[PROTOBUF, JSON], &good());
    all.push(http("head", "two content types", twice, Expected::Either));
    all
}

fn methods() -> Vec<Input> {
    let mut all = Vec::new();
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"] {
        let bytes = request(method, "/v1/traces", &[PROTOBUF, ("content-length", "0")], b"");
        // OPTIONS is answered to whoever asks, which is no telemetry.
        let expected = if method == "OPTIONS" {
            Expected::Either
        } else {
            Expected::Refused
        };
        all.push(http("method", method, bytes, expected));
    }
    let long = format!("/{}", "x".repeat(60_000));
    for path in [
        "/",
        "/v1/trace",
        "/v1/traces/",
        "/v2/traces",
        "//v1/traces",
        "/v1/traces/../traces",
        "/v1/%74races%00",
        "/v1development/profiles",
        "*",
        long.as_str(),
    ] {
        let bytes = post(path, &[PROTOBUF], &good());
        let shown: String = path.chars().take(30).collect();
        all.push(http("method", format!("POST {shown}"), bytes, Expected::Refused));
    }
    all
}

fn lengths() -> Vec<Input> {
    let body = good();
    let with =
        |headers: &[(&str, &str)]| request("POST", "/v1/traces", &[&[PROTOBUF], headers].concat(), &body);
    let exact = body.len().to_string();
    let less = (body.len() - 5).to_string();
    let more = (body.len() + 500).to_string();
    let of = |what: &str, bytes: Vec<u8>, expected| http("head", what, bytes, expected);
    vec![
        of(
            "a length and less of a body",
            with(&[("content-length", &more)]),
            Expected::Closed,
        ),
        of(
            "a length and more of a body",
            with(&[("content-length", &less)]),
            Expected::Closed,
        ),
        of("no length", with(&[]), Expected::Either),
        of(
            "two lengths that differ",
            with(&[("content-length", &exact), ("content-length", &less)]),
            Expected::Closed,
        ),
        of(
            "the length twice",
            with(&[("content-length", &exact), ("content-length", &exact)]),
            Expected::Either,
        ),
        of(
            "a length of 17 MiB and nothing",
            with(&[("content-length", "17825793")])[..120].to_vec(),
            Expected::Closed,
        ),
        of(
            "a length and chunks",
            with(&[("content-length", &exact), ("transfer-encoding", "chunked")]),
            Expected::Closed,
        ),
        of(
            "an unknown transfer encoding",
            with(&[("transfer-encoding", "snappy")]),
            Expected::Closed,
        ),
        of(
            "expects 100-continue",
            with(&[("content-length", &exact), ("expect", "100-continue")]),
            Expected::Either,
        ),
        of(
            "expects nonsense",
            with(&[("content-length", &exact), ("expect", "miracles")]),
            Expected::Either,
        ),
    ]
}

/// Lengths that are no numbers, or absurd.
fn odd_lengths() -> Vec<Input> {
    let body = good();
    let with = |length: &str| {
        let headers = [PROTOBUF, ("content-length", length)];
        request("POST", "/v1/traces", &headers, &body)
    };
    let mut all = Vec::new();
    for length in [
        "-1",
        "+5",
        "abc",
        "0x10",
        "18446744073709551616",
        "9223372036854775807",
        "1 2",
        "",
        "5,6",
    ] {
        let what = format!("the length {length}");
        all.push(http("head", what, with(length), Expected::Closed));
    }
    all
}

fn chunks() -> Vec<Input> {
    let chunked = |body: &[u8]| {
        request(
            "POST",
            "/v1/traces",
            &[PROTOBUF, ("transfer-encoding", "chunked")],
            body,
        )
    };
    let good = good();
    let whole = [
        format!("{:x}\r\n", good.len()).as_bytes(),
        &good,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let mut bytewise: Vec<u8> = good
        .iter()
        .flat_map(|byte| [b"1\r\n", &[*byte, b'\r', b'\n'][..]].concat())
        .collect();
    bytewise.extend_from_slice(b"0\r\n\r\n");
    let mut extended = format!("{:x};{}\r\n", good.len(), "x".repeat(20_000)).into_bytes();
    extended.extend_from_slice(&whole[whole.len() - good.len() - 7..]);
    let of = |what: &str, body: &[u8], expected| http("head", what, chunked(body), expected);
    vec![
        of("chunks as they should be", &whole, Expected::Either),
        of("chunks of a byte", &bytewise, Expected::Either),
        of(
            "a chunk that is no number",
            b"xyz\r\nabc\r\n0\r\n\r\n",
            Expected::Closed,
        ),
        of(
            "a chunk of 2^64 bytes",
            b"10000000000000000\r\nabc",
            Expected::Closed,
        ),
        of("a chunk of -1 bytes", b"-1\r\nabc\r\n", Expected::Closed),
        of(
            "a chunk without its end",
            b"5\r\nabcdefgh\r\n0\r\n\r\n",
            Expected::Closed,
        ),
        of(
            "chunks without an end",
            &whole[..whole.len() - 5],
            Expected::Closed,
        ),
        of("a chunk with a long extension", &extended, Expected::Either),
        of(
            "many trailers",
            &[
                &whole[..whole.len() - 2],
                "a: b\r\n".repeat(5_000).as_bytes(),
                b"\r\n",
            ]
            .concat(),
            Expected::Either,
        ),
    ]
}

fn lists() -> Vec<Input> {
    let body = good();
    let long = "v".repeat(100_000);
    let several: Vec<(String, &str)> = (0..500).map(|number| (format!("x-{number}"), "v")).collect();
    let mut several: Vec<(&str, &str)> = several
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    several.push(PROTOBUF);
    let raw = |line: &[u8]| {
        let mut bytes = post("/v1/traces", &[PROTOBUF], &body);
        let at = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a line") + 2;
        bytes.splice(at..at, line.iter().copied());
        bytes
    };
    let of = |what: &str, bytes: Vec<u8>, expected| http("head", what, bytes, expected);
    vec![
        of(
            "a header of 100 kB",
            post("/v1/traces", &[PROTOBUF, ("x-long", &long)], &body),
            Expected::Either,
        ),
        of(
            "a header of a megabyte",
            post("/v1/traces", &[("x-long", &long.repeat(10)), PROTOBUF], &body),
            Expected::Either,
        ),
        of(
            "500 headers",
            post("/v1/traces", &several, &body),
            Expected::Either,
        ),
        of("a header without a colon", raw(b"nonsense\r\n"), Expected::Closed),
        of("a header without a name", raw(b": value\r\n"), Expected::Closed),
        of("a folded header", raw(b"x-a: b\r\n  c\r\n"), Expected::Either),
        of("a NUL in a header", raw(b"x-a: b\0c\r\n"), Expected::Closed),
        of("a blank before the colon", raw(b"x-a : b\r\n"), Expected::Either),
        of(
            "bytes beyond ASCII in a header",
            raw(b"x-a: \xff\xfe\r\n"),
            Expected::Either,
        ),
        of("two hosts", raw(b"host: elsewhere\r\n"), Expected::Either),
    ]
}

fn not_http() -> Vec<Input> {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20);
    let of = |what: &str, bytes: &[u8]| http("head", what, bytes.to_vec(), Expected::Closed);
    vec![
        of("nothing", b""),
        of("half a request line", b"POST /v1/tra"),
        of("a TLS ClientHello", &hello),
        of("zeros", &[0; 10_000]),
        of("HTTP/0.9", b"GET /v1/traces\r\n\r\n"),
        of("HTTP/3.0", b"POST /v1/traces HTTP/3.0\r\nhost: a\r\n\r\n"),
        of("line feeds", &b"\n".repeat(50_000)),
        of("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        of("half a preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM"),
        of(
            "a preface and nonsense",
            &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0xff; 500]].concat(),
        ),
        of(
            "no host",
            b"POST /v1/traces HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ),
    ]
}

type Headers = Vec<(&'static str, String)>;

/// A call whose body is right.
fn call(class: &'static str, what: String, method: &'static str, path: &str, headers: Headers) -> Input {
    Input {
        class,
        what,
        signal: Signal::Spans,
        expected: Expected::Refused,
        is_heavy: false,
        sent: Sent::Grpc {
            method,
            path: path.to_owned(),
            headers,
            body: Box::new(|| framed(0, &good())),
        },
    }
}

/// Calls of gRPC that are none.
fn calls() -> Vec<Input> {
    let paths = [
        "/",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
        "/opentelemetry.proto.collector.trace.v1.TraceService",
        "/TraceService/Export",
        "/opentelemetry.proto.collector.trace.v2.TraceService/Export",
        "/v1/traces",
        "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Nothing",
    ];
    let export = grpc_path(Signal::Spans);
    let types = ["application/json", "application/grpc-web", "text/plain", ""];
    let paths = paths.map(|path| call("method", format!("the method {path}"), "POST", path, Vec::new()));
    let methods = ["GET", "PUT", "DELETE"].map(|method| {
        call(
            "method",
            format!("{method} of a call"),
            method,
            export,
            Vec::new(),
        )
    });
    let types = types.map(|value| {
        let headers = vec![("content-type", value.to_owned())];
        call(
            "head",
            format!("the content type {value}"),
            "POST",
            export,
            headers,
        )
    });
    paths.into_iter().chain(methods).chain(types).collect()
}

/// Calls with headers that a server may overlook.
fn odd_calls() -> Vec<Input> {
    let timeouts = ["1x", "-5S", "99999999999999H", ""];
    let timeouts = timeouts.map(|value| ("grpc-timeout", value.to_owned()));
    let others = [
        // Some servers take every subtype for protobuf.
        ("content-type", "application/grpc+json".to_owned()),
        ("x-odd-bin", "!!! no base64".to_owned()),
        ("grpc-accept-encoding", "x".repeat(500)),
        ("x-long", "v".repeat(7_000)),
        ("x-long", "v".repeat(40_000)),
        ("x-long", "v".repeat(200_000)),
        ("grpc-message-type", "nonsense".to_owned()),
    ];
    let odd = timeouts.into_iter().chain(others).map(|(name, value)| {
        let shown: String = value.chars().take(20).collect();
        let what = format!("metadata {name} of {} bytes: {shown:?}", value.len());
        let input = call(
            "head",
            what,
            "POST",
            grpc_path(Signal::Spans),
            vec![(name, value)],
        );
        Input {
            expected: Expected::Either,
            ..input
        }
    });
    odd.collect()
}
