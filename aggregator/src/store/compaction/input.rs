//! A file that is merged, as batches with the columns of this release. It decodes a row group
//! at a time, on the thread of whoever takes the batches.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use meridian_proto::signal::Signal;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{
    AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tokio::runtime::Handle;

use crate::store::columns;
use crate::store::new_file::Directory;
use crate::store::table::StoreError;
use crate::store::view::DataFile;

/// Rows of a batch: one of each input is in memory.
pub(crate) const BATCH_ROWS: usize = 1024;

/// A merge that cannot go on.
#[derive(Debug)]
pub(super) enum MergeError {
    Read { path: Path, source: ParquetError },
    Arrange(ArrowError),
}

impl From<ArrowError> for MergeError {
    fn from(source: ArrowError) -> Self {
        Self::Arrange(source)
    }
}

impl MergeError {
    pub(super) fn of(self, signal: Signal) -> StoreError {
        match self {
            Self::Read { path, source } => StoreError::Read { path, source },
            Self::Arrange(source) => StoreError::Arrange { signal, source },
        }
    }
}

/// Most footers are smaller.
const FOOTER_BYTES: usize = 64 << 10;

/// One file's batches.
pub(super) struct Input {
    path: Path,
    schema: SchemaRef,
    batches: ParquetRecordBatchStream<Object>,
    handle: Handle,
    /// Rows that were committed and have not been read.
    rows_left: u64,
}

impl Input {
    /// Reads the footer; blocks.
    pub(super) fn open(handle: &Handle, directory: &Directory, file: &DataFile) -> Result<Self, MergeError> {
        let failed = |source| MergeError::Read {
            path: file.path.clone(),
            source,
        };
        let mut reader = Object {
            objects: Arc::clone(&directory.objects),
            path: file.path.clone(),
            size: file.size,
        };
        let target = columns::of_file(directory.signal);
        let plain = ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new());
        let plain = handle.block_on(plain).map_err(failed)?;
        let wanted = with_dictionaries(plain.schema(), &target).map_err(failed)?;
        let options = ArrowReaderOptions::new().with_schema(wanted);
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options).map_err(failed)?;
        let batches = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(failed)?;
        Ok(Self {
            path: file.path.clone(),
            schema: target,
            batches,
            handle: handle.clone(),
            rows_left: file.rows,
        })
    }

    fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch, ParquetError> {
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => new_null_array(field.data_type(), batch.num_rows()),
        };
        let columns: Vec<ArrayRef> = self.schema.fields().iter().map(column).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Iterator for Input {
    type Item = Result<RecordBatch, MergeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(batch) = self.handle.block_on(self.batches.next()) else {
            let rows_missing = std::mem::take(&mut self.rows_left);
            let message = format!("it has {rows_missing} rows less than were committed");
            let source = ParquetError::General(message);
            let path = self.path.clone();
            return (rows_missing > 0).then_some(Err(MergeError::Read { path, source }));
        };
        let batch = batch.and_then(|batch| self.adapt(&batch));
        if let Ok(batch) = &batch {
            self.rows_left = self.rows_left.saturating_sub(batch.num_rows() as u64);
        }
        Some(batch.map_err(|source| MergeError::Read {
            path: self.path.clone(),
            source,
        }))
    }
}

/// A file in the object store.
#[derive(Debug)]
struct Object {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl AsyncFileReader for Object {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { Ok(self.objects.get_range(&self.path, range).await?) }.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { Ok(self.objects.get_ranges(&self.path, &ranges).await?) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let size = self.size;
        let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
        async move { Ok(Arc::new(reader.load_and_finish(self, size).await?)) }.boxed()
    }
}

/// The schema by which a file is read: its own, with text as dictionaries where this release
/// has it so. What this release does not know must not get lost, and is refused.
fn with_dictionaries(file: &Schema, target: &Schema) -> Result<SchemaRef, ParquetError> {
    let fields = file.fields().iter().map(|field| {
        let unknown =
            || ArrowError::SchemaError(format!("column {} is not known to this release", field.name()));
        let wanted = target.field_with_name(field.name()).map_err(|_| unknown())?;
        let is_text = matches!(wanted.data_type(), DataType::Dictionary(..));
        let plain = field.as_ref().clone();
        Ok(if is_text {
            plain.with_data_type(wanted.data_type().clone())
        } else {
            plain
        })
    });
    let fields: Vec<Field> = fields.collect::<Result<_, ArrowError>>()?;
    Ok(Arc::new(Schema::new(fields)))
}
