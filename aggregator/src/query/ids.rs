//! Lets ids be compared with hex as it is written everywhere: `trace_id = '4bf92f35…'`. The
//! literal becomes binary before types are coerced, so that bloom filters and statistics
//! see it. BETWEEN and LIKE are left alone: ids have no order that anyone would ask for.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use meridian_proto::ids::{SPAN_ID_BYTES, TRACE_ID_BYTES, from_hex};

use super::error::BadId;

/// The most characters of a literal that an error shows.
const LITERAL_CHARS_MAX: usize = 64;

/// Rewrites comparisons of a binary column with a string literal.
#[derive(Debug)]
pub(super) struct HexIds;

impl AnalyzerRule for HexIds {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite_plan).data()
    }

    fn name(&self) -> &str {
        "hex_ids"
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| rewrite_expr(expr, &schema))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_equality(op) => {
            let (new_left, new_right) = if is_binary(&left, schema) {
                (None, to_binary(&right, &left)?)
            } else if is_binary(&right, schema) {
                (to_binary(&left, &right)?, None)
            } else {
                (None, None)
            };
            let changed = new_left.is_some() || new_right.is_some();
            let left = new_left.map_or(left, Box::new);
            let right = new_right.map_or(right, Box::new);
            let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
            Ok(Transformed::new_transformed(expr, changed))
        }
        Expr::InList(InList { expr, list, negated }) if is_binary(&expr, schema) => {
            let list = list
                .into_iter()
                .map(|item| Ok(to_binary(&item, &expr)?.unwrap_or(item)))
                .collect::<Result<Vec<Expr>>>()?;
            Ok(Transformed::yes(Expr::InList(InList { expr, list, negated })))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_equality(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom
    )
}

fn is_binary(expr: &Expr, schema: &DFSchema) -> bool {
    !matches!(expr, Expr::Literal(..))
        && matches!(
            expr.get_type(schema),
            Ok(DataType::Binary | DataType::BinaryView | DataType::LargeBinary)
        )
}

/// The binary literal for a string literal that is compared with `column`.
fn to_binary(literal: &Expr, column: &Expr) -> Result<Option<Expr>> {
    let Expr::Literal(value, metadata) = literal else {
        return Ok(None);
    };
    let Some(Some(text)) = value.try_as_str() else {
        return Ok(None);
    };
    let name = column_name(column);
    let expected = name.as_deref().and_then(id_bytes);
    let bytes = from_hex(text).filter(|bytes| expected.is_none_or(|expected| expected == bytes.len()));
    let Some(bytes) = bytes else {
        let fault = BadId {
            literal: text.chars().take(LITERAL_CHARS_MAX).collect(),
            column: name.map(|name| format!("a {name}")),
            bytes: expected,
        };
        return Err(DataFusionError::External(Box::new(fault)));
    };
    Ok(Some(Expr::Literal(
        ScalarValue::Binary(Some(bytes)),
        metadata.clone(),
    )))
}

fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => Some(column.name.clone()),
        Expr::Alias(alias) => column_name(&alias.expr),
        _ => None,
    }
}

/// The length of an id, known by its column's name.
fn id_bytes(column: &str) -> Option<usize> {
    match column {
        "trace_id" => Some(TRACE_ID_BYTES),
        "span_id" | "parent_span_id" => Some(SPAN_ID_BYTES),
        _ => None,
    }
}
