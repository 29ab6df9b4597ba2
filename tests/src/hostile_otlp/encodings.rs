//! Compression, right or wrong, and bombs: small bodies that become large. How a message is
//! framed is not known here.

use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use meridian_proto::signal::Signal;

use super::framing::{call, framed, good};
use super::heads::{PROTOBUF, post};
use super::{Expected, Input, Sent, bulk};

const MIB: usize = 1 << 20;
const REFUSED: Expected = Expected::Refused;
const EITHER: Expected = Expected::Either;

/// What it is, its encoding, its body, and what becomes of it.
type Row = (&'static str, &'static str, fn() -> Vec<u8>, Expected);

/// All of them.
pub fn inputs() -> Vec<Input> {
    let light = [&NAMES[..], &BROKEN, &BOMBS].into_iter().flatten();
    let light = light.flat_map(|(what, encoding, body, expected)| both(what, encoding, *body, *expected));
    let heavy = HEAVY.iter().flat_map(|(what, encoding, body, expected)| {
        let inputs = both(what, encoding, once(*body), *expected);
        inputs.map(|input| Input {
            is_heavy: true,
            ..input
        })
    });
    light.chain(heavy).collect()
}

/// Which encodings there are.
const NAMES: [Row; 13] = [
    ("as it should be", "gzip", || gzip(&good()), Expected::whole(3)),
    ("as it should be", "zstd", || zstd_of(&good()), EITHER),
    ("with zlib's head", "deflate", || zlib(&good()), EITHER),
    ("without zlib's head", "deflate", || raw_deflate(&good()), EITHER),
    ("an unknown encoding", "br", good, REFUSED),
    ("an unknown encoding", "compress", good, REFUSED),
    ("an unknown encoding", "lz4", good, REFUSED),
    ("an unknown encoding", "GZIP9", good, REFUSED),
    ("an unknown encoding", "gzip gzip", good, REFUSED),
    ("an unknown encoding", "*", good, REFUSED),
    ("an unknown encoding", "zstd;q=1", good, REFUSED),
    (
        "an encoding twice",
        "gzip, gzip",
        || gzip(&gzip(&good())),
        REFUSED,
    ),
    ("the name in capitals", "GZIP", || gzip(&good()), EITHER),
];

const BROKEN: [Row; 20] = [
    ("no bytes", "gzip", Vec::new, EITHER),
    ("no bytes", "zstd", Vec::new, EITHER),
    ("no bytes", "deflate", Vec::new, EITHER),
    ("not compressed at all", "gzip", good, REFUSED),
    ("not compressed at all", "zstd", good, REFUSED),
    ("not compressed at all", "deflate", good, REFUSED),
    ("text", "gzip", || b"not compressed".to_vec(), REFUSED),
    ("text", "zstd", || b"not compressed".to_vec(), REFUSED),
    ("text", "deflate", || b"not compressed".to_vec(), REFUSED),
    ("cut short", "gzip", || cut(gzip(&good()), 9), REFUSED),
    ("cut short", "zstd", || cut(zstd_of(&good()), 5), REFUSED),
    ("cut short", "deflate", || cut(zlib(&good()), 7), REFUSED),
    (
        "a head and nothing else",
        "gzip",
        || gzip(&good())[..10].to_vec(),
        REFUSED,
    ),
    ("a wrong checksum", "gzip", || flipped(gzip(&good()), 6), REFUSED),
    ("a wrong length", "gzip", || flipped(gzip(&good()), 2), REFUSED),
    (
        "a wrong checksum",
        "deflate",
        || flipped(zlib(&good()), 2),
        REFUSED,
    ),
    (
        "bytes after the end",
        "gzip",
        || [gzip(&good()), vec![7; 9]].concat(),
        REFUSED,
    ),
    (
        "bytes after the end",
        "zstd",
        || [zstd_of(&good()), vec![7; 9]].concat(),
        REFUSED,
    ),
    (
        "bytes after the end",
        "deflate",
        || [zlib(&good()), vec![7; 9]].concat(),
        REFUSED,
    ),
    ("a window of 2 GiB", "zstd", || wide_window(&good()), EITHER),
];

const BOMBS: [Row; 7] = [
    ("two members", "gzip", two_members, EITHER),
    ("5,000 empty members", "gzip", || gzip(&[]).repeat(5_000), EITHER),
    (
        "300,000 empty members",
        "gzip",
        || gzip(&[]).repeat(300_000),
        EITHER,
    ),
    ("a bomb of 17 MiB", "gzip", || gzip_of(17 * MIB), REFUSED),
    ("a bomb of 17 MiB", "zstd", || zstd_bomb(17 * MIB), REFUSED),
    ("a bomb of 17 MiB", "deflate", || zlib_of(17 * MIB), REFUSED),
    (
        "a bomb of 1 GiB in members",
        "gzip",
        || gzip_of(16 * MIB).repeat(64),
        REFUSED,
    ),
];

const HEAVY: [Row; 7] = [
    ("a bomb of 512 MiB", "gzip", || gzip_of(512 * MIB), REFUSED),
    ("a bomb of 2 GiB", "gzip", || gzip_of(2048 * MIB), REFUSED),
    ("a bomb of 512 MiB", "zstd", || zstd_bomb(512 * MIB), REFUSED),
    ("a bomb of 4 GiB", "zstd", || zstd_bomb(4096 * MIB), REFUSED),
    ("a bomb of 512 MiB", "deflate", || zlib_of(512 * MIB), REFUSED),
    (
        "a bomb of empty spans",
        "gzip",
        || gzip(&bulk::empty_items(4_000_000)),
        EITHER,
    ),
    ("a bomb in a bomb", "gzip", || gzip(&gzip_of(256 * MIB)), REFUSED),
];

/// A body that takes long to make, and is small.
fn once(body: fn() -> Vec<u8>) -> impl Fn() -> Vec<u8> + Clone + Send + Sync + 'static {
    let made = Arc::new(OnceLock::new());
    move || made.get_or_init(body).clone()
}

/// A body in an encoding, over both protocols.
fn both<F>(what: &str, encoding: &'static str, body: F, expected: Expected) -> [Input; 2]
where
    F: Fn() -> Vec<u8> + Clone + Send + Sync + 'static,
{
    let over_grpc = body.clone();
    let over_http = Input {
        class: "encoding",
        what: format!("{what} ({encoding})"),
        signal: Signal::Spans,
        expected,
        is_heavy: false,
        sent: Sent::Http {
            bytes: Box::new(move || post("/v1/traces", &[PROTOBUF, ("content-encoding", encoding)], &body())),
        },
    };
    let framed = Box::new(move || framed(1, &over_grpc()));
    [
        call(
            "encoding",
            format!("{what} ({encoding})"),
            encoding,
            framed,
            expected,
        ),
        over_http,
    ]
}

fn two_members() -> Vec<u8> {
    let body = good();
    let (first, second) = body.split_at(body.len() / 2);
    [gzip(first), gzip(second)].concat()
}

fn cut(mut bytes: Vec<u8>, by: usize) -> Vec<u8> {
    bytes.truncate(bytes.len().saturating_sub(by));
    bytes
}

/// A bit of the byte so far from the end.
fn flipped(mut bytes: Vec<u8>, from_end: usize) -> Vec<u8> {
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zeros(length: usize) -> impl Read {
    std::io::repeat(0).take(length as u64)
}

fn gzip_of(length: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::copy(&mut zeros(length), &mut encoder).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zlib_of(length: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    std::io::copy(&mut zeros(length), &mut encoder).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("in memory")
}

fn zstd_bomb(length: usize) -> Vec<u8> {
    zstd::encode_all(zeros(length), 1).expect("in memory")
}

/// A frame without a content size whose descriptor asks for a window of 2 GiB (RFC 8878,
/// section 3.1.1.1.2): the exponent is in the upper five bits.
fn wide_window(bytes: &[u8]) -> Vec<u8> {
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3];
    let size = u32::try_from(bytes.len()).expect("a small body");
    // One raw block, the last.
    let block = (size << 3 | 1).to_le_bytes();
    [&head, &block[..3], bytes].concat()
}
