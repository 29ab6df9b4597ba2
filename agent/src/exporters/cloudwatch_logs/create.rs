//! Creates the groups and streams that events need, slowly: an account may create five groups
//! and fifty streams a second, and a hundred agents start together. What an answer means for the
//! events is not said here.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::destinations::Destination;
use super::{Aws, call, now};
use crate::requests::aws::{CallError, Fault};
use crate::requests::client::Answer;
use crate::requests::sink::Verdict;

/// How, and whether, groups and streams are created.
#[derive(Debug)]
pub struct Create {
    is_allowed: bool,
    /// Each creation waits a random part of this.
    spread: Duration,
    retention_days: u32,
    /// One at a time.
    turn: Semaphore,
    done: Mutex<Done>,
}

#[derive(Debug, Default)]
struct Done {
    /// When a stream was last created.
    streams: HashMap<Destination, Instant>,
    /// Groups that were created and still lack their retention.
    without_retention: HashSet<String>,
}

/// What was asked, and the answer that was no success.
pub struct NotCreated {
    /// Like `CreateLogGroup /meridian`.
    pub doing: String,
    /// The answer.
    pub answer: Answer,
}

impl NotCreated {
    /// Whether it will be no better soon.
    fn is_for_good(&self) -> bool {
        let verdict = Fault::of(&self.answer).map(|fault| fault.verdict(&self.doing, &self.answer));
        match verdict {
            Some(Verdict::Later(trouble)) => trouble.kind.is_denied(),
            _ => true,
        }
    }
}

type Outcome = Result<Option<NotCreated>, CallError>;

impl Create {
    /// Nothing is asked yet.
    pub fn new(is_allowed: bool, spread: Duration, retention_days: u32) -> Self {
        Self {
            is_allowed,
            spread,
            retention_days,
            turn: Semaphore::new(1),
            done: Mutex::default(),
        }
    }

    /// Whether it may be done at all.
    pub fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// Creates the stream, and its group if there is none.
    pub async fn stream(&self, aws: &Aws, destination: &Destination) -> Outcome {
        let asked = now();
        let _turn = self.turn.acquire().await;
        if self.is_done_since(asked, destination) {
            return Ok(None);
        }
        let wait = self.spread.mul_f64(rand::rng().random_range(0.0..1.0));
        tokio::time::sleep(wait).await;
        let mut failed = self.try_stream(aws, destination).await?;
        if failed.as_ref().is_some_and(is_missing) {
            failed = self.group(aws, &destination.group).await?;
            if failed.is_none() {
                failed = self.try_stream(aws, destination).await?;
            }
        }
        if failed.is_none() {
            self.done.lock().streams.insert(destination.clone(), now());
        }
        Ok(failed)
    }

    /// Whether it was created for another request, while this one waited for its turn.
    fn is_done_since(&self, asked: Instant, destination: &Destination) -> bool {
        let done = self.done.lock();
        done.streams
            .get(destination)
            .is_some_and(|created| *created > asked)
    }

    async fn group(&self, aws: &Aws, group: &str) -> Outcome {
        if self.retention_days > 0 {
            // Before it is asked for: also a group whose creation was not answered may be ours.
            self.done.lock().without_retention.insert(group.to_owned());
        }
        let failed = ask(aws, "CreateLogGroup", group, &json!({ "logGroupName": group })).await?;
        match &failed {
            None => tracing::info!(group, "a log group was created"),
            Some(failed) if failed.is_for_good() => {
                self.done.lock().without_retention.remove(group);
            }
            Some(_) => {}
        }
        Ok(failed)
    }

    async fn try_stream(&self, aws: &Aws, destination: &Destination) -> Outcome {
        let group = destination.group.as_str();
        if self.done.lock().without_retention.contains(group) {
            let failed = self.retention(aws, group).await?;
            if failed.is_some() {
                return Ok(failed);
            }
        }
        let stream = json!({ "logGroupName": group, "logStreamName": destination.stream });
        ask(aws, "CreateLogStream", group, &stream).await
    }

    /// What may succeed later has to; what will not is told, and the events come before it.
    async fn retention(&self, aws: &Aws, group: &str) -> Outcome {
        let retention = json!({ "logGroupName": group, "retentionInDays": self.retention_days });
        if let Some(failed) = ask(aws, "PutRetentionPolicy", group, &retention).await? {
            if is_missing(&failed) || !failed.is_for_good() {
                return Ok(Some(failed));
            }
            let fault = Fault::of(&failed.answer).map(|fault| fault.message);
            let message = fault.unwrap_or_default();
            tracing::error!(group, "the group keeps its events for ever: {message}");
        }
        self.done.lock().without_retention.remove(group);
        Ok(None)
    }
}

/// Something that already exists is no failure.
async fn ask(aws: &Aws, action: &'static str, group: &str, body: &Value) -> Outcome {
    let answer = aws.call(call(action, Bytes::from(body.to_string()))).await?;
    if answer.status.is_success() || code(&answer) == "ResourceAlreadyExistsException" {
        return Ok(None);
    }
    Ok(Some(NotCreated {
        doing: format!("{action} {group}"),
        answer,
    }))
}

fn is_missing(failed: &NotCreated) -> bool {
    code(&failed.answer) == "ResourceNotFoundException"
}

fn code(answer: &Answer) -> String {
    Fault::of(answer).map(|fault| fault.code).unwrap_or_default()
}
