//! Sends inputs one after the other, judges what came back by one rule for everybody, and looks
//! after each whether a good span is still accepted, and how soon.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use meridian_proto::signal::Signal;
use serde::Serialize;

use super::client::{Answer, Doors, send};
use super::{Case, Expected, Input, Sent, heads};
use crate::metrics::Metrics;
use crate::otlp;

/// Before a good span that was refused is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// How long is waited for what comes back.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// So long an input may be thought about.
    pub answer: Duration,
    /// A good span that is not accepted in so long never will be.
    pub good: Duration,
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What was expected.
    Well,
    /// Good items were refused or rejected with the bad ones.
    GoodRefused,
    /// What nobody may keep was accepted without a word.
    BadAccepted,
    /// Refused with a status that SDKs repeat, though it can never succeed.
    Repeated,
    /// Not answered.
    Unanswered,
}

/// An input and what became of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// What the input was meant to break.
    pub class: &'static str,
    /// Its class, the protocol, and which one it is.
    pub name: String,
    /// How it was judged.
    pub verdict: Verdict,
    /// What came back.
    pub answer: Answer,
    /// How long it took to send and answer it.
    pub took: Duration,
    /// How long a good span after it took to be accepted; absent if it never was.
    pub good_after: Option<Duration>,
    /// Items that are in the books and should not be, or the other way round.
    pub miscounted: i64,
}

/// Sends inputs until one of them ends the service; `heard` is told what became of each. With the
/// address of `/metrics` of an agent of ours, accepted items are compared too.
pub async fn attack(
    doors: Doors,
    books: Option<SocketAddr>,
    inputs: &[Input],
    patience: Patience,
    mut heard: impl FnMut(Outcome) -> Result<()>,
) -> Result<()> {
    // One for all: making it reads the machine's certificates.
    let reader = reqwest::Client::new();
    for input in inputs {
        let before = accepted(&reader, books).await?;
        let (answer, took) = send(doors, input, patience.answer).await;
        let after = accepted(&reader, books).await?;
        let over_grpc = matches!(input.sent, Sent::Grpc { .. });
        let good_after = good_span(doors, over_grpc, patience.good).await;
        let protocol = if over_grpc { "gRPC" } else { "HTTP" };
        heard(Outcome {
            class: input.class,
            name: format!("{} over {protocol}: {}", input.class, input.what),
            verdict: judge(input, &answer),
            miscounted: miscounted(input, &answer, after - before),
            answer,
            took,
            good_after,
        })?;
        if good_after.is_none() {
            break;
        }
    }
    Ok(())
}

/// The rule.
fn judge(input: &Input, answer: &Answer) -> Verdict {
    match (input.expected, answer) {
        (_, Answer::Silent) => Verdict::Unanswered,
        (Expected::Closed, Answer::Closed(_)) => Verdict::Well,
        // A head over a limit of HTTP is no request.
        (Expected::Either, Answer::Closed(_)) if input.class == "head" => Verdict::Well,
        (_, Answer::Closed(_)) => Verdict::Unanswered,
        (
            _,
            Answer::Refused {
                is_repeated: true, ..
            },
        ) => Verdict::Repeated,
        (Expected::Accepted { .. }, Answer::Refused { .. }) => Verdict::GoodRefused,
        (_, Answer::Refused { .. }) => Verdict::Well,
        (Expected::Refused | Expected::Closed, Answer::Success { .. }) => Verdict::BadAccepted,
        (Expected::Either, Answer::Success { .. }) => Verdict::Well,
        (
            Expected::Accepted {
                rejected_min,
                rejected_max,
                ..
            },
            Answer::Success { rejected },
        ) => {
            if *rejected < rejected_min {
                Verdict::BadAccepted
            } else if *rejected > rejected_max {
                Verdict::GoodRefused
            } else {
                Verdict::Well
            }
        }
    }
}

fn miscounted(input: &Input, answer: &Answer, counted: i64) -> i64 {
    match (input.expected, answer) {
        (Expected::Accepted { items, .. }, Answer::Success { rejected }) => {
            counted - items.cast_signed() + rejected.cast_signed()
        }
        (_, Answer::Refused { .. }) => counted,
        _ => 0,
    }
}

async fn accepted(reader: &reqwest::Client, books: Option<SocketAddr>) -> Result<i64> {
    let Some(address) = books else { return Ok(0) };
    let answer = reader.get(format!("http://{address}/metrics")).send().await?;
    let text = answer.text().await?;
    let sum = Metrics::parse(&text)?.sum("meridian_agent_accepted_items_total", &[]);
    format!("{sum}").parse().context("a whole number")
}

async fn good_span(doors: Doors, over_grpc: bool, within: Duration) -> Option<Duration> {
    let body = otlp::request(Signal::Spans, "good", 1);
    let case = Case::new("good", "a span", Signal::Spans, body, Expected::whole(1));
    let input = if over_grpc {
        case.over_grpc()
    } else {
        case.over_http(&[heads::PROTOBUF])
    };
    let start = Instant::now();
    while start.elapsed() < within {
        let left = within.saturating_sub(start.elapsed());
        if send(doors, &input, left).await.0 == (Answer::Success { rejected: 0 }) {
            return Some(start.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rule_tells_what_was_handled_well() {
        let judged = |expected, answer: Answer| {
            let case = Case::new("ids", "x", Signal::Spans, Vec::new(), expected);
            judge(&case.over_grpc(), &answer)
        };
        let refused = |is_repeated| Answer::Refused {
            is_repeated,
            text: String::new(),
        };
        let success = |rejected| Answer::Success { rejected };
        assert_eq!(judged(Expected::without(3, 1), success(1)), Verdict::Well);
        assert_eq!(judged(Expected::without(3, 1), success(0)), Verdict::BadAccepted);
        assert_eq!(judged(Expected::without(3, 1), success(3)), Verdict::GoodRefused);
        assert_eq!(
            judged(Expected::without(3, 1), refused(false)),
            Verdict::GoodRefused
        );
        assert_eq!(judged(Expected::odd(3, 1), success(0)), Verdict::Well);
        assert_eq!(judged(Expected::Refused, refused(false)), Verdict::Well);
        assert_eq!(judged(Expected::Refused, refused(true)), Verdict::Repeated);
        assert_eq!(judged(Expected::Refused, success(0)), Verdict::BadAccepted);
        assert_eq!(judged(Expected::Refused, Answer::Silent), Verdict::Unanswered);
        assert_eq!(
            judged(Expected::Closed, Answer::Closed(String::new())),
            Verdict::Well
        );
    }
}
