//! Waiting for what is awaited, with a deadline: the only way in which tests wait.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const PAUSE: Duration = Duration::from_millis(100);

/// Asks until the answer is `Ok`, at most for `within`; then fails with the last refusal.
pub async fn eventually<T, F, Fut>(within: Duration, what: &str, mut ask: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + within;
    loop {
        match ask().await {
            Ok(value) => return Ok(value),
            Err(fault) if Instant::now() >= deadline => {
                return Err(fault).with_context(|| format!("not within {within:?}: {what}"));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
