//! Creates the groups and streams that events need, slowly: an account may create five groups
//! and fifty streams a second, and a hundred agents start together.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use serde_json::json;
use tokio::sync::Semaphore;

use super::destinations::Destination;
use super::{Aws, call};
use crate::requests::aws::{CallError, Fault};
use crate::requests::client::Answer;

/// Each creation waits a random part of this.
const JITTER: Duration = Duration::from_millis(1500);

/// How, and whether, groups and streams are created.
#[derive(Debug)]
pub struct Create {
    is_allowed: bool,
    retention_days: u32,
    /// One at a time.
    turn: Semaphore,
}

/// What was asked, and the answer that was no success.
pub struct NotCreated {
    /// Like `CreateLogGroup /meridian`.
    pub doing: String,
    /// The answer.
    pub answer: Answer,
}

impl Create {
    /// Nothing is asked yet.
    pub fn new(is_allowed: bool, retention_days: u32) -> Self {
        Self {
            is_allowed,
            retention_days,
            turn: Semaphore::new(1),
        }
    }

    /// Whether it may be done at all.
    pub fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// Creates the stream, and its group if there is none.
    pub async fn stream(
        &self,
        aws: &Aws,
        destination: &Destination,
    ) -> Result<Option<NotCreated>, CallError> {
        let _turn = self.turn.acquire().await;
        let wait = JITTER.mul_f64(rand::rng().random_range(0.0..1.0));
        tokio::time::sleep(wait).await;
        let stream = json!({"logGroupName": destination.group, "logStreamName": destination.stream});
        let failed = self
            .ask(aws, "CreateLogStream", &destination.group, &stream)
            .await?;
        let is_missing = |failed: &NotCreated| code(&failed.answer) == "ResourceNotFoundException";
        if !failed.as_ref().is_some_and(is_missing) {
            return Ok(failed);
        }
        let group = json!({"logGroupName": destination.group});
        if let Some(failed) = self
            .ask(aws, "CreateLogGroup", &destination.group, &group)
            .await?
        {
            return Ok(Some(failed));
        }
        tracing::info!(group = destination.group, "a log group was created");
        if self.retention_days > 0 {
            let retention =
                json!({"logGroupName": destination.group, "retentionInDays": self.retention_days});
            if let Some(failed) = self
                .ask(aws, "PutRetentionPolicy", &destination.group, &retention)
                .await?
            {
                tracing::warn!(
                    group = destination.group,
                    "the group keeps its events for ever: {}",
                    Fault::of(&failed.answer)
                        .map(|fault| fault.code)
                        .unwrap_or_default()
                );
            }
        }
        self.ask(aws, "CreateLogStream", &destination.group, &stream)
            .await
    }

    /// Something that already exists is no failure.
    async fn ask(
        &self,
        aws: &Aws,
        action: &'static str,
        group: &str,
        body: &serde_json::Value,
    ) -> Result<Option<NotCreated>, CallError> {
        let answer = aws.call(call(action, Bytes::from(body.to_string()))).await?;
        if answer.status.is_success() || code(&answer) == "ResourceAlreadyExistsException" {
            return Ok(None);
        }
        Ok(Some(NotCreated {
            doing: format!("{action} {group}"),
            answer,
        }))
    }
}

fn code(answer: &Answer) -> String {
    Fault::of(answer).map(|fault| fault.code).unwrap_or_default()
}
