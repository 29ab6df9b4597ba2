//! From rows in memory to the files of a commit, one per day and region. The files are not in
//! the log yet: that is the table's business.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use meridian_runtime::tasks;
use object_store::ObjectStoreExt;
use parquet::errors::ParquetError;

use super::columns;
use super::gather::Gather;
use super::hot::Held;
use super::layout::{self, Group};
use super::new_file::{Collected, Directory, Name, NewFile};
use super::parquet_file::{FileWriter, Purpose};
use super::stats::FileStats;
use super::table::StoreError;

/// Rows that are moved at a time.
const CHUNK_ROWS: usize = 8192;

struct Encoded {
    name: Name,
    stats: FileStats,
    bytes: Vec<u8>,
}

/// Writes the rows; after an error nothing of them stays behind.
pub(super) async fn write(directory: &Directory, batches: &[Arc<Held>]) -> Result<Vec<NewFile>, StoreError> {
    let encoded = encode(directory.clone(), batches.to_vec()).await?;
    let mut written = Vec::with_capacity(encoded.len());
    for file in encoded {
        match put(directory, file).await {
            Ok(file) => written.push(file),
            Err(error) => {
                directory.remove(&written).await;
                return Err(error);
            }
        }
    }
    Ok(written)
}

async fn encode(directory: Directory, batches: Vec<Arc<Held>>) -> Result<Vec<Encoded>, StoreError> {
    tasks::blocking("encode", move || {
        let signal = directory.signal;
        let arrange = |source| StoreError::Arrange { signal, source };
        let regions: Vec<&str> = batches.iter().map(|held| held.hot.region.as_str()).collect();
        let sources = batches
            .iter()
            .map(|held| columns::without_partition(signal, &held.hot.batch));
        let sources: Vec<RecordBatch> = sources.collect::<Result<_, ArrowError>>().map_err(arrange)?;
        let now = directory.clock.now_unix_nanos();
        let groups = layout::groups(signal, &regions, &sources, now).map_err(arrange)?;
        groups
            .iter()
            .map(|group| {
                file(&directory, group, &sources).map_err(|source| StoreError::Encode { signal, source })
            })
            .collect()
    })
    .await?
}

fn file(directory: &Directory, group: &Group, sources: &[RecordBatch]) -> Result<Encoded, ParquetError> {
    let signal = directory.signal;
    let mut gather = Gather::new(columns::of_file(signal));
    let mut writer = FileWriter::new(signal, Purpose::Commit, group.picks.len(), Collected::default())?;
    for picks in group.picks.chunks(CHUNK_ROWS) {
        writer.write(&gather.rows(sources, picks)?)?;
    }
    let (collected, stats) = writer.finish()?;
    Ok(Encoded {
        name: directory.name(group.date, &group.region),
        stats,
        bytes: collected.into_bytes(),
    })
}

async fn put(directory: &Directory, file: Encoded) -> Result<NewFile, StoreError> {
    let Encoded { name, stats, bytes } = file;
    let size = bytes.len();
    if let Err(source) = directory.objects.put(&name.full, bytes.into()).await {
        let path = name.full;
        return Err(StoreError::Write { path, source });
    }
    Ok(directory.new_file(name, size, &stats, true))
}
