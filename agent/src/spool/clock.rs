//! Stands in for the runtime's clock until that is there. It does not sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells the time of day.
#[derive(Clone, Debug)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// Nanoseconds since 1970-01-01 UTC.
    #[expect(clippy::disallowed_methods, reason = "until the runtime's clock is there")]
    pub fn now_unix_nanos(&self) -> u64 {
        match &self.0 {
            Some(hand) => hand.load(Ordering::SeqCst),
            None => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
            }
        }
    }
}
