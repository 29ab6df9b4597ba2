//! Opens Parquet files for DataFusion so that every failure names its file. Footers are
//! cached by DataFusion's own cache; nothing else is kept.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use object_store::path::Path;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::error::UnreadableFile;

/// The file that each partition of a query's plan opened last: those that a decoder, which
/// does not know what it decodes, can have failed on.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenFiles(Arc<Mutex<BTreeMap<usize, Path>>>);

impl OpenFiles {
    /// The files' paths, separated by commas.
    pub(super) fn names(&self) -> String {
        let files = self.0.lock();
        let mut names: Vec<&str> = files.values().map(AsRef::as_ref).collect();
        names.dedup();
        if names.is_empty() {
            return "of a table".to_owned();
        }
        names.join(", ")
    }
}

/// Makes readers that name their file in errors.
#[derive(Debug)]
pub(super) struct NamingReaderFactory {
    pub(super) inner: CachedParquetFileReaderFactory,
    pub(super) open_files: OpenFiles,
}

impl ParquetFileReaderFactory for NamingReaderFactory {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let path = file.object_meta.location.clone();
        self.open_files.0.lock().insert(partition_index, path.clone());
        let inner = self
            .inner
            .create_reader(partition_index, file, metadata_size_hint, metrics)?;
        Ok(Box::new(NamingReader { path, inner }))
    }
}

struct NamingReader {
    path: Path,
    inner: Box<dyn AsyncFileReader + Send>,
}

fn named(path: &Path, source: ParquetError) -> ParquetError {
    ParquetError::External(Box::new(UnreadableFile {
        path: path.clone(),
        source,
    }))
}

impl AsyncFileReader for NamingReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let path = self.path.clone();
        self.inner
            .get_bytes(range)
            .map_err(move |e| named(&path, e))
            .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let path = self.path.clone();
        self.inner
            .get_byte_ranges(ranges)
            .map_err(move |e| named(&path, e))
            .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let path = self.path.clone();
        self.inner
            .get_metadata(options)
            .map_err(move |e| named(&path, e))
            .boxed()
    }
}
