//! How large the batches of a plan may be, so that one step of it makes no more at once than
//! functions may: by the literals that are repeated for each row, by the states of
//! aggregates that are large from the first row on, and by steps that make several rows of one.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::Limits;
use super::bounded::BatchSize;
use super::caps::Cap;
use super::plan::centroids;

/// The bytes of a HyperLogLog.
const APPROX_DISTINCT_BYTES: usize = 16 << 10;
/// The bytes of a centroid, while it is compressed into others.
const CENTROID_BYTES: usize = 32;
/// Where a statement does not say how many.
const CENTROIDS: usize = 100;

/// What the batches of a plan may be, whose usual ones have `rows` rows. Constants must have
/// been folded.
pub(in crate::query) fn batch_size(plan: &LogicalPlan, rows: usize, limits: &Limits) -> BatchSize {
    let mut of_row: usize = 1;
    let mut multiplies = false;
    let walked = plan.apply_with_subqueries(|node| {
        multiplies |= matches!(node, LogicalPlan::Join(_) | LogicalPlan::Unnest(_));
        node.apply_expressions(|expr| {
            of_row = of_row.saturating_add(bytes_of_row(expr));
            Ok(TreeNodeRecursion::Continue)
        })
    });
    debug_assert!(walked.is_ok(), "nothing here fails");
    let rows = match multiplies {
        true => rows.min(limits.multiplied_batch_rows),
        false => rows,
    };
    let call_bytes = limits.statement.get(Cap::CallBytes);
    plain(rows.min(call_bytes / 2 / of_row).max(1), limits)
}

/// The same for a plan that makes nothing of its rows.
pub(in crate::query) fn plain(rows: usize, limits: &Limits) -> BatchSize {
    BatchSize {
        rows,
        bytes: limits.statement.get(Cap::CallBytes) / 8,
    }
}

/// What an expression makes for each row whatever is in it. The literals of a list are not
/// repeated.
pub(super) fn bytes_of_row(expr: &Expr) -> usize {
    let mut bytes: usize = 0;
    let walked = expr.apply(|part| match part {
        Expr::InList(list) => {
            bytes = bytes.saturating_add(bytes_of_row(&list.expr));
            Ok(TreeNodeRecursion::Jump)
        }
        Expr::Literal(value, _) => {
            let inline = size_of::<ScalarValue>();
            bytes = bytes.saturating_add(value.size().saturating_sub(inline));
            Ok(TreeNodeRecursion::Continue)
        }
        Expr::AggregateFunction(call) => {
            bytes = bytes.saturating_add(state_bytes(call));
            Ok(TreeNodeRecursion::Continue)
        }
        _ => Ok(TreeNodeRecursion::Continue),
    });
    debug_assert!(walked.is_ok(), "nothing here fails");
    bytes
}

/// Each row may begin a group, whose state is counted only after the batch.
fn state_bytes(call: &AggregateFunction) -> usize {
    match call.func.name() {
        "approx_distinct" => APPROX_DISTINCT_BYTES,
        name if name.starts_with("approx_") => {
            let count = centroids(name, &call.params.args).unwrap_or(CENTROIDS);
            count.saturating_mul(CENTROID_BYTES)
        }
        _ => 0,
    }
}
