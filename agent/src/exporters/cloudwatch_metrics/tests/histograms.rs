//! Histograms of every kind as values and counts.

use DropReason::{Empty, Invalid};

use super::*;

#[test]
fn the_values_of_a_histogram_lie_in_its_buckets_and_have_its_sum() {
    let of = |more: Value| {
        let mut histogram =
            json!({"count": "10", "bucketCounts": ["2", "0", "6", "2"], "explicitBounds": [1.0, 2.0, 4.0]});
        histogram
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let outcome =
            Rig::new(ALL).record(&[metric("size", "By", "histogram", &[one(1, &histogram)], DELTA)]);
        values(&outcome)
    };
    // Halves of the widths: 2 × 0.5 + 6 × 3, and what is left is beyond the last bound.
    assert_eq!(of(json!({"sum": 31.0})), json!([[0.5, 3.0, 6.0], [2, 6, 2]]));
    // A quarter of them: 2 × 0.25 + 6 × 2.5 + 2 × 4.
    assert_eq!(of(json!({"sum": 23.5})), json!([[0.25, 2.5, 4.0], [2, 6, 2]]));
    assert_eq!(of(json!({})), json!([[0.5, 3.0, 4.0], [2, 6, 2]]));
    // From 0.5 to 1, 2 to 4 and 4 to 12, at 0.5 of the width.
    assert_eq!(
        of(json!({"min": 0.5, "max": 12.0, "sum": 35.5})),
        json!([[0.75, 3.0, 8.0], [2, 6, 2]])
    );
}

#[test]
fn a_histogram_without_buckets_is_its_mean() {
    let more = json!({"count": "4", "sum": 10.0});
    for (data, temporality) in [("histogram", DELTA), ("summary", 0)] {
        let outcome = Rig::new(ALL).record(&[metric("size", "", data, &[one(1, &more)], temporality)]);
        assert_eq!(values(&outcome), json!([[2.5], [4]]), "{data}");
    }
    let nothing = metric("size", "", "histogram", &[one(1, &json!({"count": "4"}))], DELTA);
    assert_eq!(Rig::new(ALL).record(&[nothing]).drops, [(vec![0], Invalid)]);
}

#[test]
fn a_cumulative_histogram_is_sent_as_what_each_bucket_adds() {
    let of = |seconds, counts: [u32; 3], sum: f64| {
        let texts = counts.map(|count| count.to_string());
        let total = counts.iter().sum::<u32>().to_string();
        let more = json!({"count": total, "sum": sum, "bucketCounts": texts, "explicitBounds": [2.0, 4.0]});
        metric("wait", "ms", "histogram", &[one(seconds, &more)], CUMULATIVE)
    };
    let mut rig = Rig::new(ALL);
    assert_eq!(
        values(&rig.record(&[of(10, [1, 0, 0], 1.0)])),
        json!([[1.0], [1]])
    );
    let outcome = rig.record(&[of(20, [3, 1, 0], 6.0)]);
    assert_eq!(values(&outcome), json!([[1.0, 3.0], [2, 1]]));
    assert_eq!(outcome.each("Unit"), ["Milliseconds"]);
    assert_eq!(
        rig.record(&[of(30, [3, 1, 0], 6.0)]).drops,
        [(vec![0], Empty)],
        "nothing was observed"
    );
    assert_eq!(
        values(&rig.record(&[of(40, [1, 0, 0], 1.0)])),
        json!([[1.0], [1]]),
        "it began anew"
    );
}

fn exponential(scale: i32, offset: i32, counts: &[u32], negative: &[u32], zero: u32) -> Value {
    let texts = |counts: &[u32]| counts.iter().map(u32::to_string).collect::<Vec<_>>();
    let total: u32 = counts.iter().chain(negative).sum::<u32>() + zero;
    json!({
        "count": total.to_string(), "scale": scale, "zeroCount": zero.to_string(),
        "positive": {"offset": offset, "bucketCounts": texts(counts)},
        "negative": {"offset": offset, "bucketCounts": texts(negative)},
    })
}

#[test]
fn an_exponential_histogram_is_values_in_its_buckets() {
    // At scale 0 the buckets end at the powers of two.
    let more = exponential(0, 1, &[3, 0, 1], &[2], 4);
    let outcome = Rig::new(ALL).record(&[metric(
        "size",
        "",
        "exponentialHistogram",
        &[one(1, &more)],
        DELTA,
    )]);
    assert_eq!(values(&outcome), json!([[-3.0, 0.0, 3.0, 12.0], [2, 4, 3, 1]]));
}

#[test]
fn a_cumulative_exponential_histogram_may_become_coarser() {
    let of = |seconds, more: Value| {
        metric(
            "size",
            "",
            "exponentialHistogram",
            &[one(seconds, &more)],
            CUMULATIVE,
        )
    };
    let mut rig = Rig::new(ALL);
    rig.record(&[of(10, exponential(1, 2, &[1, 2, 0, 1], &[], 0))]);
    // The same at scale 0: (2, 4] has 3, (4, 8] has 1; two were added to it, and one to (8, 16].
    let outcome = rig.record(&[of(20, exponential(0, 1, &[3, 3, 1], &[], 0))]);
    assert_eq!(values(&outcome), json!([[6.0, 12.0], [2, 1]]));
    // Also below 1, where indexes are negative.
    let mut rig = Rig::new(ALL);
    rig.record(&[of(10, exponential(1, -3, &[1, 1, 1, 1], &[], 0))]);
    let outcome = rig.record(&[of(20, exponential(0, -2, &[1, 2, 1, 1], &[], 0))]);
    assert_eq!(values(&outcome), json!([[3.0], [1]]));
}

#[test]
fn more_values_than_a_datum_has_are_several() {
    let more = exponential(4, -80, &[1; 160], &[1; 160], 1);
    let outcome = Rig::new(ALL).record(&[metric(
        "size",
        "",
        "exponentialHistogram",
        &[one(1, &more)],
        DELTA,
    )]);
    let counts: Vec<usize> = outcome
        .each("Values")
        .iter()
        .map(|values| values.as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(counts, [150, 150, 21]);
    assert!(outcome.datums.iter().all(|(items, _)| *items == [0]));
}

#[test]
fn histograms_are_added_before_values_stand_for_them() {
    let of = |counts: [&str; 2], bound: f64| json!({"count": "3", "sum": 3.0, "bucketCounts": counts, "explicitBounds": [bound]});
    let points = [
        one(1, &of(["1", "2"], 2.0)),
        one(2, &of(["3", "0"], 2.0)),
        one(3, &of(["3", "0"], 8.0)),
    ];
    let outcome = Rig::new(ALL).record(&[metric("size", "", "histogram", &points, DELTA)]);
    // 4 and 2 of the first bounds with a sum of 6: the bucket begins at 0.5 of its width, and all
    // else is at the bound; 3 of the other with a sum of 3.
    let [(items, datum)] = &outcome.datums[..] else {
        panic!("{outcome:#?}");
    };
    assert_eq!(items, &[0, 1, 2]);
    assert_eq!(
        json!([datum["Values"], datum["Counts"]]),
        json!([[0.5, 1.0, 2.0], [4, 3, 2]])
    );
}

#[test]
fn buckets_that_contradict_each_other_are_invalid() {
    for more in [
        json!({"count": "1", "bucketCounts": ["1", "0", "0"], "explicitBounds": [2.0, 1.0]}),
        json!({"count": "1", "bucketCounts": ["1", "0"], "explicitBounds": ["NaN"]}),
        exponential(40, 0, &[1], &[], 0),
        exponential(0, i32::MAX, &[1, 1], &[], 0),
    ] {
        let data = match more.get("scale") {
            Some(_) => "exponentialHistogram",
            None => "histogram",
        };
        let outcome = Rig::new(ALL).record(&[metric("size", "", data, &[one(1, &more)], DELTA)]);
        assert_eq!(outcome.drops, [(vec![0], Invalid)], "{more}");
    }
}
