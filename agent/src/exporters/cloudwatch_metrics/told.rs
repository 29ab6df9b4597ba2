//! What is said of points that are dropped: each reason once in a while, with an example and what
//! to do. How many there are is counted elsewhere.

use crate::ledger::DropReason;
use crate::requests::notices::Notices;

/// A point of this metric is dropped.
pub fn tell(notices: &Notices, reason: DropReason, metric: &str) {
    if !notices.is_due(reason.as_str()) {
        return;
    }
    let (meaning, advice) = (reason.meaning(), advice(reason));
    let reason_told = reason.as_str();
    match reason {
        DropReason::NotSelected | DropReason::Baseline | DropReason::Superseded | DropReason::Empty => {
            tracing::info!(
                metric,
                reason = reason_told,
                "data points are not sent to CloudWatch, as this one: {meaning}{advice}"
            );
        }
        _ => {
            tracing::warn!(
                metric,
                reason = reason_told,
                "a data point is dropped: {meaning}{advice}"
            );
        }
    }
}

/// What to do, or what this means at CloudWatch.
fn advice(reason: DropReason) -> &'static str {
    match reason {
        DropReason::NotSelected => {
            "; no rule of `metrics` fits its name, or it has the attributes of none of the rule's dimension sets"
        }
        DropReason::Baseline => "; what is added from now on is sent",
        DropReason::TooOld => ", than two weeks",
        DropReason::TooNew => ", than two hours; is the clock of its source right?",
        DropReason::OverBudget => {
            ": more metrics overflow than a tenth of `max_series`. Select fewer, or with fewer dimensions"
        }
        DropReason::Invalid => {
            ": its value is not finite or beyond 2^360, its name empty or longer than 255 characters, its buckets contradict each other, or its sum has no temporality"
        }
        _ => "",
    }
}
