//! The plan of a trace's lookup, made by hand: to lead a question of some seventy columns through
//! all rules of the optimizers costs as much as to read its rows. What the rows become is not
//! known here.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::physical_expr::expressions;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use meridian_proto::schema;
use meridian_proto::signal::Signal;

use super::files::TRACE_ID;
use super::table::{QueryContext, SignalTable};
use crate::coverage::Window;

/// A trace, and when to look for it.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The id, 16 bytes.
    pub trace_id: Vec<u8>,
    /// When its spans started.
    pub window: Window,
}

impl Lookup {
    /// The first `rows_max` spans in the order of their start.
    pub(super) async fn plan(
        &self,
        session: &SessionState,
        tables: &QueryContext,
        rows_max: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let spans = SignalTable::new(Signal::Spans, tables);
        let filters = self.filters();
        let scan = spans.scan(session, None, &filters, None).await?;
        let schema = scan.schema();
        let Some(predicate) = spans.physical_predicate(session, &filters)? else {
            return Ok(scan);
        };
        let filtered = Arc::new(FilterExec::try_new(predicate, scan)?);
        // The files' readers skip by what they are told.
        let told = FilterPushdown::new().optimize(filtered, session.config_options())?;
        let together = Arc::new(CoalescePartitionsExec::new(told));
        let by = ["start_time", "start_time_ns"]
            .iter()
            .map(|name| Ok(PhysicalSortExpr::new_default(expressions::col(name, &schema)?)))
            .collect::<Result<Vec<_>>>()?;
        let Some(by) = LexOrdering::new(by) else {
            return Ok(together);
        };
        Ok(Arc::new(SortExec::new(by, together).with_fetch(Some(rows_max))))
    }

    fn filters(&self) -> Vec<Expr> {
        let id = ScalarValue::Binary(Some(self.trace_id.clone()));
        let mut filters = vec![col(TRACE_ID).eq(lit(id))];
        let start = || col(schema::time_column(Signal::Spans));
        filters.extend(self.window.from.map(|from| start().gt_eq(time(from))));
        filters.extend(self.window.to.map(|to| start().lt(time(to))));
        filters
    }
}

/// A start that is not before `unix_nanos` is one whose whole microseconds are not before this.
fn time(unix_nanos: u64) -> Expr {
    let micros = i64::try_from(unix_nanos.div_ceil(1000)).unwrap_or(i64::MAX);
    lit(ScalarValue::TimestampMicrosecond(
        Some(micros),
        Some("UTC".into()),
    ))
}
