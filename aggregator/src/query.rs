//! Answers questions in SQL over the rows in memory and in the Delta tables, within limits,
//! together with how complete the answer is. It reads only; HTTP is in `api`.

mod agents;
mod error;
mod explain;
mod files;
mod functions;
mod gate;
mod grouping;
mod ids;
mod lookup;
pub mod named;
pub mod params;
mod place;
mod planning;
mod prune;
mod quantile;
mod reader;
mod render;
mod run;
mod scope;
mod session;
mod shape;
mod source;
mod suggest;
mod table;
pub mod times;
mod traces;

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use meridian_runtime::clock::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub use error::{BadId, QueryError};
pub use gate::caps;
pub use gate::{Cap, Caps, Limits};
pub use lookup::Lookup;
pub use params::{Param, Params};
pub use render::{Format, Rows};
pub use source::Source;

use crate::coverage::{Coverage, Report, Status, Window};
use crate::store::Store;
use explain::Context;
use files::FileCache;
use gate::account::{Account, Entry, Watch};
use gate::{batches, interrupt, windows};
use reader::OpenFiles;
use render::{AnswersMemory, Cut};
use run::Workers;
use scope::Scope;
use session::{Sessions, TABLES};
use table::QueryContext;

/// Damaged files that one question may meet: they are found one at a time.
const DAMAGES_MET_MAX: usize = 16;

/// What is asked, and what is wanted of it.
#[derive(Debug, Clone)]
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    /// How the rows are wanted.
    pub format: Format,
    /// How many rows at most; the engine's limit if `None`.
    pub rows_max: Option<usize>,
}

/// What can be asked.
#[derive(Debug, Clone)]
pub enum Ask {
    /// A statement.
    Sql {
        /// Its text.
        text: Arc<str>,
        /// The values of its `$name`s.
        params: Params,
    },
    /// All spans of a trace.
    Trace(Lookup),
}

impl Question {
    /// A statement with the values of its `$name`s, its rows as `format`.
    pub fn sql(text: impl Into<Arc<str>>, params: Params, format: Format) -> Self {
        Self {
            ask: Ask::Sql {
                text: text.into(),
                params,
            },
            format,
            rows_max: None,
        }
    }

    /// The spans of a trace, up to as many as a trace may have in an answer.
    pub fn trace(lookup: Lookup, limits: &Limits) -> Self {
        Self {
            ask: Ask::Trace(lookup),
            format: Format::Batches,
            rows_max: Some(limits.trace_rows_max),
        }
    }
}

impl Ask {
    /// The statement, for messages.
    fn text(&self) -> Arc<str> {
        match self {
            Self::Sql { text, .. } => Arc::clone(text),
            Self::Trace(_) => "".into(),
        }
    }
}

/// The rows that were asked for, and how far they are the truth.
#[derive(Debug)]
pub struct Answer {
    /// The rows.
    pub rows: Rows,
    /// How complete they are, for the time and the regions of the question.
    pub report: Report,
}

/// The query engine; clones share it.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<dyn Source>,
    sessions: Sessions,
    files: FileCache,
    workers: Workers,
    running: Arc<Semaphore>,
    watch: Watch,
    answers: AnswersMemory,
    limits: Limits,
}

/// A query's place among those that run. It is kept by what the query still does.
struct Place {
    _permit: OwnedSemaphorePermit,
    _entry: Entry,
}

/// What planning must know of one query.
struct Run {
    account: Arc<Account>,
    rows_max: usize,
    /// Cancelled when nobody waits any more.
    ended: CancellationToken,
}

/// A planned statement, ready to run.
struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
}

impl Engine {
    /// An engine over the aggregator's own tables.
    pub fn new(store: Store, coverage: Coverage, clock: Clock, limits: Limits) -> Result<Self, QueryError> {
        Self::over(
            Arc::new(source::Own {
                store,
                coverage,
                clock,
            }),
            limits,
        )
    }

    /// An engine over any source of views.
    pub fn over(source: Arc<dyn Source>, limits: Limits) -> Result<Self, QueryError> {
        let sessions = Sessions::new(source.as_ref(), &limits).map_err(|error| {
            let open_files = OpenFiles::default();
            explain::explain(&error, &context("", &open_files, &limits))
        })?;
        Ok(Self(Arc::new(Inner {
            sessions,
            files: FileCache::new(source.object_store(), limits.file_cache_bytes),
            workers: Workers::start(&limits)?,
            running: Arc::new(Semaphore::new(limits.queries_max)),
            watch: Watch::start(limits.process_memory_bytes)?,
            answers: AnswersMemory::new(limits.answers_memory_bytes),
            source,
            limits,
        })))
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// How complete an answer about `window` in `regions` would be now.
    pub fn report(&self, regions: Option<&[String]>, window: Window) -> Report {
        self.0.source.report(regions, window)
    }

    /// The time by which `now()` and relative times are understood.
    pub fn now_unix_nanos(&self) -> u64 {
        self.0.source.now_unix_nanos()
    }

    /// Answers one question, or says why not, before the deadline.
    pub async fn ask(&self, question: Question) -> Result<Answer, QueryError> {
        if let Ask::Sql { text, .. } = &question.ask {
            gate::check_bytes(text, &self.0.limits)?;
        }
        if let Some(outage) = self.0.source.outage().filter(|outage| outage.is_closed) {
            let reason = outage.to_string();
            return Err(QueryError::Store { reason });
        }
        let limit = self.0.limits.query_timeout;
        let account = Account::new(Arc::clone(self.0.sessions.memory()));
        let answer = tokio::time::timeout(limit, self.ask_around_damage(question, &account));
        let answer = tokio::select! {
            answer = answer => answer.unwrap_or(Err(QueryError::Timeout { limit })),
            () = account.overgrown() => Err(QueryError::ProcessMemory {
                limit: self.0.limits.process_memory_bytes,
            }),
        };
        answer.map_err(|error| self.0.of_the_store(error))
    }

    /// Where a file turns out to be damaged, the question is asked again without it.
    async fn ask_around_damage(
        &self,
        question: Question,
        account: &Arc<Account>,
    ) -> Result<Answer, QueryError> {
        let source = &self.0.source;
        for _ in 0..DAMAGES_MET_MAX {
            let open_files = OpenFiles::default();
            let answer = self.ask_once(question.clone(), open_files.clone(), account);
            match answer.await {
                Err(QueryError::DataFile { .. } | QueryError::Panicked { .. })
                    if source.outage().is_none() && source.inspect(&open_files.paths()).await => {}
                answer => return answer,
            }
        }
        self.ask_once(question, OpenFiles::default(), account).await
    }

    async fn ask_once(
        &self,
        question: Question,
        open_files: OpenFiles,
        account: &Arc<Account>,
    ) -> Result<Answer, QueryError> {
        let place = self.take_place(account)?;
        let scope = Arc::new(Scope::default());
        let ended = CancellationToken::new();
        let _ends = ended.clone().drop_guard();
        let rows_max = question.rows_max.unwrap_or(self.0.limits.query_rows_max);
        let sql = question.ask.text();
        let planned = {
            let inner = Arc::clone(&self.0);
            let (scope, open_files) = (Arc::clone(&scope), open_files.clone());
            let place = Arc::clone(&place);
            let account = Arc::clone(account);
            let work = move || async move {
                let _place = place;
                let tables = inner.tables(scope, open_files);
                let run = Run {
                    account,
                    rows_max,
                    ended,
                };
                inner.plan(&question.ask, &tables, &run).await
            };
            self.0.workers.plan(work).await?
        };
        let inner = Arc::clone(&self.0);
        let bytes_max = self.0.limits.answer_bytes_max;
        let rows = Rows::new(question.format, rows_max, bytes_max, &self.0.answers);
        let work = async move {
            let _place = place;
            let rows = collect(planned, rows).await;
            rows.map_err(|error| explain::explain(&error, &context(&sql, &open_files, &inner.limits)))
        };
        let rows = self.0.workers.run(work).await?;
        let report = self.0.report_on(&scope, &rows);
        Ok(Answer { rows, report })
    }

    fn take_place(&self, account: &Arc<Account>) -> Result<Arc<Place>, QueryError> {
        let permit = Arc::clone(&self.0.running).try_acquire_owned();
        let permit = permit.map_err(|_| QueryError::TooMany {
            limit: self.0.limits.queries_max,
        })?;
        Ok(Arc::new(Place {
            _permit: permit,
            _entry: self.0.watch.enter(Arc::clone(account)),
        }))
    }
}

impl Inner {
    /// A file that cannot be read, or not in time, while the store is in trouble has nothing
    /// wrong with it.
    fn of_the_store(&self, error: QueryError) -> QueryError {
        match error {
            QueryError::Timeout { .. } | QueryError::DataFile { .. } => {}
            other => return other,
        }
        match self.source.outage() {
            Some(outage) => QueryError::Store {
                reason: outage.to_string(),
            },
            None => error,
        }
    }

    async fn plan(&self, ask: &Ask, tables: &QueryContext, run: &Run) -> Result<Planned, QueryError> {
        if let Ask::Sql { text, params } = ask {
            shape::check(text, params, &self.limits.statement)?;
        }
        let sql = ask.text();
        let explain = |error: &DataFusionError| {
            explain::explain(error, &context(&sql, &tables.open_files, &self.limits))
        };
        let session = self
            .sessions
            .open(
                tables,
                self.source.now_unix_nanos(),
                Arc::clone(&run.account),
                &run.ended,
            )
            .map_err(|error| explain(&error))?;
        let (sql, params) = match ask {
            Ask::Sql { text, params } => (text, params),
            Ask::Trace(lookup) => {
                let planned = self.plan_lookup(lookup, &session, tables, run).await;
                return planned.map_err(|error| explain(&error));
            }
        };
        let dialect = session.config_options().sql_parser.dialect;
        let mut statement = session
            .sql_to_statement(sql, &dialect)
            .map_err(|error| explain(&error))?;
        gate::check_statement(&statement)?;
        params::bind(&mut statement, params)?;
        self.plan_statement(session, statement, run)
            .await?
            .map_err(|error| explain(&error))
    }

    async fn plan_lookup(
        &self,
        lookup: &Lookup,
        session: &SessionState,
        tables: &QueryContext,
        run: &Run,
    ) -> Result<Planned, DataFusionError> {
        let plan = lookup
            .plan(session, tables, run.rows_max.saturating_add(1))
            .await?;
        let size = batches::plain(session.config().batch_size(), &self.limits);
        Ok(Planned {
            plan: interrupt::interruptible(plan, size, &run.ended)?,
            task: session.task_ctx(),
        })
    }

    fn tables(&self, scope: Arc<Scope>, open_files: OpenFiles) -> QueryContext {
        let everything = self.source.report(None, Window::default());
        let regions = everything.regions.into_iter().map(|region| region.region);
        QueryContext {
            source: Arc::clone(&self.source),
            scope,
            files: self.files.clone(),
            open_files,
            store_url: self.sessions.store_url().clone(),
            known_regions: Arc::new(regions.collect()),
        }
    }

    async fn plan_statement(
        &self,
        session: SessionState,
        statement: Statement,
        run: &Run,
    ) -> Result<Result<Planned, DataFusionError>, QueryError> {
        let plan = match session.statement_to_plan(statement).await {
            Ok(plan) => plan,
            Err(error) => return Ok(Err(error)),
        };
        gate::check_plan(&plan, &self.limits)?;
        Ok(self.plan_physically(session, plan, run).await)
    }

    /// Constants are folded before the batches are measured, and steps are made by their size.
    async fn plan_physically(
        &self,
        mut session: SessionState,
        plan: LogicalPlan,
        run: &Run,
    ) -> Result<Planned, DataFusionError> {
        let plan = session.optimize(&limited(plan, run.rows_max)?)?;
        windows::check_literals(&plan, &self.limits.statement)?;
        let size = batches::batch_size(&plan, session.config().batch_size(), &self.limits);
        *session.config_mut() = session.config().clone().with_batch_size(size.rows);
        let plan = session
            .query_planner()
            .create_physical_plan(&plan, &session)
            .await?;
        Ok(Planned {
            plan: interrupt::interruptible(plan, size, &run.ended)?,
            task: session.task_ctx(),
        })
    }

    /// The completeness of an answer: of what was asked, and of what was cut off it.
    fn report_on(&self, scope: &Scope, rows: &Rows) -> Report {
        let asked = scope.asked();
        let mut report = self.source.report(asked.regions.as_deref(), asked.window);
        report.warnings.extend(scope.warnings());
        if scope.is_damaged() && report.status == Status::Ok {
            report.status = Status::Partial;
        }
        if asked.regions.is_some_and(|regions| regions.is_empty()) {
            report.status = Status::Unknown;
            report
                .warnings
                .push("no known region passes the question's filter on region".to_owned());
        }
        match rows.cut() {
            Some(Cut::Rows(limit)) => report
                .warnings
                .push(format!("the answer is cut after {limit} rows: there are more")),
            Some(Cut::Bytes(limit)) => report.warnings.push(format!(
                "the answer is cut after {} rows, at {limit} bytes: there are more",
                rows.count()
            )),
            None => {}
        }
        report
    }
}

/// Asks for one row more than is answered, so that a cut is known to be one. An EXPLAIN must
/// stay at the root of its plan.
fn limited(plan: LogicalPlan, rows_max: usize) -> Result<LogicalPlan, DataFusionError> {
    let mut must_be_root = false;
    plan.apply(|node| {
        must_be_root |= matches!(
            node,
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_)
        );
        Ok(TreeNodeRecursion::Stop)
    })?;
    if must_be_root {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan)
        .limit(0, Some(rows_max.saturating_add(1)))?
        .build()
}

async fn collect(planned: Planned, mut rows: Rows) -> Result<Rows, DataFusionError> {
    rows.start(&planned.plan.schema())?;
    let mut stream = execute_stream(planned.plan, planned.task)?;
    while let Some(batch) = stream.next().await {
        if rows.push(&batch?)?.is_break() {
            break;
        }
    }
    rows.finish()?;
    Ok(rows)
}

fn context<'a>(sql: &'a str, open_files: &'a OpenFiles, limits: &Limits) -> Context<'a> {
    Context {
        sql,
        tables: &TABLES,
        open_files,
        memory_limit: limits.query_memory_bytes,
    }
}
