//! What gRPC puts before a message: the flag and the length, right or wrong. What the message is
//! is not known here.

use meridian_proto::signal::Signal;

use super::{Expected, Input, Make, Sent, grpc_path};
use crate::otlp;

const MIB: usize = 1 << 20;

/// A message with its prefix.
pub fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    announced(flag, message.len(), message)
}

fn announced(flag: u8, length: usize, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).expect("less than 4 GiB").to_be_bytes();
    [&[flag], &length[..], message].concat()
}

/// A request that nothing is wrong with.
pub fn good() -> Vec<u8> {
    otlp::request(Signal::Spans, "hostile", 3)
}

/// A call with this body.
pub fn call(
    class: &'static str,
    what: impl Into<String>,
    encoding: &str,
    body: Make,
    expected: Expected,
) -> Input {
    let headers = match encoding {
        "" => Vec::new(),
        name => vec![("grpc-encoding", name.to_owned())],
    };
    Input {
        class,
        what: what.into(),
        signal: Signal::Spans,
        expected,
        is_heavy: false,
        sent: Sent::Grpc {
            method: "POST",
            path: grpc_path(Signal::Spans).to_owned(),
            headers,
            body,
        },
    }
}

fn framing(what: &str, encoding: &str, bytes: Vec<u8>, expected: Expected) -> Input {
    call(
        "framing",
        what,
        encoding,
        Box::new(move || bytes.clone()),
        expected,
    )
}

/// All of them.
pub fn inputs() -> Vec<Input> {
    let of = framing;
    let refused = Expected::Refused;
    let two = [framed(0, &good()), framed(0, &good())].concat();
    let mut all = cut_short();
    all.extend([
        of("no message", "", Vec::new(), refused),
        of("a message of no bytes", "", framed(0, &[]), Expected::whole(0)),
        of("two messages", "", two, refused),
        of(
            "bytes after the message",
            "",
            [framed(0, &good()), vec![0]].concat(),
            refused,
        ),
        of(
            "a prefix behind the message",
            "",
            [framed(0, &good()), vec![0; 5]].concat(),
            refused,
        ),
        of(
            "more announced than sent",
            "",
            announced(0, 9999, &good()),
            refused,
        ),
        of("less announced than sent", "", announced(0, 10, &good()), refused),
        of("4 GiB announced", "", announced(0, 0xffff_ffff, &good()), refused),
        of("2 GiB announced", "", announced(0, 1 << 31, b""), refused),
        of(
            "17 MiB announced and nothing sent",
            "",
            announced(0, 17 * MIB, b""),
            refused,
        ),
        of("the flag without an encoding", "", framed(1, &good()), refused),
        of("the flag and identity", "identity", framed(1, &good()), refused),
        of(
            "the flag and a plain message",
            "gzip",
            framed(1, &good()),
            refused,
        ),
        of(
            "an encoding without the flag",
            "gzip",
            framed(0, &good()),
            Expected::whole(3),
        ),
        of(
            "an unknown encoding without the flag",
            "snappy-x",
            framed(0, &good()),
            Expected::Either,
        ),
    ]);
    all
}

/// Flags that nobody knows, and prefixes that end.
fn cut_short() -> Vec<Input> {
    let mut all = Vec::new();
    let of = framing;
    let refused = Expected::Refused;
    for flag in [2, 3, 127, 128, 255] {
        all.push(of(
            &format!("the flag {flag}"),
            "",
            framed(flag, &good()),
            refused,
        ));
    }
    for length in 1..5 {
        all.push(of(
            &format!("{length} bytes of a prefix"),
            "",
            framed(0, &good())[..length].to_vec(),
            refused,
        ));
    }
    all
}
