//! Opens Parquet files for DataFusion: footers come from the cache, and every failure names
//! its file. Nothing is kept here.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::error::UnreadableFile;
use super::files::FileCache;

/// A partition opens the next file while it still reads one.
const OPEN_AT_ONCE: usize = 2;

/// The files that each partition of a query's plan opened last: those that a decoder, which
/// does not know what it decodes, can have failed on.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenFiles(Arc<Mutex<BTreeMap<usize, VecDeque<Path>>>>);

impl OpenFiles {
    fn opened(&self, partition: usize, path: Path) {
        let mut files = self.0.lock();
        let files = files.entry(partition).or_default();
        if files.len() == OPEN_AT_ONCE {
            files.pop_front();
        }
        files.push_back(path);
    }

    /// The files' paths, each once.
    pub(super) fn paths(&self) -> Vec<Path> {
        let mut paths: Vec<Path> = self.0.lock().values().flatten().cloned().collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// The same, separated by commas.
    pub(super) fn names(&self) -> String {
        let paths = self.paths();
        let names: Vec<&str> = paths.iter().map(AsRef::as_ref).collect();
        if names.is_empty() {
            return "of a table".to_owned();
        }
        names.join(", ")
    }
}

/// Makes readers of the files of one table.
#[derive(Debug)]
pub(super) struct ReaderFactory {
    pub(super) files: FileCache,
    /// The columns of the table's files.
    pub(super) schema: SchemaRef,
    pub(super) open_files: OpenFiles,
}

impl ParquetFileReaderFactory for ReaderFactory {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let path = file.object_meta.location;
        self.open_files.opened(partition_index, path.clone());
        Ok(Box::new(Reader {
            metrics: ParquetFileMetrics::new(partition_index, path.as_ref(), metrics),
            files: self.files.clone(),
            schema: Arc::clone(&self.schema),
            size: file.object_meta.size,
            path,
        }))
    }
}

struct Reader {
    files: FileCache,
    schema: SchemaRef,
    path: Path,
    size: u64,
    metrics: ParquetFileMetrics,
}

impl Reader {
    fn count<'a>(&self, ranges: impl IntoIterator<Item = &'a Range<u64>>) {
        let bytes: u64 = ranges.into_iter().map(|range| range.end - range.start).sum();
        self.metrics
            .bytes_scanned
            .add(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
}

fn stored(path: &Path, source: object_store::Error) -> ParquetError {
    named(path, ParquetError::External(Box::new(source)))
}

fn named(path: &Path, source: ParquetError) -> ParquetError {
    ParquetError::External(Box::new(UnreadableFile {
        path: path.clone(),
        source,
    }))
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.count([&range]);
        let path = &self.path;
        self.files
            .store()
            .get_range(path, range)
            .map_err(|error| stored(path, error))
            .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        self.count(&ranges);
        let (store, path) = (self.files.store(), &self.path);
        async move {
            let read = store.get_ranges(path, &ranges).await;
            read.map_err(|error| stored(path, error))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let path = &self.path;
        self.files
            .footer(path, self.size, &self.schema)
            .map_err(|error| named(path, error))
            .boxed()
    }
}
