//! How rows are laid out in Parquet. Where the file goes is not decided here, nor the order
//! of its rows.
//!
//! Chosen by measuring (the table is in ARCHITECTURE.md): ids plain or as lengths and bytes,
//! times delta-packed, texts and values of attributes plain with zstd's lowest level, which is also
//! the smallest for what is mostly random; everything that repeats as dictionaries. Statistics
//! only where a query can skip by them.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field};
use meridian_proto::signal::Signal;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::columns;
use super::stats::FileStats;

/// What a file is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A commit: it will be merged soon, and should cost little.
    Commit,
    /// A merge: it will be read often.
    Merge,
}

/// Rows of a row group: small enough that a reader can skip, large enough to compress.
const ROW_GROUP_ROWS: usize = 256 * 1024;
/// A merge holds a row group of each of its inputs.
const COMMIT_ROW_GROUP_ROWS: usize = 64 * 1024;
/// The ids of a row group that is searched in vain cost more time than all other steps of a lookup;
/// one in a thousand instead of one in a hundred costs half a byte for each trace.
const BLOOM_FALSE_POSITIVES: f64 = 0.001;
const FAST_LEVEL: i32 = 1;
const MERGE_LEVEL: i32 = 3;
const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";
const PARENT_SPAN_ID: &str = "parent_span_id";
/// Values that have nothing in common with their neighbours: their lengths apart, the rest is small.
const LENGTHS_APART: [&str; 4] = [SPAN_ID, PARENT_SPAN_ID, "client_address", "network_peer_address"];
const BODY: &str = "body";
const ATTRIBUTES: [&str; 3] = ["attributes", "key_value", "value"];
/// Nobody filters on these by range, and comparing their values costs.
const WITHOUT_STATISTICS: [&str; 8] = [
    SPAN_ID,
    PARENT_SPAN_ID,
    "resource",
    "scope",
    "attribute_types",
    "agent_id",
    "start_time_ns",
    "time_ns",
];

/// Writes rows of a signal, with the schema of its files, as one file.
pub(crate) struct FileWriter<W: Write + Send> {
    signal: Signal,
    writer: ArrowWriter<W>,
    stats: Option<FileStats>,
}

impl<W: Write + Send> FileWriter<W> {
    /// `rows` is about how many there will be.
    pub(crate) fn new(signal: Signal, purpose: Purpose, rows: usize, sink: W) -> Result<Self, ParquetError> {
        let schema = columns::of_file(signal);
        // Without Arrow's own schema, every reader sees what Delta says: plain strings.
        let options = ArrowWriterOptions::new()
            .with_properties(properties(schema.fields(), purpose, rows)?)
            .with_skip_arrow_metadata(true);
        Ok(Self {
            signal,
            writer: ArrowWriter::try_new_with_options(sink, schema, options)?,
            stats: None,
        })
    }

    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        let stats = FileStats::of(self.signal, rows)?;
        self.stats = Some(match self.stats.take() {
            Some(before) => before.and(stats),
            None => stats,
        });
        self.writer.write(rows)
    }

    /// Bytes that are in the sink, and those of the row group in the making.
    pub(crate) fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    pub(crate) fn sink(&mut self) -> &mut W {
        self.writer.inner_mut()
    }

    pub(crate) fn finish(self) -> Result<(W, FileStats), ParquetError> {
        Ok((self.writer.into_inner()?, self.stats.unwrap_or_default()))
    }
}

fn properties(
    fields: &arrow::datatypes::Fields,
    purpose: Purpose,
    rows: usize,
) -> Result<WriterProperties, ParquetError> {
    let fast = Compression::ZSTD(ZstdLevel::try_new(FAST_LEVEL)?);
    let (compression, row_group_rows) = match purpose {
        Purpose::Commit => (fast, COMMIT_ROW_GROUP_ROWS),
        Purpose::Merge => (
            Compression::ZSTD(ZstdLevel::try_new(MERGE_LEVEL)?),
            ROW_GROUP_ROWS,
        ),
    };
    let mut builder = WriterProperties::builder()
        .set_compression(compression)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(row_group_rows));
    for field in fields {
        builder = of_column(builder, field, fast);
    }
    if fields.find(ATTRIBUTES[0]).is_some() {
        let part =
            |last: &str| ColumnPath::new(vec![ATTRIBUTES[0].into(), ATTRIBUTES[1].into(), last.into()]);
        builder = builder
            .set_column_statistics_enabled(part("key"), EnabledStatistics::None)
            .set_column_statistics_enabled(part(ATTRIBUTES[2]), EnabledStatistics::None)
            .set_column_dictionary_enabled(part(ATTRIBUTES[2]), false)
            .set_column_compression(part(ATTRIBUTES[2]), fast);
    }
    if fields.find(TRACE_ID).is_some() {
        let column = ColumnPath::from(TRACE_ID);
        builder = builder
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_fpp(column.clone(), BLOOM_FALSE_POSITIVES)
            // It is folded to what is really there.
            .set_column_bloom_filter_max_ndv(column, rows.clamp(1, row_group_rows) as u64);
    }
    Ok(builder.build())
}

fn of_column(
    builder: WriterPropertiesBuilder,
    field: &Arc<Field>,
    texts: Compression,
) -> WriterPropertiesBuilder {
    let name = field.name().as_str();
    let column = ColumnPath::from(name);
    let builder = if WITHOUT_STATISTICS.contains(&name) {
        builder.set_column_statistics_enabled(column.clone(), EnabledStatistics::None)
    } else {
        builder
    };
    if is_packed(field) {
        return builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    let builder = if LENGTHS_APART.contains(&name) {
        builder.set_column_encoding(column.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY)
    } else {
        builder
    };
    match field.data_type() {
        DataType::Binary => builder.set_column_dictionary_enabled(column, false),
        DataType::Utf8 => {
            let builder = builder
                .set_column_statistics_enabled(column.clone(), EnabledStatistics::None)
                .set_column_dictionary_enabled(column.clone(), false);
            match name {
                BODY => builder,
                _ => builder.set_column_compression(column, texts),
            }
        }
        _ => builder,
    }
}

/// Times, durations and remaining nanoseconds. The time of receipt is that of a whole request.
fn is_packed(field: &Field) -> bool {
    let name = field.name().as_str();
    match field.data_type() {
        DataType::Timestamp(..) => name != "received_time",
        DataType::Int16 => true,
        _ => name == "duration_ns",
    }
}
