//! Deletes files that no version of the table needs: those that were replaced or are kept no
//! longer, and those whose commit never came. What it never deletes: a file that the table
//! knows, one that a query here still reads, and one that has not been useless for long
//! enough, as this process saw it with its own clock that only goes forward. Another
//! aggregator may just have written it, or a reader elsewhere may be at an older version.
//!
//! A restart begins the waiting anew. Logs are not cleaned here.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::time::Instant;

use super::table::{StoreError, Table};

/// Useless files that are remembered per table; more are found again when these are gone.
const SEEN_MAX: usize = 100_000;

/// What one table's vacuum remembers.
#[derive(Debug, Default)]
pub(crate) struct Vacuum {
    /// Since when files are known to be useless.
    useless: HashMap<Path, Instant>,
}

/// What one vacuum deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Vacuum {
    /// Deletes what has been useless for `keep`.
    pub(crate) async fn run(&mut self, table: &Table, keep: Duration) -> Result<Swept, StoreError> {
        let signal = table.signal;
        let failed = |source| StoreError::Sweep { signal, source };
        let directory = table.directory();
        let listed: Vec<ObjectMeta> = directory
            .objects
            .list(Some(&directory.path))
            .try_filter(|object| std::future::ready(is_data(&directory.path, &object.location)))
            .try_collect()
            .await
            .map_err(failed)?;
        // In this order: what was committed since it was listed is known now.
        table.refresh().await?;
        let needed = needed(table);
        let now = Instant::now();
        let mut useless = HashMap::new();
        let mut swept = Swept::default();
        for object in listed {
            if needed.contains(&object.location) {
                continue;
            }
            let since = self.useless.get(&object.location).copied().unwrap_or(now);
            if now.duration_since(since) < keep {
                if useless.len() < SEEN_MAX {
                    useless.insert(object.location, since);
                }
                continue;
            }
            match directory.objects.delete(&object.location).await {
                Ok(()) => {
                    swept.files += 1;
                    swept.bytes += object.size;
                }
                // Another aggregator does the same.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.useless = useless;
        Ok(swept)
    }
}

/// The files of the table, and those that a view holds.
fn needed(table: &Table) -> HashSet<Path> {
    let state = table.state.read();
    let files = state.files().iter().map(|file| file.path.clone());
    files
        .chain(state.in_use().map(|file| file.path.clone()))
        .collect()
}

/// Whether this is a data file: the log, and whatever else Delta keeps under names that begin
/// with `_` or `.`, is none.
fn is_data(directory: &Path, location: &Path) -> bool {
    let Some(mut parts) = location.prefix_match(directory) else {
        return false;
    };
    location.as_ref().ends_with(".parquet")
        && !parts.any(|part| part.as_ref().starts_with('_') || part.as_ref().starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_files_are_vacuumed() {
        let directory = Path::from("base/spans");
        let is_data = |path: &str| is_data(&directory, &Path::from(path));
        assert!(is_data(
            "base/spans/date=2026-11-23/region=eu/part-1.zstd.parquet"
        ));
        assert!(!is_data(
            "base/spans/_delta_log/00000000000000000050.checkpoint.parquet"
        ));
        assert!(!is_data("base/spans/_delta_log/00000000000000000051.json"));
        assert!(!is_data("base/spans/notes.txt"));
        assert!(!is_data("base/other/part-1.parquet"));
    }
}
