//! Which files are kept no longer: the rows of those that are too old, and the oldest of a
//! store that is too large. Nothing is deleted here; vacuum does, when nobody reads them.

use std::sync::Arc;

use chrono::{DateTime, Days};

use super::view::DataFile;

/// Until when a file's rows count as new, microseconds since the epoch: the time of its newest
/// row, but within the day of its partition, because a row's time is what an application says.
pub(crate) fn newest(file: &DataFile) -> i64 {
    let micros = |date: chrono::NaiveDate| {
        let midnight = date
            .and_hms_opt(0, 0, 0)
            .unwrap_or(DateTime::UNIX_EPOCH.naive_utc());
        midnight.and_utc().timestamp_micros()
    };
    let next = file.date.checked_add_days(Days::new(1)).unwrap_or(file.date);
    let (first, last) = (micros(file.date), micros(next) - 1);
    file.time_max.clamp(first, last.max(first))
}

/// The files without a row at or after `cutoff` (microseconds since the epoch).
pub(crate) fn expired(files: &[Arc<DataFile>], cutoff: i64) -> Vec<Arc<DataFile>> {
    files
        .iter()
        .filter(|file| newest(file) < cutoff)
        .cloned()
        .collect()
}

/// The oldest files of several tables, such that the others have at most `bytes_max`.
pub(crate) fn over_size(tables: &[Arc<Vec<Arc<DataFile>>>], bytes_max: u64) -> Vec<Vec<Arc<DataFile>>> {
    let mut all: Vec<(usize, &Arc<DataFile>)> = tables
        .iter()
        .enumerate()
        .flat_map(|(table, files)| files.iter().map(move |file| (table, file)))
        .collect();
    all.sort_unstable_by_key(|(_, file)| newest(file));
    let mut bytes: u64 = all.iter().map(|(_, file)| file.size).sum();
    let mut removed = vec![Vec::new(); tables.len()];
    for (table, file) in all {
        if bytes <= bytes_max {
            break;
        }
        bytes -= file.size;
        removed[table].push(Arc::clone(file));
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::stats::FileStats;
    use object_store::path::Path;

    const DAY: i64 = 86_400_000_000;

    fn file(date: &str, time_max: i64, size: u64) -> Arc<DataFile> {
        let date = date.parse().expect("a date");
        let stats = FileStats {
            time_max,
            ..FileStats::default()
        };
        Arc::new(DataFile::with_stats(
            Path::from("a"),
            size,
            date,
            "eu".to_owned(),
            stats,
        ))
    }

    #[test]
    fn a_file_expires_with_its_newest_row_and_never_before_or_after_its_day() {
        let usual = file("1970-01-03", 2 * DAY + 5, 1);
        assert_eq!(newest(&usual), 2 * DAY + 5);
        assert_eq!(newest(&file("1970-01-03", i64::MAX, 1)), 3 * DAY - 1);
        assert_eq!(newest(&file("1970-01-03", 0, 1)), 2 * DAY);
        let files = [usual, file("1970-01-03", i64::MAX, 1)];
        assert_eq!(expired(&files, 2 * DAY + 5).len(), 0);
        assert_eq!(expired(&files, 2 * DAY + 6).len(), 1);
        assert_eq!(expired(&files, 3 * DAY).len(), 2);
    }

    #[test]
    fn a_store_that_is_too_large_loses_its_oldest_files_whatever_their_table() {
        let spans = Arc::new(vec![file("1970-01-03", i64::MAX, 10), file("1970-01-01", 0, 10)]);
        let logs = Arc::new(vec![file("1970-01-02", i64::MAX, 10)]);
        let tables = [spans, logs];
        assert_eq!(over_size(&tables, 30), [vec![], vec![]]);
        let removed = over_size(&tables, 15);
        assert_eq!((removed[0].len(), removed[1].len()), (1, 1));
        assert_eq!(removed[0][0].date, tables[0][1].date);
    }
}
