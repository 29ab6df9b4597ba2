//! Decides which files and batches a scan needs, from what the view says about them, before
//! anything is opened. Pruning inside a file is the Parquet reader's.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::scope;
use crate::store::{DataFile, HotBatch};

/// What is known of the rows of one file or batch without looking into it.
struct Bounds<'a> {
    region: &'a str,
    date: Option<i32>,
    time: (i64, i64),
    service: Option<(&'a str, &'a str)>,
}

/// The files that may have rows for which `predicate` is true.
pub(super) fn files<'a>(
    files: &'a [Arc<DataFile>],
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    schema: &SchemaRef,
    time_column: &str,
) -> Result<Vec<&'a Arc<DataFile>>> {
    let bounds = files.iter().map(|file| Bounds {
        region: &file.region,
        date: Some(scope::days(file.date)),
        time: (file.time_min, file.time_max),
        service: file.service_min.as_deref().zip(file.service_max.as_deref()),
    });
    retain(files, bounds.collect(), predicate, schema, time_column)
}

/// The batches that may have rows for which `predicate` is true.
pub(super) fn hot<'a>(
    batches: &'a [Arc<HotBatch>],
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    schema: &SchemaRef,
    time_column: &str,
) -> Result<Vec<&'a Arc<HotBatch>>> {
    let bounds = batches.iter().map(|batch| Bounds {
        region: &batch.region,
        date: None,
        time: (batch.time_min, batch.time_max),
        service: None,
    });
    retain(batches, bounds.collect(), predicate, schema, time_column)
}

fn retain<'a, T>(
    all: &'a [T],
    bounds: Vec<Bounds<'_>>,
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    schema: &SchemaRef,
    time_column: &str,
) -> Result<Vec<&'a T>> {
    let Some(predicate) = predicate else {
        return Ok(all.iter().collect());
    };
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let pruning = PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema))
        .try_build(Arc::clone(predicate))?;
    let statistics = Statistics { bounds, time_column };
    let needed = pruning.prune(&statistics)?;
    Ok(all
        .iter()
        .zip(needed)
        .filter_map(|(item, needed)| needed.then_some(item))
        .collect())
}

struct Statistics<'a> {
    bounds: Vec<Bounds<'a>>,
    time_column: &'a str,
}

impl Statistics<'_> {
    /// One end of the bounds of a column: `pick` chooses it.
    fn ends<'a>(&'a self, column: &str, pick: fn(&Bounds<'a>) -> End<'a>) -> Option<ArrayRef> {
        let ends = self.bounds.iter().map(pick);
        match column {
            "region" => Some(Arc::new(StringArray::from_iter_values(
                self.bounds.iter().map(|bounds| bounds.region),
            ))),
            "date" => Some(Arc::new(Date32Array::from_iter(
                self.bounds.iter().map(|bounds| bounds.date),
            ))),
            "service_name" => Some(Arc::new(StringArray::from_iter(ends.map(|end| end.service)))),
            name if name == self.time_column => {
                let times = TimestampMicrosecondArray::from_iter_values(ends.map(|end| end.time));
                Some(Arc::new(times.with_timezone("UTC")))
            }
            _ => None,
        }
    }
}

struct End<'a> {
    time: i64,
    service: Option<&'a str>,
}

impl PruningStatistics for Statistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ends(&column.name, |bounds| End {
            time: bounds.time.0,
            service: bounds.service.map(|(min, _)| min),
        })
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ends(&column.name, |bounds| End {
            time: bounds.time.1,
            service: bounds.service.map(|(_, max)| max),
        })
    }

    fn num_containers(&self) -> usize {
        self.bounds.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let never_null = column.name == "region" || column.name == self.time_column;
        never_null.then(|| Arc::new(UInt64Array::from(vec![0; self.bounds.len()])) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// The same expression with plain column names, as the schema of a single table has them.
pub(super) fn without_qualifiers(expr: Expr) -> Result<Expr> {
    expr.transform(|expr| {
        Ok(match expr {
            Expr::Column(column) if column.relation.is_some() => {
                Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
            }
            other => Transformed::no(other),
        })
    })
    .data()
}
