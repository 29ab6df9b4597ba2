//! Ends what a dropped query still does. Its tasks are aborted only where they give way, which
//! the steps that make batches do (`bounded`). A join whose filter lets nothing pass makes none:
//! so its filter asks whether anyone still waits, and so does what a sort sorts by. Planning asks
//! before each of its rules.
//! Deadlines are not kept here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, LogicalPlan};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use tokio_util::sync::CancellationToken;

use super::bounded::{BatchSize, BoundedExec, Kept};
use super::made;

/// Makes the steps of a plan end with their query, give way to others, and answer batches of
/// `size`. `ended` is cancelled when nobody waits for the query any more.
pub(in crate::query) fn interruptible(
    plan: Arc<dyn ExecutionPlan>,
    size: BatchSize,
    ended: &CancellationToken,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let properties = Arc::clone(node.properties());
        let node: Arc<dyn ExecutionPlan> = if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(|filter| asking(filter, ended));
            Arc::new(
                NestedLoopJoinExecBuilder::from(join)
                    .with_filter(filter)
                    .build()?,
            )
        } else if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            let filter = join.filter().map(|filter| asking(filter, ended));
            HashJoinExecBuilder::from(join).with_filter(filter).build_exec()?
        } else if let Some(sort) = node
            .downcast_ref::<SortExec>()
            .and_then(|sort| asking_sort(sort, ended))
        {
            Arc::new(sort)
        } else if let Some(window) = node.downcast_ref::<WindowAggExec>() {
            keeping_rows(window, size, ended)?
        } else if hands_on(&node) {
            return Ok(Transformed::no(node));
        } else {
            node
        };
        let bounded = BoundedExec::new(node, size, ended.clone());
        Ok(Transformed::yes(Arc::new(bounded.with_properties(properties))))
    })
    .data()
}

/// It takes all rows of a partition before it computes a value of each, for each function.
fn keeping_rows(
    window: &WindowAggExec,
    size: BatchSize,
    ended: &CancellationToken,
) -> Result<Arc<dyn ExecutionPlan>> {
    let kept = Kept {
        bytes_beside: window.window_expr().len() * size_of::<ScalarValue>(),
    };
    let input = BoundedExec::new(Arc::clone(window.input()), size, ended.clone()).kept(kept);
    let recomputed = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::new(window.clone()).replace_children(vec![Arc::new(input)], recomputed)
}

/// Whether a step makes at most one batch of each that it takes: then its input's bounds are
/// its own.
fn hands_on(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<ProjectionExec>()
        || node.is::<FilterExec>()
        || node.is::<UnionExec>()
        || node.is::<GlobalLimitExec>()
        || node.is::<LocalLimitExec>()
        || node.is::<CooperativeExec>()
}

/// A sort of all rows takes all batches before it computes for each what it sorts by.
fn asking_sort(sort: &SortExec, ended: &CancellationToken) -> Option<SortExec> {
    if sort.fetch().is_some() || sort.expr().iter().all(|by| by.expr.is::<Column>()) {
        return None;
    }
    let ordering = LexOrdering::new(sort.expr().iter().map(|by| PhysicalSortExpr {
        expr: Asking::of(&by.expr, ended),
        options: by.options,
    }))?;
    let asking = SortExec::new(ordering, Arc::clone(sort.input()));
    Some(asking.with_preserve_partitioning(sort.preserve_partitioning()))
}

fn asking(filter: &JoinFilter, ended: &CancellationToken) -> JoinFilter {
    JoinFilter::new(
        Asking::of(filter.expression(), ended),
        filter.column_indices().to_vec(),
        Arc::clone(filter.schema()),
    )
}

/// A rule of both optimizers that changes nothing and fails once its query has ended.
#[derive(Debug, Clone)]
pub(in crate::query) struct Asks(pub(in crate::query) CancellationToken);

impl Asks {
    /// `rules` with this one before each of them.
    pub(in crate::query) fn before_each<R: Clone>(rules: &[R], this: &R) -> Vec<R> {
        let with_this = rules.iter().flat_map(|rule| [this.clone(), rule.clone()]);
        with_this.collect()
    }

    fn check(&self) -> Result<()> {
        match self.0.is_cancelled() {
            true => exec_err!("the query has ended"),
            false => Ok(()),
        }
    }
}

impl OptimizerRule for Asks {
    fn name(&self) -> &'static str {
        "asks"
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        self.check()?;
        Ok(Transformed::no(plan))
    }
}

impl PhysicalOptimizerRule for Asks {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        self.check()?;
        Ok(plan)
    }

    fn name(&self) -> &'static str {
        "asks"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// An expression that fails once its query has ended.
#[derive(Debug)]
struct Asking {
    inner: Arc<dyn PhysicalExpr>,
    ended: CancellationToken,
}

impl Asking {
    fn of(inner: &Arc<dyn PhysicalExpr>, ended: &CancellationToken) -> Arc<dyn PhysicalExpr> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            ended: ended.clone(),
        })
    }
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
        made::nothing_yet();
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
