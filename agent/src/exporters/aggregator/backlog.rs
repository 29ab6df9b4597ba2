//! Backlogs: when one is set aside to be delivered beside fresh data, and how far that has come.
//!
//! It decides and tells. What becomes of the sequences is the aggregator's answer; what is sent
//! is [`super::core`]'s.

use std::time::{Duration, Instant};

use meridian_proto::signal::Signal;
use meridian_proto::stream::{self, SetAside};

use super::settings::{CatchUp, Settings};
use crate::spool::{Backlog, Spool};

/// How often the log says how far catching up has come.
const PROGRESS: Duration = Duration::from_secs(30);

/// The backlogs of one exporter.
pub struct Backlogs {
    exporter: String,
    spool: Spool,
    catch_up: CatchUp,
    /// What has waited longer is a backlog.
    waited: Duration,
    bytes_max: u64,
    progress: Option<Progress>,
}

/// Catching up that goes on.
struct Progress {
    since: Instant,
    told: Instant,
}

impl Backlogs {
    /// Those of this exporter.
    pub fn new(exporter: String, settings: &Settings, spool: Spool) -> Self {
        Self {
            exporter,
            spool,
            catch_up: settings.catch_up,
            waited: settings.catch_up_after,
            bytes_max: settings.batch.bytes as u64,
            progress: None,
        }
    }

    /// What a Hello asks for. An aggregator may obey it after this process has given up waiting,
    /// even after its end. Therefore it is on the disk what is asked before it leaves, and is asked
    /// again, for no less, until there is an answer.
    ///
    /// What was accepted in the last moments is left to the live lane: the aggregator may have been
    /// back by then, and at the end of the backlog it would be seen last.
    pub async fn set_aside(&self) -> Vec<SetAside> {
        let asked_seq = self.spool.asked_seq(&self.exporter);
        let backlog = self.spool.backlog(&self.exporter, self.waited);
        let wanted_seq = self.is_worth_it(&backlog).then_some(backlog.to_seq);
        let Some(to_seq) = asked_seq.max(wanted_seq) else {
            return Vec::new();
        };
        if asked_seq != Some(to_seq)
            && let Err(error) = self.spool.ask(&self.exporter, to_seq).await
        {
            tracing::warn!(exporter = self.exporter, %error,
                "a backlog cannot be set aside, because the spool's disk fails; it is delivered in order");
            return Vec::new();
        }
        let is_asked = |signal: &Signal| asked_seq.is_some() || backlog.has_records[signal.index()];
        let request = |signal: Signal| SetAside {
            signal: stream::Signal::from(signal).into(),
            to_seq,
            caught_up_seq: backlog.caught_up_seqs[signal.index()],
        };
        Signal::ALL.into_iter().filter(is_asked).map(request).collect()
    }

    fn is_worth_it(&self, backlog: &Backlog) -> bool {
        self.catch_up == CatchUp::Newest && backlog.bytes > self.bytes_max
    }

    /// The aggregator has answered.
    pub fn on_welcome(&mut self) {
        self.spool.answered(&self.exporter);
        let items = self.spool.pending(&self.exporter).catch_up_items;
        if items > 0 {
            tracing::info!(
                exporter = self.exporter,
                items,
                "catching up beside fresh data; the answers show a gap until it is done"
            );
        }
    }

    /// Says how far it is, now and then, and when it is over.
    pub fn log_progress(&mut self, now: Instant) {
        let items = self.spool.pending(&self.exporter).catch_up_items;
        match &mut self.progress {
            None if items > 0 => {
                self.progress = Some(Progress {
                    since: now,
                    told: now,
                });
            }
            Some(progress) if items == 0 => {
                let seconds = now.duration_since(progress.since).as_secs();
                tracing::info!(exporter = self.exporter, seconds, "caught up");
                self.progress = None;
            }
            Some(progress) if now.duration_since(progress.told) >= PROGRESS => {
                progress.told = now;
                tracing::info!(exporter = self.exporter, items_left = items, "catching up");
            }
            _ => {}
        }
    }
}
