//! How a simulation runs what otherwise has threads of its own: one piece at a time, while the
//! simulating thread waits, so that a seed always gives the same order.
//!
//! It is switched on for one thread, and costs others a look at a thread-local. It simulates no
//! time: work that blocks takes none.

use std::cell::RefCell;
use std::future::Future;
use std::thread;

use tokio::runtime::Handle;

thread_local! {
    static LIBRARIES: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// While this lives, the thread that made it simulates.
#[must_use = "the simulation ends when this is dropped"]
#[derive(Debug)]
pub struct Simulation(Option<Handle>);

/// This thread simulates from now on. Libraries that need threads get those of `libraries`.
pub fn simulate(libraries: Handle) -> Simulation {
    Simulation(LIBRARIES.replace(Some(libraries)))
}

/// Whether this thread simulates: what would be a thread's loop must be a task's.
pub fn is_simulated() -> bool {
    LIBRARIES.with_borrow(Option::is_some)
}

impl Drop for Simulation {
    fn drop(&mut self) {
        LIBRARIES.replace(self.0.take());
    }
}

/// Runs work that may block on a thread that the caller waits for, in the caller's runtime.
pub(super) fn beside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let (runtime, libraries) = (Handle::current(), LIBRARIES.with_borrow(Clone::clone));
    wait_for(move || {
        let _simulation = libraries.map(simulate);
        let _runtime = runtime.enter();
        work()
    })
}

/// Awaits the future of a library that starts threads by itself. In a simulation they have
/// ended their work when this is polled once.
pub async fn of_library<F>(future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    match LIBRARIES.with_borrow(Clone::clone) {
        None => future.await,
        Some(libraries) => wait_for(move || libraries.block_on(future)),
    }
}

fn wait_for<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let outcome = thread::scope(|scope| scope.spawn(work).join());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use crate::tasks;

    #[tokio::test(start_paused = true)]
    async fn blocking_work_ends_before_anything_else_runs() {
        let libraries = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("threads");
        let simulation = super::simulate(libraries.handle().clone());
        let (sender, receiver) = std::sync::mpsc::sync_channel(16);
        let late = sender.clone();
        let work = tasks::blocking("slow", move || {
            std::iter::repeat_n((), 10_000).for_each(std::hint::black_box);
            sender.send("work").ok();
        });
        let other = tasks::spawn("other", async move { late.send("other").ok() });
        work.await.expect("no panic");
        other.await.expect("no panic");
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["work", "other"]);
        let of_library = async { tasks::spawn("library", async { 7 }).await };
        assert_eq!(super::of_library(of_library).await.expect("no panic"), 7);
        drop(simulation);
        assert!(!super::is_simulated());
        libraries.shutdown_background();
    }
}
