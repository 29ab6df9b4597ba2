//! The HTTP server loop of both processes: HTTP/1.1 and h2c on one port, so that every limit
//! on connections lives in one place.
//!
//! It knows no routes and no sizes of bodies: these are the handlers' business. TLS ends in
//! front of us (mesh or load balancer).

mod body;
mod connection;
mod limits;
mod open;
mod watched;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use prometheus::IntGauge;
use tokio_util::sync::CancellationToken;

pub use body::SlowBody;
use connection::{Connection, Requests};
use limits::Limit;
pub use limits::{ConnectionMetrics, Limits, ListenerMetrics};
use open::Open;
use watched::Watched;

use crate::net::{self, Listener, Stream};
use crate::tasks::{self, Task};

/// An accept that failed (no file descriptors, for instance) is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// While a connection waits for a place, an idle one is looked for this often.
const ROOM_PAUSE: Duration = Duration::from_millis(100);
/// What is asked to end has so long to say goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// hyper's read buffer for one HTTP/1 connection grows to 400 KiB by default, which many slow
/// bodies together make much of; this still takes several reads' worth, and any sane head.
const HTTP1_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// A header list over the limit is refused by us, and counted; one so many times larger is not
/// even read (the HTTP/2 library answers 431 itself).
const HEADERS_READ: u32 = 4;

/// One listener: its limits, and how it speaks HTTP.
#[derive(Clone, Debug)]
pub struct Options {
    /// What its connections may take.
    pub limits: Limits,
    /// Where it is counted.
    pub metrics: ListenerMetrics,
    /// The largest HTTP/2 frame that a peer may send. A body in few large frames costs less to
    /// read, and each connection may hold one frame that has not arrived yet.
    pub max_frame_bytes: u32,
    /// What a peer may send on a connection before it is read; without it, hyper's megabyte.
    pub window_bytes: Option<u32>,
    /// An HTTP/2 peer that answers no ping for twice this long is cut off.
    pub keep_alive: Duration,
    /// No HTTP/1.1 here.
    pub only_http2: bool,
    /// Requests last as long as their peers do, and may rest.
    pub bodies_are_streams: bool,
    /// What the requests of a connection share.
    pub per_connection: Option<PerConnection>,
}

/// Puts what the requests of one connection share into their extensions; called for each
/// connection.
#[derive(Clone)]
pub struct PerConnection(pub Arc<dyn Fn(&mut http::Extensions) + Send + Sync>);

impl fmt::Debug for PerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerConnection")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            metrics: ListenerMetrics::default(),
            max_frame_bytes: 16 * 1024,
            window_bytes: None,
            keep_alive: Duration::from_secs(20),
            only_http2: false,
            bodies_are_streams: false,
            per_connection: None,
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
    let server = Server {
        builder: builder(&options),
        router,
        options: Arc::new(options),
        shutdown: shutdown.clone(),
    };
    let mut connections: FuturesUnordered<Task<()>> = FuturesUnordered::new();
    let mut open = Open::default();
    let mut waiting: Option<(Stream, SocketAddr)> = None;
    let mut is_failing = false;
    loop {
        if connections.len() < server.options.limits.max_connections
            && let Some((stream, peer)) = waiting.take()
        {
            connections.push(server.start(stream, peer, &mut open));
        }
        if waiting.is_some() {
            open.close_longest_idle(&server.options.metrics);
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = connections.next() => log_panic(ended),
            () = tokio::time::sleep(ROOM_PAUSE), if waiting.is_some() => {}
            accepted = listener.accept(), if waiting.is_none() => match accepted {
                Ok(accepted) => {
                    is_failing = false;
                    waiting = Some(accepted);
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
    drop((listener, waiting));
    while let Some(ended) = connections.next().await {
        log_panic(ended);
    }
    Ok(())
}

fn builder(options: &Options) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    if options.only_http2 {
        builder = builder.http2_only();
    }
    let limits = &options.limits;
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(HTTP1_BUFFER_BYTES_MAX);
    let mut http2 = builder.http2();
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_connection_streams)
        .max_header_list_size(limits.max_header_bytes.saturating_mul(HEADERS_READ))
        .max_frame_size(options.max_frame_bytes)
        .keep_alive_interval(options.keep_alive)
        .keep_alive_timeout(options.keep_alive);
    if let Some(bytes) = options.window_bytes {
        http2
            .initial_stream_window_size(bytes)
            .initial_connection_window_size(bytes);
    }
    builder
}

/// What serves each connection.
struct Server {
    builder: Builder<TokioExecutor>,
    router: Router,
    options: Arc<Options>,
    shutdown: CancellationToken,
}

impl Server {
    fn start(&self, stream: Stream, peer: SocketAddr, open: &mut Open) -> Task<()> {
        let connection = Arc::new(Connection::new());
        open.add(&connection);
        let options = Arc::clone(&self.options);
        let requests = Requests::new(self.router.clone(), Arc::clone(&options), Arc::clone(&connection));
        let (builder, shutdown) = (self.builder.clone(), self.shutdown.clone());
        tasks::spawn("http connection", async move {
            let _counted = Counted::new(&options.metrics.open);
            let outcome = serve_connection(&builder, stream, requests, &connection, &options, shutdown).await;
            if let Err(error) = outcome {
                count(error.as_ref(), &options.metrics);
                tracing::debug!(%peer, error = crate::chain(error.as_ref()), "a connection ended early");
            }
        })
    }
}

/// Counts a connection as open until it ends, also by a panic.
struct Counted(IntGauge);

impl Counted {
    fn new(open: &IntGauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

async fn serve_connection(
    builder: &Builder<TokioExecutor>,
    stream: Stream,
    requests: Requests,
    state: &Connection,
    options: &Options,
    shutdown: CancellationToken,
) -> Outcome {
    net::set_nodelay(&stream)?;
    let metrics = options.metrics.clone();
    let io = TokioIo::new(Watched::new(stream, options.limits.idle_timeout, metrics));
    let connection = builder.serve_connection(io, requests);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        outcome = connection.as_mut() => return outcome,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            return connection.await;
        }
        is_idle = state.is_over(options.limits.idle_timeout) => {
            if is_idle {
                options.metrics.strike(Limit::Idle);
            }
            connection.as_mut().graceful_shutdown();
        }
    }
    loop {
        tokio::select! {
            outcome = connection.as_mut() => return outcome,
            () = tokio::time::sleep(CLOSE_WITHIN) => {
                // A request that came at the last moment is answered.
                if !state.is_busy() {
                    return Ok(());
                }
            }
        }
    }
}

/// Limits that the library enforces and only tells of.
fn count(error: &(dyn Error + 'static), metrics: &ListenerMetrics) {
    match error.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_parse_too_large() => metrics.strike(Limit::Headers),
        Some(error) if error.is_timeout() => metrics.strike(Limit::Idle),
        Some(error) if is_flood(error) => metrics.strike(Limit::Streams),
        _ => {}
    }
}

/// Whether the HTTP/2 library has ended a connection for its many streams or resets.
fn is_flood(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.and_then(h2::Error::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM)
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
    async fn a_connection_that_ends_by_a_panic_is_not_counted_as_open() {
        async fn handler() {
            panic!("in a handler");
        }
        let options = Options::default();
        let open = options.metrics.open.clone();
        let (address, _token, _server) = start(Router::new().route("/", get(handler)), options).await;
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(REQUEST).await.expect("a request");
        let mut rest = Vec::new();
        // It may end with a reset.
        stream.read_to_end(&mut rest).await.ok();
        while open.get() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_cut_off() {
        let options = limited(|limits| limits.idle_timeout = Duration::from_millis(20));
        for said in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nHost: loc"] {
            let (address, _token, _server) = start(Router::new(), options.clone()).await;
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(said).await.expect("room to write");
            let mut rest = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
            read.expect("the server closes the connection")
                .expect("an orderly end");
        }
    }

    fn limited(change: impl FnOnce(&mut Limits)) -> Options {
        let mut options = Options::default();
        change(&mut options.limits);
        options
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("a place in the backlog");
        stream.write_all(REQUEST).await.expect("room to write");
        stream
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_for_one_that_waits_and_a_busy_one_is_not() {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (entered_too, release_too) = (Arc::clone(&entered), Arc::clone(&release));
        let busy = move || async move {
            entered_too.notify_one();
            release_too.notified().await;
            "done"
        };
        let router = Router::new()
            .route("/", get(|| async { "hi" }))
            .route("/busy", get(busy));
        let (address, _token, _server) = start(router, limited(|limits| limits.max_connections = 2)).await;
        let mut first = TcpStream::connect(address).await.expect("a connection");
        let request = b"GET /busy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        first.write_all(request).await.expect("room to write");
        entered.notified().await;
        for said in [&b""[..], b"GET / HTT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut idle = TcpStream::connect(address).await.expect("a connection");
            idle.write_all(said).await.expect("room to write");
            // It would wait for a minute and more if nobody were closed.
            assert!(answer(&mut ask(address).await).await.ends_with("hi"));
        }
        release.notify_one();
        assert!(
            answer(&mut first).await.ends_with("done"),
            "what is in flight is never cut"
        );
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_waits_while_all_are_busy() {
        let release = Arc::new(Notify::new());
        let release_too = Arc::clone(&release);
        let busy = move || async move {
            release_too.notified().await;
            "done"
        };
        let router = Router::new().route("/", get(busy));
        let (address, _token, _server) = start(router, limited(|limits| limits.max_connections = 1)).await;
        let mut first = ask(address).await;
        let mut second = ask(address).await;
        release.notify_one();
        assert!(answer(&mut first).await.ends_with("done"));
        release.notify_one();
        assert!(answer(&mut second).await.ends_with("done"));
    }

    #[tokio::test]
    async fn a_header_list_over_the_limit_is_refused_and_counted() {
        let registry = prometheus::Registry::new();
        let mut options = limited(|limits| limits.max_header_bytes = 1_000);
        let metrics = ConnectionMetrics::new(&registry, "meridian_test").expect("an empty registry");
        options.metrics = metrics.listener("test");
        let (address, _token, _server) =
            start(Router::new().route("/", get(|| async { "hi" })), options).await;
        for bytes in [2_000, 200_000] {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            let long = "x".repeat(bytes);
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Long: {long}\r\n\r\n");
            // The server may have answered before all is written.
            stream.write_all(request.as_bytes()).await.ok();
            let mut answer = vec![0; 12];
            stream.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 431");
        }
        assert!(answer(&mut ask(address).await).await.ends_with("hi"));
        let text = crate::metrics::text(&registry).expect("text");
        let counted = "meridian_test_connection_limits_total{limit=\"headers\",listener=\"test\"} 2";
        assert!(text.contains(counted), "{text}");
    }
}
