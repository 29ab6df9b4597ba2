//! OTLP requests: what is accepted is what another decoder finds in them, every item is accepted
//! or rejected, what is accepted becomes rows and a batch, and JSON says the same as protobuf.
//!
//! The first byte of an input says which signal the rest of it is.

use bytes::Bytes;
use meridian_agent::otlp::{CheckLimits, Checked, RowBuilder, check, json_to_protobuf};
use meridian_proto::payload;
use meridian_proto::rebuild;
use meridian_proto::signal::Signal;
use serde::de::IgnoredAny;

use crate::batches::origin;
use crate::reference::{Request, count_items};

/// Far more than a batch of these inputs takes.
const BATCH_BYTES_MAX: usize = 1 << 30;
const ZSTD_LEVEL: i32 = 1;

/// An input is protobuf.
pub(crate) fn protobuf(data: &[u8]) {
    let (signal, body) = signal_of(data);
    let checked = check(signal, Bytes::copy_from_slice(body), &CheckLimits::default());
    let mut builder = rows(signal);
    match (checked, builder.push(body, 1)) {
        (Ok(checked), pushed) => {
            assert_eq!(
                pushed.ok(),
                (checked.body == body).then_some(checked.items),
                "rows are built of what is passed on as it came, and of nothing else"
            );
            holds(signal, body, &checked);
        }
        (Err(fault), pushed) => {
            assert!(pushed.is_err(), "rows of what is refused: {fault}");
            assert_eq!(builder.rows(), 0, "a refused body leaves nothing behind");
        }
    }
    let mut unchecked = rows(signal);
    if let Ok(pushed) = unchecked.push_accepted(body, 1) {
        assert_eq!(
            unchecked.finish().num_rows(),
            number(pushed),
            "columns of one length"
        );
    }
}

/// An input is JSON.
pub(crate) fn json(data: &[u8]) {
    let (signal, text) = signal_of(data);
    let Ok(body) = json_to_protobuf(signal, text, &CheckLimits::default()) else {
        return;
    };
    serde_json::from_slice::<IgnoredAny>(text).expect("what is accepted is JSON");
    let checked = check(signal, Bytes::copy_from_slice(&body), &CheckLimits::default());
    let checked = checked.expect("the transcoder's framing is sound");
    holds(signal, &body, &checked);
    // The other reader knows no other spelling of names than lowerCamelCase.
    let has_other_names = text.contains(&b'_') || text.contains(&b'\\');
    if !has_other_names && let Ok(request) = Request::from_json(signal, text) {
        let items = number(checked.items) + number(checked.rejected);
        assert!(
            items >= request.items(),
            "another reader of JSON finds more items"
        );
        // That one takes a metric's data with a fault in it for no data.
        assert!(items == request.items() || signal == Signal::Metrics);
    }
}

fn signal_of(data: &[u8]) -> (Signal, &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    (Signal::ALL[usize::from(*first) % Signal::ALL.len()], rest)
}

fn number(items: u32) -> usize {
    usize::try_from(items).expect("an input has few items")
}

fn rows(signal: Signal) -> RowBuilder {
    RowBuilder::new(signal, &origin())
}

/// What is promised of a request that was not refused.
fn holds(signal: Signal, body: &[u8], checked: &Checked) {
    let items = number(checked.items);
    let all = count_items(signal, body).expect("what is accepted has sound framing");
    assert_eq!(items + number(checked.rejected), all, "every item is judged");
    let by_reason: u32 = checked.reasons.classes().map(|(_, items)| items).sum();
    assert_eq!(by_reason, checked.rejected, "every rejected item has a reason");
    assert_eq!(checked.body == body, checked.body.len() == body.len());

    match Request::decode(signal, &checked.body) {
        Ok(request) => {
            assert_eq!(request.items(), items, "another decoder finds as many items");
            agrees_with_json(signal, &request);
        }
        // Fields for profiles, which are unknown to the walk, and passed on whatever they are.
        Err(error) if format!("{error:?}").contains("strindex") => {}
        Err(error) => unreachable!("another decoder refuses what is accepted: {error}"),
    }
    let again = check(signal, checked.body.clone(), &CheckLimits::default()).expect("sound");
    assert_eq!((again.items, again.rejected), (checked.items, 0));
    assert_eq!(again.body, checked.body, "what is kept is kept as it is");

    let mut builder = rows(signal);
    let pushed = builder.push_accepted(&checked.body, 1_700_000_000_000_000_123);
    assert_eq!(
        pushed.map(number),
        Ok(items),
        "what is accepted becomes as many rows"
    );
    let batch = builder.finish();
    let encoded = payload::encode(&batch, ZSTD_LEVEL).expect("rows become a payload");
    let decoded = payload::decode(
        signal,
        &encoded.bytes,
        encoded.uncompressed_bytes,
        BATCH_BYTES_MAX,
    );
    assert_eq!(decoded.expect("which is read back"), batch);
    let rebuilt = match signal {
        Signal::Spans => rebuild::spans(&batch),
        Signal::Logs => rebuild::logs(&batch),
        Signal::Metrics => rebuild::metrics(&batch),
    };
    let rebuilt = rebuilt.expect("rows become OTLP again");
    let rebuilt = json_to_protobuf(signal, rebuilt.to_string().as_bytes(), &CheckLimits::default());
    let rebuilt = rebuilt.expect("which is OTLP JSON");
    assert_eq!(count_items(signal, &rebuilt), Some(items), "of as many items");
}

/// The same request in JSON, as another writer spells it, is accepted as the same.
fn agrees_with_json(signal: Signal, request: &Request) {
    let Ok(text) = request.to_json() else { return };
    // That writer has no JSON for NaN and the infinities, and says null; and it has the fields for
    // profiles, which OTLP does not know in what is no profile.
    let text_of = String::from_utf8_lossy(&text);
    let has_strindex = text_of.contains("stringValueStrindex")
        || text_of
            .split("\"keyStrindex\":")
            .skip(1)
            .any(|rest| !rest.starts_with("0,") && !rest.starts_with("0}"));
    if has_strindex || text_of.contains("null") {
        return;
    }
    let body = json_to_protobuf(signal, &text, &CheckLimits::default()).expect("JSON of another writer");
    let again = Request::decode(signal, &body).expect("sound");
    assert_eq!(again.encode(), request.encode(), "JSON says what protobuf said");
}
