//! HTTP/1.1 on a port, with connections that break on purpose. What a request means is not known
//! here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::Request;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use meridian_runtime::BoxError;
use meridian_runtime::tasks;
use tokio::net::{TcpListener, TcpStream};

use crate::account::{Account, Answer};
use crate::action::Action;
use crate::call::Call;
use crate::faults::Mishap;

/// No service takes more.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Serves until it is dropped, and its connections with it.
pub async fn serve(listener: TcpListener, account: Arc<Account>) {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.push(tasks::spawn("connection", connection(stream, Arc::clone(&account))));
                }
            }
            Some(_) = connections.next() => {}
        }
    }
}

async fn connection(stream: TcpStream, account: Arc<Account>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let is_cut = AtomicBool::new(false);
    let service = service_fn(|request| exchange(request, &account, &is_cut));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = (&mut connection).await;
    if ended.is_err() && is_cut.load(Ordering::Relaxed) {
        // Closed like this, the peer sees a reset and not an end.
        let stream = connection.into_parts().io.into_inner();
        drop(stream.set_zero_linger());
    }
}

/// The connection ends here, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is reset on demand")]
struct Cut;

async fn exchange(
    request: Request<Incoming>,
    account: &Account,
    is_cut: &AtomicBool,
) -> Result<Answer, BoxError> {
    let (is_reset, slowness) = before(account);
    if is_reset {
        is_cut.store(true, Ordering::Relaxed);
        return Err(Cut.into());
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await?.to_bytes();
    tokio::time::sleep(slowness).await;
    let (answer, taken) = account.answer(&Call { head, body });
    if taken.is_some_and(|action| loses_answer(account, action)) {
        is_cut.store(true, Ordering::Relaxed);
        return Err(Cut.into());
    }
    Ok(answer)
}

/// Whether the connection is reset now, and how long the request waits otherwise.
fn before(account: &Account) -> (bool, Duration) {
    let mut state = account.state.lock();
    let (reset, slow, slowness) = (state.faults.reset, state.faults.slow, state.faults.slowness);
    let is_reset = state.dice.falls(Mishap::Reset, reset);
    state.seen.resets += usize::from(is_reset);
    let is_slow = state.dice.falls(Mishap::Slow, slow);
    (is_reset, if is_slow { slowness } else { Duration::ZERO })
}

fn loses_answer(account: &Account, action: Action) -> bool {
    let mut state = account.state.lock();
    let share = state.faults.lost_answers;
    let is_lost = state.dice.falls(Mishap::LostAnswer, share);
    if is_lost {
        *state.seen.lost_answers.entry(action).or_default() += 1;
    }
    is_lost
}
