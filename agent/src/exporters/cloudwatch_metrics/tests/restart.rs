//! The memory of cumulative streams over a crash, and its limit.

use super::*;

fn total(seconds: u64, value: i64) -> Value {
    let more = json!({"asInt": value.to_string()});
    metric("requests", "1", "sum", &[point(seconds, &json!({}), &more)], 2)
}

fn one_of(user: usize, seconds: u64, value: i64) -> Value {
    let more = json!({"asInt": value.to_string()});
    metric(
        "requests",
        "1",
        "sum",
        &[point(seconds, &json!({"user": user}), &more)],
        2,
    )
}

fn sum_of(outcome: &Outcome) -> f64 {
    outcome.each("Value").iter().filter_map(Value::as_f64).sum()
}

#[test]
fn after_a_crash_nothing_is_lost_and_what_was_kept_is_not_counted_again() {
    let bodies: Vec<Value> = (1..=8).map(|at| total(at * 10, 3 * at.cast_signed())).collect();
    let mut first = Rig::new(ALL);
    let of_first: Vec<f64> = bodies
        .iter()
        .map(|metric| sum_of(&first.record(std::slice::from_ref(metric))))
        .collect();
    assert_eq!(of_first, [3.0; 8]);
    let kept = first.settle(5).expect("it has changed");

    // The cursor is where the state is, or before it: nothing up to there is translated again.
    let mut second = Rig::reopen(ALL, Some(&kept));
    let of_second: Vec<f64> = bodies
        .iter()
        .map(|metric| sum_of(&second.record(std::slice::from_ref(metric))))
        .collect();
    assert_eq!(of_second, [0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0]);
    let dropped = second.record(std::slice::from_ref(&bodies[2])).drops;
    assert_eq!(dropped, [(vec![0], DropReason::Superseded)]);
}

#[test]
fn without_a_memory_counting_begins_where_it_is_and_never_with_what_was_before() {
    let mut rig = Rig::reopen(ALL, Some(b"no memory"));
    let more = json!({"asInt": "1000", "startTimeUnixNano": ((BEGUN - 1) * NANOS).to_string()});
    let metric = metric("requests", "1", "sum", &[point(10, &json!({}), &more)], 2);
    assert_eq!(rig.record(&[metric]).drops, [(vec![0], DropReason::Baseline)]);
}

#[test]
fn nothing_is_kept_again_that_has_not_changed() {
    let gauge = metric(
        "load",
        "1",
        "gauge",
        &[point(1, &json!({}), &json!({"asInt": "1"}))],
        0,
    );
    let mut rig = Rig::new(ALL);
    rig.record(std::slice::from_ref(&gauge));
    assert!(rig.settle(1).is_some(), "since when it counts");
    rig.record(std::slice::from_ref(&gauge));
    assert_eq!(rig.settle(2), None);
    rig.record(&[total(10, 1)]);
    assert_eq!(rig.settle(2), None, "that record is not settled");
    assert!(rig.settle(3).is_some());
}

#[test]
fn beyond_the_limit_the_least_recently_seen_is_forgotten_and_never_counted_twice() {
    let keys = format!("{ALL}, max_streams: 10");
    let mut rig = Rig::new(&keys);
    let mut sent = 0.0;
    for round in 0..4_u64 {
        for user in 0..13 {
            // The first ones are seen in each round again, the others come and go.
            let is_steady = user < 5 || user % 4 == usize::try_from(round).expect("small");
            if is_steady {
                let at = 10 + round * 20 + user as u64;
                sent += sum_of(&rig.record(&[one_of(user, at, 10 + round.cast_signed())]));
            }
        }
    }
    let kept = rig.settle(rig.seq).expect("it has changed");
    let mut streams = 13.0 * 10.0;
    streams += 5.0 * 3.0;
    assert!(sent <= streams, "{sent}");
    assert!(
        sent >= 5.0 * 13.0,
        "those that are seen in each round are complete: {sent}"
    );
    assert!(kept.len() < 11 * 120, "{} bytes", kept.len());
}
