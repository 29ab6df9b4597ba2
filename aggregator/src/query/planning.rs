//! Plans a question without running it, for those who only want to know whether it can be
//! planned. It answers nothing.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::gate::account::Account;
use super::reader::OpenFiles;
use super::{Ask, Engine, QueryError, Question, Run, gate};

impl Engine {
    /// Plans a question as [`Engine::ask`] does, and does not run it.
    pub async fn plan(&self, question: Question) -> Result<(), QueryError> {
        if let Ask::Sql { text, .. } = &question.ask {
            gate::check_bytes(text, &self.0.limits)?;
        }
        let account = Account::new(Arc::clone(self.0.sessions.memory()));
        let place = self.take_place(&account)?;
        let ended = CancellationToken::new();
        let _ends = ended.clone().drop_guard();
        let run = Run {
            account,
            rows_max: self.0.limits.query_rows_max,
            ended,
        };
        let inner = Arc::clone(&self.0);
        let work = move || async move {
            let _place = place;
            let tables = inner.tables(Arc::default(), OpenFiles::default());
            inner.plan(&question.ask, &tables, &run).await
        };
        let limit = self.0.limits.query_timeout;
        let planned = tokio::time::timeout(limit, self.0.workers.plan(work)).await;
        planned.unwrap_or(Err(QueryError::Timeout { limit })).map(drop)
    }
}
