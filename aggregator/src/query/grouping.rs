//! Lets GROUP BY work on string views where a table has dictionaries. DataFusion has no hash
//! table for dictionaries: it would encode every row of them. A dictionary becomes a column of
//! views without a string being touched, and the few groups become a dictionary again, so no
//! question sees a difference.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, Projection};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// What the names of the views begin with, until they are dictionaries again.
const VIEW: &str = "__view_";

/// Groups dictionaries of strings as string views.
#[derive(Debug)]
pub(super) struct GroupViews;

impl OptimizerRule for GroupViews {
    fn name(&self) -> &str {
        "group_views"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Aggregate(aggregate) => with_views(aggregate),
            other => Ok(Transformed::no(other)),
        }
    }
}

fn with_views(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let input = aggregate.input.schema();
    let groups = &aggregate.group_expr;
    let is_set = groups.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
    let any = !is_set && groups.iter().any(|group| is_dictionary(group, input));
    if !any {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let views = groups
        .iter()
        .enumerate()
        .map(|(place, group)| match is_dictionary(group, input) {
            true => view_of(group.clone()).alias(view_name(place)),
            false => group.clone(),
        })
        .collect();
    let before = Arc::clone(&aggregate.schema);
    let by_view = Aggregate::try_new(aggregate.input, views, aggregate.aggr_expr)?;
    let columns = before
        .iter()
        .enumerate()
        .map(|(place, (qualifier, field))| {
            let view = Column::new_unqualified(view_name(place));
            match by_view.schema.has_column(&view) {
                true => Expr::Cast(Cast::new(Box::new(Expr::Column(view)), field.data_type().clone()))
                    .alias_qualified(qualifier.cloned(), field.name()),
                false => Expr::Column(Column::from((qualifier, field))),
            }
        })
        .collect();
    let projection = Projection::try_new(columns, Arc::new(LogicalPlan::Aggregate(by_view)))?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}

fn view_name(place: usize) -> String {
    format!("{VIEW}{place}")
}

fn view_of(group: Expr) -> Expr {
    Expr::Cast(Cast::new(Box::new(group.unalias()), DataType::Utf8View))
}

fn is_dictionary(group: &Expr, input: &DFSchema) -> bool {
    match group.get_type(input) {
        Ok(DataType::Dictionary(_, values)) => *values == DataType::Utf8,
        _ => false,
    }
}
