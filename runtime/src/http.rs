//! The HTTP server loop of both processes: HTTP/1.1 and h2c on one port, so that every limit
//! on connections lives in one place.
//!
//! It knows no routes and no bodies: sizes of bodies are the handlers' business. TLS ends in
//! front of us (mesh or load balancer).

mod first_bytes;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;

use crate::http::first_bytes::FirstBytes;
use crate::net::{self, Listener, Stream};
use crate::tasks::{self, Task};

/// An accept that failed (no file descriptors, for instance) is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// hyper's read buffer for one HTTP/1 connection grows to 400 KiB by default, which many slow
/// bodies together make much of; this still takes several reads' worth, and any sane head.
const HTTP1_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// The limits of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Connections served at once; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// How long a peer may take for the first bytes of a connection and for a request's head.
    pub header_timeout: Duration,
    /// Requests in flight on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// The largest HTTP/2 frame that a peer may send. A body in few large frames costs less to
    /// read, and each connection may hold one frame that has not arrived yet.
    pub max_frame_bytes: u32,
    /// An HTTP/2 peer that answers no ping for twice this long is cut off.
    pub keep_alive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            header_timeout: Duration::from_secs(10),
            max_concurrent_streams: 128,
            max_frame_bytes: 16 * 1024,
            keep_alive: Duration::from_secs(20),
        }
    }
}

/// Serves until `shutdown` is cancelled, then lets every connection end its requests in flight.
/// It sets no deadline for that: who drops the future cuts off what is left.
pub async fn serve(
    mut listener: Listener,
    router: Router,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Infallible> {
    let builder = builder(&options);
    let mut connections: FuturesUnordered<Task<()>> = FuturesUnordered::new();
    let mut is_failing = false;
    loop {
        let has_room = connections.len() < options.max_connections;
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = connections.next() => log_panic(ended),
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, peer)) => {
                    is_failing = false;
                    let serving = serve_connection(builder.clone(), stream, peer, router.clone(), options, shutdown.clone());
                    connections.push(tasks::spawn("http connection", serving));
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, "cannot accept connections, trying again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.next().await {
        log_panic(ended);
    }
    Ok(())
}

fn builder(options: &Options) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(HTTP1_BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_frame_size(options.max_frame_bytes)
        .keep_alive_interval(options.keep_alive)
        .keep_alive_timeout(options.keep_alive);
    builder
}

async fn serve_connection(
    builder: Builder<TokioExecutor>,
    stream: Stream,
    peer: SocketAddr,
    router: Router,
    options: Options,
    shutdown: CancellationToken,
) {
    if let Err(error) = net::set_nodelay(&stream) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let io = TokioIo::new(FirstBytes::new(stream, options.header_timeout));
    let connection = builder.serve_connection(io, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, error = crate::chain(error.as_ref()), "a connection ended early");
    }
}

fn log_panic(ended: Result<(), tasks::TaskError>) {
    if let Err(error) = ended {
        tracing::error!(error = crate::chain(&error), "a connection's handler panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    async fn start(router: Router, options: Options) -> (SocketAddr, CancellationToken, Task<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let token = CancellationToken::new();
        let serving = serve(listener.into(), router, options, token.clone());
        let task = tasks::spawn("server", async move {
            serving.await.unwrap_or_else(|never| match never {})
        });
        (address, token, task)
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        text
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_before_the_server_ends() {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (entered_too, release_too) = (Arc::clone(&entered), Arc::clone(&release));
        let handler = move || async move {
            entered_too.notify_one();
            release_too.notified().await;
            "done"
        };
        let (address, token, server) =
            start(Router::new().route("/", get(handler)), Options::default()).await;
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(REQUEST).await.expect("a request");
        entered.notified().await;
        token.cancel();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!server.is_finished(), "it waits for the request in flight");
        release.notify_one();
        assert!(answer(&mut stream).await.ends_with("done"));
        server.await.expect("the server ends");
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_cut_off() {
        let options = Options {
            header_timeout: Duration::from_millis(20),
            ..Options::default()
        };
        for said in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nHost: loc"] {
            let (address, _token, _server) = start(Router::new(), options).await;
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(said).await.expect("room to write");
            let mut rest = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
            read.expect("the server closes the connection")
                .expect("an orderly end");
        }
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_waits_for_its_turn() {
        let options = Options {
            max_connections: 1,
            ..Options::default()
        };
        let (address, _token, _server) =
            start(Router::new().route("/", get(|| async { "hi" })), options).await;
        let first = TcpStream::connect(address).await.expect("a connection");
        let mut second = TcpStream::connect(address).await.expect("a place in the backlog");
        second.write_all(REQUEST).await.expect("room to write");
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_millis(50), second.read(&mut byte)).await;
        early.expect_err("the second connection is not served beside the first");
        drop(first);
        assert!(answer(&mut second).await.ends_with("hi"));
    }
}
