//! How exporters are told that no new records will come.
//!
//! Nothing is cancelled here: an exporter that is told to stop goes on sending what the spool
//! holds until it has delivered all or the deadline passes.

use tokio::sync::watch;
use tokio::time::Instant;

/// Tells all exporters to stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Option<Instant>>);

/// An exporter's ear; clones hear the same.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Option<Instant>>);

impl Default for Stopper {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Stopper {
    /// An ear for one exporter.
    pub fn subscribe(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    /// All records there will ever be are in the spool: deliver them until `deadline`.
    pub fn stop(&self, deadline: Instant) {
        self.0.send_replace(Some(deadline));
    }
}

impl Stop {
    /// The deadline, once it is known.
    pub fn deadline(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    /// Whether there is no time left.
    pub fn is_over(&self) -> bool {
        self.deadline().is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Resolves when the exporter is told to stop, or the teller is gone.
    pub async fn requested(&mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            // Without a teller nobody will ever set a deadline, and nobody waits for us.
            std::future::pending::<()>().await;
        }
    }

    /// Resolves when the deadline has passed.
    pub async fn over(&mut self) {
        self.requested().await;
        if let Some(deadline) = self.deadline() {
            tokio::time::sleep_until(deadline).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_exporter_hears_the_deadline_and_when_it_is_over() {
        let stopper = Stopper::default();
        let mut stop = stopper.subscribe();
        assert_eq!(stop.deadline(), None);
        let deadline = Instant::now() + Duration::from_secs(25);
        stopper.stop(deadline);
        stop.requested().await;
        assert_eq!(stop.deadline(), Some(deadline));
        assert!(!stop.is_over());
        stop.over().await;
        assert!(stop.is_over());
    }
}
