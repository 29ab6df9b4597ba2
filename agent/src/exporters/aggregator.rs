//! The aggregator exporter: carries the spool's records to an aggregator, in order and once.
//!
//! ```text
//!            ┌─ core (pure): flow, gather ─┐
//!  spool ──► │  what to read, build, send  │ ──► session (one stream) ──► aggregator
//!            └──────── cursor ◄────────────┘ ◄── Welcome, Ack
//! ```
//!
//! This file keeps the exporter connected: it takes the endpoints in turn, waits with jitter
//! when all of them failed, and logs a line when the state of an endpoint changes, not one per
//! attempt. It never gives up and never drops a record: what cannot be delivered stays in the
//! spool, whose policy decides.

mod backlog;
mod build;
mod connect;
mod core;
mod deliver;
mod error;
mod flow;
mod gaps;
mod gather;
mod lane;
mod metrics;
mod session;
mod settings;
mod state_log;

use std::convert::Infallible;
use std::time::Duration;

use meridian_proto::signal::Signal;
use meridian_runtime::backoff::Backoff;
use meridian_runtime::clock::Clock;
use meridian_runtime::net::Network;

pub use build::build as build_batch;
pub use core::Action;
pub use deliver::{Delivery, known_signal};
pub use gather::BatchLimits;
pub use lane::{Lane, Track};
pub use metrics::Metrics;
pub use settings::Settings;

use crate::ledger::Ledger;
use crate::otlp::Origin;
use crate::spool::Spool;
use crate::stalls::Stalls;
use crate::stop::Stop;
use error::SessionError;
use session::{Ended, Session};
use state_log::StateLog;

/// The first wait after all endpoints failed, at most; it doubles up to `reconnect_max`.
const BACKOFF_INITIAL: Duration = Duration::from_millis(500);
/// A peer that will not have us is asked again only after this, and as much jitter.
const REFUSED_RETRY: Duration = Duration::from_secs(30);
/// A stream that lived this long was a good one, also if it was idle.
const GOOD_STREAM: Duration = Duration::from_secs(10);

/// What an aggregator exporter needs of the process around it.
#[derive(Clone)]
pub struct Context {
    /// Where the records are.
    pub spool: Spool,
    /// The time of day.
    pub clock: Clock,
    /// How aggregators are reached.
    pub network: Network,
    /// Who this agent is.
    pub origin: Origin,
    /// When this process started.
    pub started_unix_nanos: u64,
    /// What is delivered and dropped is counted here.
    pub ledger: Ledger,
    /// How the streams fare is counted here.
    pub metrics: Metrics,
    /// The stalls of this process.
    pub stalls: Stalls,
}

/// One aggregator exporter.
pub struct Aggregator {
    name: String,
    settings: Settings,
    network: Network,
    delivery: Delivery,
}

impl Aggregator {
    /// An exporter of this name (its key in the configuration and its cursor in the spool).
    pub fn new(name: impl Into<String>, settings: Settings, context: Context) -> Self {
        let name = name.into();
        let cursors = Signal::ALL.map(|signal| context.spool.cursor(&name, signal));
        Self {
            network: context.network.clone(),
            delivery: Delivery::new(name.clone(), &settings, context, cursors),
            name,
            settings,
        }
    }

    /// Delivers until it is told to stop and has delivered all, or the deadline has passed.
    pub async fn run(mut self, mut stop: Stop) -> Result<(), Infallible> {
        let mut backoff = Backoff::new(BACKOFF_INITIAL, self.settings.reconnect_max);
        let mut states = StateLog::new(&self.name, self.settings.endpoints.len());
        let mut failures = 0_usize;
        let mut endpoint = 0_usize;
        while !stop.is_over() {
            let (error, was_good) = match self.session(endpoint, &mut states, &stop).await {
                Ok(Ended::Drained | Ended::Deadline) => break,
                Err(failure) => failure,
            };
            self.delivery.count_failure(&error);
            states.failed(endpoint, self.settings.endpoints[endpoint].as_str(), &error);
            if was_good {
                backoff.reset();
                failures = 0;
            }
            if stop.deadline().is_some() && !self.delivery.has_pending() {
                break;
            }
            failures += 1;
            endpoint = (endpoint + 1) % self.settings.endpoints.len();
            if failures.is_multiple_of(self.settings.endpoints.len()) {
                pause(delay(&mut backoff, &error), &mut stop).await;
            }
        }
        self.delivery.log_end();
        Ok(())
    }

    /// One stream, from connecting to its end.
    async fn session(
        &mut self,
        endpoint: usize,
        states: &mut StateLog,
        stop: &Stop,
    ) -> Result<Ended, (SessionError, bool)> {
        let url = &self.settings.endpoints[endpoint];
        let mut deadline = stop.clone();
        let opened = tokio::select! {
            opened = connect::open(
                &self.network,
                url,
                self.settings.connect_timeout,
                self.delivery.hello(),
            ) => opened,
            () = deadline.over() => return Ok(Ended::Deadline),
        };
        let (stream, welcome) = opened.map_err(|error| (error, false))?;
        let opened_at = tokio::time::Instant::now();
        states.connected(endpoint, url.as_str(), &welcome);
        let ended = Session::new(
            &mut self.delivery,
            stream,
            stop.clone(),
            self.settings.ack_timeout,
        )
        .run(&welcome)
        .await;
        let had_progress = self.delivery.on_stream_end();
        ended.map_err(|error| (error, had_progress || opened_at.elapsed() >= GOOD_STREAM))
    }
}

fn delay(backoff: &mut Backoff, error: &SessionError) -> Duration {
    if error.is_refusal() {
        REFUSED_RETRY + Backoff::new(REFUSED_RETRY, REFUSED_RETRY).next_delay()
    } else {
        backoff.next_delay()
    }
}

/// Waits, but not longer than until the exporter is told to stop: then every second counts.
async fn pause(delay: Duration, stop: &mut Stop) {
    if stop.deadline().is_some() {
        let hurried = delay.min(Duration::from_secs(1));
        tokio::select! {
            () = tokio::time::sleep(hurried) => {}
            () = stop.over() => {}
        }
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = stop.requested() => {}
    }
}
