//! What CloudWatch demands of every datum, by its documentation and not by our code.

use aws_standin::METRIC_UNITS;
use serde_json::Value;

fn text(value: &Value, longest: usize) {
    let text = value.as_str().expect("a string");
    assert!((1..=longest).contains(&text.chars().count()), "{text}");
    assert!(
        text.chars().all(|character| (' '..='~').contains(&character)),
        "{text}"
    );
    assert!(!text.trim().is_empty());
}

fn number(value: &Value) -> f64 {
    let number = value.as_f64().expect("a number");
    assert!(number.is_finite() && number.abs() <= 2_f64.powi(360), "{number}");
    number
}

/// `now` in seconds since the epoch.
pub fn hold(datum: &Value, now: u64) {
    text(&datum["MetricName"], 255);
    if let Some(dimensions) = datum.get("Dimensions") {
        let dimensions = dimensions.as_array().expect("a list");
        assert!((1..=30).contains(&dimensions.len()));
        for dimension in dimensions {
            text(&dimension["Name"], 255);
            assert!(!dimension["Name"].as_str().expect("a string").starts_with(':'));
            text(&dimension["Value"], 1024);
        }
    }
    let time = datum["Timestamp"].as_u64().expect("seconds");
    assert!(
        time + 14 * 86_400 >= now && time <= now + 2 * 3600,
        "{time} at {now}"
    );
    assert!(METRIC_UNITS.contains(&datum["Unit"].as_str().expect("a string")));
    assert!([1, 60].contains(&datum["StorageResolution"].as_u64().expect("a number")));
    if datum.get("Value").is_some() {
        assert!(datum.get("Values").is_none());
        number(&datum["Value"]);
        return;
    }
    let values = datum["Values"].as_array().expect("a list");
    let counts = datum["Counts"].as_array().expect("a list");
    assert!((1..=150).contains(&values.len()) && values.len() == counts.len());
    assert!(
        values.is_sorted_by(|one, next| number(one) < number(next)),
        "{values:?}"
    );
    assert!(counts.iter().all(|count| number(count) > 0.0));
}
