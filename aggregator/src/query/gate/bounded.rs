//! A step of a plan whose batches are small, give way to other queries, and end when their
//! query has. The tables' own streams give way after so many batches, however long these take;
//! here it goes by time. What the rows mean is not known.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, exec_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::{made, weight};

/// How long a query computes before it lets others.
const TURN: Duration = Duration::from_millis(10);

/// The most that one batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::query) struct BatchSize {
    pub(in crate::query) rows: usize,
    pub(in crate::query) bytes: usize,
}

/// The step.
#[derive(Debug, Clone)]
pub(super) struct BoundedExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    size: BatchSize,
    ended: CancellationToken,
    kept: Option<Kept>,
}

/// What its reader keeps of each row until the query ends, without asking the pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// Beside the row itself.
    pub(super) bytes_beside: usize,
}

impl BoundedExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, size: BatchSize, ended: CancellationToken) -> Self {
        let properties = Arc::clone(input.properties());
        Self {
            input,
            properties,
            size,
            ended,
            kept: None,
        }
    }

    /// For a reader that keeps all rows: they are booked.
    pub(super) fn kept(self, kept: Kept) -> Self {
        Self {
            kept: Some(kept),
            ..self
        }
    }

    /// What its input says of itself is as it was for another that answers the same.
    pub(super) fn with_properties(self, properties: Arc<PlanProperties>) -> Self {
        Self { properties, ..self }
    }
}

impl DisplayAs for BoundedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoundedExec: rows={}", self.size.rows)
    }
}

impl ExecutionPlan for BoundedExec {
    fn name(&self) -> &str {
        "BoundedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self {
            input,
            ..self.as_ref().clone()
        }))
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let booked = self.kept.map(|kept| {
            let consumer = MemoryConsumer::new("window").register(task.memory_pool());
            (kept, consumer)
        });
        let input = self.input.execute(partition, task)?;
        Ok(Box::pin(Bounded {
            schema: input.schema(),
            input,
            size: self.size,
            ended: self.ended.clone(),
            rest: None,
            turn: None,
            booked,
        }))
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &datafusion::physical_plan::StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::clone(input)),
            _ => Ok(Arc::new(Statistics::new_unknown(&self.input.schema()))),
        }
    }
}

struct Bounded {
    input: SendableRecordBatchStream,
    schema: SchemaRef,
    size: BatchSize,
    ended: CancellationToken,
    /// What is left of a batch that was too large, and how many rows of it go at once.
    rest: Option<(RecordBatch, usize)>,
    /// Since when the query computes without a pause.
    turn: Option<Instant>,
    /// What the reader keeps, booked until the query ends.
    booked: Option<(Kept, MemoryReservation)>,
}

impl Bounded {
    /// The first rows of what is left.
    fn next_part(&mut self) -> Option<RecordBatch> {
        let (batch, rows) = self.rest.take()?;
        if batch.num_rows() <= rows {
            return Some(batch);
        }
        let part = batch.slice(0, rows);
        let rest = batch.slice(rows, batch.num_rows() - rows);
        self.rest = Some((rest, rows));
        Some(part)
    }

    /// How many rows of a batch go at once.
    fn rows_of(&self, batch: &RecordBatch) -> Result<usize> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(self.size.rows);
        }
        let columns = batch.columns().iter().map(|column| weight::of_rows(column));
        let bytes = columns.fold(0, usize::saturating_add);
        if let Some((kept, booked)) = &self.booked {
            booked.try_grow(bytes.saturating_add(rows.saturating_mul(kept.bytes_beside)))?;
        }
        Ok(self.size.rows.min(self.size.bytes / (bytes / rows).max(1)).max(1))
    }
}

impl Stream for Bounded {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended.is_cancelled() {
            return Poll::Ready(Some(exec_err!("the query has ended")));
        }
        if self.turn.get_or_insert_with(Instant::now).elapsed() > TURN {
            self.turn = None;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        made::nothing_yet();
        if self.rest.is_none() {
            let next = self.input.poll_next_unpin(cx);
            if next.is_pending() {
                self.turn = None;
            }
            made::nothing_yet();
            match ready!(next) {
                Some(Ok(batch)) => {
                    let rows = self.rows_of(&batch)?;
                    self.rest = Some((batch, rows));
                }
                ended => return Poll::Ready(ended),
            }
        }
        Poll::Ready(self.next_part().map(Ok))
    }
}

impl RecordBatchStream for Bounded {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
