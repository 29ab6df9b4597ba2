//! The aggregate functions `quantile(value, q)`, `quantile_low` and `quantile_high`: a
//! quantile from an exponential histogram at a fixed scale, and the bounds between which it
//! certainly lies. The answer depends on no order and no partitioning of the rows, as an
//! average of percentiles would. Exact quantiles are `percentile_cont`'s, not these.

mod groups;
mod state;

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Documentation, EmitTo, GroupsAccumulator,
    Signature, Volatility,
};
use meridian_proto::histogram::Estimate;

use super::functions::documentation;
use groups::Groups;

/// Every function; they differ in the end of the bucket that they answer.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    [Answer::Value, Answer::Low, Answer::High]
        .into_iter()
        .map(|answer| Arc::new(AggregateUDF::from(Quantile::new(answer))))
        .collect()
}

/// What of an estimate is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    Value,
    Low,
    High,
}

impl Answer {
    fn of(self, estimate: Estimate) -> f64 {
        match self {
            Answer::Value => estimate.value,
            Answer::Low => estimate.low,
            Answer::High => estimate.high,
        }
    }
}

/// One quantile of every group.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    q: f64,
    answer: Answer,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Quantile {
    answer: Answer,
    signature: Signature,
}

impl Quantile {
    fn new(answer: Answer) -> Self {
        Self {
            answer,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    fn groups(&self, args: &AccumulatorArgs<'_>) -> Result<Groups> {
        let name = self.name();
        let q = match args.exprs {
            [_, q] => {
                let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
                q.evaluate(&nothing).ok()
            }
            _ => None,
        };
        match q {
            Some(ColumnarValue::Scalar(ScalarValue::Float64(Some(q)))) if (0.0..=1.0).contains(&q) => {
                Ok(Groups::new(Wanted {
                    q,
                    answer: self.answer,
                }))
            }
            _ => plan_err!(
                "the second argument of {name} must be a constant between 0 and 1, as in {name}(duration_ns, 0.99)"
            ),
        }
    }
}

impl AggregateUDFImpl for Quantile {
    fn name(&self) -> &str {
        match self.answer {
            Answer::Value => "quantile",
            Answer::Low => "quantile_low",
            Answer::High => "quantile_high",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        match arg_types {
            [value, q] if (q.is_numeric() || q.is_null()) && value.is_signed_integer() => {
                Ok(vec![DataType::Int64, DataType::Float64])
            }
            [value, q] if (q.is_numeric() || q.is_null()) && (value.is_numeric() || value.is_null()) => {
                Ok(vec![DataType::Float64, DataType::Float64])
            }
            _ => plan_err!(
                "{name} takes a number and a constant between 0 and 1, as in {name}(duration_ns, 0.99)"
            ),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "histogram");
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Single(self.groups(&args)?)))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups(&args)?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<[Documentation; 3]> = LazyLock::new(|| {
            [
                documentation("A quantile within 0.55 %.", "quantile(x, q)"),
                documentation("What the quantile is not below.", "quantile_low(x, q)"),
                documentation("What the quantile is not above.", "quantile_high(x, q)"),
            ]
        });
        let [value, low, high] = &*DOCUMENTATION;
        Some(match self.answer {
            Answer::Value => value,
            Answer::Low => low,
            Answer::High => high,
        })
    }
}

/// All rows as one group: without GROUP BY, and in windows.
#[derive(Debug)]
struct Single(Groups);

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |values| values.len());
        self.0.update_batch(values, &vec![0; rows], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.0.answer_of(0)))
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.merge_batch(&[], &[], 1)?;
        let states = self.0.state(EmitTo::All)?;
        states
            .iter()
            .map(|state| ScalarValue::try_from_array(state, 0))
            .collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |states| states.len());
        self.0.merge_batch(states, &vec![0; rows], 1)
    }
}
