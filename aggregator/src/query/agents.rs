//! The table `agents`: one row per agent that is known, as coverage reports it at the time
//! of the query. It is not part of a question's scope: it has no time and filters nothing.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use meridian_proto::schema;

use super::Source;
use crate::coverage::AgentReport;

/// The table, for one query.
#[derive(Debug)]
pub(super) struct AgentsTable {
    source: Arc<dyn Source>,
    schema: SchemaRef,
}

impl AgentsTable {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            schema: agents_schema(),
        }
    }
}

/// The columns of the table.
pub(super) fn agents_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let number = |name: &str| Field::new(name, DataType::Int64, false);
    let time = |name: &str, nullable| Field::new(name, schema::timestamp(), nullable);
    Arc::new(Schema::new(vec![
        text("region"),
        text("cluster"),
        text("node"),
        text("agent_id"),
        text("version"),
        text("state"),
        time("last_seen", false),
        time("watermark", true),
        number("pending_items"),
        number("pending_bytes"),
        time("oldest_pending", true),
        number("clock_offset_ms"),
    ]))
}

fn rows(agents: &[AgentReport], schema: &SchemaRef) -> Result<RecordBatch> {
    let text = |of: fn(&AgentReport) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(agents.iter().map(of)))
    };
    let number = |of: fn(&AgentReport) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(agents.iter().map(of)))
    };
    let time = |of: fn(&AgentReport) -> Option<u64>| -> ArrayRef {
        let micros = agents.iter().map(|agent| of(agent).map(micros));
        Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"))
    };
    let columns = vec![
        text(|agent| agent.region.clone()),
        text(|agent| agent.cluster.clone()),
        text(|agent| agent.node.clone()),
        text(|agent| agent.agent_id.to_string()),
        text(|agent| agent.version.clone()),
        text(|agent| agent.state.as_str().to_owned()),
        time(|agent| Some(agent.last_seen)),
        time(|agent| agent.watermark),
        number(|agent| clamp(agent.pending_items)),
        number(|agent| clamp(agent.pending_bytes)),
        time(|agent| agent.oldest_pending),
        number(|agent| agent.clock_offset_ms),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn micros(unix_nanos: u64) -> i64 {
    clamp(unix_nanos / 1_000)
}

#[async_trait]
impl TableProvider for AgentsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let batch = rows(&self.source.agents(), &self.schema)?;
        let plan =
            MemorySourceConfig::try_new_exec(&[vec![batch]], Arc::clone(&self.schema), projection.cloned())?;
        Ok(plan)
    }
}
