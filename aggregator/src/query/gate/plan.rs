//! The first look at a plan, before any rule of the engine evaluates a part of it: functions
//! that the syntax calls without their names get their guards, and what would be too large is
//! refused. What a plan means is not judged.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::{GroupingSet, ScalarFunction, WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, ScalarUDF, cast, lit, not};
use datafusion::optimizer::AnalyzerRule;
use regex::RegexBuilder;
use tokio_util::sync::CancellationToken;

use super::caps::{Breach, Cap, Caps};
use super::concat::Concat;
use super::functions::Allowed;
use super::scalar::check_type;
use super::windows;

/// A program of this size is quick on any text that there is.
const QUICK_PROGRAM_BYTES: usize = 16 << 10;
/// A `%` of LIKE costs as much as so many bytes of a pattern.
const WILDCARD_BYTES: usize = 64;

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
    pub(in crate::query) allowed: Arc<Allowed>,
    pub(in crate::query) caps: Caps,
    /// Ends the calls of the query that is planned.
    pub(in crate::query) ended: CancellationToken,
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
                self.check_centroids(name, &call.params.args)?;
            }
            Expr::WindowFunction(call) => return self.over_window(call, expr.clone()),
            Expr::Cast(cast) => check_type(cast.field.data_type(), &self.caps)?,
            Expr::TryCast(cast) => check_type(cast.field.data_type(), &self.caps)?,
            Expr::SimilarTo(like) => {
                let kind = Match::of(like.case_insensitive, like.negated);
                return self.matching(&like.expr, &like.pattern, kind, expr.clone());
            }
            Expr::Like(like) => self.like(&like.pattern)?,
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match Match::by(*op) {
                Some(kind) => return self.matching(left, right, kind, expr.clone()),
                None if *op == Operator::StringConcat => {
                    let operands = vec![left.as_ref().clone(), right.as_ref().clone()];
                    return Ok(Transformed::yes(self.guarded(Concat::NAME, operands, 0)?));
                }
                None => {}
            },
            _ => {}
        }
        Ok(Transformed::no(expr))
    }

    fn over_window(&self, call: &WindowFunction, expr: Expr) -> Result<Transformed<Expr>> {
        match &call.fun {
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
        }
        Ok(match windows::counted(call.clone(), self.caps) {
            Some(counted) => Transformed::yes(Expr::WindowFunction(Box::new(counted))),
            None => Transformed::no(expr),
        })
    }

    fn scalar(&self, call: ScalarFunction) -> Result<Transformed<Expr>> {
        let name = call.name();
        if !self.allowed.scalar(name) {
            return refuse(name);
        }
        let program_kib = match (name.starts_with("regexp_"), call.args.get(1)) {
            (true, Some(pattern)) => self.pattern(pattern, call.args.len() > 2)?,
            _ => 0,
        };
        if self.allowed.guarded(name).is_none() {
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        }
        let name = name.to_owned();
        Ok(Transformed::yes(self.guarded(&name, call.args, program_kib)?))
    }

    /// A call of the guarded function of this name.
    fn guarded(&self, name: &str, args: Vec<Expr>, program_kib: usize) -> Result<Expr> {
        let Some(guarded) = self.allowed.guarded(name) else {
            return refuse(name);
        };
        let guarded = guarded.of_query(&self.ended, program_kib);
        Ok(Expr::ScalarFunction(ScalarFunction {
            func: Arc::new(ScalarUDF::from(guarded)),
            args,
        }))
    }

    /// An operator that matches a pattern which is not small becomes the function that does:
    /// an operator has no guard.
    fn matching(&self, text: &Expr, pattern: &Expr, kind: Match, expr: Expr) -> Result<Transformed<Expr>> {
        let program_kib = self.pattern(pattern, kind.ignores_case)?;
        if program_kib == 0 {
            return Ok(Transformed::no(expr));
        }
        let mut args = vec![cast(text.clone(), DataType::Utf8), pattern.clone()];
        if kind.ignores_case {
            args.push(lit("i"));
        }
        let call = self.guarded("regexp_like", args, program_kib)?;
        Ok(Transformed::yes(if kind.is_negated { not(call) } else { call }))
    }

    fn like(&self, pattern: &Expr) -> Result<()> {
        if let Some(pattern) = text(pattern) {
            let wildcards = pattern.bytes().filter(|byte| *byte == b'%').count();
            let bytes = pattern
                .len()
                .saturating_add(wildcards.saturating_mul(WILDCARD_BYTES));
            self.caps.check(Cap::PatternBytes, bytes)?;
        }
        Ok(())
    }

    /// A regular expression must be known while planning, and compile to a small program. Its
    /// KiB are answered, and none for one that is quick on any text.
    fn pattern(&self, pattern: &Expr, ignores_case: bool) -> Result<usize> {
        if is_null(pattern) {
            return Ok(0);
        }
        let Some(pattern) = text(pattern) else {
            return Err(self.caps.breach(Cap::PatternBytes).into());
        };
        self.caps.check(Cap::PatternBytes, pattern.len())?;
        let largest = self.caps.get(Cap::ProgramBytes);
        for bytes in [QUICK_PROGRAM_BYTES.min(largest), largest] {
            let built = RegexBuilder::new(pattern)
                .case_insensitive(ignores_case)
                .size_limit(bytes)
                .build();
            match built {
                Err(regex::Error::CompiledTooBig(_)) => {}
                // What is wrong otherwise is said by the function that is called.
                _ if bytes <= QUICK_PROGRAM_BYTES => return Ok(0),
                _ => return Ok(bytes / 1024),
            }
        }
        Err(self.caps.breach(Cap::ProgramBytes).into())
    }

    fn check_centroids(&self, name: &str, args: &[Expr]) -> Result<()> {
        match centroids_argument(name, args) {
            None => Ok(()),
            Some(_) => match centroids(name, args) {
                Some(count) => Ok(self.caps.check(Cap::Centroids, count)?),
                None => Err(self.caps.breach(Cap::Centroids).into()),
            },
        }
    }
}

/// How a pattern is matched.
#[derive(Debug, Clone, Copy)]
struct Match {
    ignores_case: bool,
    is_negated: bool,
}

impl Match {
    fn of(ignores_case: bool, is_negated: bool) -> Self {
        Self {
            ignores_case,
            is_negated,
        }
    }

    fn by(op: Operator) -> Option<Self> {
        match op {
            Operator::RegexMatch => Some(Self::of(false, false)),
            Operator::RegexIMatch => Some(Self::of(true, false)),
            Operator::RegexNotMatch => Some(Self::of(false, true)),
            Operator::RegexNotIMatch => Some(Self::of(true, true)),
            _ => None,
        }
    }
}

/// How many centroids a call asks for with a literal.
pub(super) fn centroids(name: &str, args: &[Expr]) -> Option<usize> {
    let Expr::Literal(value, _) = centroids_argument(name, args)? else {
        return None;
    };
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(Some(count)) => Some(usize::try_from(count).unwrap_or(0)),
        _ => None,
    }
}

fn centroids_argument<'a>(name: &str, args: &'a [Expr]) -> Option<&'a Expr> {
    match name {
        "approx_percentile_cont" => args.get(2),
        "approx_percentile_cont_with_weight" => args.get(3),
        _ => None,
    }
}

fn refuse<T>(name: &str) -> Result<T> {
    Err(DataFusionError::Plan(format!(
        "the function {name} is not available; SHOW FUNCTIONS lists those that are"
    )))
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
