//! Which files are merged next. Files of a day and region are in tiers by their size, each
//! tier some `merge_files` times larger than the one below; a full tier becomes one file of
//! the next. So a row is rewritten once per tier, at high rates once in all, and files that
//! are large enough never.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::store::view::DataFile;

/// What a merge may take and make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many files of a tier are merged.
    pub merge_files: usize,
    /// A file of half this size is large enough; a merge writes no larger ones than this.
    pub file_bytes: u64,
    /// Memory of one merge.
    pub memory_bytes: u64,
}

/// The row group of an input and a decoded batch of it, in the worst case.
const INPUT_BYTES: u64 = 6 << 20;
/// The row group in the making and the parts that are sent.
const OUTPUT_BYTES: u64 = 48 << 20;
/// Under this size files are alike: they cost a query what opening them costs.
const SMALL_BYTES: u64 = 64 << 10;

/// The files of the merge that is due, if one is; those of the newest day first, because
/// that is where queries look.
pub(crate) fn next(files: &[Arc<DataFile>], today: NaiveDate, limits: Limits) -> Option<Vec<Arc<DataFile>>> {
    let mut tiers: BTreeMap<(NaiveDate, &str, u32), Vec<&Arc<DataFile>>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.size < limits.file_bytes / 2) {
        let key = (file.date, file.region.as_str(), tier(file.size, limits));
        tiers.entry(key).or_default().push(file);
    }
    tiers
        .into_iter()
        .rev()
        .find_map(|((date, ..), files)| due(files, date < today, limits))
}

/// A day that is over gets few more files: waiting for many would be waiting for ever.
const FILES_OF_A_PAST_DAY: usize = 4;

fn due(mut files: Vec<&Arc<DataFile>>, is_past: bool, limits: Limits) -> Option<Vec<Arc<DataFile>>> {
    files.sort_unstable_by_key(|file| (file.time_min, file.time_max));
    let files_max = limits.merge_files.min(fits(limits)).max(2);
    let mut bytes = 0;
    let enough = files.iter().position(|file| {
        bytes += file.size;
        bytes >= limits.file_bytes
    });
    let wanted = if is_past {
        files_max.min(FILES_OF_A_PAST_DAY)
    } else {
        files_max
    };
    let count = match enough {
        Some(last) => (last + 1).min(files_max),
        None if files.len() >= wanted => files.len().min(files_max),
        None => return None,
    };
    (count > 1).then(|| files.into_iter().take(count).cloned().collect())
}

fn fits(limits: Limits) -> usize {
    let files = limits.memory_bytes.saturating_sub(OUTPUT_BYTES) / INPUT_BYTES;
    usize::try_from(files).unwrap_or(usize::MAX)
}

/// How many times a file can be merged with `merge_files - 1` of its like until it is large
/// enough: 0 for the largest.
fn tier(size: u64, limits: Limits) -> u32 {
    let factor = limits.merge_files.max(2) as u64;
    let mut size = size.max(SMALL_BYTES);
    let mut tier = 0;
    while let Some(larger) = size
        .checked_mul(factor)
        .filter(|larger| *larger < limits.file_bytes / 2)
    {
        size = larger;
        tier += 1;
    }
    tier
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::stats::FileStats;
    use object_store::path::Path;

    const LIMITS: Limits = Limits {
        merge_files: 8,
        file_bytes: 128 << 20,
        memory_bytes: 256 << 20,
    };

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn file(number: i64, size: u64, date: &str, region: &str) -> Arc<DataFile> {
        let stats = FileStats {
            rows: size,
            time_min: number,
            time_max: number,
            ..FileStats::default()
        };
        let path = Path::from(format!("{number}"));
        Arc::new(DataFile::with_stats(
            path,
            size,
            day(date),
            region.to_owned(),
            stats,
        ))
    }

    fn next_of(files: &[Arc<DataFile>]) -> Option<Vec<i64>> {
        let files = next(files, day("2026-11-23"), LIMITS)?;
        Some(files.iter().map(|file| file.time_min).collect())
    }

    #[test]
    fn files_of_one_day_region_and_tier_are_merged_when_there_are_enough() {
        let mut files: Vec<_> = (0..7).map(|n| file(n, 10_000, "2026-11-23", "eu")).collect();
        files.push(file(7, 10_000, "2026-11-23", "us"));
        files.push(file(8, 10_000, "2026-11-22", "eu"));
        files.push(file(9, 100 << 20, "2026-11-23", "eu"));
        assert_eq!(next_of(&files), None);
        files.push(file(10, 60_000, "2026-11-23", "eu"));
        assert_eq!(next_of(&files), Some(vec![0, 1, 2, 3, 4, 5, 6, 10]));
    }

    #[test]
    fn files_that_make_a_large_one_are_merged_at_once_and_large_ones_never() {
        let files: Vec<_> = (0..4).map(|n| file(n, 50 << 20, "2026-11-23", "eu")).collect();
        assert_eq!(next_of(&files), Some(vec![0, 1, 2]));
        let files: Vec<_> = (0..9).map(|n| file(n, 64 << 20, "2026-11-23", "eu")).collect();
        assert_eq!(next_of(&files), None);
    }

    #[test]
    fn a_past_day_waits_for_less() {
        let files: Vec<_> = (0..4).map(|n| file(n, 10_000, "2026-11-22", "eu")).collect();
        assert_eq!(next_of(&files), Some(vec![0, 1, 2, 3]));
    }

    #[test]
    fn merging_until_nothing_is_due_rewrites_a_row_once_per_tier() {
        let mut files: Vec<_> = (0..4096).map(|n| file(n, 100_000, "2026-11-23", "eu")).collect();
        let (mut rewritten, mut number) = (0, 4096);
        while let Some(inputs) = next(&files, day("2026-11-23"), LIMITS) {
            let size = inputs.iter().map(|file| file.size).sum();
            rewritten += size;
            files.retain(|file| inputs.iter().all(|input| input.path != file.path));
            files.push(file(number, size, "2026-11-23", "eu"));
            number += 1;
        }
        let all: u64 = files.iter().map(|file| file.size).sum();
        assert_eq!(all, 409_600_000);
        assert!(rewritten <= 4 * all, "{} times", rewritten / all);
        assert!(files.len() < 4 * 8, "{} files are left", files.len());
    }

    #[test]
    fn little_memory_merges_fewer_files_at_a_time() {
        let limits = Limits {
            memory_bytes: 64 << 20,
            ..LIMITS
        };
        let files: Vec<_> = (0..8).map(|n| file(n, 10_000, "2026-11-23", "eu")).collect();
        let due = next(&files, day("2026-11-23"), limits).expect("a merge is due");
        assert_eq!(due.len(), 2);
    }
}
