//! A batch's columns, as strangers may send them: no more memory than was announced, and what is
//! read can be written, read again and turned into OTLP.
//!
//! The first byte says which signal, and whether the rest is what is announced and a payload, or
//! changes those of a sound one whose head is stored as it is: hardly any change of a compressed
//! head would leave one.

use meridian_proto::payload;
use meridian_proto::rebuild;
use meridian_proto::signal::Signal;

use crate::batches::batches;
use crate::choices::Choices;

/// What the reader allows.
const BATCH_BYTES_MAX: usize = 4 << 20;
const ROW_BYTES_MIN: usize = 64;
const ZSTD_LEVEL: i32 = 1;

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let first = choices.byte();
    let signal = Signal::ALL[usize::from(first) % Signal::ALL.len()];
    let (announced, bytes) = if first < 128 {
        (choices.u32(), choices.rest().to_vec())
    } else {
        altered(signal, &mut choices)
    };
    let Ok(batch) = payload::decode(signal, &bytes, announced, BATCH_BYTES_MAX) else {
        return;
    };
    let announced = usize::try_from(announced).expect("32 bits fit");
    assert!(announced <= BATCH_BYTES_MAX, "more than is allowed was announced");
    assert!(
        batch.num_rows() * ROW_BYTES_MIN <= announced,
        "rows have their bytes"
    );
    let encoded = payload::encode(&batch, ZSTD_LEVEL).expect("what is read can be written");
    let announced = encoded.uncompressed_bytes;
    let again = payload::decode(signal, &encoded.bytes, announced, usize::MAX);
    assert_eq!(again.expect("and read again"), batch, "it says the same");
    // A stranger's rows may hold texts that no agent writes: then an error says so.
    drop(match signal {
        Signal::Spans => rebuild::spans(&batch),
        Signal::Logs => rebuild::logs(&batch),
        Signal::Metrics => rebuild::metrics(&batch),
    });
}

fn altered(signal: Signal, choices: &mut Choices<'_>) -> (u32, Vec<u8>) {
    let batch = &batches()[signal.index()];
    let mut bytes = with_plain_head(&batch.payload);
    let announced = match choices.byte() {
        0 => choices.u32(),
        _ => batch.uncompressed_bytes,
    };
    while !choices.is_over() {
        let (kind, at) = (choices.byte(), choices.below(bytes.len().max(1)));
        match kind {
            0..8 => bytes.truncate(at),
            8..32 => drop(bytes.splice(at..at, choices.bytes(usize::from(kind)).iter().copied())),
            32..40 => drop(bytes.drain(at..(at + usize::from(kind)).min(bytes.len()))),
            _ => {
                let byte = choices.byte();
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
        }
    }
    (announced, bytes)
}

/// The same payload: form, bytes of the head, 0 for a head that is stored as it is, head, body.
fn with_plain_head(payload: &[u8]) -> Vec<u8> {
    let (form, mut rest) = payload.split_first().expect("a payload");
    let (bytes, stored) = (number(&mut rest), number(&mut rest));
    if stored == 0 {
        return payload.to_vec();
    }
    let (head, body) = rest.split_at(stored);
    let head = zstd::bulk::decompress(head, bytes).expect("a frame");
    let mut plain = vec![*form];
    let mut left = bytes;
    while left >= 0x80 {
        plain.push(0x80 | u8::try_from(left % 0x80).expect("7 bits"));
        left /= 0x80;
    }
    plain.push(u8::try_from(left).expect("7 bits"));
    [plain.as_slice(), &[0], &head, body].concat()
}

fn number(bytes: &mut &[u8]) -> usize {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a number");
        *bytes = rest;
        number |= usize::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    number
}
