//! One metric datum and its rules. Whole calls are the parent's business.

use serde_json::Value;

use super::INVALID;
use crate::problem::Problem;
use crate::time;

const DIMENSIONS_MAX: usize = 30;
const DIMENSION_NAME_CHARS_MAX: usize = 255;
const DIMENSION_VALUE_CHARS_MAX: usize = 1024;
const METRIC_NAME_CHARS_MAX: usize = 255;
const VALUES_MAX: usize = 150;
const HOUR: i64 = 3_600_000;
const FUTURE_MAX: i64 = 2 * HOUR;
const PAST_MAX: i64 = 14 * 24 * HOUR;
/// Every unit that a datum may have.
pub const METRIC_UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// A metric datum that was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Datum {
    /// The namespace of its call.
    pub namespace: String,
    /// The metric.
    pub name: String,
    /// Names and values, in the order of their names.
    pub dimensions: Vec<(String, String)>,
    /// Milliseconds since the epoch, if it has its own.
    pub timestamp: Option<i64>,
    /// `None` is no unit.
    pub unit: Option<String>,
    /// 1 or 60 seconds.
    pub resolution: u32,
    /// What was measured.
    pub measured: Measured,
}

/// What a datum says.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// One value.
    Value(f64),
    /// Values, each with how often it was measured.
    Values(Vec<(f64, f64)>),
    /// Of more values than are told.
    Statistics {
        /// How many.
        count: f64,
        /// Their sum.
        sum: f64,
        /// The least.
        minimum: f64,
        /// The greatest.
        maximum: f64,
    },
}

/// What is wrong with a datum: code, member, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault(&'static str, String);

impl Fault {
    fn invalid(member: &str, value: impl std::fmt::Display) -> Self {
        Self(INVALID, format!("{member}: the value {value} is invalid"))
    }

    /// Of the datum with this index.
    pub fn problem(self, index: usize) -> Problem {
        Problem::shape(self.0, format!("MetricData.member.{}.{}", index + 1, self.1))
    }
}

impl Datum {
    /// Reads a datum of a form, where all leaves are strings, or of JSON.
    pub fn read(namespace: &str, datum: &Value, now: i64) -> Result<Self, Fault> {
        let name = text(datum, "MetricName");
        if name.is_empty() {
            return Err(Fault("MissingParameter", "MetricName is required.".to_owned()));
        }
        if !is_printable(name, METRIC_NAME_CHARS_MAX) {
            return Err(Fault::invalid("MetricName", name));
        }
        let unit = datum.get("Unit").map(|unit| unit.as_str().unwrap_or_default());
        if let Some(other) = unit.filter(|unit| !METRIC_UNITS.contains(unit)) {
            return Err(Fault::invalid("Unit", other));
        }
        let resolution = match number(datum.get("StorageResolution"), "StorageResolution")? {
            None | Some(60.0) => 60,
            Some(1.0) => 1,
            Some(other) => return Err(Fault::invalid("StorageResolution", other)),
        };
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions(datum.get("Dimensions"))?,
            timestamp: timestamp(datum.get("Timestamp"), now)?,
            unit: unit.map(str::to_owned),
            resolution,
            measured: Measured::read(datum)?,
        })
    }
}

impl Measured {
    fn read(datum: &Value) -> Result<Self, Fault> {
        let (value, values, statistics) = (
            datum.get("Value"),
            datum.get("Values"),
            datum.get("StatisticValues"),
        );
        match (value, values, statistics) {
            (Some(_), None, None) => Ok(Self::Value(required(datum, "Value")?)),
            (None, Some(values), None) => Self::values(values, datum.get("Counts")),
            (None, None, Some(of)) => Ok(Self::Statistics {
                count: required(of, "SampleCount")?,
                sum: required(of, "Sum")?,
                minimum: required(of, "Minimum")?,
                maximum: required(of, "Maximum")?,
            }),
            (None, None, None) => Err(Fault(
                "MissingParameter",
                "Value, Values or StatisticValues is required.".to_owned(),
            )),
            _ => Err(Fault(
                "InvalidParameterCombination",
                "Value, Values and StatisticValues exclude each other.".to_owned(),
            )),
        }
    }

    fn values(values: &Value, counts: Option<&Value>) -> Result<Self, Fault> {
        let values = numbers(values, "Values")?;
        let counts = match counts {
            Some(counts) => numbers(counts, "Counts")?,
            None => vec![1.0; values.len()],
        };
        if values.is_empty() || values.len() > VALUES_MAX {
            return Err(Fault::invalid("Values", format!("of {} values", values.len())));
        }
        if counts.len() != values.len() {
            return Err(Fault(
                "InvalidParameterCombination",
                "Values and Counts differ in length.".to_owned(),
            ));
        }
        if let Some(count) = counts.iter().find(|count| **count <= 0.0) {
            return Err(Fault::invalid("Counts", count));
        }
        let mut unique = values.clone();
        unique.sort_by(f64::total_cmp);
        unique.dedup();
        if unique.len() != values.len() {
            return Err(Fault::invalid("Values", "that is listed twice"));
        }
        Ok(Self::Values(values.into_iter().zip(counts).collect()))
    }
}

fn text<'a>(of: &'a Value, member: &str) -> &'a str {
    of.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// Printable ASCII with something to see.
fn is_printable(text: &str, chars_max: usize) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    text.len() <= chars_max && text.bytes().all(is_allowed) && !text.trim().is_empty()
}

fn dimensions(of: Option<&Value>) -> Result<Vec<(String, String)>, Fault> {
    let Some(of) = of else {
        return Ok(Vec::new());
    };
    let list = of.as_array().ok_or_else(|| Fault::invalid("Dimensions", of))?;
    if list.len() > DIMENSIONS_MAX {
        return Err(Fault::invalid(
            "Dimensions",
            format!("of {} dimensions", list.len()),
        ));
    }
    let mut dimensions = Vec::new();
    for dimension in list {
        let (name, value) = (text(dimension, "Name"), text(dimension, "Value"));
        if !is_printable(name, DIMENSION_NAME_CHARS_MAX) || name.starts_with(':') {
            return Err(Fault::invalid("Dimensions.Name", name));
        }
        if !is_printable(value, DIMENSION_VALUE_CHARS_MAX) {
            return Err(Fault::invalid("Dimensions.Value", value));
        }
        dimensions.push((name.to_owned(), value.to_owned()));
    }
    dimensions.sort();
    if let Some([(name, _), _]) = dimensions.array_windows().find(|[one, other]| one.0 == other.0) {
        return Err(Fault::invalid("Dimensions", format!("with {name} twice")));
    }
    Ok(dimensions)
}

fn timestamp(of: Option<&Value>, now: i64) -> Result<Option<i64>, Fault> {
    let Some(of) = of else {
        return Ok(None);
    };
    let invalid = || Fault::invalid("Timestamp", of);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is out of range is refused below"
    )]
    let millis = match of {
        Value::String(text) => time::of_extended(text),
        other => other.as_f64().map(|seconds| (seconds * 1000.0).round() as i64),
    };
    let millis = millis.filter(|millis| (now - PAST_MAX..=now + FUTURE_MAX).contains(millis));
    millis.map(Some).ok_or_else(invalid)
}

fn numbers(list: &Value, member: &str) -> Result<Vec<f64>, Fault> {
    let list = list.as_array().ok_or_else(|| Fault::invalid(member, list))?;
    let numbers = list
        .iter()
        .map(|one| number(Some(one), member).map(|number| number.unwrap_or(f64::NAN)));
    numbers.collect()
}

fn required(of: &Value, member: &str) -> Result<f64, Fault> {
    number(of.get(member), member)?.ok_or_else(|| Fault("MissingParameter", format!("{member} is required.")))
}

/// A number within what CloudWatch can hold.
fn number(of: Option<&Value>, member: &str) -> Result<Option<f64>, Fault> {
    let Some(of) = of else {
        return Ok(None);
    };
    let number = match of {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    let is_held = |number: &f64| number.is_finite() && number.abs() <= 2_f64.powi(360);
    number
        .filter(is_held)
        .map(Some)
        .ok_or_else(|| Fault::invalid(member, of))
}
