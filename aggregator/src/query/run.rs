//! Where queries run: planning on a thread of its own with a large stack, because it can
//! neither be cancelled nor bounded from outside; execution on a runtime of its own, so that
//! ingest and health answer meanwhile. What a query means is not known here.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::error::QueryError;
use super::gate::Limits;

/// The threads of the query engine.
#[derive(Debug)]
pub(super) struct Workers {
    /// Taken only by `drop`.
    runtime: Option<Runtime>,
    handle: Handle,
    plan_stack_bytes: usize,
}

impl Workers {
    pub(super) fn start(limits: &Limits) -> Result<Self, QueryError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(limits.threads)
            .thread_name("query")
            .thread_stack_size(8 << 20)
            .enable_all()
            .build()
            .map_err(|source| QueryError::NotRunning(Some(source)))?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            plan_stack_bytes: limits.plan_stack_bytes,
        })
    }

    /// Runs `work` on a thread with a large stack. Giving up waiting does not end it: what
    /// `work` owns (its place among the running queries) is freed when it really is over.
    pub(super) async fn plan<T, F, W>(&self, work: W) -> Result<T, QueryError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, QueryError>>,
        W: FnOnce() -> F + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let handle = self.handle.clone();
        std::thread::Builder::new()
            .name("query-plan".to_owned())
            .stack_size(self.plan_stack_bytes)
            .spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| handle.block_on(work())));
                let result = result.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
                if sender.send(result).is_err() {
                    tracing::debug!("a statement was planned after its query had ended");
                }
            })
            .map_err(|source| QueryError::NotRunning(Some(source)))?;
        receiver.await.map_err(|_| QueryError::NotRunning(None))?
    }

    /// Runs `work` with the queries; dropping the returned future ends it.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, QueryError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, QueryError>> + Send + 'static,
    {
        let mut task = AbortOnDrop(self.handle.spawn(work));
        match (&mut task.0).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(panicked(error.into_panic().as_ref())),
            Err(_) => Err(QueryError::NotRunning(None)),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // An ordinary drop would wait for the threads, which async code must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panicked(panic: &(dyn Any + Send)) -> QueryError {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message");
    QueryError::Panicked {
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_only_its_query() {
        let workers = Workers::start(&Limits::default()).expect("threads");
        let planning: Result<(), _> = workers.plan(|| async { panic!("deep in planning") }).await;
        assert!(matches!(planning, Err(QueryError::Panicked { message }) if message == "deep in planning"));
        let running: Result<(), _> = workers.run(async { panic!("in a stream") }).await;
        assert!(matches!(running, Err(QueryError::Panicked { message }) if message == "in a stream"));
        assert!(matches!(workers.run(async { Ok(1) }).await, Ok(1)));
    }

    #[tokio::test]
    async fn dropping_a_run_ends_its_work() {
        let workers = Workers::start(&Limits::default()).expect("threads");
        let (sender, receiver) = oneshot::channel::<()>();
        let work = workers.run(async move {
            let _held = sender;
            std::future::pending::<Result<(), QueryError>>().await
        });
        let waited = tokio::time::timeout(std::time::Duration::from_millis(10), work).await;
        assert!(waited.is_err());
        assert!(receiver.await.is_err(), "the work's values are dropped");
    }
}
