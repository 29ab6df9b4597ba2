//! What is known about one agent, and what its messages change. Regions are not known here.

use std::collections::VecDeque;
use std::time::Duration;

use meridian_proto::ids::AgentId;
use meridian_proto::signal::Signal;
use meridian_proto::stream::{Heartbeat, Hello};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::gaps::{self, Gap};
use super::hand::Back;
use super::region::RATE_SECONDS;
use super::report::{AgentReport, AgentState};
use crate::config::CoverageConfig;
use crate::store::Lane;

/// Absences shorter than this are bridged by the retries of every OpenTelemetry SDK.
const ABSENCE_MIN: u64 = 5_000_000_000;
/// Clock differences that are looked at: the delay of a message only ever makes a clock look
/// slow, so that the greatest difference of the last few is nearest to the truth.
const OFFSETS_MAX: usize = 16;
/// A clock that looks slow by less may be a slow network.
const SLOW_CLOCK_MIN: i64 = 2_000_000_000;
const AWAITING_MAX: usize = 64;
/// What another aggregator knows takes a while to get here.
const HEARSAY_DELAY: Duration = Duration::from_secs(10);

/// What survives this process. Times are this side's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgentRecord {
    #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
    pub(crate) id: AgentId,
    pub(crate) region: String,
    pub(crate) cluster: String,
    pub(crate) node: String,
    pub(crate) version: String,
    pub(crate) first_seen: u64,
    pub(crate) last_seen: u64,
    /// When the agent's process started, by the agent's clock: it names the process.
    pub(crate) started: u64,
    /// Everything accepted before is committed.
    pub(crate) watermark: Option<u64>,
    pub(crate) pending_items: u64,
    pub(crate) pending_bytes: u64,
    pub(crate) oldest_pending: Option<u64>,
    pub(crate) dropped_items: u64,
    pub(crate) clock_offset: i64,
    /// It said goodbye with nothing left to deliver.
    pub(crate) stopped: bool,
    /// When the region's traffic was back at its level without it.
    pub(crate) released: Option<u64>,
    /// The region's rows per second when this agent fell silent.
    pub(crate) level_before: Option<f64>,
    /// Its own rows per second.
    pub(crate) rate: f64,
    pub(crate) gaps: Vec<Gap>,
    /// Times that the watermark has passed and whose data is yet to come, as last said.
    #[serde(default)]
    pub(crate) late: Vec<Gap>,
}

impl AgentRecord {
    /// What a process wrote whose clock was ahead of this side's by so much, when it was `written`
    /// by this one.
    pub(super) fn of_clock_ahead(&mut self, ahead: u64, written: u64) {
        self.change_times(|time| time.saturating_sub(ahead).min(written));
        self.clock_offset = self.clock_offset.saturating_add_unsigned(ahead);
    }

    /// Changes every time of this side's clock.
    pub(super) fn change_times(&mut self, change: impl Fn(u64) -> u64) {
        self.first_seen = change(self.first_seen);
        self.last_seen = change(self.last_seen);
        let some = [&mut self.watermark, &mut self.oldest_pending, &mut self.released];
        for time in some.into_iter().flatten() {
            *time = change(*time);
        }
        for gap in self.gaps.iter_mut().chain(&mut self.late) {
            (gap.from, gap.to) = (change(gap.from), change(gap.to));
        }
    }
}

/// One agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) record: AgentRecord,
    /// Everything accepted before is visible here, committed or not.
    live_watermark: Option<u64>,
    pub(crate) connected: bool,
    /// Known from its own messages, not from another aggregator or an earlier process.
    first_hand: bool,
    offsets: VecDeque<i64>,
    last_seqs: [u64; 3],
    /// Watermarks whose rows are not yet committed, with the sequences they wait for.
    awaiting: VecDeque<(u64, [u64; 3])>,
    pub(crate) rows_since_tick: usize,
    /// How long its rate has been observed.
    pub(crate) observed_seconds: f64,
    pub(crate) ticked: u64,
}

impl Agent {
    pub(crate) fn new(id: AgentId) -> Self {
        Self::from_record(AgentRecord {
            id,
            region: String::new(),
            cluster: String::new(),
            node: String::new(),
            version: String::new(),
            first_seen: 0,
            last_seen: 0,
            started: 0,
            watermark: None,
            pending_items: 0,
            pending_bytes: 0,
            oldest_pending: None,
            dropped_items: 0,
            clock_offset: 0,
            stopped: false,
            released: None,
            level_before: None,
            rate: 0.0,
            gaps: Vec::new(),
            late: Vec::new(),
        })
    }

    /// As another aggregator, or an earlier process, left it.
    pub(crate) fn from_record(record: AgentRecord) -> Self {
        let observed_seconds = if record.rate > 0.0 { RATE_SECONDS } else { 0.0 };
        Self {
            observed_seconds,
            record,
            live_watermark: None,
            connected: false,
            first_hand: false,
            offsets: VecDeque::new(),
            last_seqs: [0; 3],
            awaiting: VecDeque::new(),
            rows_since_tick: 0,
            ticked: 0,
        }
    }

    pub(crate) fn hello(&mut self, hello: &Hello, now: u64) {
        let last_seen = self.record.last_seen;
        self.heard(now);
        self.connected = true;
        self.offset(hello.now_unix_nanos, now);
        let was_stopped = std::mem::take(&mut self.record.stopped);
        let record = &mut self.record;
        record.released = None;
        record.region.clone_from(&hello.region);
        record.cluster.clone_from(&hello.cluster);
        record.node.clone_from(&hello.node);
        record.version.clone_from(&hello.version);
        if record.first_seen == 0 {
            record.first_seen = now;
        }
        if record.started == hello.started_unix_nanos {
            return;
        }
        let is_known = std::mem::replace(&mut record.started, hello.started_unix_nanos) != 0;
        let started = self.by_our_clock(hello.started_unix_nanos).min(now);
        let (from, to) = if hello.last_alive_unix_nanos == 0 && !is_known {
            // A new spool: before it was made, there was nothing to deliver.
            self.record.watermark = self.record.watermark.or(Some(started));
            return;
        } else if hello.last_alive_unix_nanos == 0 {
            // The sign of life is lost: it lived when it was heard, and nobody knows how long after.
            (last_seen, started)
        } else if hello.last_alive_unix_nanos > hello.started_unix_nanos {
            // Its clock was set back meanwhile: nobody knows for how long it did not run.
            (last_seen, now)
        } else {
            (self.by_our_clock(hello.last_alive_unix_nanos), started)
        };
        if !was_stopped && to.saturating_sub(from) >= ABSENCE_MIN {
            self.gap(from, to, "not running");
        }
    }

    pub(crate) fn heartbeat(&mut self, heartbeat: &Heartbeat, now: u64) {
        self.heard(now);
        self.offset(heartbeat.now_unix_nanos, now);
        self.record.pending_items = heartbeat.pending_items;
        self.record.pending_bytes = heartbeat.pending_bytes;
        let oldest = heartbeat.oldest_pending_unix_nanos;
        self.record.oldest_pending = (oldest != 0).then(|| self.by_our_clock(oldest).min(now));
        self.record.dropped_items = heartbeat.dropped_items;
        for gap in &heartbeat.gaps {
            let from = self.by_our_clock(gap.from_unix_nanos);
            let to = self.by_our_clock(gap.to_unix_nanos).min(now);
            self.gap(from, to, &gap.reason);
        }
        // Before the watermark: it must not be believed without what it has passed.
        let mut late = Vec::new();
        for one in &heartbeat.late {
            let (from, to) = (one.from_unix_nanos, one.to_unix_nanos);
            let reason = one.reason.clone();
            let (from, to) = (self.by_our_clock(from), self.by_our_clock(to).min(now));
            gaps::add(&mut late, Gap { from, to, reason });
        }
        self.record.late = late;
        self.watermark(heartbeat.watermark_unix_nanos, now);
    }

    pub(crate) fn batch(
        &mut self,
        signal: Signal,
        lane: Lane,
        last_seq: u64,
        watermark: u64,
        rows: usize,
        now: u64,
    ) {
        self.heard(now);
        if lane == Lane::Live {
            // What is caught up says nothing of how busy the agent is now.
            self.rows_since_tick = self.rows_since_tick.saturating_add(rows);
            let seq = &mut self.last_seqs[signal.index()];
            *seq = (*seq).max(last_seq);
        }
        self.watermark(watermark, now);
    }

    pub(crate) fn goodbye(&mut self, pending_items: u64, now: u64) {
        self.heard(now);
        self.connected = false;
        self.record.pending_items = pending_items;
        self.record.stopped = pending_items == 0;
    }

    pub(crate) fn heard(&mut self, now: u64) {
        self.first_hand = true;
        self.record.last_seen = self.record.last_seen.max(now);
        self.record.level_before = None;
    }

    /// This side's clock was set back.
    pub(crate) fn set_back(&mut self, back: Back) {
        self.record.change_times(|time| back.right(time));
        self.record.clock_offset = back.offset(self.record.clock_offset);
        for offset in &mut self.offsets {
            *offset = back.offset(*offset);
        }
        self.live_watermark = self.live_watermark.map(|time| back.right(time));
        for (watermark, _) in &mut self.awaiting {
            *watermark = back.right(*watermark);
        }
    }

    fn offset(&mut self, theirs: u64, ours: u64) {
        if theirs == 0 {
            return;
        }
        let difference = i128::from(theirs) - i128::from(ours);
        self.offsets
            .push_back(i64::try_from(difference).unwrap_or(if difference > 0 { i64::MAX } else { i64::MIN }));
        if self.offsets.len() > OFFSETS_MAX {
            self.offsets.pop_front();
        }
        self.record.clock_offset = self.offsets.iter().copied().max().unwrap_or(0);
    }

    fn by_our_clock(&self, theirs: u64) -> u64 {
        let offset = self.record.clock_offset;
        if (-SLOW_CLOCK_MIN..=0).contains(&offset) {
            theirs
        } else {
            theirs.saturating_add_signed(offset.saturating_neg())
        }
    }

    fn watermark(&mut self, theirs: u64, now: u64) {
        if theirs == 0 {
            return;
        }
        let ours = self.by_our_clock(theirs).min(now);
        self.live_watermark = self.live_watermark.max(Some(ours));
        let is_full = self.awaiting.len() >= AWAITING_MAX;
        match self.awaiting.back_mut() {
            // A later one that waits for more says the same, only later.
            Some(last) if is_full || last.1 == self.last_seqs => {
                *last = (ours.max(last.0), self.last_seqs);
            }
            _ => self.awaiting.push_back((ours, self.last_seqs)),
        }
    }

    fn gap(&mut self, from: u64, to: u64, reason: &str) {
        gaps::add(
            &mut self.record.gaps,
            Gap {
                from,
                to,
                reason: reason.to_owned(),
            },
        );
    }

    pub(crate) fn awaits_commit(&self) -> bool {
        !self.awaiting.is_empty()
    }

    /// Live rows up to these sequences are committed.
    pub(crate) fn committed(&mut self, seqs: [u64; 3]) {
        while let Some((watermark, needs)) = self.awaiting.front() {
            if needs
                .iter()
                .zip(seqs)
                .any(|(needed, committed)| *needed > committed)
            {
                return;
            }
            self.record.watermark = self.record.watermark.max(Some(*watermark));
            self.awaiting.pop_front();
        }
    }

    /// What another aggregator or an earlier process knows of the same agent.
    pub(crate) fn merge(&mut self, other: AgentRecord) {
        for gap in other.gaps.clone() {
            gaps::add(&mut self.record.gaps, gap);
        }
        let watermark = self.record.watermark.max(other.watermark);
        if other.watermark > self.record.watermark && other.last_seen <= self.record.last_seen {
            // With its watermark comes what that has passed, until the agent says what is left.
            for late in other.late.clone() {
                gaps::add(&mut self.record.late, late);
            }
        }
        if other.last_seen > self.record.last_seen {
            let gaps = std::mem::take(&mut self.record.gaps);
            self.record = AgentRecord { gaps, ..other };
            self.first_hand = false;
        } else if other.last_seen == self.record.last_seen {
            self.record.released = self.record.released.or(other.released);
            self.record.level_before = self.record.level_before.or(other.level_before);
        }
        self.record.watermark = watermark;
    }

    /// Everything that it accepted before this time is visible here.
    pub(crate) fn complete_to(&self) -> Option<u64> {
        self.live_watermark.max(self.record.watermark)
    }

    pub(crate) fn is_expected(&self) -> bool {
        !self.record.stopped && self.record.released.is_none()
    }

    pub(crate) fn state(&self, config: &CoverageConfig, now: u64) -> AgentState {
        let silent_for = Duration::from_nanos(now.saturating_sub(self.record.last_seen));
        let hearsay = if self.first_hand {
            Duration::ZERO
        } else {
            HEARSAY_DELAY
        };
        if self.record.stopped {
            AgentState::Stopped
        } else if self.record.released.is_some() || silent_for > config.gone_after {
            AgentState::Gone
        } else if silent_for > config.silent_after + hearsay {
            AgentState::Silent
        } else {
            let behind = self
                .complete_to()
                .map(|to| Duration::from_nanos(now.saturating_sub(to)));
            match behind {
                Some(behind) if behind <= config.late_after + hearsay => AgentState::Ok,
                _ => AgentState::Late,
            }
        }
    }

    pub(crate) fn report(&self, config: &CoverageConfig, now: u64) -> AgentReport {
        let record = &self.record;
        AgentReport {
            region: record.region.clone(),
            cluster: record.cluster.clone(),
            node: record.node.clone(),
            agent_id: record.id,
            version: record.version.clone(),
            state: self.state(config, now),
            last_seen: record.last_seen,
            watermark: self.complete_to(),
            pending_items: record.pending_items,
            pending_bytes: record.pending_bytes,
            oldest_pending: record.oldest_pending,
            clock_offset_ms: record.clock_offset / 1_000_000,
        }
    }
}

fn write_id<S: Serializer>(id: &AgentId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AgentId, D::Error> {
    let text = String::deserialize(deserializer)?;
    AgentId::parse(&text).ok_or_else(|| serde::de::Error::custom("not an agent's identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_agent_that_lost_its_sign_of_life_was_absent_since_it_was_last_heard() {
        let hello = |started: u64, now: u64| Hello {
            started_unix_nanos: started * SECOND,
            now_unix_nanos: now * SECOND,
            ..Hello::default()
        };
        let mut agent = Agent::new(AgentId::random());
        agent.hello(&hello(90, 100), 100 * SECOND);
        assert_eq!(agent.record.watermark, Some(90 * SECOND), "a new spool");
        assert_eq!(agent.record.gaps, []);
        agent.heard(200 * SECOND);
        agent.hello(&hello(390, 400), 400 * SECOND);
        let absence = Gap {
            from: 200 * SECOND,
            to: 390 * SECOND,
            reason: "not running".to_owned(),
        };
        assert_eq!(agent.record.gaps, [absence]);
    }
}
