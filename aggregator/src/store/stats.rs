//! The statistics of a file in the Delta log, by which every engine prunes: rows, and the
//! range of the time column and of the service. Column statistics of Parquet are not here.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, max, max_string, min, min_string};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
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
            let services: ArrayRef = cast(column, &DataType::Utf8)?;
            let services = services.as_string::<i32>();
            stats.service_nulls = services.null_count() as u64;
            let short = |name: &str| (name.len() <= SERVICE_CHARS_MAX).then(|| name.to_owned());
            stats.service_min = min_string(services).and_then(short);
            stats.service_max = max_string(services).and_then(short);
        }
        Ok(stats)
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
    fn a_file_without_statistics_is_never_pruned() {
        let stats = FileStats::from_json(Signal::Logs, "");
        assert_eq!((stats.time_min, stats.time_max), (i64::MIN, i64::MAX));
        assert_eq!(stats.service_min, None);
    }
}
