//! A metric of CloudWatch as it is named: its name and dimensions, as the JSON that a datum begins
//! with. Two series are one if these are equal. Which series may be sent is [`super::budget`]'s.

use meridian_proto::attributes::push_json_string;

use super::select::DimensionSet;
use crate::otlp::Malformed;
use crate::otlp::view::Attributes;

/// Of a metric's name and a dimension's.
const NAME_CHARS_MAX: usize = 255;
/// Of a dimension's value.
const VALUE_CHARS_MAX: usize = 1024;
/// Dimensions of a metric.
pub const DIMENSIONS_MAX: usize = 30;
/// The dimension of what found no place in the budget.
const OVERFLOW: &str = "otel.metric.overflow";

/// Whether CloudWatch takes it for a dimension's name.
pub fn is_dimension_name(name: &str) -> bool {
    is_metric_name(name) && !name.starts_with(':')
}

fn is_metric_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX && name.bytes().all(is_printable) && !name.trim().is_empty()
}

/// A metric's name with `_` for what is no printable ASCII; `None` if it still is no name.
pub fn metric_name(name: &str) -> Option<String> {
    let mut printable = String::with_capacity(name.len());
    push_printable(&mut printable, name);
    is_metric_name(&printable).then_some(printable)
}

/// Begins the series of a metric.
fn begin(series: &mut String, metric: &str) {
    series.clear();
    series.push_str("\"MetricName\":");
    push_json_string(series, metric);
}

/// The series of a point with this set of dimensions; false if the point lacks one of them. Its
/// own attributes come before its resource's. `text` is scratch.
pub fn write(
    series: &mut String,
    metric: &str,
    set: &DimensionSet,
    sources: [&Attributes<'_>; 2],
    text: &mut (String, String),
) -> Result<bool, Malformed> {
    begin(series, metric);
    let mut before = ",\"Dimensions\":[";
    for key in set {
        let Some(value) = sources.iter().find_map(|attributes| attributes.get(key)) else {
            return Ok(false);
        };
        let (raw, printable) = (&mut text.0, &mut text.1);
        raw.clear();
        printable.clear();
        value.push_text(raw)?;
        push_printable(printable, raw);
        if printable.trim().is_empty() {
            return Ok(false);
        }
        series.push_str(before);
        push_dimension(series, key, printable);
        before = ",";
    }
    if !set.is_empty() {
        series.push(']');
    }
    Ok(true)
}

/// The series for what finds no place otherwise.
pub fn write_overflow(series: &mut String, metric: &str) {
    begin(series, metric);
    series.push_str(",\"Dimensions\":[");
    push_dimension(series, OVERFLOW, "true");
    series.push(']');
}

fn push_dimension(series: &mut String, name: &str, value: &str) {
    series.push_str("{\"Name\":");
    push_json_string(series, name);
    series.push_str(",\"Value\":");
    push_json_string(series, value);
    series.push('}');
}

/// Appends a text of printable ASCII, `_` for every other character, up to what a value may have.
fn push_printable(out: &mut String, text: &str) {
    let printable = |character: char| match character {
        ' '..='~' => character,
        _ => '_',
    };
    out.extend(text.chars().take(VALUE_CHARS_MAX).map(printable));
}

fn is_printable(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}
