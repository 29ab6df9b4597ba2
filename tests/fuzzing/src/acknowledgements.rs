//! An agent whose aggregator says anything: what nobody confirmed stays pending, the books
//! balance, the window holds, and batches of a stream are in order and can be read.

use std::time::{Duration, Instant};

use meridian_agent::exporters::aggregator::{
    Action, BatchLimits, Context, Delivery, Lane, Metrics, Settings, Track, build_batch, known_signal,
};
use meridian_agent::ledger::{Ledger, spooled};
use meridian_agent::otlp::Origin;
use meridian_agent::spool::{Record, Spool};
use meridian_agent::stalls::Stalls;
use meridian_proto::payload;
use meridian_proto::signal::Signal;
use meridian_proto::stream::{
    Ack, AggregatorMessage, Batch, ClosedRange, Committed, Welcome, aggregator_message::Kind,
};
use meridian_runtime::metrics::{self, Registry};
use meridian_runtime::net::Network;
use prost::Message;

use crate::batches::origin;
use crate::choices::Choices;
use crate::spool::opened::{EXPORTER, clock, disk_of, read_all, sound, with_spool};

const STEPS_MAX: usize = 48;
/// Actions in a row; a core that never waits is a fault.
const ACTIONS_MAX: usize = 2_000;
const BATCH_ROWS: u32 = 20;
/// A few batches.
const WINDOW_BYTES: u64 = 64 << 10;

pub(crate) fn run(data: &[u8]) {
    let disk = disk_of(&sound().files);
    let clock = clock();
    let outcome = with_spool(&disk, &clock.clone(), async |spool| {
        let registry = Registry::new();
        let mut agent = Agent::new(spool, &registry);
        agent.converse(Choices::new(data));
    });
    outcome.expect("a sound spool opens");
}

struct Agent<'a> {
    spool: &'a Spool,
    registry: &'a Registry,
    delivery: Delivery,
    records: Vec<Record>,
    origin: Origin,
    now: Instant,
    /// No stream is open, or its Welcome has not come.
    is_between_streams: bool,
    /// The most that was ever said to be committed, by [`Track::index`].
    confirmed: [u64; 6],
    /// The last sequence that was sent on this stream.
    sent: [u64; 6],
}

impl<'a> Agent<'a> {
    fn new(spool: &'a Spool, registry: &'a Registry) -> Self {
        let ledger = Ledger::new(registry).expect("a new registry");
        spooled::register(registry, &ledger, spool, &[EXPORTER.to_owned()]).expect("a new registry");
        let context = Context {
            spool: spool.clone(),
            clock: spool.clock().clone(),
            network: Network::System,
            origin: origin(),
            started_unix_nanos: 1,
            ledger,
            metrics: Metrics::new(registry).expect("a new registry"),
            stalls: Stalls::new(spool.clock().now_unix_nanos()),
        };
        let settings = Settings {
            batch: BatchLimits {
                rows: BATCH_ROWS,
                bytes: 64 << 10,
                linger: Duration::from_secs(1),
            },
            window_bytes: WINDOW_BYTES,
            ..Settings::new(Vec::new())
        };
        let cursors = Signal::ALL.map(|signal| spool.cursor(EXPORTER, signal));
        let mut confirmed = [0; 6];
        confirmed[..3].copy_from_slice(&cursors);
        Self {
            spool,
            registry,
            delivery: Delivery::new(EXPORTER.to_owned(), &settings, context, cursors),
            records: read_all(spool),
            origin: origin(),
            now: Instant::now(),
            is_between_streams: true,
            confirmed,
            sent: [0; 6],
        }
    }

    fn converse(&mut self, mut choices: Choices<'_>) {
        for _ in 0..STEPS_MAX {
            if choices.is_over() {
                break;
            }
            match choices.byte() {
                0..48 => self.hear(&Kind::Welcome(welcome(&mut choices))),
                48..96 => {
                    if let Ok(AggregatorMessage { kind: Some(kind) }) =
                        AggregatorMessage::decode(choices.part())
                    {
                        self.hear(&kind);
                    }
                }
                96..160 => {
                    let ack = self.ack(&mut choices);
                    self.hear(&Kind::Ack(ack));
                }
                160..176 => self.now += Duration::from_millis(u64::from(choices.u16())),
                176..184 => self.end_stream(),
                184..192 => self.delivery.core.on_news(),
                _ => self.act(),
            }
            self.holds();
        }
        self.delivery.heartbeat(self.now);
        self.balances();
    }

    /// What the session does with a message.
    fn hear(&mut self, kind: &Kind) {
        match kind {
            Kind::Welcome(welcome) if self.is_between_streams => self.on_welcome(welcome),
            Kind::Ack(ack) if !self.is_between_streams => self.on_ack(ack),
            // A second Welcome is ignored, and nothing but a Welcome opens a stream.
            _ => {}
        }
    }

    fn on_welcome(&mut self, welcome: &Welcome) {
        for said in &welcome.committed {
            if let (Some(signal), Some(lane)) = (known_signal(said.signal), Lane::known(said.lane)) {
                let confirmed = &mut self.confirmed[Track { lane, signal }.index()];
                *confirmed = said.seq.max(*confirmed);
            }
        }
        self.delivery.on_welcome(welcome);
        self.is_between_streams = false;
        self.sent = [0; 6];
    }

    fn on_ack(&mut self, ack: &Ack) {
        let (Some(signal), Some(lane)) = (known_signal(ack.signal), Lane::known(ack.lane)) else {
            return;
        };
        let track = Track { lane, signal };
        self.delivery.core.is_below_confirmed(track, ack.committed_seq);
        match self.delivery.core.on_ack(track, ack.committed_seq, self.now) {
            Ok(moved) => {
                let confirmed = &mut self.confirmed[track.index()];
                *confirmed = ack.committed_seq.max(*confirmed);
                if let Some(moved) = moved {
                    self.delivery.apply(moved);
                }
            }
            // What was never sent is acknowledged: the stream ends.
            Err(_) => self.end_stream(),
        }
    }

    fn end_stream(&mut self) {
        if !std::mem::replace(&mut self.is_between_streams, true) {
            self.delivery.on_stream_end();
        }
    }

    /// Does what the core says until it waits.
    fn act(&mut self) {
        if self.is_between_streams {
            return;
        }
        for _ in 0..ACTIONS_MAX {
            match self.delivery.core.next(self.now, true) {
                Action::Read(track, wanted) => {
                    let reader = self.delivery.reader();
                    let records =
                        reader.read(track.signal, wanted.after_seq, wanted.max_items, wanted.max_bytes);
                    let records = records.expect("a disk in memory is read");
                    self.delivery.core.on_read(track, records, self.now);
                }
                Action::Build(track, records) => {
                    let built = build_batch(track.signal, &records, &self.origin).expect("rows");
                    self.delivery.core.on_built(track.lane, built);
                }
                Action::Send(lane, built) => self.send(lane, &built.into_message(lane, 1)),
                Action::Skip(moved) => {
                    if let Some(moved) = moved {
                        self.delivery.apply(moved);
                    }
                }
                Action::Flush => {}
                Action::Finish | Action::Wait(_) => return,
            }
        }
        unreachable!("the core never waits");
    }

    fn send(&mut self, lane: Lane, batch: &Batch) {
        let signal = known_signal(batch.signal).expect("its own signal");
        let sent = &mut self.sent[Track { lane, signal }.index()];
        assert!(batch.first_seq > *sent, "batches of a lane are in order");
        assert!(batch.last_seq >= batch.first_seq);
        *sent = batch.last_seq;
        let rows = payload::decode(signal, &batch.payload, batch.uncompressed_bytes, usize::MAX);
        let rows = rows.expect("the other side can read it").num_rows();
        let recorded: u32 = batch.record_rows.iter().sum();
        assert_eq!(
            (rows, batch.rows),
            (usize::try_from(recorded).expect("few"), recorded)
        );
        let in_flight = self.delivery.core.flow().in_flight_bytes();
        let is_alone = in_flight == u64::from(batch.uncompressed_bytes);
        assert!(
            in_flight <= WINDOW_BYTES || is_alone,
            "{in_flight} bytes are in flight"
        );
    }

    fn holds(&mut self) {
        let pending = self.spool.pending(EXPORTER);
        for signal in Signal::ALL {
            let cursor = self.spool.cursor(EXPORTER, signal);
            assert!(
                cursor <= self.confirmed[Track::live(signal).index()],
                "{signal} is taken for delivered up to {cursor}, which nobody has confirmed"
            );
            let ranges = self.spool.ranges(EXPORTER, signal);
            let is_pending = |record: &&Record| {
                let in_range = ranges
                    .iter()
                    .any(|range| range.after < record.seq && record.seq <= range.to);
                record.signal == signal && (record.seq > cursor || in_range)
            };
            let items: u64 = self
                .records
                .iter()
                .filter(is_pending)
                .map(|record| u64::from(record.items))
                .sum();
            // What is delivered may be deleted; what a peer has lost then is not there any more.
            let oldest = self.spool.oldest_seq();
            let gone: u64 = self
                .records
                .iter()
                .filter(|record| is_pending(record) && record.seq < oldest)
                .map(|record| u64::from(record.items))
                .sum();
            assert_eq!(
                pending.items_by_signal[signal.index()],
                items - gone,
                "pending {signal}"
            );
        }
    }

    fn balances(&self) {
        let books = metrics::text(self.registry).expect("text");
        assert_eq!(
            sum(&books, "recovered_items"),
            sum(&books, "delivered_items_total")
                + sum(&books, "dropped_items_total")
                + sum(&books, "pending_items"),
            "the ledger balances"
        );
    }

    fn ack(&self, choices: &mut Choices<'_>) -> Ack {
        let signal = i32::from(choices.byte() % 5);
        let lane = i32::from(choices.byte() % 3);
        let mut committed_seq = choices.u64();
        if let (Some(signal), Some(lane)) = (known_signal(signal), Lane::known(lane))
            && choices.flag()
        {
            committed_seq = self.sent[Track { lane, signal }.index()].wrapping_sub(committed_seq % 32);
        }
        Ack {
            signal,
            lane,
            committed_seq,
        }
    }
}

/// A Welcome of small numbers and of absurd ones.
fn welcome(choices: &mut Choices<'_>) -> Welcome {
    let committed = (0..choices.byte() % 7).map(|_| Committed {
        signal: i32::from(choices.byte() % 5),
        lane: i32::from(choices.byte() % 3),
        seq: choices.u64(),
    });
    let committed = committed.collect();
    let ranges = (0..choices.byte() % 5).map(|_| ClosedRange {
        signal: i32::from(choices.byte() % 5),
        after_seq: choices.u64(),
        to_seq: choices.u64(),
    });
    Welcome {
        protocol: 1,
        committed,
        closed_ranges: ranges.collect(),
        window_bytes: choices.u64(),
        aggregator: String::new(),
    }
}

/// The sum of a metric over its labels.
fn sum(books: &str, name: &str) -> i64 {
    let of_name = books.lines().filter(|line| {
        let metric = line
            .strip_prefix("meridian_agent_")
            .and_then(|line| line.split(['{', ' ']).next());
        metric == Some(name)
    });
    of_name
        .map(|line| {
            line.rsplit(' ')
                .next()
                .and_then(|value| value.parse::<i64>().ok())
                .expect("a number")
        })
        .sum()
}
