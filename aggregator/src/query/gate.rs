//! The gate before the engine: what a statement may be and may cost. The limits are here and in
//! `caps`; a statement passes, in this order, its bytes (here), its tokens (`shape`), its plan
//! and functions (`plan`, `functions`, `scalar`, `windows`), the size of its batches (`batches`), and
//! its steps while it runs (`interrupt`, `bounded`, `made`). Behind all of these the process's own
//! memory is watched (`account`). Deadlines and threads are `run`'s.

pub(super) mod account;
pub(super) mod batches;
mod bounded;
pub mod caps;
mod concat;
pub(super) mod functions;
pub(super) mod interrupt;
mod made;
pub(super) mod plan;
mod scalar;
mod sizes;
mod weight;
pub(super) mod windows;

use std::time::Duration;

use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use super::error::QueryError;
pub use caps::{Cap, Caps};

/// Every limit of the query engine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a statement, checked before anything reads it.
    pub statement_bytes_max: usize,
    /// Bytes that all running queries together may hold in operators.
    pub query_memory_bytes: usize,
    /// Bytes of the process's own memory beyond which the largest running query is ended.
    pub process_memory_bytes: usize,
    /// How long a query may take from its arrival to its last row.
    pub query_timeout: Duration,
    /// Rows of an answer; what is beyond is cut, and the answer says so.
    pub query_rows_max: usize,
    /// Bytes of a rendered answer; what is beyond is cut, and the answer says so.
    pub answer_bytes_max: usize,
    /// Bytes of all rendered answers together, until they are sent.
    pub answers_memory_bytes: usize,
    /// Spans of one trace that are rebuilt.
    pub trace_rows_max: usize,
    /// Queries that run at the same time; more are refused.
    pub queries_max: usize,
    /// Threads that run queries.
    pub threads: usize,
    /// Stack of the thread that parses and plans. It is reserved, not used, until needed.
    pub plan_stack_bytes: usize,
    /// Rows of a batch in a plan that makes several rows of one.
    pub multiplied_batch_rows: usize,
    /// What a statement may look like, and what one call in it may make.
    pub statement: Caps,
    /// Bytes of footers, page indexes and bloom filters of data files that are kept.
    pub file_cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement_bytes_max: 64 << 10,
            query_memory_bytes: 2 << 30,
            process_memory_bytes: 6 << 30,
            query_timeout: Duration::from_secs(30),
            query_rows_max: 10_000,
            answer_bytes_max: 64 << 20,
            answers_memory_bytes: 256 << 20,
            trace_rows_max: 50_000,
            queries_max: 16,
            threads: std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2)),
            plan_stack_bytes: 64 << 20,
            multiplied_batch_rows: 1024,
            statement: Caps::default(),
            file_cache_bytes: 256 << 20,
        }
    }
}

/// Refuses a statement that is too long to be read at all.
pub(super) fn check_bytes(sql: &str, limits: &Limits) -> Result<(), QueryError> {
    if sql.len() > limits.statement_bytes_max {
        return Err(QueryError::StatementTooLarge {
            bytes: sql.len(),
            limit: limits.statement_bytes_max,
        });
    }
    if sql.trim().is_empty() {
        return Err(QueryError::Empty);
    }
    Ok(())
}

/// Refuses everything but questions: SELECT, EXPLAIN of one, SHOW and DESCRIBE.
pub(super) fn check_statement(statement: &Statement) -> Result<(), QueryError> {
    match statement {
        Statement::Statement(inner) => check_sql_statement(inner),
        Statement::Explain(explain) => check_statement(&explain.statement),
        Statement::CreateExternalTable(_) => Err(refused("CREATE EXTERNAL TABLE")),
        Statement::CopyTo(_) => Err(refused("COPY")),
        Statement::Reset(_) => Err(refused("RESET")),
    }
}

fn check_sql_statement(statement: &SqlStatement) -> Result<(), QueryError> {
    match statement {
        SqlStatement::Query(_)
        | SqlStatement::ExplainTable { .. }
        | SqlStatement::ShowTables { .. }
        | SqlStatement::ShowColumns { .. }
        | SqlStatement::ShowFunctions { .. }
        | SqlStatement::ShowVariable { .. } => Ok(()),
        SqlStatement::Explain { statement, .. } => check_sql_statement(statement),
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or("this statement");
            Err(refused(&verb.to_uppercase()))
        }
    }
}

/// Refuses what writes although it looks like a question, such as a query with an INSERT in it,
/// and what is too wide.
pub(super) fn check_plan(plan: &LogicalPlan, limits: &Limits) -> Result<(), QueryError> {
    plan::check_width(plan, &limits.statement)?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)
        .map_err(|_| refused(plan_verb(plan)))
}

fn plan_verb(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Ddl(_) => "DDL",
        LogicalPlan::Dml(_) => "DML",
        LogicalPlan::Copy(_) => "COPY",
        _ => "a statement that changes something",
    }
}

fn refused(what: &str) -> QueryError {
    QueryError::NotReadOnly {
        what: what.to_owned(),
    }
}
