//! The body of a request, which must arrive in time and not too slowly: a client that sends a
//! byte per second would otherwise hold its memory for ever. How much it may be is the handlers'
//! business.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::limits::{Limit, Limits, ListenerMetrics};

/// Before this the rate is not looked at: connections start slowly.
const GRACE: Duration = Duration::from_secs(5);

/// The error of a body that came too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{received} bytes of the body arrived in {} s", after.as_secs())]
pub struct SlowBody {
    /// What had arrived.
    pub received: u64,
    /// In which time.
    pub after: Duration,
}

/// A body with a deadline that what arrives puts off.
pub(super) struct TimedBody<B> {
    body: B,
    pace: Option<Pace>,
    metrics: ListenerMetrics,
}

struct Pace {
    start: Instant,
    limits: Limits,
    received: u64,
    /// Made when the body is waited for.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<B> TimedBody<B> {
    /// The clock starts now; for a stream that may rest there is none.
    pub(super) fn new(body: B, limits: Option<Limits>, metrics: ListenerMetrics) -> Self {
        let pace = limits.map(|limits| Pace {
            start: Instant::now(),
            limits,
            received: 0,
            sleep: None,
        });
        Self { body, pace, metrics }
    }
}

impl Pace {
    fn deadline(&self) -> Instant {
        let earned = self.received.checked_div(self.limits.min_body_rate);
        let by_rate = earned.map_or(self.limits.body_timeout, |seconds| {
            GRACE.saturating_add(Duration::from_secs(seconds))
        });
        self.start + by_rate.min(self.limits.body_timeout)
    }

    /// Whether the time is over.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let deadline = self.deadline();
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context).is_ready()
    }
}

impl<B> Body for TimedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context).map_err(Into::into);
        let this = &mut *self;
        let Some(pace) = &mut this.pace else {
            return polled;
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                pace.received = pace.received.saturating_add(bytes as u64);
            }
            Poll::Pending if pace.is_over(context) => {
                this.metrics.strike(Limit::Body);
                let slow = SlowBody {
                    received: pace.received,
                    after: pace.start.elapsed(),
                };
                return Poll::Ready(Some(Err(slow.into())));
            }
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use http_body_util::{BodyExt, StreamBody};

    /// A body that sends so many bytes each second, for ever.
    fn trickle(bytes: usize) -> impl Body<Data = Bytes, Error = BoxError> + Unpin {
        let chunks = futures::stream::unfold((), move |()| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok(Frame::data(Bytes::from(vec![7; bytes]))), ()))
        });
        StreamBody::new(chunks.boxed())
    }

    async fn seconds_until_slow(bytes: usize) -> u64 {
        let mut body = TimedBody::new(
            trickle(bytes),
            Some(Limits::default()),
            ListenerMetrics::default(),
        );
        let start = Instant::now();
        while let Some(frame) = body.frame().await {
            if let Err(error) = frame {
                assert!(error.downcast_ref::<SlowBody>().is_some(), "{error}");
                return start.elapsed().as_secs();
            }
        }
        unreachable!("the body has no end")
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_below_the_rate_is_given_up_after_the_grace_and_any_body_at_the_timeout() {
        assert_eq!(seconds_until_slow(1).await, 5);
        assert_eq!(
            seconds_until_slow(512).await,
            9,
            "half of the rate earns half of the time"
        );
        assert_eq!(
            seconds_until_slow(100_000).await,
            30,
            "the timeout holds at any rate"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_rest() {
        let mut body = TimedBody::new(trickle(1), None, ListenerMetrics::default());
        for _ in 0..1_000 {
            body.frame().await.expect("no end").expect("no error");
        }
    }
}
