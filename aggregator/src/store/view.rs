//! What a query sees of a table: the files of one Delta version and the rows in memory that
//! this version does not hold. A view never changes after it was taken.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use chrono::NaiveDate;
use object_store::path::Path;

use super::damage::Damage;
use super::stats::FileStats;

/// A consistent state of one table: each row is in it exactly once.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The Delta version of the files; -1 before the table exists.
    pub version: i64,
    /// The committed rows.
    pub files: Arc<Vec<Arc<DataFile>>>,
    /// The rows that are not yet committed.
    pub hot: Vec<Arc<HotBatch>>,
    /// Retention may have removed rows up to this time, microseconds since the epoch; `None`
    /// where it never removed any.
    pub removed_to: Option<i64>,
    /// What of the files and of the log that names them cannot be read.
    pub damage: Damage,
}

/// A Parquet file of a table. Its columns are those of `schema::of` with plain strings for
/// dictionaries, without `region`, which like `date` is a partition value and not in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// The full path in `Store::object_store`.
    pub path: Path,
    /// Bytes.
    pub size: u64,
    /// Partition: the UTC day of the rows.
    pub date: NaiveDate,
    /// Partition: the region of the rows.
    pub region: String,
    /// How many rows.
    pub rows: u64,
    /// Least value of the time column, microseconds since the epoch.
    pub time_min: i64,
    /// Greatest value of the time column, microseconds since the epoch.
    pub time_max: i64,
    /// Least and greatest service name; `None` where unknown (rows without one do not count).
    pub service_min: Option<String>,
    /// See `service_min`.
    pub service_max: Option<String>,
}

impl DataFile {
    pub(crate) fn with_stats(
        path: Path,
        size: u64,
        date: NaiveDate,
        region: String,
        stats: FileStats,
    ) -> Self {
        Self {
            path,
            size,
            date,
            region,
            rows: stats.rows,
            time_min: stats.time_min,
            time_max: stats.time_max,
            service_min: stats.service_min,
            service_max: stats.service_max,
        }
    }
}

/// Rows of one agent that are in memory, with the schema `schema::of(signal)`.
#[derive(Debug)]
pub struct HotBatch {
    /// The rows; `region` is a column, `date` is not.
    pub batch: RecordBatch,
    /// The region of all rows.
    pub region: String,
    /// Least value of the time column, microseconds since the epoch.
    pub time_min: i64,
    /// Greatest value of the time column, microseconds since the epoch.
    pub time_max: i64,
}
