//! What of an exporter outlives its streams: the core's books, the cursors in the spool, what
//! was counted, and the gaps to report.
//!
//! It writes the messages that speak of the spool (Hello, Heartbeat, Goodbye) and applies what
//! the aggregator confirms. It sends nothing itself.

use std::time::Instant;

use meridian_proto::signal::Signal;
use meridian_proto::stream::{Committed, Goodbye, Heartbeat, Hello, Lane, Welcome};
use meridian_proto::{PROTOCOL, ids::AgentId};

use super::core::Core;
use super::error::SessionError;
use super::flow::Move;
use super::gaps::Gaps;
use super::settings::Settings;
use super::{Context, Metrics};
use crate::ledger::DropReason;
use crate::otlp::Origin;
use crate::spool::{Reader, Spool};

/// One exporter's side of all its streams.
pub struct Delivery {
    name: String,
    context: Context,
    /// Decides what comes next.
    pub core: Core,
    gaps: Gaps,
    corrupt_items: u64,
    has_progress: bool,
    has_warned_of_loss: bool,
}

impl Delivery {
    /// Begins at the spool's cursors.
    pub fn new(name: String, settings: &Settings, context: Context, cursors: [u64; 3]) -> Self {
        Self {
            core: Core::new(cursors, settings.batch, settings.window_bytes),
            gaps: Gaps::new(context.stalls.clone()),
            name,
            context,
            corrupt_items: 0,
            has_progress: false,
            has_warned_of_loss: false,
        }
    }

    /// A reader of the spool.
    pub fn reader(&self) -> Reader {
        self.context.spool.reader(&self.name)
    }

    /// Where rows come from.
    pub fn origin(&self) -> &Origin {
        &self.context.origin
    }

    /// The exporter's metrics, and the name to count under.
    pub fn metrics(&self) -> (&Metrics, &str) {
        (&self.context.metrics, &self.name)
    }

    /// Whether the spool holds anything that is not delivered.
    pub fn has_pending(&self) -> bool {
        self.context.spool.pending(&self.name).items > 0
    }

    /// The first message of a stream.
    pub fn hello(&self) -> Hello {
        let spool = &self.context.spool;
        let agent_id: AgentId = spool.identity();
        let origin = &self.context.origin;
        Hello {
            protocol: PROTOCOL,
            agent_id: agent_id.as_bytes().to_vec().into(),
            region: origin.region.clone(),
            cluster: origin.cluster.clone(),
            node: origin.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            last_alive_unix_nanos: spool.recovery().last_alive_unix_nanos,
            started_unix_nanos: self.context.started_unix_nanos,
            now_unix_nanos: self.context.clock.now_unix_nanos(),
            oldest_seq: spool.oldest_seq(),
        }
    }

    /// The aggregator says what it has: the cursors go there.
    pub fn on_welcome(&mut self, welcome: &Welcome) {
        let committed = committed(&welcome.committed);
        for cursor_move in self.core.on_welcome(committed, welcome.window_bytes) {
            self.apply(cursor_move);
        }
        self.context.metrics.connected(&self.name, true);
    }

    /// A cursor moves: the spool and the ledger follow.
    pub fn apply(&mut self, cursor_move: Move) {
        match cursor_move {
            Move::Forward {
                signal,
                seq,
                corrupt_items,
            } => self.forward(signal, seq, corrupt_items),
            Move::Back { signal, seq } => self.back(signal, seq),
        }
        self.context
            .metrics
            .in_flight(&self.name, self.core.flow().in_flight_bytes());
    }

    /// The time before which everything accepted was sent, and whether a heartbeat must leave
    /// before it is told: there is a stall in it that the aggregator does not know.
    pub fn watermark(&mut self) -> (u64, bool) {
        let watermark = self.context.spool.watermark(self.core.flow().sent());
        // Looked for after the watermark, so that no stall before it is missed.
        let has_news = self.gaps.observe(self.context.clock.now_unix_nanos());
        (watermark, has_news)
    }

    /// The message of every second.
    pub fn heartbeat(&mut self, now: Instant) -> Heartbeat {
        let (watermark_unix_nanos, _) = self.watermark();
        let pending = self.context.spool.pending(&self.name);
        Heartbeat {
            watermark_unix_nanos,
            now_unix_nanos: self.context.clock.now_unix_nanos(),
            pending_items: pending.items,
            pending_bytes: pending.bytes,
            oldest_pending_unix_nanos: pending.oldest_unix_nanos,
            dropped_items: self.context.spool.dropped(&self.name) + self.corrupt_items,
            gaps: self.gaps.carry(now),
        }
    }

    /// The last message of a clean shutdown.
    pub fn goodbye(&self) -> Goodbye {
        Goodbye {
            pending_items: self.context.spool.pending(&self.name).items,
        }
    }

    /// The stream is over. Returns whether it confirmed anything new.
    pub fn on_stream_end(&mut self) -> bool {
        self.gaps.on_stream_end();
        self.context.metrics.connected(&self.name, false);
        std::mem::take(&mut self.has_progress)
    }

    /// A stream could not be opened, or ended before it should.
    pub fn count_failure(&self, error: &SessionError) {
        self.context.metrics.failed(&self.name, error.code());
    }

    /// The last word about this exporter in the log.
    pub fn log_end(&self) {
        let pending = self.context.spool.pending(&self.name);
        if pending.items == 0 {
            tracing::info!(exporter = self.name, "delivered everything");
        } else {
            tracing::warn!(
                exporter = self.name,
                pending_items = pending.items,
                "not everything is delivered; the spool keeps it for the next start"
            );
        }
    }

    fn forward(&mut self, signal: Signal, seq: u64, corrupt_items: u64) {
        self.has_progress = true;
        let passed = self.context.spool.advance(&self.name, signal, seq);
        let corrupt = corrupt_items.min(passed);
        self.context
            .ledger
            .delivered(&self.name, signal, passed - corrupt);
        if corrupt > 0 {
            self.corrupt_items += corrupt;
            self.context
                .ledger
                .dropped(&self.name, signal, DropReason::Corrupt, corrupt);
        }
    }

    fn back(&mut self, signal: Signal, seq: u64) {
        let spool: &Spool = &self.context.spool;
        let oldest_seq = spool.oldest_seq();
        let pending_again_items = spool.rewind(&self.name, signal, seq);
        self.context
            .ledger
            .pending_again(&self.name, signal, pending_again_items);
        if !std::mem::replace(&mut self.has_warned_of_loss, true) {
            tracing::warn!(
                exporter = self.name, %signal, committed_seq = seq, oldest_seq, pending_again_items,
                "the aggregator has less than it had confirmed: its store has lost data, or is another \
                 one; what the spool still holds is sent again, what is older than its oldest record is not"
            );
        }
    }
}

/// What is committed of each signal's live lane, by [`Signal::index`]; 0 where nothing is said.
fn committed(entries: &[Committed]) -> [u64; 3] {
    let mut seqs = [0; 3];
    for entry in entries {
        if entry.lane == Lane::Live as i32
            && let Some(signal) = known_signal(entry.signal)
        {
            seqs[signal.index()] = entry.seq;
        }
    }
    seqs
}

/// The signal with this number on the wire, if this release knows it.
pub fn known_signal(number: i32) -> Option<Signal> {
    u8::try_from(number).ok().and_then(Signal::from_u8)
}
