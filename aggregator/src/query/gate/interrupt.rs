//! Ends what a dropped query still does. Its tasks are aborted only where they give way, and a
//! join whose filter lets nothing pass makes no batch after which it would: so the filter asks
//! whether anyone still waits. Deadlines are not kept here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::unnest::UnnestExec;
use tokio_util::sync::CancellationToken;

/// Makes joins end with their query, and give way after each batch: the tables' own streams
/// do, but a join can make a great many batches of few of theirs. `ended` is cancelled when
/// nobody waits for the query any more.
pub(in crate::query) fn interruptible(
    plan: Arc<dyn ExecutionPlan>,
    ended: &CancellationToken,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let join: Arc<dyn ExecutionPlan> = if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(|filter| asking(filter, ended));
            Arc::new(
                NestedLoopJoinExecBuilder::from(join)
                    .with_filter(filter)
                    .build()?,
            )
        } else if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            let filter = join.filter().map(|filter| asking(filter, ended));
            HashJoinExecBuilder::from(join).with_filter(filter).build_exec()?
        } else if node.is::<CrossJoinExec>() {
            Arc::clone(&node)
        } else {
            return Ok(Transformed::no(node));
        };
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(join))))
    })
    .data()
}

/// Whether a step of the plan makes several rows of one: then one batch can be much larger
/// than what it was made of.
pub(in crate::query) fn multiplies(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<NestedLoopJoinExec>()
        || plan.is::<HashJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<UnnestExec>()
        || plan.children().into_iter().any(multiplies)
}

fn asking(filter: &JoinFilter, ended: &CancellationToken) -> JoinFilter {
    let expression = Arc::new(Asking {
        inner: Arc::clone(filter.expression()),
        ended: ended.clone(),
    });
    JoinFilter::new(
        expression,
        filter.column_indices().to_vec(),
        Arc::clone(filter.schema()),
    )
}

/// An expression that fails once its query has ended.
#[derive(Debug)]
struct Asking {
    inner: Arc<dyn PhysicalExpr>,
    ended: CancellationToken,
}

impl PartialEq for Asking {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Asking {}

impl Hash for Asking {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Asking {
    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.inner.nullable(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.ended.is_cancelled() {
            return exec_err!("the query has ended");
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| Arc::clone(&self.inner));
        let ended = self.ended.clone();
        Ok(Arc::new(Self { inner, ended }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
