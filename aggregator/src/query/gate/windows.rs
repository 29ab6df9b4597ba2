//! Functions over windows compute all rows of a partition in one step, outside of the pool and
//! without giving way: a literal is repeated for each row, and a function that picks a value may
//! pick the longest for each. So literals must be short there, what is picked is counted before,
//! and the rows that such a step keeps are booked (`bounded`). How windows are sorted is not known.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::caps::{Breach, Cap, Caps};
use super::{batches, made, sizes};

/// Functions that answer one of the values that they are given.
const PICKING: [&str; 6] = [
    "any_value",
    "first_value",
    "last_value",
    "max",
    "min",
    "nth_value",
];

/// Refuses long literals in windows. Constants must have been folded.
pub(in crate::query) fn check_literals(plan: &LogicalPlan, caps: &Caps) -> Result<(), Breach> {
    let mut bytes: usize = 0;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Window(window) = node {
            let literals = window.window_expr.iter().map(batches::bytes_of_row);
            bytes = literals.fold(bytes, usize::saturating_add);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "nothing here fails");
    caps.check(Cap::WindowLiterals, bytes)
}

/// The same call, but what it picks from is counted.
pub(super) fn counted(mut call: WindowFunction, caps: Caps) -> Option<WindowFunction> {
    let of = call.params.args.first_mut()?;
    if !PICKING.contains(&call.fun.name()) {
        return None;
    }
    *of = ScalarUDF::from(Picked::new(caps)).call(vec![of.clone()]);
    Some(call)
}

/// Its argument, if the longest of its values fits once for each row.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Picked {
    signature: Signature,
    caps: Caps,
}

impl Picked {
    fn new(caps: Caps) -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
            caps,
        }
    }
}

impl ScalarUDFImpl for Picked {
    fn name(&self) -> &'static str {
        "picked"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names = args.iter().map(|arg| arg.schema_name().to_string());
        Ok(names.collect())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [data_type] => Ok(data_type.clone()),
            _ => exec_err!("{} takes one value", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match args.arg_fields {
            [field] => Ok(Arc::clone(field)),
            _ => exec_err!("{} takes one value", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let Some(value) = args.args.into_iter().next() else {
            return exec_err!("{} takes one value", self.name());
        };
        // A literal has been checked while planning.
        if let ColumnarValue::Array(values) = &value {
            made::add(sizes::longest(values).saturating_mul(rows), &self.caps)?;
        }
        Ok(value)
    }
}
