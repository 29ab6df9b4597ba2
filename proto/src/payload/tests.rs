//! Columns of every kind come back as they were, and what strangers send costs what it said.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Float64Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, StringBuilder,
    StringDictionaryBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int16Array, Int32Array, Int64Array, StringArray,
};
use proptest::prelude::*;

use super::*;

fn round_trip(column: &ArrayRef) -> ArrayRef {
    let mut out = Writer::new(1).expect("zstd");
    columns::write(&mut out, column, None).expect("written");
    let bytes = out.finish().expect("finished");
    let (head, body) = streams::split(&bytes, 1 << 30).expect("a payload");
    let memory_bytes = columns::memory_bytes(column);
    let mut from = Reader::new(&head, body, memory_bytes).expect("zstd");
    let read = columns::read(&mut from, column.data_type(), column.len(), None).expect("read");
    assert!(from.is_used_up());
    read
}

fn assert_same(column: impl Array + 'static) {
    let column: ArrayRef = Arc::new(column);
    assert_eq!(&round_trip(&column), &column);
    let part = column.slice(column.len() / 3, column.len() / 2);
    assert_eq!(&round_trip(&part), &part, "a part of it");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{0,2}",
        "user-[0-9a-f]{3,5}",
        "-?[0-9]{1,20}",
        "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        ".{0,4}",
    ]
}

/// Most columns have values of one kind, which is what the codings are for.
fn texts_of_a_kind() -> impl Strategy<Value = Vec<Option<String>>> {
    let of = |value: BoxedStrategy<String>| prop::collection::vec(prop::option::weighted(0.9, value), 0..40);
    prop_oneof![
        of(text().boxed()),
        of("user-[0-9a-f]{3,5}".boxed()),
        of("0|-?[1-9][0-9]{0,17}".boxed()),
        of(any::<std::net::Ipv4Addr>()
            .prop_map(|address| address.to_string())
            .boxed()),
        of("[ab]".boxed()),
        of("[0-9a-f]{2,5}".boxed()),
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        -300_i64..300,
        Just(i64::MIN),
        Just(i64::MAX),
        Just(7)
    ]
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        (-100_000_i32..100_000).prop_map(|cents| f64::from(cents) / 100.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(0.1 + 0.2),
    ]
}

fn maybe<T: std::fmt::Debug + 'static>(
    of: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<Option<T>>> {
    let of = of.boxed();
    let share = prop_oneof![Just(0.05), Just(0.7), Just(0.99)];
    share.prop_flat_map(move |share| prop::collection::vec(prop::option::weighted(share, of.clone()), 0..60))
}

proptest! {
    #[test]
    fn integers_come_back(values in maybe(number())) {
        let small = |value: &Option<i64>| value.map(|value| i16::try_from(value).unwrap_or(i16::MIN));
        let middle = |value: &Option<i64>| value.map(|value| i32::try_from(value).unwrap_or(i32::MAX));
        assert_same(values.iter().map(small).collect::<Int16Array>());
        assert_same(values.iter().map(middle).collect::<Int32Array>());
        assert_same(Int64Array::from(values.clone()));
        let times = arrow_array::TimestampMicrosecondArray::from(values.clone()).with_timezone("UTC");
        assert_same(times);
        assert_same(values.iter().map(|value| value.map(|value| value > 0)).collect::<BooleanArray>());
    }

    #[test]
    fn doubles_come_back_to_the_bit(values in maybe(double())) {
        let column: ArrayRef = Arc::new(Float64Array::from(values));
        let read = round_trip(&column);
        let bits = |column: &ArrayRef| -> Vec<Option<u64>> {
            let column = column.as_primitive::<arrow_array::types::Float64Type>();
            column.iter().map(|value| value.map(f64::to_bits)).collect()
        };
        prop_assert_eq!(bits(&read), bits(&column));
    }

    #[test]
    fn texts_come_back(values in texts_of_a_kind()) {
        assert_same(StringArray::from(values.clone()));
        let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
        values.iter().for_each(|value| dictionary.append_option(value.as_deref()));
        assert_same(dictionary.finish());
    }

    #[test]
    fn maps_come_back(rows in prop::collection::vec(
        (any::<bool>(), prop::collection::vec(("[a-d]", prop::option::of(text())), 0..5)), 0..30)) {
        let names = MapFieldNames {
            entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned(),
        };
        let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        for (is_valid, entries) in &rows {
            for (key, value) in entries.iter().filter(|_| *is_valid) {
                maps.keys().append_value(key);
                maps.values().append_option(value.as_deref());
            }
            maps.append(*is_valid).expect("as many keys as values");
        }
        assert_same(maps.finish());
    }

    #[test]
    fn lists_come_back(rows in maybe(prop::collection::vec(prop::option::of(-9_i64..9), 0..4))) {
        let field = schema::list_element(DataType::Int64);
        let mut lists = ListBuilder::new(Int64Builder::new()).with_field(field);
        rows.iter().for_each(|row| lists.append_option(row.clone()));
        assert_same(lists.finish());
        let field = schema::list_element(DataType::Float64);
        let mut lists = ListBuilder::new(Float64Builder::new()).with_field(field);
        for row in &rows {
            let doubles = row.as_ref().map(|row| row.iter().map(|value| value.map(|value| value as f64)));
            lists.append_option(doubles);
        }
        assert_same(lists.finish());
    }

    #[test]
    fn ids_come_back_wherever_they_were_seen_before(
        ids in prop::collection::vec((0_u64..9, prop::option::of(0_u64..12)), 1..60)) {
        let mut spans = BinaryBuilder::new();
        let mut parents = BinaryBuilder::new();
        for (span, parent) in &ids {
            spans.append_value(span.to_le_bytes());
            parents.append_option(parent.map(u64::to_le_bytes));
        }
        let (spans, parents) = (spans.finish(), parents.finish());
        let mut out = Writer::new(1).expect("zstd");
        columns::write(&mut out, &parents, Some(&spans)).expect("written");
        let bytes = out.finish().expect("finished");
        let (head, body) = streams::split(&bytes, 1 << 30).expect("a payload");
        let mut from = Reader::new(&head, body, columns::memory_bytes(&parents)).expect("zstd");
        let read = columns::read(&mut from, &DataType::Binary, parents.len(), Some(&spans)).expect("read");
        prop_assert_eq!(read.as_binary::<i32>(), &parents);
        assert_same(spans);
    }
}

#[test]
fn ids_of_several_lengths_come_back() {
    assert_same(BinaryArray::from_opt_vec(vec![
        Some(b"a"),
        None,
        Some(b"bcd"),
        Some(b""),
    ]));
    assert_same(BinaryArray::from_opt_vec(vec![None, None]));
}

fn golden(signal: Signal) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::fs::read(folder.join(format!("{signal}.columns"))).expect("a golden file")
}

#[test]
fn a_payload_that_was_cut_or_altered_is_read_or_refused_but_never_a_panic() {
    for signal in Signal::ALL {
        let whole = golden(signal);
        for length in 0..whole.len() {
            decode(signal, &whole[..length], 1 << 20, 1 << 20).expect_err("an early end");
        }
        for at in 0..whole.len() {
            for bit in [1, 128] {
                let mut altered = whole.clone();
                altered[at] ^= bit;
                decode(signal, &altered, 1 << 20, 1 << 20).ok();
            }
        }
    }
}

/// The payload with its head in the clear, altered at each byte: past zstd's own checks.
#[test]
fn an_altered_head_is_read_or_refused_but_never_a_panic() {
    for signal in Signal::ALL {
        let whole = golden(signal);
        let (head, body) = streams::split(&whole, 1 << 20).expect("sound");
        for at in (0..head.len()).step_by(3) {
            for byte in [0, 0xff, head[at].wrapping_add(1)] {
                let mut altered = head.to_vec();
                altered[at] = byte;
                decode(signal, &streams::joined(&altered, body), 1 << 20, 1 << 20).ok();
            }
        }
    }
}

#[test]
fn no_more_is_spent_than_was_announced() {
    for signal in Signal::ALL {
        let batch = decode(signal, &golden(signal), 1 << 20, 1 << 20).expect("sound");
        let encoded = encode(&batch, 1).expect("encodes");
        let announced = encoded.uncompressed_bytes;
        let again = decode(signal, &encoded.bytes, announced, 1 << 20).expect("what was announced is enough");
        assert_eq!(again, batch);
        for too_little in [0, announced / 4, announced / 2] {
            let refused = decode(signal, &encoded.bytes, too_little, 1 << 20).expect_err("too little");
            assert!(
                matches!(refused, PayloadError::TooLarge { .. } | PayloadError::Rows { .. }),
                "{refused}"
            );
        }
        let max = usize::try_from(announced).expect("small") - 1;
        let refused = decode(signal, &encoded.bytes, announced, max).expect_err("more than allowed");
        assert!(matches!(refused, PayloadError::TooLarge { .. }), "{refused}");
    }
}

#[test]
fn a_payload_of_many_rows_and_few_bytes_is_refused() {
    let mut out = Writer::new(1).expect("zstd");
    out.number(1 << 40);
    out.number(0);
    let bytes = out.finish().expect("finished");
    let refused = decode(Signal::Spans, &bytes, 1 << 20, 1 << 30).expect_err("too many rows");
    assert!(matches!(refused, PayloadError::Rows { .. }), "{refused}");
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

#[test]
fn columns_of_a_newer_release_are_passed_over_and_missing_ones_are_null() {
    let old = decode(Signal::Logs, &golden(Signal::Logs), 1 << 20, 1 << 20).expect("sound");
    let mut columns = vec![(
        "newest",
        Arc::new(StringArray::from(vec!["x"; old.num_rows()])) as ArrayRef,
    )];
    let fields = old.schema();
    for (field, column) in fields.fields().iter().zip(old.columns()) {
        if field.name() != "body" {
            columns.push((field.name().as_str(), Arc::clone(column)));
        }
    }
    let encoded = encode(&batch(columns), 1).expect("encodes");
    let read = decode(Signal::Logs, &encoded.bytes, 1 << 20, 1 << 20).expect("adapted");
    let body = read.column_by_name("body").expect("of the schema");
    assert_eq!(body.null_count(), old.num_rows());
    assert_eq!(read.column_by_name("time"), old.column_by_name("time"));
}

#[test]
fn columns_that_do_not_fit_the_schema_are_named() {
    let wrong = batch(vec![("time", Arc::new(StringArray::from(vec!["now"])))]);
    let encoded = encode(&wrong, 1).expect("encodes");
    let refused = decode(Signal::Logs, &encoded.bytes, 1 << 20, 1 << 20).expect_err("another type");
    assert_eq!(
        refused.to_string(),
        "logs payload whose column time is text instead of time"
    );
    let little = batch(vec![("severity_number", Arc::new(Int32Array::from(vec![1])))]);
    let encoded = encode(&little, 1).expect("encodes");
    let refused = decode(Signal::Logs, &encoded.bytes, 1 << 20, 1 << 20).expect_err("no region");
    assert_eq!(refused.to_string(), "logs payload without the column region");
}

#[test]
fn a_payload_of_another_form_is_refused_by_its_name() {
    let refused = decode(Signal::Logs, &[0x28, 0xb5, 0x2f, 0xfd], 100, 100).expect_err("a zstd frame");
    assert!(matches!(refused, PayloadError::Form(0x28)), "{refused}");
}
