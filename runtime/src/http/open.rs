//! The connections of a listener that are open, and which of them goes when a place is needed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::connection::Connection;
use super::limits::{Limit, ListenerMetrics};

/// A connection that has just come is about to say something: it is left alone for so long.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// Those that are open.
#[derive(Debug, Default)]
pub(super) struct Open(Vec<Weak<Connection>>);

impl Open {
    pub(super) fn add(&mut self, connection: &Arc<Connection>) {
        // Those that have ended are swept out as often as the list has doubled by them.
        if self.0.len() == self.0.capacity() {
            self.sweep();
        }
        self.0.push(Arc::downgrade(connection));
    }

    fn sweep(&mut self) {
        self.0.retain(|connection| connection.strong_count() > 0);
    }

    /// Asks the one that has been idle for longest to end.
    pub(super) fn close_longest_idle(&mut self, metrics: &ListenerMetrics) {
        self.sweep();
        let idle = self.0.iter().filter_map(|connection| {
            let connection = connection.upgrade()?;
            Some((connection.idle_since()?, connection))
        });
        let longest = idle.min_by_key(|(since, _)| *since);
        if let Some((since, connection)) = longest
            && since.elapsed() >= LEFT_ALONE
        {
            metrics.strike(Limit::Connections);
            connection.close();
        }
    }
}
