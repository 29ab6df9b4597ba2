//! How rows are laid out in Parquet: zstd, page index, a bloom filter on trace ids, packed
//! times. Where the file goes is not decided here.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field};
use meridian_proto::signal::Signal;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columns;

/// Rows of a row group: small enough that a reader can skip, large enough to compress.
const ROW_GROUP_ROWS: usize = 256 * 1024;
const ZSTD_LEVEL: i32 = 3;
const TRACE_ID: &str = "trace_id";
/// Ids are random: neither a dictionary nor their least and greatest value says anything.
const RANDOM_COLUMNS: [&str; 3] = [TRACE_ID, "span_id", "parent_span_id"];

/// Writes rows of `signal` (with its schema, partition columns included) as one file.
pub(crate) fn encode(signal: Signal, rows: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let schema = columns::of_file(signal);
    let indices = schema
        .fields()
        .iter()
        .map(|field| rows.schema_ref().index_of(field.name()))
        .collect::<Result<Vec<_>, _>>()?;
    let rows = rows.project(&indices)?;
    // Without Arrow's own schema, every reader sees what Delta says: plain strings.
    let options = ArrowWriterOptions::new()
        .with_properties(properties(schema.fields(), rows.num_rows())?)
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options)?;
    writer.write(&rows)?;
    writer.into_inner()
}

fn properties(fields: &arrow::datatypes::Fields, rows: usize) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for name in fields
        .iter()
        .filter(|field| is_packed(field))
        .map(|field| field.name())
    {
        let column = ColumnPath::from(name.as_str());
        builder = builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    for name in RANDOM_COLUMNS {
        builder = builder
            .set_column_dictionary_enabled(ColumnPath::from(name), false)
            .set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::None);
    }
    if fields.find(TRACE_ID).is_some() {
        let column = ColumnPath::from(TRACE_ID);
        let distinct = rows.clamp(1, ROW_GROUP_ROWS) as u64;
        builder = builder
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_fpp(column.clone(), 0.01)
            .set_column_bloom_filter_max_ndv(column, distinct);
    }
    Ok(builder.build())
}

/// Times and durations: neighbours differ little.
fn is_packed(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Timestamp(_, _)) || field.name() == "duration_ns"
}
