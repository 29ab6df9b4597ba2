//! Takes what the spool holds for one exporter to its other side, in requests: reads, packs,
//! sends several at once, sends again, and moves the cursor past what is settled. What the
//! requests mean is the sink's business; when each may leave is `pace`'s and `breaker`'s.
//!
//! ```text
//!          translate          pack              send
//!   spool ──────────► waiting ─────► queued ─────────► on their way ──► books ──► cursor
//!                        ▲              ▲ later, halves     │
//!                        └──────────────┴───── verdict ─────┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::now;
use meridian_runtime::tasks::{self, Task, TaskError};

use super::books::{ItemId, Settled};
use super::breaker::Breaker;
use super::complaints::Complaints;
use super::metrics::{Counted, Metrics};
use super::outbox::{Outbox, Queued, Waits, Which};
use super::pace::Pace;
use super::packer::Piece;
use super::reading::{Reading, Translated};
use super::settings::Settings;
use super::sink::{Fate, Fraction, Part, Sink, Trouble, TroubleKind, Verdict};
use crate::ledger::{DropReason, Ledger};
use crate::spool::{ReadError, Reader, Spool};
use crate::stop::Stop;

/// After a refusal of us, not of data, the other side is asked this often at most.
const DENIED_PAUSE: Duration = Duration::from_secs(15);
/// New records are read this long after the first of them: many small ones cost one read.
const NEWS_PAUSE: Duration = Duration::from_millis(20);
/// After the spool could not be read it is tried again so late.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// What a sink keeps for its next start is written so often at most.
const KEEP_PAUSE: Duration = Duration::from_secs(1);
/// Who has refused so many pieces, and taken none, refuses everything.
const REFUSED_IN_A_ROW: u32 = 8;
/// So many pieces are remembered of whether they came back.
const LATELY_PIECES: usize = 1000;
/// The first wait after an endpoint has failed, at most.
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// One exporter's way to its sink.
pub struct Courier<S: Sink> {
    name: String,
    sink: Arc<S>,
    spool: Spool,
    ledger: Ledger,
    settings: Settings,
    counted: Counted,
    reading: Reading,
    outbox: Outbox<S::Content>,
    pace: Pace,
    breaker: Breaker,
    on_the_way: FuturesUnordered<Task<Answer<S::Content>>>,
    reader: Reader,
    read: Option<Task<ReadOutcome<S::Content>>>,
    /// The spool could not be read: not before this.
    read_again: Option<Instant>,
    /// The sink is keeping what it has to before the cursor moves there.
    keeping: Option<Task<Vec<(Signal, Settled)>>>,
    /// It does so not before this.
    keep_again: Option<Instant>,
    complaints: Complaints,
    lately: Lately,
    /// Pieces that were refused since something was last taken.
    refused: u32,
}

/// How many of the latest pieces were settled, and how many came back. Where most come back, the
/// other side throttles or is broken, and it is no fault of theirs.
#[derive(Debug, Default)]
struct Lately {
    settled: usize,
    returned: usize,
}

impl Lately {
    fn note(&mut self, sent: usize, exceptions: &[(usize, Fate)]) {
        let is_back = |(_, fate): &&(usize, Fate)| *fate == Fate::Again;
        let returned = exceptions.iter().filter(is_back).count();
        self.returned += returned;
        self.settled += sent.saturating_sub(returned);
        if self.returned + self.settled > LATELY_PIECES {
            self.returned /= 2;
            self.settled /= 2;
        }
    }

    fn are_most_taken(&self) -> bool {
        self.settled > self.returned
    }
}

type ReadOutcome<C> = Result<Vec<Translated<C>>, ReadError>;

/// A request that has come back.
struct Answer<C> {
    queued: Queued<C>,
    verdict: Verdict,
    took: Duration,
}

enum Event<C> {
    Read(Result<ReadOutcome<C>, TaskError>),
    Answered(Result<Answer<C>, TaskError>),
    Kept(Result<Vec<(Signal, Settled)>, TaskError>),
    News,
    Due,
    Stop,
    Over,
}

/// What all couriers are given.
#[derive(Clone)]
pub struct Context {
    /// Where the records are.
    pub spool: Spool,
    /// Where what becomes of them is counted.
    pub ledger: Ledger,
    /// How the requests fare.
    pub metrics: Metrics,
}

impl<S: Sink> Courier<S> {
    /// Begins at the spool's cursors.
    pub fn new(name: String, sink: S, settings: Settings, context: Context) -> Self {
        let cursors = Signal::ALL.map(|signal| context.spool.cursor(&name, signal));
        let waits = Waits {
            linger: settings.linger,
            retry_longest: settings.retry_longest,
        };
        Self {
            counted: context.metrics.of(&name),
            reading: Reading::new(sink.signals(), cursors),
            outbox: Outbox::new(sink.limits(), waits),
            pace: Pace::new(settings.rate, now()),
            breaker: Breaker::new(RETRY_FIRST, settings.retry_longest),
            on_the_way: FuturesUnordered::new(),
            reader: context.spool.reader(&name),
            read: None,
            read_again: None,
            keeping: None,
            keep_again: None,
            complaints: Complaints::default(),
            lately: Lately::default(),
            refused: 0,
            sink: Arc::new(sink),
            spool: context.spool,
            ledger: context.ledger,
            settings,
            name,
        }
    }

    /// Delivers until it is told to stop and all is delivered, or the deadline has passed.
    pub async fn run(mut self, mut stop: Stop) -> Result<(), TaskError> {
        let mut listener = self.spool.reader(&self.name);
        let mut is_stopping = false;
        loop {
            self.pack(is_stopping && self.read.is_none() && !self.reading.has_more(&self.reader));
            self.settle(is_stopping);
            let due = self.dispatch();
            self.begin_reading();
            if is_stopping && self.is_idle() {
                return Ok(());
            }
            match self.next_event(&mut listener, &mut stop, is_stopping, due).await {
                Event::Read(read) => {
                    self.read = None;
                    self.take_in(read?);
                }
                Event::Answered(answer) => self.judge(answer?),
                Event::Kept(settled) => {
                    self.keeping = None;
                    self.keep_again = Some(now() + KEEP_PAUSE);
                    self.advance(settled?);
                }
                Event::News | Event::Due => {}
                Event::Stop => is_stopping = true,
                Event::Over => {
                    self.settle(true);
                    return Ok(());
                }
            }
        }
    }

    async fn next_event(
        &mut self,
        listener: &mut Reader,
        stop: &mut Stop,
        is_stopping: bool,
        due: Option<Instant>,
    ) -> Event<S::Content> {
        let is_listening = self.read.is_none() && !self.is_full();
        let due = [due, self.read_again, self.keep_again]
            .into_iter()
            .flatten()
            .min();
        tokio::select! {
            biased;
            event = told(stop, is_stopping) => event,
            Some(answer) = self.on_the_way.next() => Event::Answered(answer),
            Some(read) = ended(&mut self.read) => Event::Read(read),
            Some(settled) = ended(&mut self.keeping) => Event::Kept(settled),
            () = news(listener), if is_listening => Event::News,
            () = until(due) => Event::Due,
        }
    }

    /// Whether as much is held as may be.
    fn is_full(&self) -> bool {
        self.reading.bytes() >= self.settings.window_bytes
    }

    fn is_idle(&self) -> bool {
        let is_at_rest = self.read.is_none() && self.keeping.is_none();
        is_at_rest && self.reading.is_settled() && !self.reading.has_more(&self.reader)
    }

    fn begin_reading(&mut self) {
        let is_early = self.read_again.is_some_and(|again| now() < again);
        if self.read.is_some() || self.is_full() || is_early {
            return;
        }
        self.read_again = None;
        let Some(wanted) = self.reading.next(&self.reader) else {
            return;
        };
        let (sink, reader) = (Arc::clone(&self.sink), self.reader.clone());
        self.read = Some(tasks::blocking("translate", move || {
            wanted.read(&reader, sink.as_ref())
        }));
    }

    fn take_in(&mut self, records: ReadOutcome<S::Content>) {
        let now = now();
        match records {
            Ok(records) => {
                for record in records {
                    let pieces = self.reading.open(record);
                    self.outbox.add(pieces, now);
                }
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    exporter = self.name,
                    error = meridian_runtime::chain(error),
                    "the spool cannot be read; it is tried again"
                );
                self.read_again = Some(now + READ_AGAIN);
            }
        }
    }

    /// Makes requests of what waits. Where nothing else follows, or can make room, open ones go as
    /// well.
    fn pack(&mut self, is_last: bool) {
        let now = now();
        let is_stuck = self.is_full() && self.on_the_way.is_empty() && !self.outbox.has_queued();
        // What could not leave anyway waits for more company.
        let has_room = self.on_the_way.len() < self.settings.requests_at_once;
        let may_leave = has_room && self.breaker.admit(now).is_ok();
        let which = match may_leave {
            _ if is_last || is_stuck => Which::All,
            true => Which::Late,
            false => Which::Full,
        };
        self.outbox.pack(now, which);
        for item in self.outbox.take_too_large() {
            self.reading.settle(item, Some(DropReason::TooLarge));
        }
    }

    /// Sends what may leave now; tells when to look again.
    fn dispatch(&mut self) -> Option<Instant> {
        let now = now();
        let mut blocked = None;
        while self.on_the_way.len() < self.settings.requests_at_once && self.outbox.has_ready(now) {
            if let Err(again) = self.breaker.admit(now) {
                blocked = again;
                break;
            }
            if let Err(again) = self.pace.take(now) {
                blocked = Some(again);
                break;
            }
            if let Some(queued) = self.outbox.take_ready(now) {
                self.breaker.on_sent();
                self.send(queued);
            }
        }
        [blocked, self.outbox.next_due(now)].into_iter().flatten().min()
    }

    fn send(&mut self, queued: Queued<S::Content>) {
        let sink = Arc::clone(&self.sink);
        self.on_the_way.push(tasks::spawn("request", async move {
            let begun = now();
            let verdict = sink.send(&queued.request).await;
            Answer {
                queued,
                verdict,
                took: now().saturating_duration_since(begun),
            }
        }));
    }

    fn judge(&mut self, answer: Answer<S::Content>) {
        let now = now();
        self.counted.answered(&answer.verdict, answer.took);
        match answer.verdict {
            Verdict::Taken(exceptions) => {
                self.works_again();
                let sent = answer.queued.request.pieces.len();
                if exceptions.len() < sent {
                    self.refused = 0;
                }
                self.lately.note(sent, &exceptions);
                let (request, are_others_taken) = (answer.queued.request, self.lately.are_most_taken());
                let returned = self
                    .reading
                    .settle_request(request, &exceptions, are_others_taken);
                if returned.given_up > 0 {
                    self.counted
                        .refused(now, "it comes back again and again, while most others are taken");
                }
                // Pieces that come back are how some services throttle.
                match returned.again.len() * 2 > sent {
                    true => self.pace.on_throttle(now),
                    false => self.pace.on_success(),
                }
                self.outbox.add(returned.again, now);
            }
            Verdict::Later(trouble) => {
                self.trouble(&trouble, now);
                self.outbox.later(answer.queued, now);
            }
            Verdict::Refused(message) => {
                self.works_again();
                if let Some(alone) = self.outbox.halve(answer.queued) {
                    self.refuse(&alone, &message, now);
                }
            }
        }
        self.counted.rate(self.pace.rate());
    }

    /// A piece is refused by itself: so is each of its items, or one of them spoils the others.
    fn refuse(&mut self, piece: &Piece<Part<S::Content>>, message: &str, now: Instant) {
        // Whoever refuses everything is not asked about each item.
        let parts = match self.refused < REFUSED_IN_A_ROW {
            true => divided(self.sink.as_ref(), piece),
            false => Vec::new(),
        };
        let item = piece.content.item;
        if parts.is_empty() {
            self.refused = self.refused.saturating_add(1);
            self.counted.refused(now, message);
            self.reading.settle(item, Some(DropReason::Refused));
        } else {
            self.reading.divided(item, &parts);
            parts
                .into_iter()
                .rev()
                .for_each(|part| self.outbox.try_alone(part));
        }
    }

    fn works_again(&mut self) {
        self.breaker.on_answer();
        if self.complaints.end() {
            tracing::info!(exporter = self.name, "requests are taken again");
        }
    }

    fn trouble(&mut self, trouble: &Trouble, now: Instant) {
        match trouble.kind {
            // The other side is there: only the rate is wrong.
            TroubleKind::Throttled => {
                self.pace.on_throttle(now);
                self.breaker.on_answer();
                if trouble.pause.is_some() {
                    self.breaker.on_failure(now, trouble.pause);
                }
            }
            TroubleKind::Unavailable => drop(self.breaker.on_failure(now, trouble.pause)),
            TroubleKind::DeniedHere => drop(self.breaker.on_answer()),
            TroubleKind::Denied => {
                let pause = DENIED_PAUSE.min(self.settings.retry_longest);
                self.breaker.on_failure(now, Some(pause));
            }
        }
        if self.complaints.is_to_be_told(trouble.kind, now) {
            match trouble.kind {
                TroubleKind::Denied => tracing::error!(exporter = self.name, "{}", trouble.message),
                _ => tracing::warn!(exporter = self.name, "{}", trouble.message),
            }
        }
    }

    /// Moves the cursors to where everything is settled. Where the sink keeps something, that
    /// comes first, not too often, and what is settled meanwhile waits for the next time.
    fn settle(&mut self, is_stopping: bool) {
        let is_early = self.keep_again.is_some_and(|again| now() < again) && !is_stopping;
        if self.keeping.is_some() || is_early {
            return;
        }
        self.keep_again = None;
        let settled = self.reading.take_settled();
        if !S::KEEPS || settled.is_empty() {
            return self.advance(settled);
        }
        let sink = Arc::clone(&self.sink);
        self.keeping = Some(tasks::blocking("keep", move || {
            for (signal, settled) in &settled {
                sink.keep(*signal, settled.seq);
            }
            settled
        }));
    }

    fn advance(&mut self, settled: Vec<(Signal, Settled)>) {
        for (signal, settled) in settled {
            // What the spool gave up meanwhile is counted there, and not among these.
            let mut passed = self.spool.advance(&self.name, signal, settled.seq);
            for (reason, items) in settled.drops {
                let items = items.min(passed);
                passed -= items;
                self.ledger.dropped(&self.name, signal, reason, items);
            }
            self.ledger.delivered(&self.name, signal, passed);
        }
    }
}

/// A piece in pieces of fewer of its items; none if the sink knows none.
fn divided<S: Sink>(sink: &S, piece: &Piece<Part<S::Content>>) -> Vec<Piece<Part<S::Content>>> {
    let item = piece.content.item;
    if !piece.content.is_divisible {
        return Vec::new();
    }
    let fractions = sink.divide(item.signal, &piece.content.content, item.count);
    let part = |fraction: Fraction<S::Content>| Piece {
        key: piece.key,
        affinity: piece.affinity,
        time: piece.time,
        weight: piece.weight.min(fraction.items as usize),
        bytes: fraction.bytes,
        content: Part {
            item: ItemId {
                index: item.index.saturating_add(fraction.first),
                count: fraction.items,
                ..item
            },
            content: fraction.content,
            returned: 0,
            is_divisible: fraction.items > 1,
            arrived: piece.content.arrived,
        },
    };
    fractions.into_iter().map(part).collect()
}

async fn ended<T>(task: &mut Option<Task<T>>) -> Option<Result<T, TaskError>> {
    match task {
        Some(task) => Some(task.await),
        None => None,
    }
}

/// That it must stop, and later that its time is over.
async fn told<C>(stop: &mut Stop, is_stopping: bool) -> Event<C> {
    if is_stopping {
        stop.over().await;
        return Event::Over;
    }
    stop.requested().await;
    Event::Stop
}

async fn news(listener: &mut Reader) {
    listener.wait_for_more().await;
    tokio::time::sleep(NEWS_PAUSE).await;
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_most_come_back_nothing_counts_against_them() {
        let back = |of: usize| (0..of).map(|index| (index, Fate::Again)).collect::<Vec<_>>();
        let mut lately = Lately::default();
        lately.note(50, &back(1));
        assert!(lately.are_most_taken());
        // Throttled or broken for long: nine in ten come back.
        for _ in 0..100 {
            lately.note(50, &back(45));
        }
        assert!(!lately.are_most_taken());
        for _ in 0..100 {
            lately.note(50, &back(1));
        }
        assert!(lately.are_most_taken(), "it works again");
    }
}
