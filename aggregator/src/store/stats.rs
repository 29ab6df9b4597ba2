//! The statistics of a file in the Delta log, by which every engine prunes: rows, and the
//! range of the time column and of the service. Column statistics of Parquet are not here.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, max, max_string, min, min_string};
use arrow::datatypes::{DataType, Int32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, SecondsFormat};
use meridian_proto::schema;
use meridian_proto::signal::Signal;
use serde_json::{Value, json};

/// The column of every table that says which service a row belongs to.
pub(crate) const SERVICE: &str = "service_name";

/// Longer names are not written: a statistic must stay small, and a cut one would be wrong.
const SERVICE_CHARS_MAX: usize = 256;

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct FileStats {
    pub(crate) rows: u64,
    pub(crate) time_min: i64,
    pub(crate) time_max: i64,
    pub(crate) service_min: Option<String>,
    pub(crate) service_max: Option<String>,
    pub(crate) service_nulls: u64,
}

/// The range of a batch's time column, microseconds; `None` for a batch without rows.
pub(crate) fn time_range(signal: Signal, batch: &RecordBatch) -> Option<(i64, i64)> {
    let times = batch.column_by_name(schema::time_column(signal))?;
    let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some((min(times)?, max(times)?))
}

impl FileStats {
    /// The statistics of rows of `signal`.
    pub(crate) fn of(signal: Signal, batch: &RecordBatch) -> Result<Self, ArrowError> {
        let (time_min, time_max) = time_range(signal, batch).unwrap_or_default();
        let mut stats = Self {
            rows: batch.num_rows() as u64,
            time_min,
            time_max,
            ..Self::default()
        };
        if let Some(column) = batch.column_by_name(SERVICE) {
            stats.service_nulls = column.null_count() as u64;
            (stats.service_min, stats.service_max) = text_range(column)?;
        }
        Ok(stats)
    }

    /// Those of these rows and of others together.
    pub(crate) fn and(self, other: Self) -> Self {
        let services = |of: &Self| of.rows > of.service_nulls;
        // A range that is not known, although there are services, makes the whole unknown.
        let is_known = |of: &Self| !services(of) || of.service_min.is_some() && of.service_max.is_some();
        let both = is_known(&self) && is_known(&other);
        let least = self.service_min.into_iter().chain(other.service_min).min();
        let greatest = self.service_max.into_iter().chain(other.service_max).max();
        Self {
            rows: self.rows + other.rows,
            time_min: self.time_min.min(other.time_min),
            time_max: self.time_max.max(other.time_max),
            service_min: least.filter(|_| both),
            service_max: greatest.filter(|_| both),
            service_nulls: self.service_nulls + other.service_nulls,
        }
    }

    /// As the Delta protocol writes them, under "Per-file Statistics".
    pub(crate) fn to_json(&self, signal: Signal) -> String {
        let time = schema::time_column(signal);
        let mut least = json!({ time: rfc3339(self.time_min) });
        let mut greatest = json!({ time: rfc3339(self.time_max) });
        // A range needs both of its ends.
        if let (Some(min), Some(max)) = (&self.service_min, &self.service_max) {
            least[SERVICE] = json!(min);
            greatest[SERVICE] = json!(max);
        }
        json!({
            "numRecords": self.rows,
            "minValues": least,
            "maxValues": greatest,
            "nullCount": { time: 0, SERVICE: self.service_nulls },
        })
        .to_string()
    }

    /// Reads what any writer left; what it left out does not prune.
    pub(crate) fn from_json(signal: Signal, text: &str) -> Self {
        let stats: Value = serde_json::from_str(text).unwrap_or_default();
        let time = schema::time_column(signal);
        let micros = |range: &str| {
            let text = stats[range][time].as_str()?;
            DateTime::parse_from_rfc3339(text)
                .ok()
                .map(|time| time.timestamp_micros())
        };
        let service = |range: &str| stats[range][SERVICE].as_str().map(str::to_owned);
        Self {
            rows: stats["numRecords"].as_u64().unwrap_or(0),
            time_min: micros("minValues").unwrap_or(i64::MIN),
            // Other writers cut at milliseconds, always downwards.
            time_max: micros("maxValues").map_or(i64::MAX, |max| max.saturating_add(999)),
            service_min: service("minValues"),
            service_max: service("maxValues"),
            service_nulls: stats["nullCount"][SERVICE].as_u64().unwrap_or(0),
        }
    }
}

/// Least and greatest text of a column. A dictionary may hold more than its rows use.
fn text_range(column: &ArrayRef) -> Result<(Option<String>, Option<String>), ArrowError> {
    let short = |text: &str| (text.len() <= SERVICE_CHARS_MAX).then(|| text.to_owned());
    if let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() {
        let mut is_used = vec![false; dictionary.values().len()];
        for key in dictionary.keys().iter().flatten() {
            if let Some(used) = usize::try_from(key).ok().and_then(|key| is_used.get_mut(key)) {
                *used = true;
            }
        }
        let values: ArrayRef = cast(dictionary.values(), &DataType::Utf8)?;
        let values = values.as_string::<i32>();
        let used = || {
            values
                .iter()
                .zip(&is_used)
                .filter_map(|(text, used)| text.filter(|_| *used))
        };
        return Ok((used().min().and_then(short), used().max().and_then(short)));
    }
    let texts: ArrayRef = cast(column, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    Ok((
        min_string(texts).and_then(short),
        max_string(texts).and_then(short),
    ))
}

fn rfc3339(micros: i64) -> Option<String> {
    DateTime::from_timestamp_micros(micros).map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_survive_the_log() {
        let stats = FileStats {
            rows: 3,
            time_min: 1_700_000_000_000_001,
            time_max: 1_700_000_000_000_999,
            service_min: Some("api".into()),
            service_max: Some("web".into()),
            service_nulls: 1,
        };
        let read = FileStats::from_json(Signal::Spans, &stats.to_json(Signal::Spans));
        assert_eq!(
            read,
            FileStats {
                time_max: stats.time_max + 999,
                ..stats
            }
        );
    }

    #[test]
    fn a_service_whose_name_is_not_written_makes_the_range_of_all_unknown() {
        let of = |service: Option<&str>, rows| FileStats {
            rows,
            service_min: service.map(str::to_owned),
            service_max: service.map(str::to_owned),
            ..FileStats::default()
        };
        let both = of(Some("b"), 1).and(of(Some("a"), 1));
        assert_eq!(
            (both.service_min.as_deref(), both.service_max.as_deref()),
            (Some("a"), Some("b"))
        );
        assert_eq!(of(Some("b"), 1).and(of(None, 1)).service_min, None);
        let nameless = FileStats {
            service_nulls: 1,
            ..of(None, 1)
        };
        assert_eq!(of(Some("b"), 1).and(nameless).service_max.as_deref(), Some("b"));
    }

    #[test]
    fn a_file_without_statistics_is_never_pruned() {
        let stats = FileStats::from_json(Signal::Logs, "");
        assert_eq!((stats.time_min, stats.time_max), (i64::MIN, i64::MAX));
        assert_eq!(stats.service_min, None);
    }
}
