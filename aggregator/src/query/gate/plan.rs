//! The first look at a plan, before any rule of the engine evaluates a part of it: functions
//! that the syntax calls without their names get their guards, and what would be too large is
//! refused. What a plan means is not judged.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::{GroupingSet, ScalarFunction, WindowFunctionDefinition};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use regex::RegexBuilder;

use super::caps::{Breach, Cap, Caps};
use super::functions::Allowed;
use super::scalar::check_type;

/// Refuses a plan whose steps are too wide, or that groups too often.
pub(in crate::query) fn check_width(plan: &LogicalPlan, caps: &Caps) -> Result<(), Breach> {
    let mut columns: usize = 0;
    let mut sets: usize = 0;
    let walked = plan.apply_with_subqueries(|node| {
        columns = columns.saturating_add(node.schema().fields().len());
        if let LogicalPlan::Aggregate(aggregate) = node {
            let of_node = aggregate.group_expr.iter().map(grouping_sets);
            sets = sets.max(of_node.fold(1, usize::saturating_mul));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if walked.is_err() {
        return Err(caps.breach(Cap::PlanColumns));
    }
    caps.check(Cap::PlanColumns, columns)?;
    caps.check(Cap::GroupingSets, sets)
}

fn grouping_sets(expr: &Expr) -> usize {
    let power = |count: usize| {
        1_usize
            .checked_shl(u32::try_from(count).unwrap_or(u32::MAX))
            .unwrap_or(usize::MAX)
    };
    match expr {
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => sets.len(),
        Expr::GroupingSet(GroupingSet::Rollup(columns)) => columns.len() + 1,
        Expr::GroupingSet(GroupingSet::Cube(columns)) => power(columns.len()),
        _ => 1,
    }
}

/// The rule that stands before all others.
#[derive(Debug)]
pub(in crate::query) struct Inspect {
    pub(in crate::query) allowed: Allowed,
    pub(in crate::query) caps: Caps,
}

impl AnalyzerRule for Inspect {
    fn name(&self) -> &str {
        "inspect"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let inspected = expr.transform_up(|expr| self.inspect(expr))?;
                Ok(inspected.update_data(|expr| name.restore(expr)))
            })
        })
        .data()
    }
}

impl Inspect {
    fn inspect(&self, expr: Expr) -> Result<Transformed<Expr>> {
        match &expr {
            Expr::ScalarFunction(call) => return self.scalar(call.clone()),
            Expr::AggregateFunction(call) => {
                let name = call.func.name();
                if !self.allowed.aggregate(name) {
                    return refuse(name);
                }
                self.centroids(name, &call.params.args)?;
            }
            Expr::WindowFunction(call) => match &call.fun {
                WindowFunctionDefinition::AggregateUDF(function) => {
                    let name = function.name();
                    if !self.allowed.over_windows(name) {
                        return plan_err!("{name} is not answered over windows; use it with GROUP BY");
                    }
                }
                WindowFunctionDefinition::WindowUDF(function) if !self.allowed.window(function.name()) => {
                    return refuse(function.name());
                }
                WindowFunctionDefinition::WindowUDF(_) => {}
            },
            Expr::Cast(cast) => check_type(cast.field.data_type(), &self.caps)?,
            Expr::TryCast(cast) => check_type(cast.field.data_type(), &self.caps)?,
            Expr::SimilarTo(like) => self.pattern(&like.pattern)?,
            Expr::Like(like) => self.like(&like.pattern)?,
            Expr::BinaryExpr(BinaryExpr { op, right, .. }) if is_match(*op) => self.pattern(right)?,
            _ => {}
        }
        Ok(Transformed::no(expr))
    }

    fn scalar(&self, call: ScalarFunction) -> Result<Transformed<Expr>> {
        let name = call.name();
        if !self.allowed.scalar(name) {
            return refuse(name);
        }
        if let (true, Some(pattern)) = (name.starts_with("regexp_"), call.args.get(1)) {
            self.pattern(pattern)?;
        }
        match self.allowed.guarded(name) {
            Some(guarded) => Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction {
                func: Arc::clone(guarded),
                args: call.args,
            }))),
            None => Ok(Transformed::no(Expr::ScalarFunction(call))),
        }
    }

    fn like(&self, pattern: &Expr) -> Result<()> {
        if let Some(pattern) = text(pattern) {
            self.caps.check(Cap::PatternBytes, pattern.len())?;
        }
        Ok(())
    }

    /// A regular expression must be known while planning, and compile to a small program.
    fn pattern(&self, pattern: &Expr) -> Result<()> {
        if is_null(pattern) {
            return Ok(());
        }
        let Some(pattern) = text(pattern) else {
            return Err(self.caps.breach(Cap::PatternBytes).into());
        };
        self.caps.check(Cap::PatternBytes, pattern.len())?;
        let built = RegexBuilder::new(pattern)
            .size_limit(self.caps.get(Cap::ProgramBytes))
            .build();
        match built {
            Err(regex::Error::CompiledTooBig(_)) => Err(self.caps.breach(Cap::ProgramBytes).into()),
            // What is wrong otherwise is said by the function that is called.
            _ => Ok(()),
        }
    }

    fn centroids(&self, name: &str, args: &[Expr]) -> Result<()> {
        let place = match name {
            "approx_percentile_cont" => 2,
            "approx_percentile_cont_with_weight" => 3,
            _ => return Ok(()),
        };
        let Some(centroids) = args.get(place) else {
            return Ok(());
        };
        let value = match centroids {
            Expr::Literal(value, _) => value.cast_to(&DataType::Int64).ok(),
            _ => None,
        };
        match value {
            Some(ScalarValue::Int64(Some(count))) => {
                let count = usize::try_from(count).unwrap_or(0);
                Ok(self.caps.check(Cap::Centroids, count)?)
            }
            _ => Err(self.caps.breach(Cap::Centroids).into()),
        }
    }
}

fn refuse<T>(name: &str) -> Result<T> {
    Err(DataFusionError::Plan(format!(
        "the function {name} is not available; SHOW FUNCTIONS lists those that are"
    )))
}

fn is_match(op: Operator) -> bool {
    matches!(
        op,
        Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch
    )
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}
