//! One case for each rule of the mapping; those of histograms are beside it.

use DropReason::{Baseline, Empty, Invalid, NotSelected, OverBudget, Superseded, TooNew, TooOld};

use super::*;

fn int(value: i64) -> Value {
    json!({"asInt": value.to_string()})
}

fn sum(name: &str, points: &[Value], temporality: u32) -> Value {
    metric(name, "{request}", "sum", points, temporality)
}

/// What one cumulative stream of these points comes to, each in a record of its own.
fn added(points: &[Value]) -> Vec<Result<f64, DropReason>> {
    let mut rig = Rig::new(ALL);
    let each = points.iter().map(|point| {
        let outcome = rig.record(&[sum("requests", std::slice::from_ref(point), CUMULATIVE)]);
        match outcome.datums.first() {
            Some((_, datum)) => Ok(datum["Value"].as_f64().expect("a number")),
            None => Err(outcome.drops[0].1),
        }
    });
    each.collect()
}

#[test]
fn a_datum_has_the_series_period_unit_and_value_of_its_points() {
    let outcome = Rig::new(ALL).record(&[sum("requests", &[one(61, &int(3))], DELTA)]);
    let datum = json!({
        "MetricName": "requests",
        "Dimensions": [{"Name": "service.name", "Value": "shop"}],
        "Timestamp": (BEGUN + 61) / 60 * 60,
        "StorageResolution": 60,
        "Unit": "Count",
        "Value": 3.0,
    });
    assert_eq!(outcome.datums, [(vec![0], datum)]);
    assert_eq!(outcome.drops, []);
}

#[test]
fn points_of_one_series_and_period_are_one_datum() {
    let routes: Vec<Value> = [(1, "/a", 1), (2, "/b", 10), (1, "/c", 100), (61, "/a", 1000)]
        .map(|(seconds, route, value)| point(seconds, &json!({"http.route": route}), &int(value)))
        .to_vec();
    let outcome = Rig::new(ALL).record(&[sum("requests", &routes, DELTA)]);
    let items: Vec<_> = outcome.datums.iter().map(|(items, _)| items.clone()).collect();
    assert_eq!(items, [vec![0, 1, 2], vec![3]]);
    assert_eq!(outcome.each("Value"), [json!(111.0), json!(1000.0)]);
    let seconds =
        Rig::new(&format!("{ALL}, storage_resolution: 1s")).record(&[sum("requests", &routes, DELTA)]);
    assert_eq!(seconds.each("Value"), [json!(101.0), json!(10.0), json!(1000.0)]);
    assert_eq!(seconds.each("StorageResolution"), [1, 1, 1]);
}

#[test]
fn a_point_is_in_each_dimension_set_whose_attributes_it_has() {
    let keys = "metrics: {requests: {dimensions: [service.name, 'service.name, http.route', error.type]}}";
    let points = [
        point(1, &json!({"http.route": "/ä\n"}), &int(1)),
        point(
            1,
            &json!({"http.route": "x".repeat(2000), "error.type": 500}),
            &int(10),
        ),
        point(1, &json!({"service.name": "own"}), &int(100)),
    ];
    let outcome = Rig::new(keys).record(&[sum("requests", &points, DELTA)]);
    let told: Vec<String> = outcome
        .datums
        .iter()
        .map(|(items, datum)| {
            let dimensions = datum["Dimensions"].as_array().expect("a list").iter();
            let values: Vec<&str> = dimensions.filter_map(|one| one["Value"].as_str()).collect();
            let cut: Vec<&str> = values
                .iter()
                .map(|value| value.get(..6).unwrap_or(value))
                .collect();
            format!("{items:?} {} {}", cut.join(" "), datum["Value"])
        })
        .collect();
    assert_eq!(
        told,
        [
            "[0, 1] shop 11.0",
            "[0] shop /__ 1.0",
            "[1] shop xxxxxx 10.0",
            "[1] 500 10.0",
            "[2] own 100.0"
        ]
    );
}

#[test]
fn what_no_rule_fits_and_what_has_no_dimension_set_is_not_selected() {
    let keys = "metrics: {requests: {dimensions: [http.route]}}";
    let points = [one(1, &int(1)), one(2, &int(2))];
    let mut rig = Rig::new(keys);
    let outcome = rig.record(&[sum("other", &points, DELTA), sum("requests", &points, DELTA)]);
    assert_eq!(outcome.datums, []);
    assert_eq!(outcome.drops, [(vec![0, 1, 2, 3], NotSelected)]);
}

#[test]
fn the_default_sends_rate_errors_and_duration_by_service_and_nothing_else() {
    let duration = |attributes_of: Value| {
        let more = json!({"count": "2", "sum": 0.5, "bucketCounts": ["2", "0"], "explicitBounds": [1.0]});
        point(1, &attributes_of, &more)
    };
    let points = [
        duration(json!({"http.route": "/"})),
        duration(json!({"error.type": "500"})),
    ];
    let outcome = Rig::new("").record(&[
        metric("http.server.request.duration", "s", "histogram", &points, DELTA),
        metric("http.server.request.body.size", "By", "histogram", &points, DELTA),
    ]);
    let names = |datum: &Value| {
        let names = datum["Dimensions"].as_array().expect("a list").iter();
        names
            .map(|one| one["Name"].as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let told: Vec<_> = outcome
        .datums
        .iter()
        .map(|(items, datum)| (items.clone(), names(datum)))
        .collect();
    assert_eq!(
        told,
        [
            (vec![0, 1], "service.name".to_owned()),
            (vec![1], "service.name error.type".to_owned()),
        ]
    );
    assert_eq!(outcome.drops, [(vec![2, 3], NotSelected)]);
}

#[test]
fn gauges_and_sums_that_may_fall_are_values() {
    let points: Vec<Value> = [5, 7, 5].map(|value| one(1, &int(value))).to_vec();
    let gauge = metric("queue", "1", "gauge", &points, 0);
    let outcome = Rig::new(ALL).record(std::slice::from_ref(&gauge));
    assert_eq!(values(&outcome), json!([[5.0, 7.0], [2, 1]]));
    assert_eq!(outcome.each("Unit"), ["None"]);
    let mut level = sum("active", &points, CUMULATIVE);
    level["sum"]["isMonotonic"] = json!(false);
    assert_eq!(
        values(&Rig::new(ALL).record(&[level])),
        json!([[5.0, 7.0], [2, 1]])
    );
}

#[test]
fn a_cumulative_sum_is_sent_as_what_it_adds() {
    let points: Vec<Value> = [(10, 5), (20, 8), (30, 8), (40, 9)]
        .map(|(seconds, value)| one(seconds, &int(value)))
        .to_vec();
    assert_eq!(
        added(&points),
        [Ok(5.0), Ok(3.0), Ok(0.0), Ok(1.0)],
        "0 is an answer"
    );
}

#[test]
fn a_stream_that_begins_anew_counts_in_full() {
    let restarted = json!({"asInt": "2", "startTimeUnixNano": ((BEGUN + 25) * NANOS).to_string()});
    let points = [
        one(10, &int(5)),
        one(20, &int(8)),
        one(30, &restarted),
        // Nothing but its value says that it began anew.
        one(
            40,
            &json!({"asInt": "1", "startTimeUnixNano": ((BEGUN + 25) * NANOS).to_string()}),
        ),
    ];
    assert_eq!(added(&points), [Ok(5.0), Ok(3.0), Ok(2.0), Ok(1.0)]);
}

#[test]
fn the_first_point_of_an_older_stream_is_where_counting_begins() {
    let older = |value: &str| json!({"asInt": value, "startTimeUnixNano": "1000"});
    let unknown = |value: &str| json!({"asInt": value, "startTimeUnixNano": "0"});
    for of in [older, unknown] {
        let points = [
            one(10, &of("1000000")),
            one(20, &of("1000003")),
            one(30, &of("2")),
        ];
        assert_eq!(added(&points), [Err(Baseline), Ok(3.0), Ok(2.0)]);
    }
    let as_it_begins = json!({"asInt": "7", "startTimeUnixNano": ((BEGUN + 10) * NANOS).to_string()});
    assert_eq!(
        added(&[one(10, &as_it_begins)]),
        [Err(Baseline)],
        "an unknown start, as it is written"
    );
}

#[test]
fn a_point_that_comes_late_is_superseded() {
    let points = [
        one(20, &int(8)),
        one(10, &int(5)),
        one(20, &int(8)),
        one(30, &int(9)),
    ];
    assert_eq!(
        added(&points),
        [Ok(8.0), Err(Superseded), Err(Superseded), Ok(1.0)]
    );
}

#[test]
fn two_processes_of_one_identity_are_kept_apart_by_their_starts() {
    let of = |seconds: u64, start: u64, value: i64| {
        let start = ((BEGUN + start) * NANOS).to_string();
        one(
            seconds,
            &json!({"asInt": value.to_string(), "startTimeUnixNano": start}),
        )
    };
    let points = [
        of(10, 1, 100),
        of(11, 2, 7),
        of(20, 1, 101),
        of(21, 2, 9),
        of(30, 1, 104),
        of(31, 2, 9),
    ];
    assert_eq!(
        added(&points),
        [Ok(100.0), Ok(7.0), Ok(1.0), Ok(2.0), Ok(3.0), Ok(0.0)]
    );
}

#[test]
fn what_cloudwatch_cannot_hold_is_dropped_and_the_rest_is_sent() {
    let double = |value: Value| one(1, &json!({"asDouble": value}));
    let points = [
        double(json!("NaN")),
        double(json!("Infinity")),
        double(json!(-1e109)),
        double(json!(2.0)),
        one(1, &json!({})),
        one(1, &json!({"asInt": "1", "flags": 1})),
    ];
    let outcome = Rig::new(ALL).record(&[metric("load", "", "gauge", &points, 0)]);
    assert_eq!(values(&outcome), json!([[2.0], [1]]));
    assert_eq!(outcome.drops, [(vec![0, 1, 2], Invalid), (vec![4, 5], Empty)]);

    let huge = json!({"asDouble": 2_f64.powi(360)});
    let outcome = Rig::new(ALL).record(&[sum("load", &[one(1, &huge), one(1, &huge)], DELTA)]);
    assert_eq!(
        outcome.drops,
        [(vec![0], Invalid), (vec![1], Invalid)],
        "each is a number, both are none"
    );
    assert_eq!(outcome.datums, []);
}

#[test]
fn names_are_made_of_printable_ascii_or_dropped() {
    let of = |name: &str| Rig::new(ALL).record(&[sum(name, &[one(1, &int(1))], DELTA)]);
    assert_eq!(of("größe\u{1F600}").each("MetricName"), ["gr__e_"]);
    assert_eq!(of(&"n".repeat(255)).datums.len(), 1);
    assert_eq!(of(":a:rule").datums.len(), 1);
    for name in [&"n".repeat(256), " "] {
        assert_eq!(of(name).drops, [(vec![0], Invalid)], "{name}");
    }
    let untold = Rig::new(ALL).record(&[sum("requests", &[one(1, &int(1))], 0)]);
    assert_eq!(untold.drops, [(vec![0], Invalid)], "neither delta nor cumulative");
}

#[test]
fn times_that_cloudwatch_refuses_are_dropped_and_an_unknown_one_is_that_of_receipt() {
    let at = |seconds: i64| {
        let time = (BEGUN + 60).saturating_add_signed(seconds) * NANOS;
        one(1, &json!({"asInt": "1", "timeUnixNano": time.to_string()}))
    };
    let (two_weeks, two_hours) = (14 * 86_400, 7200);
    let points = [
        at(-two_weeks - 60),
        at(600 - two_weeks),
        at(two_hours - 600),
        at(two_hours + 60),
    ];
    let outcome = Rig::new(ALL).record(&[sum("requests", &points, DELTA)]);
    assert_eq!(outcome.drops, [(vec![0], TooOld), (vec![3], TooNew)]);
    let unknown = one(1, &json!({"asInt": "1", "timeUnixNano": "0"}));
    let outcome = Rig::new(ALL).record(&[sum("requests", &[unknown], DELTA)]);
    assert_eq!(outcome.each("Timestamp"), [(BEGUN + 60) / 60 * 60]);
}

#[test]
fn what_the_budget_has_no_place_for_is_one_series_of_its_metric() {
    let points: Vec<Value> = (0..5)
        .map(|number| {
            point(
                1,
                &json!({"user": format!("u{number}")}),
                &int(10_i64.pow(number)),
            )
        })
        .collect();
    let mut rig = Rig::new("metrics: {'*': {dimensions: [user]}}, max_series: 2");
    let outcome = rig.record(&[sum("requests", &points, DELTA)]);
    assert_eq!(outcome.each("Value"), [json!(1.0), json!(10.0), json!(11100.0)]);
    let (items, overflow) = &outcome.datums[2];
    assert_eq!(items, &[2, 3, 4]);
    assert_eq!(
        overflow["Dimensions"],
        json!([{"Name": "otel.metric.overflow", "Value": "true"}])
    );
    // Not more of these than a few, whatever the metrics are called.
    let many: Vec<Value> = (0..30)
        .map(|number| sum(&format!("m{number}"), &points[4..], DELTA))
        .collect();
    let outcome = rig.record(&many);
    assert_eq!(outcome.datums.len(), 9);
    assert_eq!(outcome.drops.len(), 21);
    assert!(outcome.drops.iter().all(|(_, reason)| *reason == OverBudget));
}

#[test]
fn a_stream_is_one_whatever_the_order_of_its_attributes() {
    let of = |seconds, first: (&str, &str), second: (&str, &str), value| {
        let mut own = one(seconds, &int(value));
        own["attributes"] = json!([
            {"key": first.0, "value": {"stringValue": first.1}},
            {"key": second.0, "value": {"stringValue": second.1}},
        ]);
        own
    };
    let points = [
        of(10, ("a", "1"), ("b", "2"), 5),
        of(20, ("b", "2"), ("a", "1"), 7),
    ];
    assert_eq!(added(&points), [Ok(5.0), Ok(2.0)]);
}
