//! What of an exporter outlives its streams: the core's books, the cursors in the spool, what
//! was counted, and the gaps to report.
//!
//! It writes the messages that speak of the spool (Hello, Heartbeat, Goodbye) and applies what
//! the aggregator confirms. It sends nothing itself.

use std::time::Instant;

use meridian_proto::signal::Signal;
use meridian_proto::stream::{Gap, Goodbye, Heartbeat, Hello, Welcome};
use meridian_proto::{PROTOCOL, ids::AgentId};

use super::backlog::Backlogs;
use super::core::Core;
use super::error::SessionError;
use super::flow::{Move, Said};
use super::gaps::Gaps;
use super::lane::{Lane, Track};
use super::settings::Settings;
use super::{Context, Metrics};
use crate::ledger::DropReason;
use crate::otlp::Origin;
use crate::spool::{Range, Reader, Resumed};

/// One exporter's side of all its streams.
pub struct Delivery {
    name: String,
    context: Context,
    /// Decides what comes next.
    pub core: Core,
    gaps: Gaps,
    backlogs: Backlogs,
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
            backlogs: Backlogs::new(name.clone(), settings, context.spool.clone()),
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

    /// The first message of a stream. A backlog that it sets aside is noted on the disk before.
    pub async fn hello(&self) -> Hello {
        let set_aside = self.backlogs.set_aside().await;
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
            set_aside,
        }
    }

    /// The aggregator says what it has: the cursors go there.
    pub fn on_welcome(&mut self, welcome: &Welcome) {
        for cursor_move in self.core.on_welcome(&said(welcome), welcome.window_bytes) {
            self.apply(cursor_move);
        }
        self.backlogs.on_welcome();
        self.context.metrics.connected(&self.name, true);
    }

    /// A cursor moves: the spool and the ledger follow.
    pub fn apply(&mut self, cursor_move: Move) {
        match cursor_move {
            Move::Forward {
                track,
                seq,
                corrupt_items,
            } => self.forward(track, seq, corrupt_items),
            Move::Resume {
                signal,
                seq,
                ranges,
                corrupt_items,
                has_lost,
            } => {
                let resumed = self.context.spool.resume(&self.name, signal, seq, &ranges);
                self.resumed(signal, resumed, corrupt_items);
                if has_lost {
                    self.warn_of_loss(signal, seq, resumed);
                }
            }
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
        self.backlogs.log_progress(now);
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
            late: self.late(),
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

    /// What the watermark has passed and the catch-up lane has still to deliver.
    fn late(&self) -> Vec<Gap> {
        let gap = |(from_unix_nanos, to_unix_nanos)| Gap {
            from_unix_nanos,
            to_unix_nanos,
            reason: "catching up".to_owned(),
        };
        self.context.spool.late(&self.name).into_iter().map(gap).collect()
    }

    fn forward(&mut self, track: Track, seq: u64, corrupt_items: u64) {
        let (spool, signal) = (&self.context.spool, track.signal);
        let passed_items = match track.lane {
            Lane::Live => spool.advance(&self.name, signal, seq),
            Lane::CatchUp => spool.catch_up(&self.name, signal, seq),
        };
        let resumed = Resumed {
            passed_items,
            ..Resumed::default()
        };
        self.resumed(signal, resumed, corrupt_items);
    }

    /// Brings the ledger up to what the spool's cursors did.
    fn resumed(&mut self, signal: Signal, resumed: Resumed, corrupt_items: u64) {
        self.has_progress |= resumed.passed_items > 0;
        let corrupt = corrupt_items.min(resumed.passed_items);
        let ledger = &self.context.ledger;
        ledger.delivered(&self.name, signal, resumed.passed_items - corrupt);
        ledger.pending_again(&self.name, signal, resumed.pending_again_items);
        if corrupt > 0 {
            self.corrupt_items += corrupt;
            ledger.dropped(&self.name, signal, DropReason::Corrupt, corrupt);
        }
    }

    fn warn_of_loss(&mut self, signal: Signal, seq: u64, resumed: Resumed) {
        if std::mem::replace(&mut self.has_warned_of_loss, true) {
            return;
        }
        let oldest_seq = self.context.spool.oldest_seq();
        let pending_again_items = resumed.pending_again_items;
        tracing::warn!(
            exporter = self.name, %signal, committed_seq = seq, oldest_seq, pending_again_items,
            "the aggregator has less than it had confirmed: its store has lost data, or is another \
             one; what the spool still holds is sent again, what is older than its oldest record is not"
        );
    }
}

/// What is committed of each signal, by [`Signal::index`]; 0 where nothing is said.
fn said(welcome: &Welcome) -> [Said; 3] {
    let mut said = <[Said; 3]>::default();
    for entry in &welcome.committed {
        if let (Some(signal), Some(lane)) = (known_signal(entry.signal), Lane::known(entry.lane)) {
            let of_signal = &mut said[signal.index()];
            match lane {
                Lane::Live => of_signal.live = entry.seq,
                Lane::CatchUp => of_signal.catch_up = entry.seq,
            }
        }
    }
    for range in &welcome.closed_ranges {
        if let Some(signal) = known_signal(range.signal) {
            said[signal.index()].ranges.push(Range {
                after: range.after_seq,
                to: range.to_seq,
            });
        }
    }
    for of_signal in &mut said {
        of_signal.ranges.sort_unstable_by_key(|range| range.after);
    }
    said
}

/// The signal with this number on the wire, if this release knows it.
pub fn known_signal(number: i32) -> Option<Signal> {
    u8::try_from(number).ok().and_then(Signal::from_u8)
}
