//! How DataFusion is set up: options, rules, functions, memory and the tables of one query.
//! Nothing is executed here, and no session outlives its query.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::DateTime;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::Result;
use datafusion::common::config::Dialect;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::execution::context::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::SessionConfig;
use meridian_proto::signal::Signal;
use tokio_util::sync::CancellationToken;

use super::Source;
use super::agents::AgentsTable;
use super::functions;
use super::gate::account::Account;
use super::gate::functions::Allowed;
use super::gate::interrupt::Asks;
use super::gate::plan::Inspect;
use super::gate::{Caps, Limits};
use super::grouping::GroupViews;
use super::ids::HexIds;
use super::quantile;
use super::table::{QueryContext, SignalTable};

const CATALOG: &str = "meridian";
const SCHEMA: &str = "public";

/// Under this name the store of the tables is known to DataFusion, whatever it really is.
const STORE_URL: &str = "meridian://store";

/// The names of all tables.
pub(super) const TABLES: [&str; 4] = ["spans", "logs", "metrics", "agents"];

/// What all sessions have in common.
#[derive(Debug)]
pub(super) struct Sessions {
    base: SessionState,
    store_url: ObjectStoreUrl,
    analyzer_rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>>,
    optimizer_rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    allowed: Arc<Allowed>,
    caps: Caps,
}

impl Sessions {
    /// Sets DataFusion up, once.
    pub(super) fn new(source: &dyn Source, limits: &Limits) -> Result<Self> {
        let store_url = ObjectStoreUrl::parse(STORE_URL)?;
        let runtime = runtime_env(limits)?;
        runtime.register_object_store(store_url.as_ref(), source.object_store());
        let mut base = SessionStateBuilder::new()
            .with_config(config(limits))
            .with_runtime_env(runtime)
            .with_default_features()
            // The file formats belong to statements that name files; no statement may.
            .with_file_formats(Vec::new())
            .with_table_factories(HashMap::new())
            .build();
        for function in functions::all() {
            use datafusion::execution::FunctionRegistry as _;
            base.register_udf(function)?;
        }
        for function in quantile::all() {
            use datafusion::execution::FunctionRegistry as _;
            base.register_udaf(function)?;
        }
        let caps = limits.statement;
        let allowed = Arc::new(Allowed::install(&mut base, caps)?);
        let mut analyzer_rules = Analyzer::new().rules;
        analyzer_rules.insert(0, Arc::new(HexIds));
        let mut optimizer_rules = Optimizer::new().rules;
        optimizer_rules.push(Arc::new(GroupViews));
        Ok(Self {
            base,
            store_url,
            analyzer_rules,
            optimizer_rules,
            allowed,
            caps,
        })
    }

    pub(super) fn store_url(&self) -> &ObjectStoreUrl {
        &self.store_url
    }

    /// The memory that all queries share.
    pub(super) fn memory(&self) -> &Arc<dyn MemoryPool> {
        &self.base.runtime_env().memory_pool
    }

    /// A session with the tables of one query, whose `now()` is `now_unix_nanos`. Its memory is
    /// booked to `account`, and its planning fails once `ended` is cancelled.
    pub(super) fn open(
        &self,
        context: &QueryContext,
        now_unix_nanos: u64,
        account: Arc<Account>,
        ended: &CancellationToken,
    ) -> Result<SessionState> {
        let tables = MemorySchemaProvider::new();
        for signal in Signal::ALL {
            let table = SignalTable::new(signal, context);
            tables.register_table(signal.as_str().to_owned(), Arc::new(table))?;
        }
        let agents = AgentsTable::new(Arc::clone(&context.source));
        tables.register_table("agents".to_owned(), Arc::new(agents))?;
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(tables))?;
        let catalogs = MemoryCatalogProviderList::new();
        use datafusion::catalog::CatalogProviderList as _;
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));

        let mut props = ExecutionProps::new();
        let nanos = i64::try_from(now_unix_nanos).unwrap_or(i64::MAX);
        props.query_execution_start_time = Some(DateTime::from_timestamp_nanos(nanos));
        let runtime = RuntimeEnvBuilder::from_runtime_env(self.base.runtime_env())
            .with_memory_pool(account)
            .build_arc()?;
        Ok(self
            .with_rules(ended)
            .with_runtime_env(runtime)
            .with_catalog_list(Arc::new(catalogs))
            .with_execution_props(props)
            .build())
    }

    /// The rules know the query that they plan.
    fn with_rules(&self, ended: &CancellationToken) -> SessionStateBuilder {
        let mut analyzer_rules = self.analyzer_rules.clone();
        analyzer_rules.insert(
            0,
            Arc::new(Inspect {
                allowed: Arc::clone(&self.allowed),
                caps: self.caps,
                ended: ended.clone(),
            }),
        );
        let asks = Asks(ended.clone());
        let logical: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(asks.clone());
        let physical: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(asks);
        let physical_rules = Asks::before_each(self.base.physical_optimizers(), &physical);
        SessionStateBuilder::new_from_existing(self.base.clone())
            .with_analyzer_rules(analyzer_rules)
            .with_optimizer_rules(Asks::before_each(&self.optimizer_rules, &logical))
            .with_physical_optimizer_rules(physical_rules)
    }
}

fn config(limits: &Limits) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(limits.threads);
    let options = config.options_mut();
    options.execution.time_zone = Some("+00:00".to_owned());
    options.sql_parser.collect_spans = true;
    // The generic dialect takes the column `cluster` for the beginning of CLUSTER BY.
    options.sql_parser.dialect = Dialect::PostgreSQL;
    let parquet = &mut options.execution.parquet;
    parquet.pushdown_filters = true;
    parquet.reorder_filters = true;
    parquet.bloom_filter_on_read = false;
    parquet.enable_page_index = true;
    // Answers are rows of the declared types; views would show through in Arrow answers.
    parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    config
}

fn runtime_env(limits: &Limits) -> Result<Arc<RuntimeEnv>> {
    let no_spilling = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.query_memory_bytes)))
        .with_disk_manager_builder(no_spilling)
        .build_arc()
}
