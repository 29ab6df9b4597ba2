//! A scalar function that is asked what it would make before it is called: most of them
//! allocate outside of the pool, also while constants are folded, and none can be
//! interrupted. What a function means is its own business.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use super::caps::{Cap, Caps};
use super::sizes::{self, Growth};

/// What is checked before a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Guard {
    /// The bytes that it makes.
    Grows(Growth),
    /// The product of its texts' lengths.
    Multiplies,
    /// The type that it answers.
    Casts,
}

/// A function with its guard.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Guarded {
    inner: Arc<ScalarUDF>,
    guard: Guard,
    caps: Caps,
}

impl Guarded {
    pub(super) fn new(inner: Arc<ScalarUDF>, guard: Guard, caps: Caps) -> Self {
        Self { inner, guard, caps }
    }

    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        match self.guard {
            Guard::Grows(growth) => {
                let (largest, all) = sizes::made(growth, &args.args, args.number_rows)?;
                self.caps.check(Cap::ValueBytes, largest)?;
                self.caps.check(Cap::CallBytes, all)?;
            }
            Guard::Multiplies => {
                let steps = sizes::steps(&args.args, args.number_rows)?;
                self.caps.check(Cap::CallSteps, steps)?;
            }
            Guard::Casts => {}
        }
        Ok(())
    }
}

/// Refuses types of which a single null takes more bytes than allowed.
pub(super) fn check_type(data_type: &DataType, caps: &Caps) -> Result<()> {
    let mut bytes: usize = 1;
    let mut next = Some(data_type);
    while let Some(current) = next {
        next = match current {
            DataType::FixedSizeBinary(size) => {
                bytes = bytes.saturating_mul(usize::try_from(*size).unwrap_or(0));
                None
            }
            DataType::FixedSizeList(item, size) => {
                bytes = bytes.saturating_mul(usize::try_from(*size).unwrap_or(0));
                Some(item.data_type())
            }
            DataType::List(item) | DataType::LargeList(item) => {
                bytes = 1;
                Some(item.data_type())
            }
            DataType::Dictionary(_, value) => Some(value),
            _ => None,
        };
        caps.check(Cap::FixedBytes, bytes)?;
    }
    Ok(())
}

impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.inner.inner().return_field_from_args(args)?;
        check_type(field.data_type(), &self.caps)?;
        Ok(field)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(arg_types)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.inner().invoke_with_args(args)
    }

    /// A simpler form would be a call without a guard; only a cast becomes an expression.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match self.guard {
            Guard::Casts => self.inner.inner().simplify(args, info),
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.inner().documentation()
    }
}
