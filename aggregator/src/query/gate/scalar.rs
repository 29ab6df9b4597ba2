//! A scalar function that is asked what it would make before it is called: most of them
//! allocate outside of the pool, also while constants are folded, and none can be
//! interrupted. What a function means is its own business.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};
use tokio_util::sync::CancellationToken;

use super::caps::{Cap, Caps};
use super::sizes::{self, Growth, OfRow};
use super::{made, weight};

/// What is checked before a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Guard {
    /// The bytes that it makes.
    Grows(Growth),
    /// The product of its texts' lengths.
    Multiplies,
    /// Nothing: what it makes is about as large as its arguments, and is only counted.
    Copies,
    /// The type that it answers.
    Casts,
}

/// A call with the same meaning as the function's own, but within limits: by parts of its rows,
/// between which it can be ended.
#[derive(Debug, Clone)]
pub(super) struct Guarded {
    inner: Arc<ScalarUDF>,
    guard: Guard,
    /// The KiB of the program that its pattern compiles to, if it has one that is not small.
    program_kib: usize,
    caps: Caps,
    ended: CancellationToken,
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        (&self.inner, self.guard, self.program_kib) == (&other.inner, other.guard, other.program_kib)
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.inner, self.guard, self.program_kib).hash(state);
    }
}

impl Guarded {
    pub(super) fn new(inner: Arc<ScalarUDF>, guard: Guard, caps: Caps) -> Self {
        Self {
            inner,
            guard,
            program_kib: 0,
            caps,
            ended: CancellationToken::new(),
        }
    }

    /// The same for the query that ends with `ended`, and a pattern of so many KiB.
    pub(super) fn of_query(&self, ended: &CancellationToken, program_kib: usize) -> Self {
        Self {
            program_kib,
            ended: ended.clone(),
            ..self.clone()
        }
    }

    /// Where the parts of the rows end that are computed at once.
    fn parts(&self, args: &ScalarFunctionArgs) -> Result<Vec<usize>> {
        let rows = match args.args.iter().any(|arg| matches!(arg, ColumnarValue::Array(_))) {
            true => args.number_rows,
            false => 1,
        };
        if matches!(self.guard, Guard::Copies | Guard::Casts) && self.program_kib == 0 {
            return Ok(vec![rows]);
        }
        let nothing: OfRow = Box::new(|_| 0);
        let bytes = match self.guard {
            Guard::Grows(growth) => sizes::made(growth, &args.args)?,
            Guard::Multiplies | Guard::Copies | Guard::Casts => nothing,
        };
        let steps = match self.guard {
            Guard::Multiplies => sizes::product(&args.args)?,
            _ => sizes::times(&args.args, self.program_kib)?,
        };
        let (bytes_max, steps_max) = (
            self.caps.get(Cap::CallBytes) / 2,
            self.caps.get(Cap::CallSteps) / 16,
        );
        let (mut ends, mut part) = (Vec::new(), (0_usize, 0_usize));
        for row in 0..rows {
            let (bytes, steps) = (bytes(row), steps(row));
            self.caps.check(Cap::ValueBytes, bytes)?;
            self.caps.check(Cap::CallSteps, steps)?;
            part = (part.0.saturating_add(bytes), part.1.saturating_add(steps));
            if part.0 > bytes_max || part.1 > steps_max {
                if row > 0 {
                    ends.push(row);
                }
                part = (bytes, steps);
            }
        }
        ends.push(rows);
        Ok(ends)
    }

    fn call(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.ended.is_cancelled() {
            return exec_err!("the query has ended");
        }
        let given = weight::given(&args.args);
        let value = self.inner.inner().invoke_with_args(args)?;
        let bytes = match &value {
            ColumnarValue::Array(array) => weight::made(array, &given),
            ColumnarValue::Scalar(scalar) => scalar.size(),
        };
        made::add(bytes, &self.caps)?;
        Ok(value)
    }

    fn call_in_parts(&self, args: &ScalarFunctionArgs, ends: &[usize]) -> Result<ColumnarValue> {
        let mut begin = 0;
        let mut parts: Vec<ArrayRef> = Vec::with_capacity(ends.len());
        for &end in ends {
            let rows = end - begin;
            let of_part = |arg: &ColumnarValue| match arg {
                ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(begin, rows)),
                ColumnarValue::Scalar(_) => arg.clone(),
            };
            let value = self.call(ScalarFunctionArgs {
                args: args.args.iter().map(of_part).collect(),
                number_rows: rows,
                ..args.clone()
            })?;
            parts.push(value.into_array(rows)?);
            begin = end;
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&parts)?))
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
        match self.parts(&args)?.as_slice() {
            [] | [_] => self.call(args),
            ends => self.call_in_parts(&args, ends),
        }
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
