//! What holds for any points.

use proptest::prelude::*;
use prost::Message as _;

use super::super::histogram::Histogram;
use super::super::values::representatives;
use super::*;
use crate::otlp::tests::arbitrary;
use crate::otlp::view::metrics::{Buckets, DataPoint, MetricKind};

/// Counts of a process from one report to the next, and whether it was restarted before: how its
/// start is told, or only that its value falls.
fn reports() -> impl Strategy<Value = Vec<(u32, Option<bool>)>> {
    let restart = prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)];
    prop::collection::vec((1..1000_u32, restart), 1..40)
}

fn explicit() -> impl Strategy<Value = DataPoint<'static>> {
    let buckets = prop::collection::vec((0.001..100.0_f64, 0..50_usize, 0.0..=1.0_f64), 0..20);
    let optional = (any::<bool>(), any::<bool>(), any::<bool>());
    (buckets, 0..20_usize, optional).prop_map(|(buckets, beyond, (has_sum, has_min, has_max))| {
        let mut point = DataPoint::default();
        let (mut bound, mut observed) = (0.0, Vec::new());
        for (width, count, share) in buckets {
            point.bounds.push(bound + width);
            point.counts.push(count as u64);
            observed.extend(std::iter::repeat_n(bound + width * share.max(0.001), count));
            bound += width;
        }
        point.counts.push(beyond as u64);
        observed.extend(std::iter::repeat_n(bound + 7.0, beyond));
        point.count = observed.len() as u64;
        if !observed.is_empty() {
            point.sum = has_sum.then(|| observed.iter().sum());
            point.min = observed.first().copied().filter(|_| has_min);
            point.max = observed.last().copied().filter(|_| has_max);
        }
        point
    })
}

fn exponential() -> impl Strategy<Value = DataPoint<'static>> {
    let run = || {
        (-40..40_i32, prop::collection::vec(0..9_u64, 0..200))
            .prop_map(|(offset, counts)| Buckets { offset, counts })
    };
    (-3..6_i32, 0..5_u64, run(), run()).prop_map(|(scale, zero_count, positive, negative)| {
        let count = zero_count + positive.counts.iter().chain(&negative.counts).sum::<u64>();
        DataPoint {
            scale,
            zero_count,
            positive,
            negative,
            count,
            ..DataPoint::default()
        }
    })
}

fn any_point() -> impl Strategy<Value = (Value, u64)> {
    let number = prop_oneof![
        any::<i64>().prop_map(|value| json!({"asInt": value.to_string()})),
        any::<f64>().prop_map(|value| match value.is_finite() {
            true => json!({"asDouble": value}),
            false => json!({"asDouble": "NaN"}),
        }),
        Just(json!({})),
    ];
    let keys = (0..4_u8, prop::option::of("[a-zäß/ ]{0,3}"));
    let times = prop_oneof![8 => 0..200_u64, 1 => Just(2_000_000_u64), 1 => Just(20_000_u64)];
    (number, keys, times).prop_map(|(number, (user, route), seconds)| {
        let mut of = json!({"user": user});
        if let Some(route) = route {
            of["http.route"] = json!(route);
        }
        (point(seconds, &of, &number), seconds)
    })
}

proptest! {
    #[test]
    fn what_is_sent_of_a_stream_is_what_it_has_counted_whatever_its_restarts(reports in reports()) {
        let mut rig = Rig::new(ALL);
        let (mut start, mut value, mut counted, mut sent) = (0, 0, 0.0, 0.0);
        for (at, (count, restart)) in reports.into_iter().enumerate() {
            let seconds = 10 + 10 * at as u64;
            if let Some(is_told) = restart {
                // That it falls is seen only if it does.
                let is_seen = is_told || u64::from(count) < value;
                if is_seen && at > 0 {
                    value = 0;
                    start = if is_told { seconds - 5 } else { start };
                }
            }
            value += u64::from(count);
            counted += f64::from(count);
            let more = json!({
                "asInt": value.to_string(),
                "startTimeUnixNano": ((BEGUN + start) * NANOS).to_string(),
            });
            let metric = metric("requests", "1", "sum", &[point(seconds, &json!({}), &more)], 2);
            let outcome = rig.record(&[metric]);
            sent += outcome.each("Value").iter().filter_map(Value::as_f64).sum::<f64>();
        }
        prop_assert_eq!(sent, counted);
    }

    #[test]
    fn the_values_of_a_histogram_are_as_many_in_its_buckets_with_its_sum(point in explicit()) {
        let histogram = Histogram::of(MetricKind::Histogram, &point).expect("sound");
        let buckets = histogram.buckets();
        let is_known = point.bounds.is_empty() && point.sum.is_none() && point.count > 0;
        let bounded = point.min.is_some() || point.max.is_some();
        let Some(values) = representatives(&histogram) else {
            prop_assert!(is_known && !bounded, "{:?}", point);
            return Ok(());
        };
        prop_assert_eq!(values.iter().map(|(_, count)| count).sum::<u64>(), point.count);
        for ((value, count), bucket) in values.iter().zip(&buckets) {
            let slack = 1e-9 * (1.0 + value.abs());
            prop_assert_eq!(*count, bucket.count);
            prop_assert!(*value >= bucket.low.max(point.min.unwrap_or(bucket.low)) - slack);
            prop_assert!(*value <= bucket.high.min(point.max.unwrap_or(bucket.high)) + slack);
        }
        if let Some(sum) = point.sum {
            let sent: f64 = values.iter().map(|(value, count)| value * *count as f64).sum();
            prop_assert!((sent - sum).abs() <= 1e-6 * (1.0 + sum.abs()), "{} is not {}", sent, sum);
        }
    }

    #[test]
    fn what_a_histogram_adds_and_what_was_before_are_all_of_it(
        before in exponential(), more in exponential(),
    ) {
        let of = |point: &DataPoint<'static>| Histogram::of(MetricKind::ExponentialHistogram, point).expect("sound");
        let (before, more) = (of(&before), of(&more));
        let mut after = before.clone();
        prop_assert!(after.add(&more));
        prop_assert_eq!(after.count, before.count + more.count);
        let step = after.since(&before);
        let super::super::histogram::Step::By(added) = step else {
            return Err(TestCaseError::fail(format!("{step:?}")));
        };
        prop_assert_eq!(added.count, more.count);
        let in_buckets: u64 = added.buckets().iter().map(|bucket| bucket.count).sum();
        prop_assert_eq!(in_buckets, more.count);
        let buckets = after.buckets();
        prop_assert!(buckets.is_sorted_by(|one, next| one.high <= next.low || one.low == next.low));
    }

    #[test]
    fn any_request_makes_datums_that_cloudwatch_takes_and_altered_ones_no_panic(
        request in arbitrary::metrics(),
        alter in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut rig = Rig::new(ALL);
        let mut body = request.encode_to_vec();
        rig.body(body.clone());
        if body.is_empty() {
            return Ok(());
        }
        for (index, byte) in alter {
            let index = index.index(body.len());
            body[index] = byte;
        }
        rig.try_body(body).ok();
    }

    #[test]
    fn every_point_is_in_one_datum_of_each_of_its_sets_or_dropped_once(
        points in prop::collection::vec(any_point(), 0..60),
        kind in 0..3_usize,
        max_series in 1..12_usize,
    ) {
        let keys = format!(
            "metrics: {{a: {{dimensions: [user, 'user, http.route']}}, b: {{dimensions: [http.route]}}}}, max_series: {max_series}"
        );
        let (data, temporality) = [("gauge", 0), ("sum", 1), ("sum", 2)][kind];
        let all: Vec<Value> = points.iter().map(|(point, _)| point.clone()).collect();
        let half = all.len() / 2;
        let metrics = [
            metric("a", "1", data, &all[..half], temporality),
            metric("unselected", "1", data, &all[..3.min(half)], temporality),
            metric("b", "1", data, &all[half..], temporality),
        ];
        let outcome = Rig::new(&keys).record(&metrics);
        let items = all.len() + 3.min(half);
        let mut parts = vec![0_usize; items];
        let mut drops = vec![0_usize; items];
        for (of, _) in &outcome.datums {
            of.iter().for_each(|item| parts[*item as usize] += 1);
        }
        for (of, reason) in &outcome.drops {
            // A point may be in its series and find no place for the others.
            let counts = *reason != DropReason::OverBudget && *reason != DropReason::Invalid;
            of.iter().for_each(|item| drops[*item as usize] += 1);
            prop_assert!(!counts || of.iter().all(|item| parts[*item as usize] == 0));
        }
        for item in 0..items {
            prop_assert!(drops[item] <= 2 && parts[item] <= 2);
            prop_assert!(drops[item] + parts[item] >= 1, "item {} is nowhere", item);
        }
    }
}
