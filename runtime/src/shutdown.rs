//! Ordered shutdown: SIGTERM or SIGINT cancels the origins of work, then the application ends
//! its stages one after the other, each under a deadline; what is still pending is logged.
//!
//! Only what originates work (listeners, scrapers, timers) holds the token; all else ends
//! because its input ended. It deliberately knows no order of its own: the application's own
//! code is the list of stages. A second signal gives up every stage at once.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::tasks::{self, Task};

/// How often a stage that takes its time says that it is still pending.
const REMINDER: Duration = Duration::from_secs(5);

/// The end of the process: requested by a signal or by the application.
#[derive(Debug)]
pub struct Shutdown {
    origins: CancellationToken,
    at_once: CancellationToken,
    _signals: Option<Task<()>>,
}

/// Why a stage did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    #[error("the deadline passed")]
    Deadline,
    #[error("a second signal asked to end at once")]
    Interrupted,
}

impl Shutdown {
    /// Listens to SIGTERM and SIGINT from now on.
    pub fn on_signals() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut shutdown = Self::manual();
        let (origins, at_once) = (shutdown.origins.clone(), shutdown.at_once.clone());
        shutdown._signals = Some(tasks::spawn(
            "signals",
            follow(terminate, interrupt, origins, at_once),
        ));
        Ok(shutdown)
    }

    /// A shutdown that only [`Shutdown::request`] begins, for tests.
    pub fn manual() -> Self {
        Self {
            origins: CancellationToken::new(),
            at_once: CancellationToken::new(),
            _signals: None,
        }
    }

    /// The token of those who originate work.
    pub fn token(&self) -> CancellationToken {
        self.origins.clone()
    }

    /// Cancelled when the operator does not want to wait any longer.
    pub fn at_once(&self) -> CancellationToken {
        self.at_once.clone()
    }

    /// Begins the shutdown from inside, for instance because a task failed.
    pub fn request(&self) {
        self.origins.cancel();
    }

    /// Resolves when the shutdown begins.
    pub async fn requested(&self) {
        self.origins.cancelled().await;
    }

    /// Waits for one part to end, at most for `deadline`; the part is dropped when time is up.
    pub async fn stage<T>(
        &self,
        name: &str,
        deadline: Duration,
        part: impl Future<Output = T>,
    ) -> Result<T, Unfinished> {
        let outcome = tokio::select! {
            value = part => Ok(value),
            () = self.at_once.cancelled() => Err(Unfinished::Interrupted),
            () = remind(name, deadline) => Err(Unfinished::Deadline),
        };
        match &outcome {
            Ok(_) => tracing::info!(stage = name, "stopped"),
            Err(reason) => tracing::warn!(stage = name, %reason, "did not stop by itself"),
        }
        outcome
    }
}

/// Sleeps until the deadline, and says on the way what is being waited for.
async fn remind(name: &str, deadline: Duration) {
    let mut left = deadline;
    while left > REMINDER {
        tokio::time::sleep(REMINDER).await;
        left -= REMINDER;
        tracing::info!(stage = name, seconds_left = left.as_secs(), "still pending");
    }
    tokio::time::sleep(left).await;
}

async fn follow(
    mut terminate: Signal,
    mut interrupt: Signal,
    origins: CancellationToken,
    at_once: CancellationToken,
) {
    for (token, meaning) in [(origins, "shutting down"), (at_once, "ending at once")] {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "{meaning}");
        token.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_stage_is_given_up_at_its_deadline() {
        let started = Instant::now();
        let shutdown = Shutdown::manual();
        let outcome = shutdown
            .stage("exporters", Duration::from_secs(12), std::future::pending::<()>())
            .await;
        assert_eq!(outcome, Err(Unfinished::Deadline));
        assert_eq!(started.elapsed().as_secs(), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_ends_hands_on_its_value() {
        let outcome = Shutdown::manual()
            .stage("spool", Duration::from_secs(1), async { 7 })
            .await;
        assert_eq!(outcome, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_a_pending_stage_at_once() {
        let started = Instant::now();
        let shutdown = Shutdown::manual();
        shutdown.at_once().cancel();
        let outcome = shutdown
            .stage("exporters", Duration::from_secs(60), std::future::pending::<()>())
            .await;
        assert_eq!(outcome, Err(Unfinished::Interrupted));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_request_cancels_the_origins() {
        let shutdown = Shutdown::manual();
        let token = shutdown.token();
        shutdown.request();
        token.cancelled().await;
        shutdown.requested().await;
    }
}
