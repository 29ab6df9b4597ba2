//! What is said of data that is no good: once in a while of each kind, however many items there
//! are. The items are counted elsewhere, one by one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use meridian_runtime::clock;
use parking_lot::Mutex;

/// A kind is told this often at most.
const TOLD_AGAIN: Duration = Duration::from_secs(600);
/// Kinds come from the other side: of so many, none is told that is new.
const KINDS_MAX: usize = 64;

/// When what was told last.
#[derive(Debug, Default)]
pub struct Notices {
    told: Mutex<HashMap<String, Instant>>,
}

impl Notices {
    /// Whether this kind is to be told now; then it counts as told.
    pub fn is_due(&self, kind: &str) -> bool {
        let now = clock::now();
        let mut told = self.told.lock();
        let is_due = match told.get(kind) {
            Some(last) => now.saturating_duration_since(*last) >= TOLD_AGAIN,
            None => told.len() < KINDS_MAX,
        };
        if is_due {
            told.insert(kind.to_owned(), now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kind_is_told_once_and_after_a_while_again() {
        let notices = Notices::default();
        assert!(notices.is_due("a") && notices.is_due("b"));
        assert!(!notices.is_due("a"));
        tokio::time::advance(TOLD_AGAIN).await;
        assert!(notices.is_due("a") && !notices.is_due("a"));
    }

    #[test]
    fn there_are_only_so_many_kinds() {
        let notices = Notices::default();
        let told = (0..1000).filter(|kind| notices.is_due(&kind.to_string())).count();
        assert_eq!(told, KINDS_MAX);
    }
}
