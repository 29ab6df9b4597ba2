//! Which row groups of which files may hold the spans of a trace, by the bloom filters that
//! are kept: a trace is looked up without opening any other file. Only what the filters of
//! the question guarantee is used; the rows themselves are still compared by the scan.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{Guarantee, LiteralGuarantee};
use futures::{StreamExt, stream};
use parquet::errors::ParquetError;

use super::files::{FileCache, TRACE_ID};
use crate::store::DataFile;

/// Files whose bloom filters are read at the same time.
const READ_AT_ONCE: usize = 16;
/// More ids than this would find every row group anyway.
const IDS_MAX: usize = 100;

/// A file that a scan needs, and which of its row groups; all of them if `None`.
#[derive(Debug, Clone)]
pub(super) struct Needed {
    pub(super) file: Arc<DataFile>,
    pub(super) access: Option<ParquetAccessPlan>,
}

impl Needed {
    /// The whole file.
    pub(super) fn whole(file: &Arc<DataFile>) -> Self {
        Self {
            file: Arc::clone(file),
            access: None,
        }
    }
}

/// The trace ids of which every row must have one for `predicate` to be true, if it says so.
pub(super) fn wanted(predicate: &Arc<dyn PhysicalExpr>) -> Option<Vec<Vec<u8>>> {
    let guarantees = LiteralGuarantee::analyze(predicate);
    let guarantee = guarantees
        .iter()
        .find(|one| one.column.name == TRACE_ID && one.guarantee == Guarantee::In)?;
    if guarantee.literals.len() > IDS_MAX {
        return None;
    }
    let bytes = |literal: &ScalarValue| match literal {
        ScalarValue::Binary(Some(id)) => Some(id.clone()),
        _ => None,
    };
    guarantee.literals.iter().map(bytes).collect()
}

/// Those of `files` that may hold one of `trace_ids`. A file that cannot be looked into is
/// kept: the scan will say what is wrong with it.
pub(super) async fn search(
    files: Vec<Arc<DataFile>>,
    trace_ids: &[Vec<u8>],
    cache: &FileCache,
    schema: &SchemaRef,
) -> Vec<Needed> {
    stream::iter(files)
        .map(|file| async move {
            match look(&file, trace_ids, cache, schema).await {
                Ok(access) => access.map(|access| Needed {
                    access: Some(access),
                    ..Needed::whole(&file)
                }),
                Err(error) => {
                    tracing::debug!(path = %file.path, %error, "bloom filters were not read");
                    Some(Needed::whole(&file))
                }
            }
        })
        .buffered(READ_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await
}

/// The row groups of `file` that may hold one of `trace_ids`; `None` if there are none.
async fn look(
    file: &DataFile,
    trace_ids: &[Vec<u8>],
    cache: &FileCache,
    schema: &SchemaRef,
) -> Result<Option<ParquetAccessPlan>, ParquetError> {
    let footer = cache.footer(&file.path, file.size, schema).await?;
    let blooms = cache.blooms(&file.path, &footer).await?;
    let access: Vec<RowGroupAccess> = (0..footer.num_row_groups())
        .map(|index| match blooms.may_hold(index, trace_ids) {
            true => RowGroupAccess::Scan,
            false => RowGroupAccess::Skip,
        })
        .collect();
    let any = access.iter().any(RowGroupAccess::should_scan);
    Ok(any.then(|| ParquetAccessPlan::new(access)))
}
