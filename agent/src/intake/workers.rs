//! Where the CPU work of a request runs: on the spot if it is small, on a thread of its own if
//! it would hold up the IO runtime.
//!
//! At most one piece of work per core runs at a time. That also bounds the memory that
//! decompressors and transcoders hold beside what admission counts.

use std::sync::Arc;

use meridian_runtime::tasks::{self, TaskError};
use tokio::sync::Semaphore;

/// Work on so many bytes stays on the IO runtime: at the slowest rate of ours (JSON, 130 MB/s)
/// they take half a millisecond.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// A limited number of workers; clones share them.
#[derive(Debug, Clone)]
pub struct Workers {
    permits: Arc<Semaphore>,
}

impl Workers {
    /// One worker per core.
    pub fn per_core() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            permits: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Runs `work` on `bytes` bytes of input. Work that has begun ends even if nobody waits for
    /// it any more, and occupies its worker until then.
    pub async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TaskError> {
        if bytes <= INLINE_BYTES_MAX {
            return Ok(work());
        }
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        tasks::blocking(name, move || {
            let result = work();
            drop(permit);
            result
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_work_leaves_the_runtime_and_small_work_does_not() {
        let workers = Workers::per_core();
        let here = std::thread::current().id();
        let id = || std::thread::current().id();
        assert_eq!(
            workers.run("test", INLINE_BYTES_MAX, id).await.expect("result"),
            here
        );
        assert_ne!(
            workers
                .run("test", INLINE_BYTES_MAX + 1, id)
                .await
                .expect("result"),
            here
        );
    }

    #[tokio::test]
    async fn a_panic_in_large_work_is_an_error_and_frees_its_worker() {
        let workers = Workers {
            permits: Arc::new(Semaphore::new(1)),
        };
        let panics = || panic!("broken");
        workers
            .run::<()>("test", 1 << 20, panics)
            .await
            .expect_err("panicked");
        assert_eq!(
            workers.run("test", 1 << 20, || 7).await.expect("a free worker"),
            7
        );
    }
}
