//! How `ingest_memory` is divided, so that it holds however many agents send however much:
//!
//! ```text
//!  socket ─► HTTP/2 windows ─► one message ─► rows ─► committed
//!            1/4, by its size   up to 1/4      the rest
//!            and the number of
//!            connections
//! ```
//!
//! Messages and rows draw from budgets of their own: a message waits for rows to be committed,
//! and rows never wait for a message, so that nothing waits in a circle. What a commit works
//! with is the store's, and not counted here.

// Nothing that came from outside may end in a panic: see STYLE.md.
#![deny(clippy::indexing_slicing)]

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Limits;

/// Connections beyond the streams: an agent that is one too many is told so on one.
const CONNECTIONS_MORE: usize = 16;
/// HTTP/2 begins every connection with this; less cannot be asked for.
pub(super) const WINDOW_BYTES_MIN: usize = 65_535;
const WINDOW_BYTES_MAX: usize = 4 << 20;
/// Half of the memory or more is for rows.
const SHARE: usize = 4;

/// Bytes of ingest, by what they are for.
#[derive(Debug)]
pub struct Budget {
    /// One permit per byte of rows that are not yet committed.
    pub(super) rows: Arc<Semaphore>,
    pub(super) rows_bytes: usize,
    /// One permit per byte of a message that is being read or decoded.
    pub(super) messages: Arc<Semaphore>,
    /// One permit per batch that is being decoded: as many as there are cores. More would not be
    /// faster, and each thread that decodes keeps memory for the next time.
    pub(super) decoders: Arc<Semaphore>,
    /// The largest message.
    pub(super) message_bytes_max: usize,
    /// What a connection may have received and nobody has read.
    pub(super) window_bytes: u32,
    /// Connections at the same time.
    pub(super) connections_max: usize,
}

impl Budget {
    /// Divides the memory.
    pub fn new(limits: &Limits) -> Self {
        let share = limits.memory_bytes / SHARE;
        let messages_bytes = limits.message_bytes.clamp(share / 2, share.max(1));
        let rows_bytes = (limits.memory_bytes - share - messages_bytes).min(Semaphore::MAX_PERMITS);
        let connections_max = limits.streams_max.saturating_add(CONNECTIONS_MORE);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let window = (share / connections_max).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        Self {
            rows: Arc::new(Semaphore::new(rows_bytes)),
            rows_bytes,
            messages: Arc::new(Semaphore::new(messages_bytes)),
            decoders: Arc::new(Semaphore::new(cores)),
            message_bytes_max: limits.message_bytes.min(messages_bytes),
            window_bytes: u32::try_from(window).unwrap_or(u32::MAX),
            connections_max: connections_max.min(Semaphore::MAX_PERMITS),
        }
    }

    /// Bytes that messages may reserve at this moment.
    pub fn messages_left(&self) -> usize {
        self.messages.available_permits()
    }

    /// Bytes that are reserved for rows.
    pub(super) fn rows_used(&self) -> usize {
        self.rows_bytes.saturating_sub(self.rows.available_permits())
    }
}

impl Limits {
    /// The most streams that so much memory has windows for.
    pub fn streams_within(memory_bytes: usize) -> usize {
        (memory_bytes / SHARE / WINDOW_BYTES_MIN).saturating_sub(CONNECTIONS_MORE)
    }

    /// The largest message for which so much memory has room.
    pub fn message_within(memory_bytes: usize) -> usize {
        memory_bytes / SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_memory_are_never_more_than_the_whole() {
        for memory_mib in [1, 8, 64, 256, 1024, 16_384] {
            let memory_bytes = memory_mib << 20;
            let limits = Limits {
                memory_bytes,
                streams_max: Limits::streams_within(memory_bytes).min(1024),
                ..Limits::default()
            };
            let budget = Budget::new(&limits);
            let windows = budget.connections_max * budget.window_bytes as usize;
            let whole = windows + budget.messages.available_permits() + budget.rows_bytes;
            // A megabyte has no room for the smallest windows of sixteen connections.
            assert!(whole <= memory_bytes.max(2 << 20), "{memory_mib} MiB: {whole}");
            assert!(budget.rows_bytes >= memory_bytes / 2);
            assert!(budget.message_bytes_max <= budget.messages.available_permits());
        }
    }

    #[test]
    fn a_thousand_agents_have_windows_that_reach_over_an_ocean() {
        let budget = Budget::new(&Limits::default());
        assert!(budget.window_bytes >= 250 << 10, "{}", budget.window_bytes);
        assert_eq!(budget.message_bytes_max, 24 << 20);
    }
}
