//! What is kept in memory of data files, so that a question touches only the pages that it
//! needs: footers with their page indexes, and the bloom filters on trace ids. Files are never
//! changed, so nothing here grows old; what is asked for least goes first. Rows are not kept.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::TableReference;
use datafusion::execution::cache::default_cache::DefaultCache;
use datafusion::execution::cache::{Cache, CacheKey, CacheValue};
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use meridian_proto::schema;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FileMetaData, KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader,
};

/// The first read of a file takes so much of its end: the footer, and often the page index.
const TAIL_BYTES: usize = 64 << 10;

/// What an entry costs beside its content.
const ENTRY_BYTES: usize = 256;

/// The column whose bloom filters are kept.
pub(super) const TRACE_ID: &str = "trace_id";

/// Footers and bloom filters by path, up to so many bytes; clones share them.
#[derive(Clone)]
pub(super) struct FileCache {
    store: Arc<dyn ObjectStore>,
    kept: Arc<DefaultCache<Key, Kept>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    path: Path,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Footer,
    Blooms,
}

#[derive(Debug, Clone)]
enum Kept {
    Footer(Arc<ParquetMetaData>),
    Blooms(Arc<Blooms>),
}

/// The bloom filters on trace ids of a file, by row group; `None` where there is none.
#[derive(Debug)]
pub(super) struct Blooms(Vec<Option<Sbbf>>);

impl CacheKey for Key {
    fn size(&self) -> usize {
        self.path.as_ref().len() + ENTRY_BYTES
    }

    fn table_ref(&self) -> Option<&TableReference> {
        None
    }
}

impl CacheValue for Kept {
    fn size(&self) -> usize {
        match self {
            Kept::Footer(footer) => footer.memory_size(),
            Kept::Blooms(blooms) => blooms.memory_size(),
        }
    }
}

impl fmt::Debug for FileCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCache")
            .field("bytes", &self.kept.memory_used())
            .finish_non_exhaustive()
    }
}

impl FileCache {
    /// A cache of at most `bytes_max` for the files of `store`.
    pub(super) fn new(store: Arc<dyn ObjectStore>, bytes_max: usize) -> Self {
        Self {
            store,
            kept: Arc::new(DefaultCache::new(bytes_max)),
        }
    }

    /// Where the files are.
    pub(super) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The footer of a file of `size` bytes, with its page index. Columns that are
    /// dictionaries in `table` are declared as such: the reader then hands the file's own
    /// dictionaries through, and no string is made per row.
    pub(super) async fn footer(
        &self,
        path: &Path,
        size: u64,
        table: &Schema,
    ) -> Result<Arc<ParquetMetaData>, ParquetError> {
        let key = key(path, Part::Footer);
        if let Some(Kept::Footer(footer)) = self.kept.get(&key) {
            return Ok(footer);
        }
        let footer = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_prefetch_hint(Some(TAIL_BYTES))
            .load_and_finish(Fetch { cache: self, path }, size)
            .await?;
        let footer = Arc::new(with_dictionaries(footer, table)?);
        self.kept.put(&key, Kept::Footer(Arc::clone(&footer)));
        Ok(footer)
    }

    /// The bloom filters on trace ids of the file with this footer.
    pub(super) async fn blooms(
        &self,
        path: &Path,
        footer: &ParquetMetaData,
    ) -> Result<Arc<Blooms>, ParquetError> {
        let key = key(path, Part::Blooms);
        if let Some(Kept::Blooms(blooms)) = self.kept.get(&key) {
            return Ok(blooms);
        }
        let ranges = bloom_ranges(footer);
        let wanted: Vec<Range<u64>> = ranges.iter().flatten().cloned().collect();
        let mut read = self
            .store
            .get_ranges(path, &wanted)
            .await
            .map_err(|error| ParquetError::External(Box::new(error)))?
            .into_iter();
        let blooms = ranges
            .into_iter()
            .map(|range| match range.and_then(|_| read.next()) {
                Some(bytes) => Sbbf::from_bytes(&bytes).map(Some),
                None => Ok(None),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let blooms = Arc::new(Blooms(blooms));
        self.kept.put(&key, Kept::Blooms(Arc::clone(&blooms)));
        Ok(blooms)
    }

    /// Bytes that are kept.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.kept.memory_used()
    }
}

impl Blooms {
    /// Whether row group `index` may have a row with one of these trace ids.
    pub(super) fn may_hold(&self, index: usize, trace_ids: &[Vec<u8>]) -> bool {
        match self.0.get(index) {
            Some(Some(bloom)) => trace_ids.iter().any(|id| bloom.check(id.as_slice())),
            _ => true,
        }
    }

    fn memory_size(&self) -> usize {
        const BLOCK_BYTES: usize = 32;
        let slots = self.0.capacity() * size_of::<Option<Sbbf>>();
        let blocks: usize = self.0.iter().flatten().map(Sbbf::num_blocks).sum();
        slots + blocks * BLOCK_BYTES
    }
}

fn key(path: &Path, part: Part) -> Key {
    Key {
        path: path.clone(),
        part,
    }
}

/// Where the bloom filters on trace ids are; `None` where there is none, or the file does not
/// say how long it is.
fn bloom_ranges(footer: &ParquetMetaData) -> Vec<Option<Range<u64>>> {
    let columns = footer.file_metadata().schema_descr().columns();
    let column = columns
        .iter()
        .position(|column| column.path().parts().first().map(String::as_str) == Some(TRACE_ID));
    let range = |row_group: usize| {
        let column = footer.row_group(row_group).columns().get(column?)?;
        let start = u64::try_from(column.bloom_filter_offset()?).ok()?;
        let length = u64::try_from(column.bloom_filter_length()?).ok()?;
        Some(start..start.checked_add(length)?)
    };
    (0..footer.num_row_groups()).map(range).collect()
}

/// Puts into the footer, as Arrow's own writer would have, which columns are dictionaries.
fn with_dictionaries(footer: ParquetMetaData, table: &Schema) -> Result<ParquetMetaData, ParquetError> {
    let file = footer.file_metadata();
    let written = file.key_value_metadata().cloned().unwrap_or_default();
    let schema = parquet_to_arrow_schema(file.schema_descr(), Some(&written))?;
    let fields: Vec<Arc<Field>> = schema
        .fields()
        .iter()
        .map(|field| match table.field_with_name(field.name()) {
            Ok(declared) if is_string(field) && declared.data_type() == &schema::dictionary() => {
                Arc::new(field.as_ref().clone().with_data_type(schema::dictionary()))
            }
            _ => Arc::clone(field),
        })
        .collect();
    let encoded = encode_arrow_schema(&Schema::new_with_metadata(fields, schema.metadata().clone()));
    let mut pairs: Vec<KeyValue> = written
        .into_iter()
        .filter(|pair| pair.key != ARROW_SCHEMA_META_KEY)
        .collect();
    pairs.push(KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encoded));
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(pairs),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    let mut parts = footer.into_builder();
    Ok(ParquetMetaDataBuilder::new(file)
        .set_row_groups(parts.take_row_groups())
        .set_column_index(parts.take_column_index())
        .set_offset_index(parts.take_offset_index())
        .build())
}

fn is_string(field: &Field) -> bool {
    matches!(
        field.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

struct Fetch<'a> {
    cache: &'a FileCache,
    path: &'a Path,
}

impl MetadataFetch for Fetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.cache
            .store
            .get_range(self.path, range)
            .map_err(|error| ParquetError::External(Box::new(error)))
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{BinaryArray, RecordBatch, StringArray};
    use object_store::memory::InMemory;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_writer::ArrowWriterOptions;
    use parquet::file::properties::WriterProperties;
    use parquet::schema::types::ColumnPath;

    /// Two row groups of two rows, with plain strings, as the store writes them.
    fn file() -> Vec<u8> {
        let ids = BinaryArray::from_vec(vec![b"one", b"two", b"six", b"ten"]);
        let names = StringArray::from(vec!["a", "b", "a", "b"]);
        let batch =
            RecordBatch::try_from_iter([(TRACE_ID, Arc::new(ids) as _), ("name", Arc::new(names) as _)])
                .expect("two columns");
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(2))
            .set_column_bloom_filter_enabled(ColumnPath::from(TRACE_ID), true)
            .build();
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        let mut writer =
            ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).expect("a writer");
        writer.write(&batch).expect("rows");
        writer.into_inner().expect("a file")
    }

    async fn cache_of(bytes_max: usize, files: usize) -> (FileCache, Vec<(Path, u64)>) {
        let store = Arc::new(InMemory::new());
        let mut paths = Vec::new();
        for number in 0..files {
            let (path, bytes) = (Path::from(format!("{number}.parquet")), file());
            paths.push((path.clone(), bytes.len() as u64));
            store.put(&path, bytes.into()).await.expect("written");
        }
        (FileCache::new(store, bytes_max), paths)
    }

    fn table() -> Schema {
        Schema::new(vec![
            Field::new(TRACE_ID, DataType::Binary, false),
            Field::new("name", schema::dictionary(), false),
        ])
    }

    #[tokio::test]
    async fn a_column_of_the_table_that_is_a_dictionary_is_read_as_one() {
        let (cache, files) = cache_of(1 << 20, 1).await;
        let (path, size) = &files[0];
        let footer = cache.footer(path, *size, &table()).await.expect("a footer");
        let file = footer.file_metadata();
        let schema =
            parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata()).expect("a schema");
        assert_eq!(schema.field(1).data_type(), &schema::dictionary());
        assert_eq!(schema.field(0).data_type(), &DataType::Binary);
        assert!(footer.column_index().is_some() && footer.offset_index().is_some());
    }

    #[tokio::test]
    async fn what_was_read_once_is_not_read_again() {
        let (cache, files) = cache_of(1 << 20, 1).await;
        let (path, size) = &files[0];
        let footer = cache.footer(path, *size, &table()).await.expect("a footer");
        let blooms = cache.blooms(path, &footer).await.expect("bloom filters");
        for (row_group, id, there) in [
            (0, "two", true),
            (1, "two", false),
            (0, "ten", false),
            (1, "ten", true),
        ] {
            assert_eq!(
                blooms.may_hold(row_group, &[id.into()]),
                there,
                "{id} in {row_group}"
            );
        }
        cache.store.delete(path).await.expect("deleted");
        cache.footer(path, *size, &table()).await.expect("kept");
        cache.blooms(path, &footer).await.expect("kept");
    }

    #[tokio::test]
    async fn no_more_is_kept_than_the_limit() {
        let (wide, files) = cache_of(1 << 20, 8).await;
        let (path, size) = &files[0];
        wide.footer(path, *size, &table()).await.expect("a footer");
        let room = wide.bytes() * 3;
        let (cache, files) = cache_of(room, 8).await;
        for (path, size) in &files {
            cache.footer(path, *size, &table()).await.expect("a footer");
            assert!(cache.bytes() > 0 && cache.bytes() <= room);
        }
        cache.store.delete(&files[0].0).await.expect("deleted");
        let (path, size) = &files[0];
        assert!(
            cache.footer(path, *size, &table()).await.is_err(),
            "the oldest made room"
        );
    }
}
