//! Between many tasks that append and the one thread that writes: gathers what arrives into
//! groups, so that one sync serves all of it.
//!
//! It is bounded in records; their bytes are bounded by the intake's admission, which holds
//! until the append is answered. It touches no file.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::writer::{Answer, Writer};
use super::{AppendError, Appended, NewRecord};

/// The most records that wait for the writer; more wait in their tasks.
const QUEUE_RECORDS_MAX: usize = 1024;
/// A group of so many bytes does not wait for more.
const GROUP_BYTES_ENOUGH: usize = 1 << 20;

/// How the writer's thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    Closed,
    /// It ended without being asked to.
    Failed,
}

pub(super) struct Queue {
    queued: Mutex<Queued>,
    wake: Condvar,
    /// The same for a writer that is a task.
    wake_task: Notify,
    room: Arc<Semaphore>,
    life: watch::Sender<Life>,
}

#[derive(Default)]
struct Queued {
    requests: Vec<Request>,
    bytes: usize,
    touch: bool,
    reclaim: bool,
    /// Who waits for the cursors to be durable.
    saves: Vec<oneshot::Sender<io::Result<()>>>,
    closing: bool,
}

struct Request {
    record: NewRecord,
    answer: oneshot::Sender<Answer>,
    /// Counts the record's items when it is durable: who asked may be gone by then.
    accepted: Option<IntCounter>,
    /// Held until the request is answered.
    _room: OwnedSemaphorePermit,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            queued: Mutex::default(),
            wake: Condvar::new(),
            wake_task: Notify::new(),
            room: Arc::new(Semaphore::new(QUEUE_RECORDS_MAX)),
            life: watch::Sender::new(Life::Running),
        }
    }

    /// Hands a record to the writer and waits for its answer.
    pub async fn append(&self, record: NewRecord, accepted: Option<IntCounter>) -> Answer {
        let room = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|_| AppendError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let is_news = {
            let mut queued = self.queued.lock();
            if queued.closing {
                return Err(AppendError::Closed);
            }
            queued.bytes += record.body.len() + record.overlay.len();
            queued.requests.push(Request {
                record,
                answer,
                accepted,
                _room: room,
            });
            // In between the writer lingers: to wake it for each record would cost as much as
            // to append one.
            queued.requests.len() == 1 || !queued.may_grow()
        };
        if is_news {
            self.wake();
        }
        answered.await.unwrap_or_else(|_| {
            Err(AppendError::Failed(Arc::new(io::Error::other(
                "the spool's writer has ended",
            ))))
        })
    }

    fn wake(&self) {
        self.wake.notify_one();
        self.wake_task.notify_one();
    }

    /// Asks for a sign of life.
    pub fn touch(&self) {
        self.queued.lock().touch = true;
        self.wake();
    }

    /// Asks for delivered segments to be deleted.
    pub fn reclaim(&self) {
        self.queued.lock().reclaim = true;
        self.wake();
    }

    /// Makes the cursors durable as they are now.
    pub async fn save_cursors(&self) -> io::Result<()> {
        let (saved, answer) = oneshot::channel();
        {
            let mut queued = self.queued.lock();
            if !queued.closing {
                queued.saves.push(saved);
            }
        }
        self.wake();
        answer
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the spool's writer has ended")))
    }

    /// Asks the writer to end after what is queued.
    pub fn close(&self) {
        self.queued.lock().closing = true;
        self.wake();
    }

    pub fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Waits for work, and for company while there is little.
    fn take(&self, linger: Duration) -> Queued {
        let mut queued = self.queued.lock();
        while queued.is_idle() {
            self.wake.wait(&mut queued);
        }
        let deadline = Instant::now() + linger;
        while queued.may_grow() && !self.wake.wait_until(&mut queued, deadline).timed_out() {}
        queued.take()
    }

    /// The same for a task. It always waits as long as it may: time costs a simulation nothing.
    async fn take_as_task(&self, linger: Duration) -> Queued {
        while self.queued.lock().is_idle() {
            self.wake_task.notified().await;
        }
        if self.queued.lock().may_grow() {
            tokio::time::sleep(linger).await;
        }
        self.queued.lock().take()
    }
}

impl Queued {
    fn take(&mut self) -> Self {
        let closing = self.closing;
        std::mem::replace(
            self,
            Self {
                closing,
                ..Self::default()
            },
        )
    }

    fn is_idle(&self) -> bool {
        let asked = self.touch || self.reclaim || self.closing || !self.saves.is_empty();
        self.requests.is_empty() && !asked
    }

    fn may_grow(&self) -> bool {
        let little = self.requests.len() < QUEUE_RECORDS_MAX && self.bytes < GROUP_BYTES_ENOUGH;
        !self.requests.is_empty() && little && !self.closing
    }
}

/// The writer's thread: serves the queue until it is closed.
pub(super) fn serve(queue: &Arc<Queue>, writer: Writer, linger: Duration) {
    let mut server = Server::new(queue, writer);
    while server.serve(queue.take(linger)) {}
}

/// The same as a task, for a simulation.
pub(super) async fn serve_as_task(queue: Arc<Queue>, writer: Writer, linger: Duration) {
    let mut server = Server::new(&queue, writer);
    loop {
        let work = queue.take_as_task(linger).await;
        tokio::time::sleep(server.writer.pace()).await;
        if !server.serve(work) {
            return;
        }
    }
}

/// The writer, until it is closed.
struct Server {
    // Dropped first: the lock is free before anybody is told of the end.
    writer: Writer,
    ending: Ending,
}

impl Server {
    fn new(queue: &Arc<Queue>, writer: Writer) -> Self {
        let ending = Ending {
            queue: Arc::clone(queue),
            life: Life::Failed,
        };
        Self { writer, ending }
    }

    /// Does what is asked for; false after the last.
    fn serve(&mut self, work: Queued) -> bool {
        let (records, answers): (Vec<_>, Vec<_>) = work
            .requests
            .into_iter()
            .map(|request| {
                let counted = request.accepted.map(|counter| (counter, request.record.items));
                (request.record, (request.answer, request._room, counted))
            })
            .unzip();
        if !records.is_empty() {
            for ((answer, room, counted), result) in answers.into_iter().zip(self.writer.commit(records)) {
                if let (Some((counter, items)), Ok(Appended { duplicate: false, .. })) = (counted, &result) {
                    counter.inc_by(u64::from(items));
                }
                // Who asked may be gone; the record is stored all the same.
                answer.send(result).ok();
                drop(room);
            }
        }
        if work.reclaim {
            self.writer.reclaim();
        }
        for saved in work.saves {
            // Who asked may be gone.
            saved.send(self.writer.write_cursors()).ok();
        }
        if work.touch {
            self.writer.touch(false);
        }
        if work.closing {
            self.writer.close();
            self.ending.life = Life::Closed;
        }
        !work.closing
    }
}

/// Tells everybody when the thread ends, also by a panic.
struct Ending {
    queue: Arc<Queue>,
    life: Life,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let unanswered = {
            let mut queued = self.queue.queued.lock();
            queued.closing = true;
            (
                std::mem::take(&mut queued.requests),
                std::mem::take(&mut queued.saves),
            )
        };
        drop(unanswered);
        self.queue.life.send_replace(self.life);
    }
}
