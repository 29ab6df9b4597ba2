//! One stream after its Welcome: does what the core says, and tells the core what happened.
//!
//! Everything that can happen is one [`Event`]; everything that is done in answer is in
//! [`Session::act`]. Reading and building run on threads that may block, one at a time, and end
//! with the stream. Nothing here decides what is sent.

use std::time::{Duration, Instant};

use meridian_proto::payload::PayloadError;
use meridian_proto::stream::{
    Ack, AgentMessage, AggregatorMessage, Flush, Welcome, agent_message, aggregator_message,
};
use meridian_runtime::clock::now;
use meridian_runtime::tasks::{self, Task, TaskError};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tonic::Streaming;

use super::build::{self, Built};
use super::connect::Stream;
use super::core::Action;
use super::deliver::{Delivery, known_signal};
use super::error::SessionError;
use super::gather::Wanted;
use super::lane::{Lane, Track};
use crate::spool::{ReadError, Reader, Record};
use crate::stop::Stop;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// New records are read this long after the first of them: a small part of a batch's linger.
const NEWS_PAUSE: Duration = Duration::from_millis(20);
/// A batch leaves only when a heartbeat would fit before it.
const SLOTS_FOR_BATCH: usize = 2;
/// How long the aggregator may take to say why it closed, or to read Goodbye.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a session ended without a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All is delivered.
    Drained,
    /// There is no time left.
    Deadline,
}

/// A stream that is open.
pub struct Session<'a> {
    delivery: &'a mut Delivery,
    outbound: mpsc::Sender<AgentMessage>,
    inbound: Streaming<AggregatorMessage>,
    stop: Stop,
    is_stopping: bool,
    ack_timeout: Duration,
    heartbeat: Interval,
    is_heartbeat_due: bool,
    /// Hears of new records.
    listener: Reader,
    /// When to look at those that were heard of.
    news_due: Option<tokio::time::Instant>,
    /// Reads them; away while a read runs.
    reader: Option<Reader>,
    work: Option<Task<Work>>,
    /// That an acknowledgement went back is told once.
    went_back: bool,
}

/// What a thread has done.
enum Work {
    Read(Reader, Track, Result<Vec<Record>, ReadError>),
    Built(Lane, Result<Built, PayloadError>),
}

enum Event {
    Inbound(Result<Option<AggregatorMessage>, tonic::Status>),
    Tick,
    Worked(Result<Work, TaskError>),
    News,
    /// Something is due, or there is room to send.
    Look,
    /// The connection takes no more messages.
    Closed,
    Stop,
    Over,
}

enum Next {
    Wait(Option<Instant>),
    Finish,
}

impl<'a> Session<'a> {
    /// A session on a stream whose Welcome has come.
    pub fn new(delivery: &'a mut Delivery, stream: Stream, stop: Stop, ack_timeout: Duration) -> Self {
        let mut heartbeat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            listener: delivery.reader(),
            news_due: None,
            reader: Some(delivery.reader()),
            delivery,
            outbound: stream.outbound,
            inbound: stream.inbound,
            stop,
            is_stopping: false,
            ack_timeout,
            heartbeat,
            // The first message: what is late must be known before a watermark passes it.
            is_heartbeat_due: true,
            work: None,
            went_back: false,
        }
    }

    /// Delivers until all is delivered after a stop, the deadline passes, or the stream fails.
    pub async fn run(mut self, welcome: &Welcome) -> Result<Ended, SessionError> {
        self.delivery.on_welcome(welcome);
        let outcome = self.exchange().await;
        if outcome.is_ok() {
            self.say_goodbye().await;
        }
        outcome
    }

    async fn exchange(&mut self) -> Result<Ended, SessionError> {
        loop {
            let until = match self.act()? {
                Next::Wait(until) => until,
                Next::Finish => return Ok(Ended::Drained),
            };
            match self.event(until).await {
                Event::Inbound(message) => {
                    self.on_message(&message?.ok_or(SessionError::Ended)?)?;
                }
                Event::Tick => self.is_heartbeat_due = true,
                Event::Worked(work) => self.on_work(work?)?,
                Event::News => self.delivery.core.on_news(),
                Event::Look => {}
                Event::Closed => return Err(self.last_words().await),
                Event::Stop => {
                    self.is_stopping = true;
                    self.delivery.core.on_stop();
                }
                Event::Over => return Ok(Ended::Deadline),
            }
        }
    }

    /// Does everything that can be done without waiting.
    fn act(&mut self) -> Result<Next, SessionError> {
        loop {
            let now = now();
            if self.is_heartbeat_due && self.outbound.capacity() > 0 {
                self.send_heartbeat(now);
            }
            let can_send = self.outbound.capacity() >= SLOTS_FOR_BATCH;
            match self.delivery.core.next(now, can_send) {
                Action::Read(track, wanted) => self.read(track, wanted),
                Action::Build(track, records) => self.build(track, records),
                Action::Send(lane, built) => self.send_batch(lane, *built, now),
                Action::Skip(moved) => {
                    if let Some(moved) = moved {
                        self.delivery.apply(moved);
                    }
                }
                Action::Flush => self.send(agent_message::Kind::Flush(Flush {})),
                Action::Finish => return Ok(Next::Finish),
                Action::Wait(until) => return self.wait(until, now),
            }
        }
    }

    /// Until when to wait: an acknowledgement that is owed is waited for, but not for ever.
    fn wait(&self, until: Option<Instant>, now: Instant) -> Result<Next, SessionError> {
        let waiting_since = self.delivery.core.flow().waiting_since();
        let Some(ack_deadline) = waiting_since.map(|since| since + self.ack_timeout) else {
            return Ok(Next::Wait(until));
        };
        if ack_deadline <= now {
            return Err(SessionError::NoAck);
        }
        let until = until.map_or(ack_deadline, |until| until.min(ack_deadline));
        Ok(Next::Wait(Some(until)))
    }

    async fn event(&mut self, until: Option<Instant>) -> Event {
        tokio::select! {
            message = self.inbound.message() => Event::Inbound(message),
            _ = self.heartbeat.tick() => Event::Tick,
            work = finished(&mut self.work) => Event::Worked(work),
            () = news(&mut self.listener, &mut self.news_due) => Event::News,
            () = sleep_until(until) => Event::Look,
            event = room(&self.outbound) => event,
            event = told(&mut self.stop, self.is_stopping) => event,
        }
    }

    fn on_message(&mut self, message: &AggregatorMessage) -> Result<(), SessionError> {
        match &message.kind {
            Some(aggregator_message::Kind::Ack(ack)) => self.on_ack(ack),
            Some(aggregator_message::Kind::Welcome(_)) | None => {
                self.ignore();
                Ok(())
            }
        }
    }

    fn on_ack(&mut self, ack: &Ack) -> Result<(), SessionError> {
        let (Some(signal), Some(lane)) = (known_signal(ack.signal), Lane::known(ack.lane)) else {
            self.ignore();
            return Ok(());
        };
        let track = Track { lane, signal };
        if self.delivery.core.is_below_confirmed(track, ack.committed_seq)
            && !std::mem::replace(&mut self.went_back, true)
        {
            tracing::warn!(
                exporter = self.delivery.metrics().1, %signal, committed_seq = ack.committed_seq,
                "the aggregator acknowledges less than it had acknowledged; that is ignored"
            );
        }
        if let Some(moved) = self.delivery.core.on_ack(track, ack.committed_seq, now())? {
            self.delivery.apply(moved);
        }
        Ok(())
    }

    fn on_work(&mut self, work: Work) -> Result<(), SessionError> {
        match work {
            Work::Read(reader, track, records) => {
                self.reader = Some(reader);
                self.delivery.core.on_read(track, records?, now());
            }
            Work::Built(lane, built) => self.delivery.core.on_built(lane, built?),
        }
        Ok(())
    }

    fn read(&mut self, track: Track, wanted: Wanted) {
        if !self.listener.has_more(track.signal, wanted.after_seq) {
            // As after every read that took all there was: not worth another thread's time.
            self.delivery.core.on_read(track, Vec::new(), now());
            return;
        }
        let reader = self.reader.take().unwrap_or_else(|| self.delivery.reader());
        self.work = Some(tasks::blocking("spool read", move || {
            let records = reader.read(track.signal, wanted.after_seq, wanted.max_items, wanted.max_bytes);
            Work::Read(reader, track, records)
        }));
    }

    fn build(&mut self, track: Track, records: Vec<Record>) {
        let origin = self.delivery.origin().clone();
        self.work = Some(tasks::blocking("batch build", move || {
            Work::Built(track.lane, build::build(track.signal, &records, &origin))
        }));
    }

    fn send_batch(&mut self, lane: Lane, built: Built, now: Instant) {
        let (watermark, has_unknown_stall) = self.delivery.watermark();
        if has_unknown_stall {
            self.send_heartbeat(now);
        }
        let (metrics, name) = self.delivery.metrics();
        metrics.sent(name, built.signal, built.payload.len());
        metrics.in_flight(name, self.delivery.core.flow().in_flight_bytes());
        self.send(agent_message::Kind::Batch(built.into_message(lane, watermark)));
    }

    fn send_heartbeat(&mut self, now: Instant) {
        self.is_heartbeat_due = false;
        let heartbeat = self.delivery.heartbeat(now);
        self.send(agent_message::Kind::Heartbeat(heartbeat));
    }

    /// Sends where there is room. A closed stream takes nothing and is noticed as such.
    fn send(&self, kind: agent_message::Kind) {
        let message = AgentMessage { kind: Some(kind) };
        if self.outbound.try_send(message).is_err() {
            tracing::debug!(
                exporter = self.delivery.metrics().1,
                "a message found the stream closed"
            );
        }
    }

    fn ignore(&self) {
        let (metrics, name) = self.delivery.metrics();
        metrics.ignored(name);
    }

    /// Why the aggregator closed: its status may still be on the way.
    async fn last_words(&mut self) -> SessionError {
        let status = async {
            loop {
                match self.inbound.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return SessionError::Ended,
                    Err(status) => return status.into(),
                }
            }
        };
        tokio::time::timeout(LAST_WORDS, status)
            .await
            .unwrap_or(SessionError::Ended)
    }

    /// Says Goodbye, closes our direction, and waits until the aggregator has closed its own.
    async fn say_goodbye(self) {
        let goodbye = AgentMessage {
            kind: Some(agent_message::Kind::Goodbye(self.delivery.goodbye())),
        };
        let Self {
            outbound,
            mut inbound,
            ..
        } = self;
        let farewell = async move {
            if outbound.send(goodbye).await.is_ok() {
                drop(outbound);
                while let Ok(Some(_)) = inbound.message().await {}
            }
        };
        if tokio::time::timeout(LAST_WORDS, farewell).await.is_err() {
            tracing::debug!("the aggregator did not close the stream after Goodbye");
        }
    }
}

async fn finished(work: &mut Option<Task<Work>>) -> Result<Work, TaskError> {
    let Some(task) = work else {
        return std::future::pending().await;
    };
    let outcome = task.await;
    *work = None;
    outcome
}

/// Resolves some time after there is news, so that what arrives in one moment is read at once.
/// What was heard is kept in `due` when this is dropped before.
async fn news(listener: &mut Reader, due: &mut Option<tokio::time::Instant>) {
    if due.is_none() {
        listener.wait_for_more().await;
        *due = Some(tokio::time::Instant::now() + NEWS_PAUSE);
    }
    if let Some(instant) = *due {
        tokio::time::sleep_until(instant).await;
        *due = None;
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

/// Resolves when there is room for a batch where there was none.
async fn room(outbound: &mpsc::Sender<AgentMessage>) -> Event {
    if outbound.capacity() >= SLOTS_FOR_BATCH {
        outbound.closed().await;
        return Event::Closed;
    }
    match outbound.reserve_many(SLOTS_FOR_BATCH).await {
        Ok(_) => Event::Look,
        Err(_) => Event::Closed,
    }
}

async fn told(stop: &mut Stop, is_stopping: bool) -> Event {
    if is_stopping {
        stop.over().await;
        return Event::Over;
    }
    stop.requested().await;
    Event::Stop
}
