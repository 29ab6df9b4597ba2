//! The tables `spans`, `logs` and `metrics`: the rows in memory and the Parquet files of one
//! view, as one table. The view is taken once per query, so that a query that reads a table
//! twice reads the same rows twice. Completeness is only noted here, not judged.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, AsArray, Date32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Result, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use meridian_proto::schema;
use meridian_proto::signal::Signal;

use super::Source;
use super::files::FileCache;
use super::prune;
use super::reader::{OpenFiles, ReaderFactory};
use super::scope::{self, Asked, Scope};
use super::traces::{self, Needed};
use crate::store::{DataFile, HotBatch, View};

/// The columns that are partition values of a file, in the order in which they are appended.
const PARTITION_COLUMNS: [&str; 2] = ["region", "date"];

/// One signal's table, for one query.
#[derive(Debug)]
pub(super) struct SignalTable {
    signal: Signal,
    source: Arc<dyn Source>,
    view: OnceLock<View>,
    scope: Arc<Scope>,
    files: FileCache,
    open_files: OpenFiles,
    store_url: ObjectStoreUrl,
    known_regions: Arc<Vec<String>>,
    schema: SchemaRef,
}

/// What the tables of one query share.
#[derive(Debug, Clone)]
pub(super) struct QueryContext {
    pub(super) source: Arc<dyn Source>,
    pub(super) scope: Arc<Scope>,
    pub(super) files: FileCache,
    pub(super) open_files: OpenFiles,
    pub(super) store_url: ObjectStoreUrl,
    pub(super) known_regions: Arc<Vec<String>>,
}

/// The columns of a signal's table: the signal's own, and `date`.
pub(super) fn table_schema(signal: Signal) -> SchemaRef {
    let mut fields = schema::of(signal).fields().to_vec();
    fields.push(Arc::new(Field::new("date", DataType::Date32, false)));
    Arc::new(Schema::new(fields))
}

impl SignalTable {
    /// The table of `signal` in the query of `context`.
    pub(super) fn new(signal: Signal, context: &QueryContext) -> Self {
        let context = context.clone();
        Self {
            signal,
            source: context.source,
            view: OnceLock::new(),
            scope: context.scope,
            files: context.files,
            open_files: context.open_files,
            store_url: context.store_url,
            known_regions: context.known_regions,
            schema: table_schema(signal),
        }
    }

    pub(super) fn physical_predicate(
        &self,
        session: &dyn Session,
        filters: &[Expr],
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(predicate) = conjunction(filters.iter().cloned()) else {
            return Ok(None);
        };
        let predicate = prune::without_qualifiers(predicate)?;
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        session.create_physical_expr(predicate, &schema).map(Some)
    }

    fn hot_plan(
        &self,
        hot: &[&Arc<HotBatch>],
        columns: &[usize],
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::new(self.schema.project(columns)?);
        let mut groups: Vec<Vec<RecordBatch>> = vec![Vec::new(); partitions.min(hot.len())];
        for (index, batch) in hot.iter().enumerate() {
            let group = index % groups.len();
            groups[group].push(self.hot_rows(&batch.batch, columns, &schema)?);
        }
        let plan = MemorySourceConfig::try_new_exec(&groups, schema, None)?;
        Ok(plan)
    }

    /// The columns of a batch that the query reads; nothing is copied, `date` is computed.
    fn hot_rows(&self, batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
        let arrays = columns
            .iter()
            .map(|&index| match batch.columns().get(index) {
                Some(array) => Ok(Arc::clone(array)),
                None => self.dates(batch),
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(schema),
            arrays,
            &options,
        )?)
    }

    fn dates(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let index = batch.schema().index_of(schema::time_column(self.signal))?;
        let times = batch.column(index).as_primitive::<TimestampMicrosecondType>();
        let days = times.values().iter().map(|&micros| scope::day_of(micros));
        Ok(Arc::new(Date32Array::from_iter_values(days)))
    }

    /// The files, and parts of files, that may have rows for which `predicate` is true.
    async fn needed(
        &self,
        files: &[&Arc<DataFile>],
        predicate: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Vec<Needed> {
        match predicate.and_then(traces::wanted) {
            Some(trace_ids) => {
                let table = self.file_schema();
                let files = files.iter().map(|file| Arc::clone(file)).collect();
                traces::search(files, &trace_ids, &self.files, table.file_schema()).await
            }
            None => files.iter().map(|file| Needed::whole(file)).collect(),
        }
    }

    fn file_plan(
        &self,
        session: &dyn Session,
        needed: Vec<Needed>,
        columns: &[usize],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = self.file_schema();
        let projection = columns
            .iter()
            .map(|&index| Ok(table.table_schema().index_of(self.schema.field(index).name())?))
            .collect::<Result<Vec<usize>>>()?;
        let readers = ReaderFactory {
            files: self.files.clone(),
            schema: Arc::clone(table.file_schema()),
            open_files: self.open_files.clone(),
        };
        let statistics = statistics(&table, &needed);
        let options = session.table_options().parquet.clone();
        let parquet = ParquetSource::new(table)
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let group = FileGroup::new(needed.into_iter().map(partitioned_file).collect());
        let config = FileScanConfigBuilder::new(self.store_url.clone(), Arc::new(parquet))
            .with_file_groups(group.split_files(session.config().target_partitions()))
            .with_projection_indices(Some(projection))?
            .with_statistics(statistics)
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The columns of the files, followed by the partition columns.
    fn file_schema(&self) -> TableSchema {
        let is_partition = |field: &&Arc<Field>| PARTITION_COLUMNS.contains(&field.name().as_str());
        let (partition, file): (Vec<&Arc<Field>>, Vec<&Arc<Field>>) =
            self.schema.fields().iter().partition(is_partition);
        let file_schema = Arc::new(Schema::new(file.into_iter().cloned().collect::<Vec<_>>()));
        TableSchema::builder(file_schema)
            .with_table_partition_cols(partition.into_iter().cloned().collect::<Vec<_>>())
            .build()
    }
}

/// How many rows the scan reads: exactly, where it reads whole files.
fn statistics(table: &TableSchema, needed: &[Needed]) -> Statistics {
    let mut statistics = Statistics::new_unknown(table.table_schema());
    let rows = usize::try_from(needed.iter().map(|needed| needed.file.rows).sum::<u64>());
    let whole = needed.iter().all(|needed| needed.access.is_none());
    statistics.num_rows = match rows {
        Ok(rows) if whole => Precision::Exact(rows),
        Ok(rows) => Precision::Inexact(rows),
        Err(_) => Precision::Absent,
    };
    statistics
}

fn partitioned_file(needed: Needed) -> PartitionedFile {
    let file = needed.file;
    let region = ScalarValue::Dictionary(
        Box::new(DataType::Int32),
        Box::new(ScalarValue::Utf8(Some(file.region.clone()))),
    );
    let date = ScalarValue::Date32(Some(scope::days(file.date)));
    let mut partitioned = PartitionedFile::new(String::new(), file.size);
    // The path is set as it is: building it from text would encode it a second time.
    partitioned.object_meta.location = file.path.clone();
    let partitioned = partitioned.with_partition_values(vec![region, date]);
    match needed.access {
        Some(access) => partitioned.with_extension(access),
        None => partitioned,
    }
}

#[async_trait]
impl TableProvider for SignalTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let time_column = schema::time_column(self.signal);
        let asked = Asked::by(filters, time_column, &self.known_regions, session)?;
        let window = asked.window;
        self.scope.record(asked);
        let columns = projection.map_or_else(|| (0..self.schema.fields().len()).collect(), Clone::clone);
        let predicate = self.physical_predicate(session, filters)?;
        let view = self.view.get_or_init(|| self.source.view(self.signal));
        self.scope.hold(self.signal, view, window);
        let hot = prune::hot(&view.hot, predicate.as_ref(), &self.schema, time_column)?;
        let files = prune::files(&view.files, predicate.as_ref(), &self.schema, time_column)?;
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::with_capacity(2);
        if !hot.is_empty() {
            plans.push(self.hot_plan(&hot, &columns, session.config().target_partitions())?);
        }
        let files = self.scope.without_damaged(self.signal, view, files);
        let needed = self.needed(&files, predicate.as_ref()).await;
        if !needed.is_empty() {
            plans.push(self.file_plan(session, needed, &columns, limit)?);
        }
        match plans.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&columns)?)))),
            1 => Ok(plans.remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_columns_of_its_signal_and_the_date() {
        for signal in Signal::ALL {
            let schema = table_schema(signal);
            assert_eq!(schema.fields().len(), schema::of(signal).fields().len() + 1);
            assert_eq!(
                schema.fields().last().map(|field| field.name().as_str()),
                Some("date")
            );
            for name in PARTITION_COLUMNS {
                assert!(schema.index_of(name).is_ok(), "{signal}.{name}");
            }
        }
    }
}
