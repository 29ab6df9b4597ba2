//! Requests of an independent implementation, divided; the parts are read by that implementation.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest as Logs;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest as Metrics;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Spans;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::otlp::tests::{arbitrary, normal};
use crate::otlp::{CheckLimits, check};

fn items_of(signal: Signal, body: &[u8]) -> Vec<String> {
    match signal {
        Signal::Spans => normal::spans(&Spans::decode(body).expect("OTLP")),
        Signal::Logs => normal::logs(&Logs::decode(body).expect("OTLP")),
        Signal::Metrics => normal::metrics(&Metrics::decode(body).expect("OTLP")),
    }
}

/// As the spool has it.
fn accepted() -> impl Strategy<Value = (Signal, Bytes)> {
    let encoded = prop_oneof![
        arbitrary::spans().prop_map(|request| (Signal::Spans, request.encode_to_vec())),
        arbitrary::logs().prop_map(|request| (Signal::Logs, request.encode_to_vec())),
        arbitrary::metrics().prop_map(|request| (Signal::Metrics, request.encode_to_vec())),
    ];
    encoded.prop_map(|(signal, body)| {
        let checked = check(signal, body.into(), &CheckLimits::default()).expect("OTLP");
        (signal, checked.body)
    })
}

fn divisions(
    signal: Signal,
    body: &[u8],
    limits: &DivideLimits,
    choose: impl Fn(u32) -> Choice,
) -> Vec<Division> {
    let mut all = Vec::new();
    divide(
        signal,
        body,
        limits,
        |item| Ok(choose(item.index)),
        |one| all.push(one),
    )
    .expect("sound");
    all
}

proptest! {
    #[test]
    fn every_item_is_in_one_part_and_no_part_breaks_a_limit(
        (signal, body) in accepted(), items in 1..5_u32, bytes in 0..3000_usize, item_overhead in 0..100_usize,
    ) {
        let limits = DivideLimits { items, bytes, item_overhead };
        let mut found = Vec::new();
        for division in divisions(signal, &body, &limits, |_| Choice::Keep) {
            let part = division.body.as_deref().unwrap_or(&body);
            let of_part = items_of(signal, part);
            prop_assert_eq!(of_part.len(), division.items as usize);
            prop_assert!(division.items <= items);
            prop_assert!(division.items == 1 || part.len() + of_part.len() * item_overhead <= bytes);
            found.extend(of_part);
        }
        found.sort_unstable();
        prop_assert_eq!(found, items_of(signal, &body));
    }

    #[test]
    fn what_is_left_out_is_in_no_part(
        (signal, body) in accepted(), seed in any::<u64>(), items in 1..5_u32,
    ) {
        let is_kept = |index: u32| seed >> (index % 64) & 1 == 1;
        let choose = |index| if is_kept(index) { Choice::Keep } else { Choice::Leave };
        let kept = divisions(signal, &body, &DivideLimits { items, ..DivideLimits::NONE }, choose);
        let left = divisions(signal, &body, &DivideLimits::NONE, |index| match choose(index) {
            Choice::Keep => Choice::Leave,
            _ => Choice::Keep,
        });
        for division in &kept {
            prop_assert!(is_kept(division.first));
        }
        let parts = kept.iter().chain(&left);
        let mut found: Vec<String> = parts
            .flat_map(|division| items_of(signal, division.body.as_deref().unwrap_or(&body)))
            .collect();
        found.sort_unstable();
        prop_assert_eq!(found, items_of(signal, &body));
        let count: usize = kept.iter().map(|division| division.items as usize).sum();
        let all = u32::try_from(items_of(signal, &body).len()).expect("few");
        prop_assert_eq!(count, (0..all).filter(|index| is_kept(*index)).count());
    }

    #[test]
    fn nothing_that_arrives_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), items in 0..3_u32) {
        for signal in Signal::ALL {
            let limits = DivideLimits { items, ..DivideLimits::NONE };
            drop(divide(signal, &body, &limits, |_| Ok(Choice::Keep), |_| ()));
        }
    }
}

#[test]
fn a_request_that_is_within_the_limits_stays_as_it_is() {
    let body = [0x0a, 6, 0x12, 4, 0x12, 2, 0x0a, 0];
    let whole = Division {
        first: 0,
        items: 1,
        body: None,
    };
    assert_eq!(
        divisions(Signal::Spans, &body, &DivideLimits::NONE, |_| Choice::Keep),
        [whole]
    );
    assert_eq!(
        divisions(Signal::Spans, &body, &DivideLimits::NONE, |_| Choice::Leave),
        []
    );
    let replaced = divisions(Signal::Spans, &body, &DivideLimits::NONE, |_| {
        Choice::Replace(vec![0x12, 1, b'x'])
    });
    assert_eq!(
        replaced[0].body.as_deref(),
        Some(&[0x0a, 7, 0x12, 5, 0x12, 3, 0x12, 1, b'x'][..])
    );
}

#[test]
fn an_item_tells_the_sizes_of_what_it_shares() {
    // A resource with one attribute, a scope with a name, a metric with one point of a sum.
    let metric = [0x0a, 1, b'm', 0x3a, 4, 0x0a, 2, 0x3a, 0];
    let scope = [&[0x0a, 2, 0x0a, 0, 0x12, 9][..], &metric].concat();
    let group = [&[0x0a, 4, 0x0a, 0, 0x10, 1, 0x12, 15][..], &scope].concat();
    let mut seen = Vec::new();
    let choose = |item: &Item<'_>| {
        seen.push((item.index, item.data, item.resource, item.scope, item.bytes()));
        Ok(Choice::Keep)
    };
    let body = [&[0x0a, 23][..], &group].concat();
    divide(Signal::Metrics, &body, &DivideLimits::NONE, choose, |_| ()).expect("sound");
    let head = |bytes, attributes| Head { bytes, attributes };
    assert_eq!(seen, [(0, 7, head(4, 1), head(2, 0), 2)]);
}
