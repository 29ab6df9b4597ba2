//! The one place that spawns. A task has a name, an owner, and somebody who reads its result.
//!
//! [`Tasks`] owns what lives as long as the process: the first of them that fails or panics is
//! reported by name through [`Tasks::failed`], and the application shuts down.
//! [`spawn`] and [`blocking`] start short-lived work whose [`Task`] is awaited by its owner and
//! ends when the owner drops it. There is deliberately no way to detach a task.

mod simulated;

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};

use crate::BoxError;

pub use simulated::{Simulation, is_simulated, of_library, simulate};

/// The name under which a task is reported.
pub type Name = Cow<'static, str>;

/// Why a task has no result.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("task {name} panicked: {message}")]
    Panicked { name: Name, message: String },
    #[error("task {name} failed")]
    Failed { name: Name, source: BoxError },
    #[error("task {name} was cancelled")]
    Cancelled { name: Name },
}

/// Starts a short-lived task. It ends when the [`Task`] is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "the one permitted spawn: named, owned, aborted on drop"
)]
pub fn spawn<T, F>(name: impl Into<Name>, future: F) -> Task<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    Task {
        name: name.into(),
        handle: tokio::spawn(future),
    }
}

/// Runs a closure on a thread where it may block. Dropping the [`Task`] does not interrupt a
/// closure that has begun: a long one must watch for its own end.
#[expect(
    clippy::disallowed_methods,
    reason = "the one permitted spawn_blocking: named and owned, or a task's in a simulation"
)]
pub fn blocking<T, F>(name: impl Into<Name>, work: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Task {
        name: name.into(),
        handle: if is_simulated() {
            tokio::spawn(async move { simulated::beside(work) })
        } else {
            tokio::task::spawn_blocking(work)
        },
    }
}

/// A running task; await it for its result. A panic becomes an error that names the task.
#[must_use = "a task ends when it is dropped"]
#[derive(Debug)]
pub struct Task<T> {
    name: Name,
    handle: JoinHandle<T>,
}

impl<T> Task<T> {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(joined) = Pin::new(&mut self.handle).poll(context) else {
            return Poll::Pending;
        };
        Poll::Ready(joined.map_err(|error| {
            let name = self.name.clone();
            match error.try_into_panic() {
                Ok(payload) => TaskError::Panicked {
                    name,
                    message: panic_message(payload.as_ref()),
                },
                Err(_) => TaskError::Cancelled { name },
            }
        }))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// The named, supervised tasks of a process. Clones share one set; when the last clone is
/// dropped, what still runs is aborted.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Owner>);

#[derive(Debug, Default)]
struct Owner(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    running: BTreeMap<u64, (Name, AbortHandle)>,
    first_failure: Option<TaskError>,
    has_failed: bool,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that is expected to end well when its input ends or its token is cancelled.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one permitted spawn of supervised tasks"
    )]
    pub fn spawn<F, E>(&self, name: impl Into<Name>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let (name, shared) = (name.into(), Arc::clone(&self.0.0));
        let mut state = shared.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        let (task_name, task_shared) = (name.clone(), Arc::clone(&shared));
        let handle = tokio::spawn(async move {
            let outcome = AssertUnwindSafe(future).catch_unwind().await;
            task_shared.ended(id, task_name, outcome.map(|result| result.map_err(Into::into)));
        });
        state.running.insert(id, (name, handle.abort_handle()));
    }

    /// Waits for the first task that fails or panics, for ever if none does. The failure is
    /// handed out once; later ones are only logged.
    pub async fn failed(&self) -> TaskError {
        let mut failure = None;
        self.0
            .0
            .wait_until(|state| {
                failure = state.first_failure.take();
                failure.is_some()
            })
            .await;
        failure.expect("the wait ends when there is a failure")
    }

    /// Waits until every task has ended. What still runs after `deadline` is logged by name,
    /// aborted and returned.
    pub async fn join(&self, deadline: Duration) -> Result<(), StillRunning> {
        let all_ended = self.0.0.wait_until(|state| state.running.is_empty());
        if tokio::time::timeout(deadline, all_ended).await.is_ok() {
            return Ok(());
        }
        let names = self.running();
        tracing::warn!(
            pending = names.join(", "),
            "tasks did not end in time and are aborted"
        );
        self.0.0.abort_all();
        Err(StillRunning { names })
    }

    /// The names of the tasks that run now, in the order in which they were started.
    pub fn running(&self) -> Vec<String> {
        self.0
            .0
            .state
            .lock()
            .running
            .values()
            .map(|(name, _)| name.to_string())
            .collect()
    }
}

/// Tasks that did not end before the deadline and were aborted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("tasks did not end in time: {}", names.join(", "))]
pub struct StillRunning {
    pub names: Vec<String>,
}

impl Shared {
    fn ended(&self, id: u64, name: Name, outcome: Result<Result<(), BoxError>, Box<dyn Any + Send>>) {
        let failure = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(source)) => Some(TaskError::Failed { name, source }),
            Err(payload) => Some(TaskError::Panicked {
                name,
                message: panic_message(payload.as_ref()),
            }),
        };
        let mut state = self.state.lock();
        state.running.remove(&id);
        match failure {
            Some(later) if state.has_failed => {
                tracing::error!(error = crate::chain(&later), "a further task failed");
            }
            Some(first) => {
                state.has_failed = true;
                state.first_failure = Some(first);
            }
            None => {}
        }
        drop(state);
        self.changed.notify_waiters();
    }

    async fn wait_until(&self, mut holds: impl FnMut(&mut State) -> bool) {
        loop {
            // Registered before looking, so that a change in between is not missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if holds(&mut self.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn abort_all(&self) {
        let running = std::mem::take(&mut self.state.lock().running);
        for (_, handle) in running.values() {
            handle.abort();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.abort_all();
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_panicking_task_is_reported_by_name() {
        let tasks = Tasks::new();
        tasks.spawn("spool writer", async {
            if "spool".len() == 5 {
                panic!("the disk is gone");
            }
            Ok::<(), io::Error>(())
        });
        let failure = tasks.failed().await;
        insta::assert_snapshot!(failure, @"task spool writer panicked: the disk is gone");
    }

    #[tokio::test]
    async fn a_failing_task_is_reported_with_its_source() {
        let tasks = Tasks::new();
        tasks.spawn("commit", async { Err(io::Error::other("no space left")) });
        let failure = tasks.failed().await;
        insta::assert_snapshot!(crate::chain(&failure), @"task commit failed: no space left");
    }

    #[tokio::test(start_paused = true)]
    async fn joining_names_what_is_still_pending_and_aborts_it() {
        let tasks = Tasks::new();
        let (held, dropped) = oneshot::channel::<()>();
        tasks.spawn("quick", async { Ok::<(), io::Error>(()) });
        tasks.spawn("stuck", async move {
            let _held = held;
            std::future::pending::<()>().await;
            Ok::<(), io::Error>(())
        });
        let error = tasks
            .join(Duration::from_secs(5))
            .await
            .expect_err("one task is stuck");
        assert_eq!(error.names, ["stuck"]);
        dropped.await.expect_err("the stuck task was aborted");
        assert_eq!(tasks.join(Duration::ZERO).await, Ok(()));
    }

    #[tokio::test]
    async fn dropping_the_owner_aborts_what_runs() {
        let (held, dropped) = oneshot::channel::<()>();
        let tasks = Tasks::new();
        tasks.spawn("holder", async move {
            let _held = held;
            std::future::pending::<Result<(), io::Error>>().await
        });
        drop(tasks);
        dropped.await.expect_err("the task was aborted");
    }

    #[tokio::test]
    async fn a_short_task_returns_its_value_and_a_panic_becomes_an_error() {
        assert_eq!(spawn("sum", async { 1 + 1 }).await.expect("no panic"), 2);
        let error = blocking("divide", || "x".parse::<i32>().expect("a number")).await;
        assert!(matches!(error, Err(TaskError::Panicked { name, .. }) if name == "divide"));
    }

    #[tokio::test]
    async fn a_dropped_short_task_is_aborted() {
        let (held, dropped) = oneshot::channel::<()>();
        drop(spawn("holder", async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        dropped.await.expect_err("the task was aborted");
    }
}
